"""What is silent that should be heard: the scheduler, and the resident workers that it keeps.

Whoever lives says so (the gateway's /jobsz, dashboards, the command line), since the silent one cannot.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from headwater.storage import leases
from headwater.storage.columns import now
from headwater.storage.schedules import SCHEDULER_LEASE, list_schedules

# After the end of its lease (10 s): long enough for a second scheduler to have taken over.
SCHEDULER_SECONDS = 60.0
# A worker loads its models before it is heard first, and one turn of it may outlast its lease (30 s).
RESIDENT_SECONDS = 120.0


@dataclass(frozen=True)
class Alarm:
    """`kind` is "silent" or "settings"; `since` is when it was last heard, None if never."""

    kind: str
    subject: str
    message: str
    since: datetime | None = None


def alarms(engine: sa.Engine, moment: datetime | None = None) -> list[Alarm]:
    """All that is wrong at `moment` (now), the scheduler first."""
    moment = moment or now()
    found = [alarm for alarm in (_scheduler(engine, moment),) if alarm is not None]
    for schedule in list_schedules(engine):
        if schedule.problem:
            found.append(Alarm("settings", schedule.name, schedule.problem))
        if schedule.resident:
            # What an earlier scheduler heard of it does not count for this one's first minutes.
            heard = max(filter(None, (_heard(engine, schedule.name, moment), schedule.recorded)))
            if moment - heard > timedelta(seconds=RESIDENT_SECONDS):
                message = f"has not been heard of since {_shown(heard)}; see `headwater jobs list --app {schedule.app}`"
                found.append(Alarm("silent", schedule.name, message, heard))
    return found


def _scheduler(engine: sa.Engine, moment: datetime) -> Alarm | None:
    heard = _heard(engine, SCHEDULER_LEASE, moment)
    if heard is not None and moment - heard <= timedelta(seconds=SCHEDULER_SECONDS):
        return None
    since = "has not been heard of yet" if heard is None else f"has not been heard of since {_shown(heard)}"
    way_out = "no job runs; start it with `make run-app`, its log is logs/scheduler.log in the state folder"
    return Alarm("silent", "scheduler", f"{since}: {way_out}", heard)


def _heard(engine: sa.Engine, name: str, moment: datetime) -> datetime | None:
    """The end of the lease. One far ahead was taken before the clock was set back, and says nothing."""
    lease = leases.last_of(engine, name)
    if lease is None or lease.expires > moment.timestamp() + RESIDENT_SECONDS:
        return None
    return datetime.fromtimestamp(lease.expires, UTC)


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
