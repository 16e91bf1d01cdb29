"""Scheduled jobs: APScheduler says when to look, the ledger in the database decides what is due."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from itertools import islice
from typing import Any

import sqlalchemy as sa
from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from headwater.settings import ScheduleChange, Settings
from headwater.storage.columns import now
from headwater.storage.schedules import Booking, ScheduledJob, book, latest, ledger, take_back

GROUP = "headwater.jobs"
# Interval runs lie on a grid that starts here, so that a restart does not shift them.
_GRID = datetime(2020, 1, 1, tzinfo=UTC)
# A run that begins this much after its window is not late.
_ON_TIME = timedelta(seconds=60)
# Between two looks lie seconds; more, or less than nothing, means a machine that slept or a clock that was set.
_JUMP = timedelta(seconds=60)
# A watermark so far ahead was made by a wrong clock; waiting for the true one to reach it would stop the schedule.
_AHEAD = timedelta(days=1)
# Of a cron line's windows at one look (a second of work); the next look takes the next ones.
_MOST_WINDOWS = 10_000
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_log = logging.getLogger("headwater.scheduler")


def declared_jobs(settings: Settings) -> tuple[list[ScheduledJob], dict[str, str]]:
    """What the installed apps want to run by the clock, as the settings change it; and what is wrong, by name.

    An app that cannot be loaded is logged and left out; a change that cannot be made leaves the app's own schedule.
    """
    found: list[ScheduledJob] = []
    for point in entry_points(group=GROUP):
        try:
            schedule = point.load()
        except (ImportError, AttributeError) as error:
            _log.warning("app %s contributes no schedule: %s", point.name, error)
            continue
        found.extend(schedule(settings))
    return change(found, settings.schedules)


def change(
    declared: Sequence[ScheduledJob], changes: Mapping[str, ScheduleChange]
) -> tuple[list[ScheduledJob], dict[str, str]]:
    """The jobs with the changes of `[schedules."<name>"]`, and by name what could not be changed and why."""
    changed, problems = [], {}
    for job in declared:
        try:
            new = _changed(job, changes[job.name]) if job.name in changes else job
            trigger_of(new)
        except ValueError as error:
            problems[job.name] = (
                f"the setting schedules[{job.name!r}] cannot be used: {error}. Until it is changed the app's own "
                f"schedule holds ({job.cron or f'every {job.every_seconds:g} s'})"
            )
            new = job
        changed.append(new)
    known = ", ".join(job.name for job in declared) or "none"
    for name in changes.keys() - {job.name for job in declared}:
        problems[name] = f"the setting schedules[{name!r}] names no scheduled job; there are: {known}"
    for problem in problems.values():
        _log.error("%s", problem)
    return changed, problems


class Clock(BaseScheduler):  # type: ignore[misc]
    """APScheduler without a thread of its own: `look`, called every few seconds, books what has come due.

    A job whose windows could not be booked (database away, the run before still going) is looked at again each time.
    """

    def __init__(self, engine: sa.Engine, scheduled: Sequence[ScheduledJob]) -> None:
        super().__init__(
            timezone=UTC,
            executors={"default": DebugExecutor()},
            job_defaults={"misfire_grace_time": None, "coalesce": True},
        )
        self._engine = engine
        self._scheduled = {job.name: job for job in scheduled}
        # At first all: what was missed while no scheduler was active.
        self._waiting = set(self._scheduled)
        self._looked = now()
        for job in scheduled:
            self.add_job(self._fired, trigger_of(job), args=(job.name,), id=job.name)
        self.start()

    def look(self) -> None:
        """Book what has come due by now. Raises what the database raises; nothing is forgotten then."""
        moment = now()
        if not timedelta(0) <= moment - self._looked <= _JUMP:
            self._start_again(moment)
        self._looked = moment
        self._process_jobs()
        for name in sorted(self._waiting):
            if book_due(self._engine, self._scheduled[name], moment):
                self._waiting.discard(name)

    def _fired(self, name: str) -> None:
        self._waiting.add(name)

    def wakeup(self) -> None:
        """Nothing waits: `look` is called by the scheduler's loop."""

    def shutdown(self, wait: bool = True) -> None:
        super().shutdown(wait)

    def _start_again(self, moment: datetime) -> None:
        _log.info("the clock went from %s to %s: looking for missed runs", self._looked, moment)
        self._waiting.update(self._scheduled)
        for job in self.get_jobs():
            job.modify(next_run_time=job.trigger.get_next_fire_time(None, moment))


@dataclass(frozen=True)
class Windows:
    """`count` moments from `first` to `last`; `before_last` is the one before that, if there is one."""

    first: datetime
    before_last: datetime | None
    last: datetime
    count: int


def book_due(engine: sa.Engine, job: ScheduledJob, moment: datetime) -> bool:
    """Book the job's windows up to `moment` as its policy says; False while some wait and are to be looked at again."""
    row = latest(engine, job.name)
    if row is None:
        return _begin(engine, job, moment)
    if row.due - moment > _AHEAD:
        _take_back(engine, job, moment)
        return False
    windows = windows_between(job, row.due, moment)
    if windows is None:
        return True
    if row.state in ("queued", "running"):
        return False
    bookings = plan(job, windows, moment)
    booked = book(engine, job, bookings, after=row.due)
    for booking in bookings if booked else ():
        if booking.outcome == "missed" or booking.windows > 1:
            shown = f"{booking.windows} windows from {booking.first_due:%F %T} to {booking.due:%F %T} UTC"
            _log.warning("%s: %s %s %s", job.name, booking.outcome, shown, booking.reason)
    return booked and bookings[-1].due == windows.last and windows.count < _MOST_WINDOWS


def plan(job: ScheduledJob, windows: Windows, moment: datetime) -> list[Booking]:
    """What becomes of windows that have come by `moment`: of all of them, or of the first where each is to run."""
    if job.missed == "each":
        return [Booking(windows.first, windows.first, 1, "run")]
    if job.missed == "coalesce":
        return [Booking(windows.first, windows.last, windows.count, "run")]
    if moment - windows.last > _ON_TIME:
        return [_missed(windows.first, windows.last, windows.count)]
    run = Booking(windows.last, windows.last, 1, "run")
    if windows.before_last is None:
        return [run]
    return [_missed(windows.first, windows.before_last, windows.count - 1), run]


def windows_between(job: ScheduledJob, after: datetime, until: datetime) -> Windows | None:
    """The windows later than `after` and not later than `until`, of a cron line the first 10,000; None without any."""
    if job.every_seconds is not None:
        step = timedelta(seconds=job.every_seconds)
        low, high = (after - _GRID) // step + 1, (until - _GRID) // step
        if high < low:
            return None
        before = _GRID + (high - 1) * step if high > low else None
        return Windows(_GRID + low * step, before, _GRID + high * step, high - low + 1)
    found = list(islice(_cron_times(trigger_of(job), after, until), _MOST_WINDOWS))
    if not found:
        return None
    return Windows(found[0], found[-2] if len(found) > 1 else None, found[-1], len(found))


def trigger_of(job: ScheduledJob) -> Any:
    """APScheduler's trigger. Raises ValueError for a cron line that is none, naming the line."""
    if job.cron is None:
        return IntervalTrigger(seconds=job.every_seconds, start_date=_GRID, timezone=UTC)
    fields = job.cron.split()
    if len(fields) != 5:
        raise ValueError(f"cron {job.cron!r} has {len(fields)} fields, not 5: minute hour day month weekday (UTC)")
    minute, hour, day, month, weekday = fields
    if day != "*" and weekday != "*":
        raise ValueError(f"cron {job.cron!r} names days of the month and of the week; leave one of the two as *")
    try:
        return CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday), timezone=UTC)
    except ValueError as error:
        raise ValueError(f"cron {job.cron!r}: {error}; write it like 30 2 * * * (UTC)") from error


def _weekdays(field: str) -> str:
    """Names in place of numbers: cron counts from Sunday (0 or 7), APScheduler from Monday."""
    if not any(character.isdigit() for character in field) or field.startswith("*"):
        return field
    days: set[int] = set()
    for part in field.split(","):
        numbers, _, step = part.partition("/")
        low, _, high = numbers.partition("-")
        if not all(word.isdigit() for word in (low, high or "0", step or "1")) or int(step or 1) < 1:
            raise ValueError(f"{part!r} is no day of the week; use 0 to 7 (Sunday is both) or names such as mon-fri")
        if int(high or low) > 7 or int(low) > int(high or low):
            raise ValueError(f"{part!r} is no day of the week; use 0 to 7 (Sunday is both), the lower one first")
        days.update(number % 7 for number in range(int(low), int(high or low) + 1, int(step or 1)))
    return ",".join(_DAYS[number] for number in sorted(days))


def _cron_times(trigger: Any, after: datetime, until: datetime) -> Iterator[datetime]:
    due = trigger.get_next_fire_time(after, after)
    while due is not None and due <= until:
        yield due
        due = trigger.get_next_fire_time(due, due)


def _begin(engine: sa.Engine, job: ScheduledJob, moment: datetime) -> bool:
    """A schedule's windows count from when it is first seen; a resident job starts at once."""
    at = moment - timedelta(seconds=job.every_seconds) if job.resident and job.every_seconds else moment
    book(engine, job, [Booking(at, at, 0, "begin")], after=None)
    return not job.resident


def _missed(first: datetime, last: datetime, count: int) -> Booking:
    return Booking(first, last, count, "missed", "no run could begin within 60 s of them")


def _take_back(engine: sa.Engine, job: ScheduledJob, moment: datetime) -> None:
    rows = ledger(engine, name=job.name, after=moment, limit=1_000_000)
    first, furthest = rows[-1].first_due, rows[0].due
    reason = f"the clock had been ahead, up to {furthest:%F %T} UTC; later windows come again"
    # The earliest of these rows may also stand for windows that have truly come.
    windows = windows_between(job, first - timedelta(microseconds=1), moment)
    kept = Booking(moment, moment, 0, "begin", reason)
    if windows is not None and rows[-1].outcome != "begin":
        kept = Booking(windows.first, windows.last, windows.count, rows[-1].outcome, reason)
    taken = take_back(engine, job.name, moment, kept)
    _log.error("%s: %s (%d rows)", job.name, reason, taken)


def _changed(job: ScheduledJob, wanted: ScheduleChange) -> ScheduledJob:
    values = wanted.model_dump(exclude_none=True)
    if "cron" in values and "every_seconds" in values:
        raise ValueError("it gives both cron and every_seconds; leave one of them out")
    if job.resident and "deadline_seconds" in values:
        raise ValueError("a resident job has no deadline; leave deadline_seconds out")
    if "cron" in values or "every_seconds" in values:
        values = {"cron": None, "every_seconds": None} | values
    return replace(job, **values)
