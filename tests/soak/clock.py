"""Property of the scheduler: over ten years each window of each schedule is run, joined with others or reported, and
none twice.

The scheduler's own loop, its APScheduler, ledger and lease run on a simulated clock and a real SQLite database, while
the machine sleeps, runs last too long, the clock is set forth and back, the database is locked, unreadable or gone, and
schedulers are killed beside a second one, which has to take over within 60 s. Only processes are not started: a job is
a time at which it will have ended. Once for each of four time zones of the host, with their changes to summer time; the
four ledgers must be the same. `python tests/soak/clock.py` runs the full size and keeps docs/results/soak-clock.json.
"""

import argparse
import contextlib
import hashlib
import heapq
import json
import logging
import os
import random
import resource
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import apscheduler.schedulers.base
import sqlalchemy as sa

import scheduler.clock
import scheduler.main
from headwater.settings import Settings
from headwater.storage import alarms, engine, jobs, leases, schedules
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate
from headwater.storage.schedules import LedgerRow, ScheduledJob, ledger
from headwater.storage.tables import jobs as job_table
from scheduler.clock import trigger_of
from scheduler.main import Scheduler

FULL = 3653  # days
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe")
TAKE_OVER_SECONDS = 60
# Windows in the hours that summer time takes and gives, and one of each policy.
SCHEDULES = [
    ScheduledJob("nightly", "soak", ("check", "nightly"), cron="30 2 * * *"),
    ScheduledJob("hour-of-change", "soak", ("check", "hour-of-change"), cron="15 1,3 * * 0", missed="each"),
    ScheduledJob("report", "soak", ("check", "report"), cron="0 9 * * 1-5", missed="report"),
    ScheduledJob("monthly", "soak", ("check", "monthly"), cron="0 0 1 * *", missed="each"),
    ScheduledJob("36-hours", "soak", ("check", "36-hours"), every_seconds=36 * 3600.0),
    # Seldom enough that the turns which are left out need not be made up for.
    ScheduledJob("resident", "soak", ("check", "resident"), every_seconds=900, resident=True, deadline_seconds=None),
]
# How often each happens, in days between two of a kind.
_TROUBLES = {
    "sleep": 5,
    "kill": 7,
    "both-down": 60,
    "outage": 10,
    "step-back": 20,
    "step-forth": 20,
    "years-ahead": 400,
}


# --- time and jobs as they are simulated -----------------------------------------------------------------------------


@dataclass
class World:
    """The wall clock and the monotonic one, in seconds; a sleeping machine's monotonic clock stands still."""

    wall: float = BEGIN.timestamp()
    monotonic: float = 1000.0
    # Elapsed since the beginning whatever the clocks say: what a person would have measured.
    true: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)

    def pass_time(self, seconds: float, *, asleep: bool = False) -> None:
        self.wall += seconds
        self.true += seconds
        self.monotonic += 0 if asleep else seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.wall, UTC)


class SimulatedTime:
    """In place of the module `time` for the code under test."""

    def __init__(self, world: World) -> None:
        self._world = world

    def time(self) -> float:
        return self._world.wall

    def time_ns(self) -> int:
        return int(self._world.wall * 1e9)

    def monotonic(self) -> float:
        return self._world.monotonic

    def sleep(self, seconds: float) -> None:
        self._world.pass_time(seconds)


class SimulatedJob:
    """A job as the scheduler sees it: mostly short, now and then longer than its windows, or for ever."""

    def __init__(self, world: World, job: jobs.Job) -> None:
        self.job = job
        self.pid = 0
        self.cancelled = False
        self.overdue = False
        self._world = world
        # By what it is, not by turn: jobs of one moment begin in any order.
        generator = random.Random(f"{job.argv} {job.submitted} {job.attempts}")
        lasts = generator.choice((5.0, 30.0, 300.0)) if generator.random() < 0.95 else generator.uniform(3600, 90_000)
        if job.deadline_seconds is None:
            lasts = generator.uniform(3600, 20 * 86_400)
        elif lasts > job.deadline_seconds and generator.random() < 0.5:
            lasts, self.overdue = job.deadline_seconds + 10, True
        self.ends = world.monotonic + lasts
        world.counts["runs longer than their windows"] += lasts > 8 * 3600 and not self.overdue

    def poll(self) -> int | None:
        return 0 if self._world.monotonic >= self.ends else None

    def outcome(self, status: int) -> tuple[str, str]:
        self._world.ended[self.job.id] += 1
        return ("failed", "ended at its deadline") if self.overdue else ("done", "done")

    def kill(self) -> None:
        self._world.counts["runs killed with their scheduler"] += 1

    def interrupt(self, seconds: float) -> None:
        raise AssertionError("nothing is cancelled here")


# --- the run ---------------------------------------------------------------------------------------------------------


class Simulation:
    """Two schedulers over one database; `check` compares the ledger with what the schedules want."""

    def __init__(self, home: Path, days: int, seed: int) -> None:
        self.world = World()
        self.days = days
        self.generator = random.Random(seed)
        self.settings = Settings(home=home, database_url=None)
        self.house = open_engine(self.settings, "house")
        migrate(self.house, "house")
        self.worst_take_over = 0.0
        self._lives: dict[str, Scheduler] = {}

    def run(self) -> dict[str, Any]:
        with simulated(self.world):
            for name in ("a", "b"):
                self._start(name)
            self._go_on(30)
            troubles = [(self.generator.expovariate(1 / days) * 86_400, kind) for kind, days in _TROUBLES.items()]
            heapq.heapify(troubles)
            while self.world.true < self.days * 86_400:
                at, kind = heapq.heappop(troubles)
                self._go_on(min(max(at, self.world.true), self.days * 86_400) - self.world.true)
                if at < self.days * 86_400:
                    self._trouble(kind)
                again = self.world.true + self.generator.expovariate(1 / _TROUBLES[kind]) * 86_400
                heapq.heappush(troubles, (again, kind))
            # In peace, until what is left has run.
            self._go_on(86_400 * 8)
            return self.check()

    def _start(self, name: str) -> None:
        made = Scheduler(self.settings)
        made.engine = self.house
        made.worker = f"{name}:{self.generator.randrange(10**9)}"
        self._lives[name] = made

    def _tick(self, name: str | None = None) -> None:
        """One turn of each scheduler (of one), as `Scheduler.run` makes them."""
        for made in [self._lives[name]] if name else list(self._lives.values()):
            try:
                made._tick()
            except (sa.exc.OperationalError, sa.exc.InterfaceError):
                self.world.counts["turns without a database"] += 1
                made._give_up_if_expired()

    def _go_on(self, seconds: float) -> None:
        """Let time pass in peace: to the next window or end of a run, and a few turns there."""
        until = self.world.true + max(seconds, 0.0)
        while self.world.true < until:
            step = min(self._next_event() - self.world.wall, until - self.world.true)
            if step > 4:
                # The turns in which nothing happens are left out; the leases are as if they had been.
                self.world.pass_time(step - 2)
                self._keep_leases()
            self.world.pass_time(2.1)
            active = [name for name, made in self._lives.items() if made._clock is not None]
            self._tick(active[0] if len(active) == 1 else None)

    def _next_event(self) -> float:
        if self._active() is None:
            return self.world.wall
        found = [self.world.wall + 2 * 86_400]
        for made in self._lives.values():
            if made._clock is not None:
                found += [job.next_run_time.timestamp() for job in made._clock.get_jobs() if job.id != "resident"]
                found += [self.world.wall + run.ends - self.world.monotonic for run in made._running.values()]
        return max(min(found), self.world.wall + 1)

    def _keep_leases(self) -> None:
        for made in self._lives.values():
            if made._clock is not None:
                made._lease_until = self.world.monotonic + 10
                made._clock._looked = self.world.now()

    def _active(self) -> str | None:
        return next((name for name, made in self._lives.items() if made._clock is not None), None)

    def _trouble(self, kind: str) -> None:
        self.world.counts[kind] += 1
        getattr(self, "_" + kind.replace("-", "_"))()

    def _sleep(self) -> None:
        self.world.pass_time(self.generator.choice((120, 3600, 9 * 3600, 4 * 86_400)), asleep=True)
        self._tick()

    def _step_back(self) -> None:
        self.world.wall -= self.generator.choice((1, 30, 3600, 7200, 20 * 3600))
        self._tick()

    def _step_forth(self) -> None:
        self.world.wall += self.generator.choice((1, 30, 3600, 7200, 20 * 3600))
        self._tick()

    def _years_ahead(self) -> None:
        """A wrong clock, noticed and mended within the hour."""
        wrong = self.generator.uniform(30, 2000) * 86_400
        self.world.wall += wrong
        self._go_on(self.generator.uniform(60, 3600))
        self.world.wall -= wrong
        self._go_on(10)

    def _kill(self) -> None:
        """The active scheduler is killed at any moment; the other one takes over; a new one waits in its place."""
        name = self._active()
        if name is None:
            return
        dead = self._lives.pop(name)
        dead._running.clear()
        killed = self.world.true
        while self._active() is None:
            self.world.pass_time(0.2)
            self._tick()
            assert self.world.true - killed < TAKE_OVER_SECONDS, "no scheduler has taken over"
        self.worst_take_over = max(self.worst_take_over, self.world.true - killed)
        self._start(name)

    def _both_down(self) -> None:
        self._lives.clear()
        self.world.pass_time(self.generator.uniform(600, 20 * 86_400))
        for name in ("a", "b"):
            self._start(name)
        self._go_on(20)

    def _outage(self) -> None:
        """Over a window, if one comes soon: the database is locked by another, a copy, or cannot be written."""
        self.world.pass_time(max(0.0, min(self._next_event() - self.world.wall, 6 * 3600) - 5))
        self._keep_leases()
        manner = self.generator.choice((self._locked, self._refusing, self._failing_commit))
        with manner():
            for _ in range(self.generator.randrange(4, 12)):
                self.world.pass_time(self.generator.choice((2.1, 2.1, 600.0)))
                self._tick()
        self.world.counts[f"outage: {manner.__name__.strip('_').replace('_', ' ')}"] += 1

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """A real lock of another connection."""
        self.house.dispose()
        other = sqlite3.connect(self.settings.folder("db") / "house.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with patch.object(engine, "_BUSY_MILLISECONDS", 1):
            yield
            other.execute("ROLLBACK")
            other.close()
            self.house.dispose()

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        """A real connection that may only read."""
        self.house.dispose()

        def only_read(connection: sqlite3.Connection, record: Any) -> None:
            connection.execute("PRAGMA query_only=ON")

        sa.event.listen(self.house, "connect", only_read)
        yield
        sa.event.remove(self.house, "connect", only_read)
        self.house.dispose()

    @contextlib.contextmanager
    def _failing_commit(self) -> Iterator[None]:
        """Each second statement fails, so that transactions break off in their middle."""
        statements = 0

        def fail(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            nonlocal statements
            statements += 1
            if statements % 2 == 0 and not statement.startswith("PRAGMA"):
                raise sqlite3.OperationalError("disk I/O error")

        sa.event.listen(self.house, "before_cursor_execute", fail)
        yield
        sa.event.remove(self.house, "before_cursor_execute", fail)

    # --- what must hold --------------------------------------------------------------------------------------------

    def check(self) -> dict[str, Any]:
        wanted, booked, joined, missed, runs = 0, 0, 0, 0, 0
        digest = hashlib.sha256()
        named: set[str] = set()
        for job in SCHEDULES:
            rows = list(reversed(ledger(self.house, name=job.name, limit=10**7)))
            check_rows(job, rows)
            ran = [row for row in rows if row.outcome == "run"]
            assert len({row.job_id for row in ran}) == len(ran), f"{job.name}: two rows have one job"
            named |= {row.job_id for row in ran}
            if job.resident:
                continue
            wanted += count_windows(job, rows[0].due, rows[-1].due)
            booked += sum(row.windows for row in rows)
            joined += sum(row.windows for row in ran if row.windows > 1)
            missed += sum(row.windows for row in rows if row.outcome == "missed")
            runs += len(ran)
            for row in rows:
                digest.update(f"{job.name} {row.first_due} {row.due} {row.windows} {row.outcome}\n".encode())
            late = self.world.now() - rows[-1].due
            longest = timedelta(days=32 if job.name == "monthly" else 8)
            assert late < longest, f"{job.name}: its last window is {late} ago"
        with self.house.connect() as connection:
            ids = set(connection.scalars(sa.select(job_table.c.id)))
            ended = set(connection.scalars(sa.select(job_table.c.id).where(job_table.c.state.in_(jobs.ENDED))))
        twice = [job_id for job_id, times in self.world.ended.items() if times > 1]
        # The commit of an end can be known to have failed; then it is written once more, never run once more.
        assert len(ids) - len(named) <= self.world.counts["years-ahead"] * 60, "jobs that no row of the ledger names"
        return {
            "windows": booked,
            "windows wanted": wanted,
            "runs": runs,
            "windows joined with others": joined,
            "windows reported as missed": missed,
            "jobs ended": len(ended),
            "ends noted more than once": len(twice),
            "jobs of a clock that was ahead": len(ids - named),
            "longest take-over, simulated s": round(self.worst_take_over, 1),
            "troubles": dict(sorted(self.world.counts.items())),
            "ledger": digest.hexdigest()[:16],
        }


def check_rows(job: ScheduledJob, rows: list[LedgerRow]) -> None:
    """The rows follow one another, and each holds just the windows that the schedule has between the row before and it.

    So each window is in one row, and none in two.
    """
    assert rows[0].outcome == "begin", f"{job.name}: the ledger begins with {rows[0]}"
    before = rows[0].due
    for row in rows[1:]:
        assert before < row.first_due <= row.due, f"{job.name}: {row} overlaps what ends at {before}"
        expected = count_windows(job, before, row.due)
        assert row.windows == expected, f"{job.name}: {row} should hold {expected} windows"
        if row.windows:
            assert first_window(job, before) == row.first_due, f"{job.name}: {row} leaves out a window"
        before = row.due


def count_windows(job: ScheduledJob, after: datetime, until: datetime) -> int:
    """By walking from window to window, or by arithmetic on whole seconds; not by the code under test."""
    if job.every_seconds is not None:
        step, origin = int(job.every_seconds), int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
        return int((until.timestamp() - origin) // step - (after.timestamp() - origin) // step)
    trigger, count, moment = trigger_of(job), 0, after
    while (moment := trigger.get_next_fire_time(moment, moment)) <= until:
        count += 1
    return count


def first_window(job: ScheduledJob, after: datetime) -> datetime:
    found: datetime = trigger_of(job).get_next_fire_time(None, after + timedelta(microseconds=1))
    return found


@contextlib.contextmanager
def simulated(world: World) -> Iterator[None]:
    """The code under test sees the world's clocks; schedules are SCHEDULES; jobs are simulated."""

    class Moment(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return world.now()

    times = SimulatedTime(world)
    with contextlib.ExitStack() as stack:
        for module in (jobs, schedules, alarms, scheduler.clock):
            stack.enter_context(patch.object(module, "now", world.now))
        for module in (jobs, leases, scheduler.main):
            stack.enter_context(patch.object(module, "time", times))
        stack.enter_context(patch.object(apscheduler.schedulers.base, "datetime", Moment))
        stack.enter_context(patch.object(scheduler.main, "declared_jobs", lambda settings: (SCHEDULES, {})))
        stack.enter_context(patch.object(scheduler.main, "RunningJob", lambda job, home: SimulatedJob(world, job)))
        stack.enter_context(patch.object(scheduler.main, "kill_left_over", lambda job_id: None))
        yield


def run(days: int, seed: int, zone: str) -> dict[str, Any]:
    """One simulation on a host of that time zone. Raises AssertionError where the property does not hold."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    time.tzset()
    try:
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as home:
            return Simulation(Path(home), days, seed).run()
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
        time.tzset()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=FULL, help="days of simulated time")
    parser.add_argument("--seed", type=int, default=20261127)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    result: dict[str, Any] = {"days": arguments.steps, "seed": arguments.seed, "zones": {}}
    # A zone takes minutes: those that are there are kept, so that a run that was cut off goes on.
    kept = Path(__file__).resolve().parents[2] / "build" / f"soak-clock-{arguments.steps}-{arguments.seed}.json"
    if kept.exists():
        result = json.loads(kept.read_text())
    for zone in ZONES:
        if zone not in result["zones"]:
            started = time.process_time()
            result["zones"][zone] = run(arguments.steps, arguments.seed, zone)
            result["zones"][zone]["processor seconds"] = round(time.process_time() - started, 1)
            kept.parent.mkdir(exist_ok=True)
            kept.write_text(json.dumps(result))
        print(zone, json.dumps(result["zones"][zone]), flush=True)
    ledgers = {found["ledger"] for found in result["zones"].values()}
    assert len(ledgers) == 1, "the host's time zone has changed what ran"
    result["outcome"] = "each window run, joined or reported, none twice; the same in each time zone"
    result["peak resident MB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    kept.unlink()
    if arguments.steps >= FULL:
        path = Path(__file__).resolve().parents[2] / "docs" / "results" / "soak-clock.json"
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
