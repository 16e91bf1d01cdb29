"""Scheduled jobs: APScheduler fires them, the ledger in the database decides whether a run is due."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import entry_points
from typing import Any

import sqlalchemy as sa
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from headwater.settings import Settings
from headwater.storage.columns import now
from headwater.storage.schedules import ScheduledJob, last_due, submit_due

GROUP = "headwater.jobs"
# Interval runs lie on a grid that starts here, so that a restart does not shift them.
_GRID = datetime(2020, 1, 1, tzinfo=UTC)
_log = logging.getLogger("headwater.scheduler")


def declared_jobs(settings: Settings) -> list[ScheduledJob]:
    """What the installed apps want to run by the clock; an app that cannot be loaded is logged and left out."""
    found: list[ScheduledJob] = []
    for point in entry_points(group=GROUP):
        try:
            schedule = point.load()
        except (ImportError, AttributeError) as error:
            _log.warning("app %s contributes no schedule: %s", point.name, error)
            continue
        found.extend(schedule(settings))
    return found


def start_clock(engine: sa.Engine, scheduled: Sequence[ScheduledJob]) -> BackgroundScheduler:
    """Catch up on runs that were missed while no scheduler was active, then fire each job at its times.

    The jobs live in memory (a pickled store loses them at deploys); a late run is never dropped, several missed ones
    are one. Call `shutdown` on the result.
    """
    clock = BackgroundScheduler(
        timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
    )
    for job in scheduled:
        trigger = _trigger(job)
        missed = missed_run(trigger, last_due(engine, job.name), now())
        if missed is not None:
            _log.info("catching up on %s of %s", job.name, missed.isoformat())
            submit_due(engine, job, missed)
        clock.add_job(_fire, trigger, args=(engine, job, trigger), id=job.name)
    clock.start()
    return clock


def missed_run(trigger: Any, last: datetime | None, moment: datetime) -> datetime | None:
    """The latest time before `moment` that the ledger lacks; None when none is missing or nothing ever ran."""
    if last is None:
        return None
    missed = None
    due = trigger.get_next_fire_time(last, last)
    while due is not None and due <= moment:
        missed = due
        if isinstance(trigger, IntervalTrigger):
            return _on_grid(trigger.interval.total_seconds(), moment)
        due = trigger.get_next_fire_time(due, due)
    return missed


def _fire(engine: sa.Engine, job: ScheduledJob, trigger: Any) -> None:
    moment = now()
    if isinstance(trigger, IntervalTrigger):
        due = _on_grid(trigger.interval.total_seconds(), moment)
    else:
        due = moment.replace(second=0, microsecond=0)
    try:
        submit_due(engine, job, due)
    except sa.exc.DBAPIError as error:
        # The next run, or the catch-up after a restart, makes good for it.
        _log.error("could not submit %s: %s", job.name, error)


def _trigger(job: ScheduledJob) -> Any:
    if job.cron is not None:
        return CronTrigger.from_crontab(job.cron, timezone=UTC)
    return IntervalTrigger(seconds=job.every_seconds, start_date=_GRID, timezone=UTC)


def _on_grid(seconds: float, moment: datetime) -> datetime:
    since = (moment - _GRID).total_seconds()
    return datetime.fromtimestamp(_GRID.timestamp() + since // seconds * seconds, UTC)
