"""What runs by the clock: apps declare it, the scheduler submits it, a ledger of runs keeps it from being missed.

An app names a function `schedule(settings) -> Sequence[ScheduledJob]` under the entry point group `headwater.jobs`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from headwater.storage import jobs
from headwater.storage.columns import now
from headwater.storage.tables import scheduled_runs


@dataclass(frozen=True)
class ScheduledJob:
    """A headwater command that runs every `every_seconds`, or at the five-field `cron` line (UTC)."""

    name: str
    app: str
    argv: tuple[str, ...]
    every_seconds: float | None = None
    cron: str | None = None
    heavy: bool = False

    def __post_init__(self) -> None:
        if (self.every_seconds is None) == (self.cron is None):
            raise ValueError(f"scheduled job {self.name!r} needs either every_seconds or cron")


def last_due(engine: sa.Engine, name: str) -> datetime | None:
    """The latest moment for which a run has been submitted: the watermark that catching up starts from."""
    with engine.connect() as connection:
        row = connection.execute(
            sa.select(scheduled_runs.c.due)
            .where(scheduled_runs.c.name == name)
            .order_by(scheduled_runs.c.due.desc())
            .limit(1)
        ).first()
    return None if row is None else row.due


def submit_due(engine: sa.Engine, scheduled: ScheduledJob, due: datetime) -> jobs.Job | None:
    """Submit the run of `due` once: None when it was submitted before, or while the run before it has not ended."""
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(scheduled_runs.c.due, scheduled_runs.c.job_id)
            .where(scheduled_runs.c.name == scheduled.name)
            .order_by(scheduled_runs.c.due.desc())
            .limit(1)
        ).all()
    if rows and (rows[0].due >= due or _is_active(engine, rows[0].job_id)):
        return None
    job = jobs.submit(engine, scheduled.app, scheduled.argv, actor="schedule", heavy=scheduled.heavy)
    with engine.begin() as connection:
        connection.execute(scheduled_runs.insert().values(name=scheduled.name, due=due, job_id=job.id, recorded=now()))
    return job


def _is_active(engine: sa.Engine, job_id: str) -> bool:
    active: Sequence[str] = ("queued", "running")
    return any(job.id == job_id for state in active for job in jobs.list_jobs(engine, state=state, limit=1000))
