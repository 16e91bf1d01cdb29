"""Background jobs: one table; everyone submits and watches, the scheduler alone runs.

A job is a `headwater` command without its first word: `("tune", "classify", "--train", …)`.
"""

import getpass
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from headwater.errors import Conflict, HeadwaterError, NotFound
from headwater.progress import Progress, Step, bar
from headwater.settings import Settings
from headwater.storage.columns import now
from headwater.storage.tables import jobs, leases

JOB_VARIABLE = "HEADWATER_JOB_ID"
ACTOR_VARIABLE = "HEADWATER_ACTOR"
ENDED = ("done", "failed", "cancelled")
# A job whose scheduler died is run again; one that kills its scheduler each time must not do so forever.
MAX_ATTEMPTS = 3
# One that hangs must not keep its place for ever; tuning that is cut off goes on from its checkpoint.
DEADLINE_SECONDS = 24 * 3600.0
_REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """One row: `state` is queued, running, done, failed or cancelled; `progress` 0 to 1; `log` relative to home.

    `deadline_seconds` counts from each start; None: the job may run for ever (a resident worker).
    """

    id: str
    app: str
    argv: tuple[str, ...]
    state: str
    heavy: bool
    actor: str
    progress: float
    message: str
    log: str
    cancel_requested: bool
    attempts: int
    worker: str | None
    pid: int | None
    heartbeat: datetime | None
    submitted: datetime
    started: datetime | None
    ended: datetime | None
    deadline_seconds: float | None

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


def submit(
    engine: sa.Engine,
    app: str,
    argv: Sequence[str],
    *,
    actor: str,
    heavy: bool = False,
    deadline_seconds: float | None = DEADLINE_SECONDS,
) -> Job:
    """Queue a `headwater` command (without the word `headwater`); `heavy` jobs run one at a time."""
    with engine.begin() as connection:
        job_id = add(connection, app, argv, actor=actor, heavy=heavy, deadline_seconds=deadline_seconds)
    return get(engine, job_id)


def add(
    connection: sa.Connection,
    app: str,
    argv: Sequence[str],
    *,
    actor: str,
    heavy: bool,
    deadline_seconds: float | None,
) -> str:
    """`submit` as part of a transaction of the caller's; returns the job's id."""
    if not argv or not all(isinstance(word, str) and "\0" not in word for word in argv):
        raise HeadwaterError(f"a job needs the words of a headwater command, found {list(argv)!r}")
    # Sorts by time of submission; the random part keeps two of one microsecond apart.
    job_id = f"{time.time_ns() // 1000:015x}{secrets.token_hex(4)}"
    row: dict[str, Any] = {
        "id": job_id,
        "app": app,
        "argv": list(argv),
        "state": "queued",
        "heavy": heavy,
        "actor": actor,
        "progress": 0.0,
        "message": "waiting for the scheduler",
        "log": f"logs/jobs/{job_id}.log",
        "cancel_requested": False,
        "attempts": 0,
        "submitted": now(),
        "deadline_seconds": deadline_seconds,
    }
    connection.execute(jobs.insert().values(row))
    return job_id


def get(engine: sa.Engine, job_id: str) -> Job:
    """Raises NotFound."""
    with engine.connect() as connection:
        row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).first()
    if row is None:
        raise NotFound(f"no job {job_id!r}; `headwater jobs list` shows those that exist")
    return _job(row)


def list_jobs(engine: sa.Engine, *, state: str | None = None, app: str | None = None, limit: int = 50) -> list[Job]:
    """The latest `limit` jobs, newest first."""
    query = sa.select(jobs).order_by(jobs.c.submitted.desc(), jobs.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(jobs.c.state == state)
    if app is not None:
        query = query.where(jobs.c.app == app)
    with engine.connect() as connection:
        return [_job(row) for row in connection.execute(query)]


def cancel(engine: sa.Engine, job_id: str, *, actor: str) -> Job:
    """End a queued job at once, ask the scheduler to end a running one. Raises Conflict when it has ended."""
    message = f"cancelled by {actor}"
    with engine.begin() as connection:
        queued = connection.execute(
            jobs.update()
            .where(jobs.c.id == job_id, jobs.c.state == "queued")
            .values(state="cancelled", ended=now(), message=message)
        )
        if queued.rowcount == 0:
            running = connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.state == "running")
                .values(cancel_requested=True, message=message)
            )
    job = get(engine, job_id)
    if queued.rowcount == 0 and running.rowcount == 0:
        raise Conflict(f"job {job_id} is already {job.state}; only a queued or running job can be cancelled")
    return job


def watch(engine: sa.Engine, job_id: str, interval: float = 0.5) -> Iterator[Job]:
    """The job now, then after each change, until it has ended."""
    last: Job | None = None
    while True:
        job = get(engine, job_id)
        shown = (job.state, job.progress, job.message)
        if last is None or shown != (last.state, last.progress, last.message):
            yield job
        if job.has_ended:
            return
        last = job
        time.sleep(interval)


def claim(engine: sa.Engine, worker: str, *, light_slots: int) -> Job | None:
    """Take the oldest job that may run now: light ones while slots are free, a heavy one when no heavy one runs."""
    # It is asked five times a second: only when something waits are writers kept waiting.
    with engine.connect() as connection:
        if connection.execute(sa.select(jobs.c.id).where(jobs.c.state == "queued").limit(1)).first() is None:
            return None
    with engine.begin() as connection:
        stand_in_line(connection)
        running = connection.execute(
            sa.select(jobs.c.heavy, sa.func.count()).where(jobs.c.state == "running").group_by(jobs.c.heavy)
        )
        count = {bool(heavy): number for heavy, number in running}
        allowed = [heavy for heavy, slots in ((False, light_slots), (True, 1)) if count.get(heavy, 0) < slots]
        row = connection.execute(
            sa.select(jobs.c.id)
            .where(jobs.c.state == "queued", jobs.c.heavy.in_(allowed))
            .order_by(jobs.c.submitted, jobs.c.id)
            .limit(1)
        ).first()
        if row is None:
            return None
        moment = now()
        taken = connection.execute(
            jobs.update()
            .where(jobs.c.id == row.id, jobs.c.state == "queued")
            .values(
                state="running",
                worker=worker,
                started=moment,
                heartbeat=moment,
                attempts=jobs.c.attempts + 1,
                message="starting",
                progress=0.0,
                pid=None,
            )
        )
    # None when it was cancelled between the two statements.
    return get(engine, row.id) if taken.rowcount == 1 else None


def stand_in_line(connection: sa.Connection) -> None:
    """Wait for the others that decide what runs next, until they have committed.

    SQLite's write lock does that already; in PostgreSQL they queue up behind this row of the first migration.
    """
    connection.execute(sa.select(leases.c.term).where(leases.c.name == "claims").with_for_update()).one()


def note_process(engine: sa.Engine, job_id: str, pid: int) -> None:
    """Record the process that runs the job, for whoever has to end it later."""
    _update(engine, job_id, pid=pid)


def beat(engine: sa.Engine, worker: str, job_ids: Collection[str]) -> list[str]:
    """Say that these jobs of this worker are alive; returns the ids of those that are to be cancelled.

    Rows of the worker that it does not name (a claim whose answer never arrived) grow silent, and are then recovered.
    """
    mine = (jobs.c.id.in_(job_ids), jobs.c.worker == worker, jobs.c.state == "running")
    with engine.begin() as connection:
        connection.execute(jobs.update().where(*mine).values(heartbeat=now()))
        rows = connection.execute(sa.select(jobs.c.id).where(*mine, jobs.c.cancel_requested))
        return [row.id for row in rows]


def finish(engine: sa.Engine, job_id: str, state: str, message: str, *, worker: str | None = None) -> None:
    """End a running job as done, failed or cancelled; with `worker`, only while that worker still has it."""
    values: dict[str, Any] = {"state": state, "message": message, "ended": now(), "pid": None}
    if state == "done":
        values["progress"] = 1.0
    _update(engine, job_id, of_worker=worker, **values)


def requeue(engine: sa.Engine, job_id: str, message: str, *, worker: str | None = None) -> None:
    """Put a running job back because its scheduler stops; that attempt does not count."""
    _update(
        engine,
        job_id,
        of_worker=worker,
        state="queued",
        worker=None,
        pid=None,
        heartbeat=None,
        attempts=jobs.c.attempts - 1,
        message=message,
    )


def lost(engine: sa.Engine, silent_seconds: float) -> list[Job]:
    """Running jobs whose worker has been silent that long; a heartbeat of the future is one of a clock set back."""
    span = timedelta(seconds=silent_seconds)
    silent = sa.or_(jobs.c.heartbeat < now() - span, jobs.c.heartbeat > now() + span)
    query = sa.select(jobs).where(jobs.c.state == "running", silent)
    with engine.connect() as connection:
        return [_job(row) for row in connection.execute(query)]


def recover(engine: sa.Engine, job: Job) -> Job:
    """Queue a lost job again, or end it: cancelled if that was asked for, failed after MAX_ATTEMPTS."""
    if job.cancel_requested:
        finish(engine, job.id, "cancelled", job.message)
    elif job.attempts >= MAX_ATTEMPTS:
        finish(engine, job.id, "failed", f"its scheduler ended {job.attempts} times while it ran; see its log")
    else:
        message = f"its scheduler ended unexpectedly; queued again (attempt {job.attempts + 1} of {MAX_ATTEMPTS})"
        _update(engine, job.id, state="queued", worker=None, pid=None, heartbeat=None, message=message)
    return get(engine, job.id)


def acting_user() -> str:
    """Who a command's writes are done for: the submitter inside a job, else the person at the command line."""
    return os.environ.get(ACTOR_VARIABLE) or f"{getpass.getuser()}@command-line"


def job_progress(settings: Settings, description: str) -> Progress:
    """Progress for work that may run as a job: into the job's row and log there, a bar on the terminal otherwise.

    The row takes two steps a second at most, and always the last one.
    """
    show = bar(description)
    job_id = os.environ.get(JOB_VARIABLE)
    return show if job_id is None else _both(show, _row_progress(settings, job_id))


def _both(first: Progress, second: Progress) -> Progress:
    def report(step: Step) -> None:
        first(step)
        second(step)

    return report


def _row_progress(settings: Settings, job_id: str, clock: Callable[[], float] = time.monotonic) -> Progress:
    from headwater.storage.engine import open_engine

    engine = open_engine(settings, "house")
    last = -_REPORT_SECONDS

    def report(step: Step) -> None:
        nonlocal last
        moment = clock()
        if moment - last < _REPORT_SECONDS and step.done < step.total:
            return
        last = moment
        with engine.begin() as connection:
            connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.state == "running", sa.not_(jobs.c.cancel_requested))
                .values(progress=step.fraction, message=step.message)
            )

    return report


def _update(engine: sa.Engine, job_id: str, of_worker: str | None = None, **values: Any) -> None:
    query = jobs.update().where(jobs.c.id == job_id, jobs.c.state == "running")
    if of_worker is not None:
        query = query.where(jobs.c.worker == of_worker)
    with engine.begin() as connection:
        connection.execute(query.values(values))


def _job(row: sa.Row[Any]) -> Job:
    values = dict(row._mapping)
    values["argv"] = tuple(values["argv"])
    return Job(**values)
