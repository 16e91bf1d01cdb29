"""What runs by the clock: apps declare it, the scheduler books it, a ledger says what became of each window.

An app names a function `schedule(settings) -> Sequence[ScheduledJob]` under the entry point group `headwater.jobs`.
A window is a moment at which a schedule wants a run. Each row of the ledger stands for all windows of its schedule from
`first_due` to `due`, the rows of a schedule follow one another without overlap, and the latest `due` is the watermark:
so each window is run, is part of a run for several, or is reported as missed, and never twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from headwater.storage import jobs
from headwater.storage.columns import now
from headwater.storage.tables import jobs as job_table
from headwater.storage.tables import scheduled_runs, schedules

SCHEDULER_LEASE = "scheduler"
POLICIES = ("coalesce", "each", "report")


@dataclass(frozen=True)
class ScheduledJob:
    """A headwater command that runs every `every_seconds`, or at the five-field `cron` line (UTC).

    Past `deadline_seconds` its processes are ended; None is for a `resident` job alone, which works until it is
    stopped, is started again when it ends, and shows that it lives by renewing the lease of its own name.
    `missed` says what becomes of windows that came while no run could begin (machine asleep, database away, the run
    before still going): "coalesce" makes one run of them, "each" runs them one after another, "report" runs none that
    is late and records them.
    """

    name: str
    app: str
    argv: tuple[str, ...]
    every_seconds: float | None = None
    cron: str | None = None
    heavy: bool = False
    deadline_seconds: float | None = 3600.0
    resident: bool = False
    missed: str = "coalesce"

    def __post_init__(self) -> None:
        if (self.every_seconds is None) == (self.cron is None):
            raise ValueError(f"scheduled job {self.name!r} needs either every_seconds or cron")
        if (self.deadline_seconds is None) != self.resident:
            raise ValueError(
                f"scheduled job {self.name!r} has deadline_seconds={self.deadline_seconds} and "
                f"resident={self.resident}: a resident job has no deadline (None), every other one has seconds"
            )
        if self.missed not in POLICIES:
            raise ValueError(
                f"scheduled job {self.name!r} has missed={self.missed!r}; use one of {', '.join(POLICIES)}"
            )


@dataclass(frozen=True)
class Booking:
    """What becomes of `windows` windows from `first_due` to `due`.

    `outcome` is "run" (of one window, or of several that are one), "missed" with its `reason`, or "begin": the moment
    from which on a schedule's windows count, itself none.
    """

    first_due: datetime
    due: datetime
    windows: int
    outcome: str
    reason: str = ""


@dataclass(frozen=True)
class LedgerRow:
    """A booking as it is kept; `state` and `message` are those of its job, which `job_id` names ("" without one)."""

    name: str
    first_due: datetime
    due: datetime
    windows: int
    outcome: str
    reason: str
    recorded: datetime
    job_id: str
    state: str | None
    message: str | None


@dataclass(frozen=True)
class Schedule:
    """A schedule in force: as its app declares it, with the installation's changes, or the `problem` with these."""

    name: str
    app: str
    argv: tuple[str, ...]
    cron: str | None
    every_seconds: float | None
    deadline_seconds: float | None
    resident: bool
    missed: str
    problem: str
    recorded: datetime


def latest(engine: sa.Engine, name: str) -> LedgerRow | None:
    """The row with the watermark: the latest moment that the ledger has decided on."""
    rows = ledger(engine, name=name, limit=1)
    return rows[0] if rows else None


def ledger(
    engine: sa.Engine, *, name: str | None = None, after: datetime | None = None, limit: int = 50
) -> list[LedgerRow]:
    """The latest `limit` rows, the latest due first; of one schedule, and due after `after`, if these are given."""
    columns = [getattr(scheduled_runs.c, field.name) for field in fields(LedgerRow)[:-2]]
    joined = scheduled_runs.outerjoin(job_table, job_table.c.id == scheduled_runs.c.job_id)
    query = sa.select(*columns, job_table.c.state, job_table.c.message).select_from(joined).limit(limit)
    query = query.order_by(scheduled_runs.c.due.desc(), scheduled_runs.c.name)
    if name is not None:
        query = query.where(scheduled_runs.c.name == name)
    if after is not None:
        query = query.where(scheduled_runs.c.due > after)
    with engine.connect() as connection:
        return [_ledger_row(row) for row in connection.execute(query)]


def book(engine: sa.Engine, scheduled: ScheduledJob, bookings: Sequence[Booking], *, after: datetime | None) -> bool:
    """Write the bookings and queue a job for each run among them, all in one step.

    False, and nothing is written, when the watermark is no longer `after`: another scheduler was faster.
    """
    with engine.begin() as connection:
        jobs.stand_in_line(connection)
        if _watermark(connection, scheduled.name) != after:
            return False
        for booking in bookings:
            job_id = _queue(connection, scheduled) if booking.outcome == "run" else ""
            row = {"name": scheduled.name, "job_id": job_id, "recorded": now(), **asdict(booking)}
            connection.execute(scheduled_runs.insert().values(row))
    return True


def take_back(engine: sa.Engine, name: str, moment: datetime, kept: Booking) -> int:
    """Remove the rows due after `moment`, which a clock that was ahead has made, and write `kept` in their place.

    Returns how many rows there were. Windows that have not come yet will come again at their time.
    """
    later = (scheduled_runs.c.name == name, scheduled_runs.c.due > moment)
    with engine.begin() as connection:
        jobs.stand_in_line(connection)
        ids = connection.scalars(sa.select(scheduled_runs.c.job_id).where(*later).order_by(scheduled_runs.c.due)).all()
        if not ids:
            return 0
        connection.execute(scheduled_runs.delete().where(*later))
        row = {"name": name, "job_id": ids[0], "recorded": now(), **asdict(kept)}
        connection.execute(scheduled_runs.insert().values(row))
    return len(ids)


def record_schedules(engine: sa.Engine, scheduled: Sequence[ScheduledJob], problems: Mapping[str, str]) -> None:
    """Say which schedules are in force, for whoever shows them; `problems` by name, also of names that no app has."""
    moment = now()
    shown = [field.name for field in fields(Schedule) if field.name not in ("problem", "recorded")]
    rows = [{name: getattr(job, name) for name in shown} | {"argv": list(job.argv)} for job in scheduled]
    known = {job.name for job in scheduled}
    nothing = dict.fromkeys(("cron", "every_seconds", "deadline_seconds"))
    unknown: dict[str, Any] = {"app": "", "argv": [], "resident": False, "missed": "", **nothing}
    rows += [{"name": name, **unknown} for name in problems.keys() - known]
    with engine.begin() as connection:
        connection.execute(schedules.delete())
        for row in rows:
            row |= {"problem": problems.get(str(row["name"]), ""), "recorded": moment}
            connection.execute(schedules.insert().values(row))


def list_schedules(engine: sa.Engine) -> list[Schedule]:
    """The schedules in force as the active scheduler recorded them, by name."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(schedules).order_by(schedules.c.name)).all()
    return [Schedule(**{**row._mapping, "argv": tuple(row.argv)}) for row in rows]


def _watermark(connection: sa.Connection, name: str) -> datetime | None:
    found: datetime | None = connection.scalar(
        sa.select(scheduled_runs.c.due)
        .where(scheduled_runs.c.name == name)
        .order_by(scheduled_runs.c.due.desc())
        .limit(1)
    )
    return found


def _queue(connection: sa.Connection, scheduled: ScheduledJob) -> str:
    return jobs.add(
        connection,
        scheduled.app,
        scheduled.argv,
        actor="schedule",
        heavy=scheduled.heavy,
        deadline_seconds=scheduled.deadline_seconds,
    )


def _ledger_row(row: Any) -> LedgerRow:
    values = dict(row._mapping)
    # Rows of before windows were counted stand for one.
    values["first_due"] = values["first_due"] or values["due"]
    return LedgerRow(**values)
