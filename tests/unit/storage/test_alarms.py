"""Who is silent is said by whoever lives."""

from datetime import timedelta

import sqlalchemy as sa

from headwater.storage import leases
from headwater.storage.alarms import RESIDENT_SECONDS, SCHEDULER_SECONDS, alarms
from headwater.storage.columns import now
from headwater.storage.schedules import SCHEDULER_LEASE, ScheduledJob, record_schedules

WORKER = ScheduledJob("finance-work", "finance", ("finance", "work"), 15, deadline_seconds=None, resident=True)


def after(seconds: float):
    return now() + timedelta(seconds=seconds)


def test_scheduler_is_missed_until_it_is_heard_and_again_a_minute_after_its_lease(house: sa.Engine) -> None:
    (alarm,) = alarms(house)
    assert (alarm.kind, alarm.subject, alarm.since) == ("silent", "scheduler", None)
    assert "make run-app" in alarm.message
    leases.acquire(house, SCHEDULER_LEASE, "a", 10)
    assert alarms(house) == []
    assert alarms(house, after(10 + SCHEDULER_SECONDS - 5)) == []
    (alarm,) = alarms(house, after(10 + SCHEDULER_SECONDS + 5))
    assert alarm.since is not None
    leases.release(house, SCHEDULER_LEASE, "a")
    assert alarms(house) == []  # a restart is no alarm
    assert [alarm.subject for alarm in alarms(house, after(SCHEDULER_SECONDS + 5))] == ["scheduler"]


def test_scheduler_of_before_the_clock_was_set_back_is_missed(house: sa.Engine) -> None:
    leases.acquire(house, SCHEDULER_LEASE, "a", 10)
    assert [alarm.subject for alarm in alarms(house, after(-3600))] == ["scheduler"]


def test_resident_worker_is_missed_when_its_lease_is_long_over(house: sa.Engine) -> None:
    record_schedules(house, [WORKER], {})
    leases.acquire(house, SCHEDULER_LEASE, "a", 100)
    assert alarms(house) == []  # it may be loading its models
    (alarm,) = alarms(house, after(RESIDENT_SECONDS + 5))
    assert (alarm.subject, alarm.kind) == ("finance-work", "silent")
    assert "headwater jobs list --app finance" in alarm.message
    leases.acquire(house, WORKER.name, "w", 30)
    assert alarms(house, after(RESIDENT_SECONDS + 5)) == []
    assert alarms(house, after(RESIDENT_SECONDS + 35))[0].since is not None


def test_setting_that_cannot_be_used_is_an_alarm_of_its_own_kind(house: sa.Engine) -> None:
    leases.acquire(house, SCHEDULER_LEASE, "a", 10)
    record_schedules(house, [], {"tydi": "names no scheduled job; there are: tidy"})
    (alarm,) = alarms(house)
    assert (alarm.kind, alarm.subject) == ("settings", "tydi")


def test_lease_of_a_clock_that_was_set_back_is_taken_over_and_a_live_one_is_not(house: sa.Engine) -> None:
    from headwater.storage.tables import leases as table

    held = leases.acquire(house, "x", "a", 10)
    with house.begin() as connection:
        connection.execute(table.update().where(table.c.name == "x").values(expires=held.expires + 9))
    assert leases.acquire(house, "x", "b", 10) is None
    with house.begin() as connection:
        connection.execute(table.update().where(table.c.name == "x").values(expires=held.expires + 3600))
    taken = leases.acquire(house, "x", "b", 10)
    assert taken is not None
    assert (taken.holder, taken.term) == ("b", held.term + 1)
