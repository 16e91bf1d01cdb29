"""Child processes: started in a group of their own, watched, restarted with back-off, stopped with their children."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from headwater.errors import Unavailable

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
# A process that ran this long has recovered: its next crash starts again at the first delay.
_HEALTHY_SECONDS = 60.0
_TERMINATE_SECONDS = 3.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ProcessSpec:
    """One process of the house: its command, where it logs and the address that answers 200 once it is ready."""

    name: str
    argv: tuple[str, ...]
    log: Path
    ready_url: str | None = None
    environment: tuple[tuple[str, str], ...] = ()


class Supervised:
    """A running process with its restart history; not thread-safe, driven by one loop."""

    def __init__(self, spec: ProcessSpec, clock: Callable[[], float] = time.monotonic) -> None:
        self.spec = spec
        self.restarts = 0
        self._clock = clock
        self._delay = _FIRST_DELAY
        self._restart_at: float | None = None
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _start(self) -> None:
        self._started = self._clock()
        self._restart_at = None
        self.spec.log.parent.mkdir(parents=True, exist_ok=True)
        with self.spec.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.spec.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **dict(self.spec.environment)},
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def check(self) -> str | None:
        """Restart the process if it has ended and its delay is over; returns a line to print when it ended."""
        status = self._process.poll()
        if status is None:
            return None
        now = self._clock()
        if self._restart_at is None:
            if now - self._started >= _HEALTHY_SECONDS:
                self._delay = _FIRST_DELAY
            self._restart_at = now + self._delay
            line = (
                f"{self.spec.name} ended with status {status}; restarting in {self._delay:.1f} s, log: {self.spec.log}"
            )
            self._delay = min(self._delay * 2, _LONGEST_DELAY)
            _signal_group(self._process.pid, signal.SIGKILL)
            return line
        if now >= self._restart_at:
            self.restarts += 1
            self._start()
        return None

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def is_ready(self) -> bool:
        """Whether its ready address answers 200 (at once true for a process without one that is alive)."""
        if self.has_ended():
            return False
        if self.spec.ready_url is None:
            return True
        try:
            return httpx.get(self.spec.ready_url, timeout=2.0, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def last_lines(self, count: int = 15) -> str:
        try:
            lines = self.spec.log.read_text(errors="replace").splitlines()[-count:]
        except OSError as error:
            return f"Its log could not be read: {error}"
        return "\n".join([f"The end of {self.spec.log}:", *lines])


def wait_until_ready(processes: Sequence[Supervised], timeout: float, report: Callable[[str], None]) -> None:
    """Block until each process is ready. Raises Unavailable with the log's end when one ends or time runs out."""
    deadline = time.monotonic() + timeout
    waiting = list(processes)
    while waiting:
        for process in list(waiting):
            if process.has_ended():
                raise Unavailable(f"{process.spec.name} ended before it was ready. {process.last_lines()}")
            if process.is_ready():
                report(process.spec.name)
                waiting.remove(process)
        if waiting and time.monotonic() > deadline:
            process = waiting[0]
            raise Unavailable(f"{process.spec.name} was not ready after {timeout:.0f} s. {process.last_lines()}")
        if waiting:
            time.sleep(0.05)


def stop_all(processes: Sequence[Supervised], timeout: float = _TERMINATE_SECONDS) -> None:
    """SIGTERM to each process group, SIGKILL to what is left after `timeout` seconds."""
    for process in processes:
        _signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    for process in processes:
        try:
            process._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            continue
    for process in processes:
        _signal_group(process.pid, signal.SIGKILL)
        process._process.wait()


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _die_with_parent() -> None:
    # Linux: a launcher that is killed with SIGKILL still leaves no process behind.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
