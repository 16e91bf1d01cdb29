"""Which windows are run, joined or reported: the planning and its ledger, on real databases."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from headwater.settings import ScheduleChange, Settings
from headwater.storage import jobs
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate
from headwater.storage.schedules import (
    Booking,
    LedgerRow,
    ScheduledJob,
    book,
    latest,
    ledger,
    list_schedules,
    record_schedules,
)
from scheduler.clock import Clock, book_due, change, trigger_of, windows_between

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


def nightly(**values: object) -> ScheduledJob:
    return ScheduledJob("tidy", "house", ("db", "status"), **({"cron": "0 3 * * *"} | values))


@pytest.fixture
def house(database_settings: Settings) -> Iterator[sa.Engine]:
    engine = open_engine(database_settings, "house")
    migrate(engine, "house")
    yield engine
    engine.dispose()


def rows(house: sa.Engine) -> list[tuple[datetime, datetime, int, str]]:
    """First and last window, how many, and what became of them, the earliest first, without the beginning."""
    found = [(row.first_due, row.due, row.windows, row.outcome) for row in reversed(ledger(house, name="tidy"))]
    return [row for row in found if row[3] != "begin"]


def end(house: sa.Engine) -> None:
    job = jobs.claim(house, "w", light_slots=9)
    assert job is not None
    jobs.finish(house, job.id, "done", "done", worker="w")


def test_windows_count_from_when_a_schedule_is_first_seen_and_each_is_booked_once(house: sa.Engine) -> None:
    assert book_due(house, nightly(), MONDAY)
    assert book_due(house, nightly(), MONDAY + timedelta(hours=2, minutes=59))
    assert jobs.list_jobs(house) == []
    at = MONDAY + timedelta(hours=3)
    assert book_due(house, nightly(), at)
    assert book_due(house, nightly(), at + MINUTE)
    assert rows(house) == [(at, at, 1, "run")]
    (job,) = jobs.list_jobs(house)
    assert (job.actor, job.deadline_seconds, latest(house, "tidy").job_id) == ("schedule", 3600.0, job.id)


def test_three_missed_nights_are_one_run_of_three_windows(house: sa.Engine) -> None:
    book_due(house, nightly(), MONDAY)
    assert book_due(house, nightly(), MONDAY + 3 * DAY)
    first = MONDAY + timedelta(hours=3)
    assert rows(house) == [(first, first + 2 * DAY, 3, "run")]
    assert len(jobs.list_jobs(house)) == 1


def test_three_missed_nights_are_three_runs_one_after_another_where_each_counts(house: sa.Engine) -> None:
    job = nightly(missed="each")
    book_due(house, job, MONDAY)
    moment = MONDAY + 3 * DAY
    for done in range(3):
        assert book_due(house, job, moment) is (done == 2)
        assert book_due(house, job, moment) is (done == 2)  # the run before has not ended, or nothing is left
        assert len(jobs.list_jobs(house)) == done + 1
        end(house)
    assert book_due(house, job, moment)
    first = MONDAY + timedelta(hours=3)
    assert rows(house) == [(first + n * DAY, first + n * DAY, 1, "run") for n in range(3)]


def test_three_missed_nights_are_reported_and_the_one_in_time_is_run_where_late_ones_are_useless(
    house: sa.Engine,
) -> None:
    job = nightly(missed="report")
    book_due(house, job, MONDAY)
    first = MONDAY + timedelta(hours=3)
    assert book_due(house, job, first + DAY + timedelta(seconds=59))
    assert book_due(house, job, first + 2 * DAY + timedelta(seconds=61)) is False  # the last one still runs
    end(house)
    assert book_due(house, job, first + 2 * DAY + timedelta(seconds=61))
    assert rows(house) == [
        (first, first, 1, "missed"),
        (first + DAY, first + DAY, 1, "run"),
        (first + 2 * DAY, first + 2 * DAY, 1, "missed"),
    ]
    assert "no run could begin" in latest(house, "tidy").reason
    assert latest(house, "tidy").job_id == ""


def test_windows_that_come_during_a_run_wait_for_its_end_and_are_then_one(house: sa.Engine) -> None:
    job = nightly(cron=None, every_seconds=60)
    book_due(house, job, MONDAY)
    assert book_due(house, job, MONDAY + MINUTE)
    assert book_due(house, job, MONDAY + 5 * MINUTE) is False
    end(house)
    assert book_due(house, job, MONDAY + 6 * MINUTE + timedelta(seconds=5))
    assert rows(house)[1:] == [(MONDAY + 2 * MINUTE, MONDAY + 6 * MINUTE, 5, "run")]


def test_resident_job_is_begun_at_once_and_again_after_it_ended_and_has_no_deadline(house: sa.Engine) -> None:
    job = nightly(cron=None, every_seconds=15, resident=True, deadline_seconds=None)
    assert book_due(house, job, MONDAY) is False
    assert book_due(house, job, MONDAY)
    (first,) = jobs.list_jobs(house)
    assert first.deadline_seconds is None
    assert book_due(house, job, MONDAY + DAY) is False
    end(house)
    assert book_due(house, job, MONDAY + DAY)
    assert len(jobs.list_jobs(house)) == 2


def test_clock_set_back_runs_no_window_again_and_one_that_was_years_ahead_does_not_stop_the_schedule(
    house: sa.Engine,
) -> None:
    book_due(house, nightly(), MONDAY)
    first = MONDAY + timedelta(hours=3)
    assert book_due(house, nightly(), first)
    assert book_due(house, nightly(), first - timedelta(hours=1))  # an hour again
    assert book_due(house, nightly(), first)
    assert len(rows(house)) == 1
    end(house)
    assert book_due(house, nightly(), first + 3653 * DAY)
    end(house)
    assert book_due(house, nightly(), first + DAY) is False
    assert book_due(house, nightly(), first + DAY)
    assert rows(house) == [(first, first, 1, "run"), (first + DAY, first + DAY, 1, "run")]
    assert "the clock had been ahead, up to 2036-11-23 03:00:00 UTC" in latest(house, "tidy").reason
    end_all = jobs.list_jobs(house)
    assert len(end_all) == 2
    assert book_due(house, nightly(), first + 2 * DAY)
    assert rows(house)[2:] == [(first + 2 * DAY, first + 2 * DAY, 1, "run")]


def test_two_schedulers_that_book_at_once_book_one_run(house: sa.Engine) -> None:
    begun = MONDAY - DAY
    book(house, nightly(), [Booking(begun, begun, 0, "begin")], after=None)
    barrier = threading.Barrier(4)

    def one(number: int) -> None:
        barrier.wait()
        # Each sees another moment, so that no two rows have one key.
        at = MONDAY + number * MINUTE
        book(house, nightly(), [Booking(MONDAY, at, 1, "run")], after=begun)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(rows(house)) == len(jobs.list_jobs(house)) == 1


def test_run_and_its_job_are_written_together_or_not_at_all(house: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    book_due(house, nightly(), MONDAY)
    queue = jobs.add

    def add_and_fail(*words: object, **values: object) -> str:
        queue(*words, **values)
        raise sa.exc.OperationalError("INSERT", {}, Exception("disk I/O error"))

    monkeypatch.setattr(jobs, "add", add_and_fail)
    with pytest.raises(sa.exc.OperationalError):
        book_due(house, nightly(), MONDAY + DAY)
    assert jobs.list_jobs(house) == rows(house) == []
    monkeypatch.setattr(jobs, "add", queue)
    assert book_due(house, nightly(), MONDAY + DAY)
    assert len(rows(house)) == len(jobs.list_jobs(house)) == 1


def test_clock_fires_by_apscheduler_and_looks_again_after_a_machine_slept(
    house: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import apscheduler.schedulers.base as apscheduler

    import scheduler.clock

    moment = [MONDAY + timedelta(seconds=1)]

    class Simulated(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return moment[0]

    monkeypatch.setattr(apscheduler, "datetime", Simulated)
    monkeypatch.setattr(scheduler.clock, "now", lambda: moment[0])
    hourly = nightly(cron="0 * * * *")
    clock = Clock(house, [hourly])
    clock.look()
    for _ in range(2 * 60):
        moment[0] += timedelta(seconds=59)
        clock.look()
    assert [row[2] for row in rows(house)] == [1]  # the second waits: the first has not ended
    end(house)
    clock.look()
    assert [row[2] for row in rows(house)] == [1]
    moment[0] += timedelta(hours=9)
    clock.look()
    assert [row[2] for row in rows(house)] == [1, 9]
    clock.shutdown()


def test_a_year_of_minutes_is_planned_in_bounded_steps() -> None:
    job = nightly(cron="* * * * *")
    found = windows_between(job, MONDAY, MONDAY + 365 * DAY)
    assert found is not None
    assert (found.first, found.count) == (MONDAY + MINUTE, 10_000)
    every = nightly(cron=None, every_seconds=60)
    found = windows_between(every, MONDAY, MONDAY + 365 * DAY)
    assert found is not None
    assert (found.before_last, found.last, found.count) == (MONDAY + 365 * DAY - MINUTE, MONDAY + 365 * DAY, 525_600)


@pytest.mark.parametrize(
    ("weekday", "days"),
    [("0", "6"), ("7", "6"), ("1-5", "01234"), ("5-7", "456"), ("*/2", "0246"), ("1,3", "02"), ("mon-fri", "01234")],
)
def test_weekdays_are_counted_as_cron_counts_them_from_sunday(weekday: str, days: str) -> None:
    trigger = trigger_of(nightly(cron=f"0 3 * * {weekday}"))
    moment, found = MONDAY, set()
    while moment < MONDAY + 7 * DAY:
        moment = trigger.get_next_fire_time(moment, moment)
        found.add(str(moment.weekday()))
    assert "".join(sorted(found)) == days


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"cron": "61 3 * * *"}, "cron '61 3 * * *'"),
        ({"cron": "0 3 * *"}, "has 4 fields, not 5"),
        ({"cron": "0 3 * * 8"}, "'8' is no day of the week; use 0 to 7"),
        ({"cron": "0 3 1 * 1"}, "leave one of the two as *"),
        ({"cron": "0 3 * * *", "every_seconds": 60}, "both cron and every_seconds"),
    ],
)
def test_wrong_change_is_named_and_leaves_the_apps_own_schedule(wanted: dict[str, object], said: str) -> None:
    changed, problems = change([nightly()], {"tidy": ScheduleChange(**wanted)})
    assert changed == [nightly()]
    assert said in problems["tidy"]
    assert "schedules['tidy']" in problems["tidy"]
    assert "the app's own schedule holds (0 3 * * *)" in problems["tidy"]


def test_changes_of_the_settings_are_in_force_and_an_unknown_name_is_shown(house: sa.Engine) -> None:
    wanted = {"tidy": ScheduleChange(every_seconds=600, deadline_seconds=5, missed="report"), "tydi": ScheduleChange()}
    changed, problems = change([nightly()], wanted)
    assert changed == [nightly(cron=None, every_seconds=600, deadline_seconds=5, missed="report")]
    record_schedules(house, changed, problems)
    right, wrong = list_schedules(house)
    assert (right.name, right.every_seconds, right.cron, right.problem) == ("tidy", 600, None, "")
    assert wrong.problem == "the setting schedules['tydi'] names no scheduled job; there are: tidy"
    record_schedules(house, [nightly()], {})
    assert [schedule.cron for schedule in list_schedules(house)] == ["0 3 * * *"]


@pytest.mark.parametrize(
    "values",
    [{"deadline_seconds": None}, {"resident": True}, {"missed": "never"}, {"every_seconds": 5}, {"cron": None}],
)
def test_contradicting_declaration_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="scheduled job 'tidy'"):
        nightly(**values)


def test_run_that_the_ledger_of_an_older_version_holds_stands_for_one_window(house: sa.Engine) -> None:
    with house.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO scheduled_runs (name, due, job_id, recorded) VALUES ('tidy', :due, 'x', :due)"),
            {"due": "2026-11-22 03:00:00.000000" if house.dialect.name == "sqlite" else MONDAY},
        )
    row = latest(house, "tidy")
    assert isinstance(row, LedgerRow)
    assert (row.first_due, row.windows, row.outcome, row.state) == (row.due, 1, "run", None)
    assert book_due(house, nightly(), MONDAY + DAY)
