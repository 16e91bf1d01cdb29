"""A job's process: started in a group of its own with its log, interrupted, killed with all its children."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from headwater.storage.jobs import ACTOR_VARIABLE, JOB_VARIABLE, Job

_TAIL_BYTES = 4096
_MESSAGE = 500
# A job past its deadline may use this long to end by itself.
_DEADLINE_GRACE_SECONDS = 10.0


class RunningJob:
    """One job under way. Start it from the main thread: Linux ends it with the thread that started it."""

    def __init__(self, job: Job, home: Path) -> None:
        self.job = job
        self.cancelled = False
        self.overdue = False
        self.log = home / job.log
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._kill_at: float | None = None
        self._was_killed = False
        # Time that the machine sleeps does not count.
        self._deadline = None if job.deadline_seconds is None else time.monotonic() + job.deadline_seconds
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scheduler.child", str(os.getpid()), *job.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, JOB_VARIABLE: job.id, ACTOR_VARIABLE: job.actor, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def interrupt(self, grace_seconds: float) -> None:
        """Ask the job to stop; `poll` kills its group once the grace is over."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + grace_seconds
            _signal_group(self.pid, signal.SIGINT)

    def poll(self) -> int | None:
        """The exit status once the job has ended (and its group with it), None before."""
        moment = time.monotonic()
        if self._kill_at is None and self._deadline is not None and moment >= self._deadline:
            self.overdue = True
            self._kill_at = moment + _DEADLINE_GRACE_SECONDS
            _signal_group(self.pid, signal.SIGTERM)
        if self._kill_at is not None and moment >= self._kill_at:
            self._was_killed = True
            _signal_group(self.pid, signal.SIGKILL)
        status = self._process.poll()
        if status is not None:
            # Children that the job left behind.
            _signal_group(self.pid, signal.SIGKILL)
        return status

    def kill(self) -> None:
        _signal_group(self.pid, signal.SIGKILL)
        self._process.wait()

    def outcome(self, status: int) -> tuple[str, str]:
        """State and message for the job's row."""
        if self.cancelled:
            return "cancelled", self.job.message if self.job.message.startswith("cancelled") else "cancelled"
        if self.overdue:
            manner = f"killed, {_DEADLINE_GRACE_SECONDS:.0f} s after SIGTERM" if self._was_killed else "SIGTERM"
            seconds = f"{self.job.deadline_seconds:g} s"
            return "failed", f"ended at its deadline of {seconds} ({manner}); log: {self.log}"
        if status == 0:
            return "done", "done"
        if status < 0:
            name = signal.Signals(-status).name
            reason = " (out of memory?)" if name == "SIGKILL" else ""
            return "failed", f"ended by {name}{reason}; log: {self.log}"
        return "failed", self._last_line() or f"ended with status {status}; log: {self.log}"

    def _last_line(self) -> str:
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        line = lines[-1].strip() if lines else ""
        # What went wrong stands at the beginning, the way out at the end.
        return line if len(line) <= _MESSAGE else f"{line[: _MESSAGE // 2]} … {line[3 - _MESSAGE // 2 :]}"


def kill_left_over(job_id: str) -> None:
    """Kill processes of a job whose scheduler is gone, found by the variable that they all inherit."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(JOB_VARIABLE) == job_id and process.pid != os.getpid():
                process.kill()
        except psutil.Error:
            continue


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return
