"""The scheduler's loop: hold the lease, beat, cancel, reap, claim."""

import argparse
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from types import FrameType

import sqlalchemy as sa

from headwater.errors import HeadwaterError
from headwater.settings import Settings, load_settings
from headwater.storage import jobs, leases
from headwater.storage.alarms import alarms
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate
from headwater.storage.schedules import SCHEDULER_LEASE as LEASE
from headwater.storage.schedules import record_schedules
from scheduler.clock import Clock, declared_jobs
from scheduler.heartbeat import Heartbeat
from scheduler.running import RunningJob, kill_left_over

# One of them is held for good by the finance monitor's worker.
_LIGHT_SLOTS = 3
_TICK_SECONDS = 0.2
# A cancelled job may use this long to keep its last checkpoint.
_CANCEL_GRACE_SECONDS = 5.0
# Shorter than the launcher's patience, so that the jobs' rows are written before it kills.
_STOP_GRACE_SECONDS = 1.5
# While the database is away the same line need not come five times a second.
_REPEAT_SECONDS = 60.0
_log = logging.getLogger("headwater.scheduler")


class Scheduler:
    """Runs jobs while it holds the lease; driven by the thread that calls `run`."""

    def __init__(self, settings: Settings, lease_seconds: float = 10.0) -> None:
        self.settings = settings
        self.engine = open_engine(settings, "house")
        self.worker = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(3)}"
        self.stopping = threading.Event()
        self._lease_seconds = lease_seconds
        self._lease_until = 0.0
        self._next_beat = 0.0
        self._shift = 0.0
        self._clock: Clock | None = None
        self._heartbeat = Heartbeat(settings.heartbeat_url)
        self._said_unavailable = -_REPEAT_SECONDS
        self._running: dict[str, RunningJob] = {}

    def run(self) -> None:
        """Work until `stopping` is set; leaves no process behind."""
        migrate(self.engine, "house")
        _log.info("%s waits for the lease", self.worker)
        try:
            while not self.stopping.is_set():
                try:
                    self._tick()
                except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
                    self._say_unavailable(error)
                    self._give_up_if_expired()
                self.stopping.wait(_TICK_SECONDS)
        finally:
            self._stop()

    def _tick(self) -> None:
        moment = time.monotonic()
        shift, self._shift = self._shift, time.time() - moment
        # After a sleep or a change of the clock another scheduler may have found the lease over: ask before all else.
        if moment >= self._next_beat or abs(self._shift - shift) > 1:
            self._next_beat = moment + self._lease_seconds / 5
            # Counted from before the question, so that this process never believes in it longer than others do.
            if leases.acquire(self.engine, LEASE, self.worker, self._lease_seconds) is None:
                self._give_up("another scheduler has the lease")
                return
            self._lease_until = moment + self._lease_seconds
            if self._clock is None:
                self._begin()
            self._beat()
            if self._clock is not None:
                self._clock.look()
                if self._heartbeat.is_due() and not any(alarm.kind == "silent" for alarm in alarms(self.engine)):
                    self._heartbeat.send()
        if self._clock is None:
            return
        self._give_up_if_expired()
        if self._clock is None:
            return
        self._reap()
        self._start_jobs()

    def _begin(self) -> None:
        scheduled, problems = declared_jobs(self.settings)
        record_schedules(self.engine, scheduled, problems)
        self._clock = Clock(self.engine, scheduled)
        _log.info("%s is active with %d schedules", self.worker, len(scheduled))

    def _beat(self) -> None:
        for job_id in jobs.beat(self.engine, self.worker, list(self._running)):
            running = self._running.get(job_id)
            if running is not None and not running.cancelled:
                _log.info("cancelling job %s", job_id)
                running.cancelled = True
                running.job = jobs.get(self.engine, job_id)
                running.interrupt(_CANCEL_GRACE_SECONDS)
        for job in jobs.lost(self.engine, self._lease_seconds):
            if job.id in self._running:
                continue  # the clock was set between its heartbeat and this question
            kill_left_over(job.id)
            state = jobs.recover(self.engine, job).state
            _log.warning("job %s lost its scheduler %s: now %s", job.id, job.worker, state)

    def _reap(self) -> None:
        for job_id, running in list(self._running.items()):
            status = running.poll()
            if status is not None:
                state, message = running.outcome(status)
                if running.overdue:
                    kill_left_over(job_id)  # those of its processes that left its group
                jobs.finish(self.engine, job_id, state, message, worker=self.worker)
                # Only now: while the database is away it is tried again.
                del self._running[job_id]
                _log.info("job %s %s: %s", job_id, state, message)

    def _start_jobs(self) -> None:
        while (job := jobs.claim(self.engine, self.worker, light_slots=_LIGHT_SLOTS)) is not None:
            _log.info("job %s starts: %s %s", job.id, job.app, job.argv[0])
            try:
                running = RunningJob(job, self.settings.home.absolute())
            except OSError as error:
                jobs.finish(self.engine, job.id, "failed", f"could not be started: {error}", worker=self.worker)
                continue
            self._running[job.id] = running
            jobs.note_process(self.engine, job.id, running.pid)

    def _say_unavailable(self, error: Exception) -> None:
        if time.monotonic() - self._said_unavailable >= _REPEAT_SECONDS:
            self._said_unavailable = time.monotonic()
            _log.error("database unavailable, trying again: %s", error)

    def _give_up_if_expired(self) -> None:
        if self._clock is not None and time.monotonic() > self._lease_until:
            self._give_up("the lease could not be renewed in time")

    def _give_up(self, reason: str) -> None:
        # Another scheduler may run these jobs by now: end them, and leave their rows to it.
        if self._clock is None:
            return
        _log.warning("%s is no longer active: %s", self.worker, reason)
        self._clock.shutdown()
        self._clock = None
        for running in self._running.values():
            running.kill()
        self._running.clear()

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.shutdown()
        for running in self._running.values():
            running.interrupt(_STOP_GRACE_SECONDS)
        while self._running:
            for job_id, running in list(self._running.items()):
                status = running.poll()
                if status is not None:
                    del self._running[job_id]
                    self._note_stopped(running, status)
            time.sleep(0.02)
        try:
            leases.release(self.engine, LEASE, self.worker)
        except sa.exc.DBAPIError as error:
            _log.error("could not give the lease back; it ends in %.0f s: %s", self._lease_seconds, error)
        _log.info("%s stopped", self.worker)

    def _note_stopped(self, running: RunningJob, status: int) -> None:
        try:
            if status == 0 or running.cancelled:
                jobs.finish(self.engine, running.job.id, *running.outcome(status), worker=self.worker)
            else:
                message = "interrupted by the scheduler's stop; goes on with its next start"
                jobs.requeue(self.engine, running.job.id, message, worker=self.worker)
        except sa.exc.DBAPIError as error:
            _log.error("could not note the end of job %s: %s", running.job.id, error)


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    # Its lines name whole addresses, and that of the heartbeat is a secret.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(prog="python -m scheduler", description="Run every app's jobs until SIGTERM.")
    parser.add_argument("--lease-seconds", type=float, default=10.0, help="a silent scheduler is replaced after this")
    lease_seconds = parser.parse_args().lease_seconds
    try:
        scheduler = Scheduler(load_settings(), lease_seconds)
    except HeadwaterError as error:
        sys.exit(f"error: {error}")

    def stop(number: int, frame: FrameType | None) -> None:
        scheduler.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    scheduler.run()
