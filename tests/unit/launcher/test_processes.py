"""The launcher's promises about processes, on real ones."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from headwater.errors import Unavailable
from launcher.ports import choose_port
from launcher.processes import ProcessSpec, Supervised, stop_all, wait_until_ready

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def spec(tmp_path: Path, code: str, ready_url: str | None = None) -> ProcessSpec:
    return ProcessSpec("worker", (sys.executable, "-c", code), tmp_path / "worker.log", ready_url)


def wait_for(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come"
        time.sleep(0.02)


def test_taken_port_is_named_with_its_holder_and_the_next_free_one_is_chosen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        port = choose_port("127.0.0.1", taken)
    assert port.number > taken
    assert port.holder is not None
    assert str(os.getpid()) in port.holder


def test_reserved_port_is_left_to_the_part_that_has_it() -> None:
    first = choose_port("127.0.0.1", 18_000)
    assert choose_port("127.0.0.1", first.number, frozenset({first.number})).number != first.number


def test_crashed_process_is_restarted_after_its_delay(tmp_path: Path) -> None:
    process = Supervised(spec(tmp_path, "import time; time.sleep(600)"))
    try:
        first = process.pid
        os.kill(first, signal.SIGKILL)
        wait_for(process.has_ended)
        line = process.check()
        assert line is not None
        assert "restarting in 0.5 s" in line
        wait_for(lambda: process.check() is None and process.restarts == 1)
        assert process.pid != first
        assert psutil.pid_exists(process.pid)
    finally:
        stop_all([process])


def test_delay_doubles_for_a_process_that_crashes_at_once(tmp_path: Path) -> None:
    process = Supervised(spec(tmp_path, "raise SystemExit(3)"))
    try:
        lines: list[str] = []
        deadline = time.monotonic() + 10
        while len(lines) < 3 and time.monotonic() < deadline:
            line = process.check()
            lines += [line] if line else []
            time.sleep(0.02)
        assert [line.split("restarting in ")[1].split(" s")[0] for line in lines] == ["0.5", "1.0", "2.0"]
        assert "status 3" in lines[0]
    finally:
        stop_all([process])


def test_stop_ends_a_process_that_ignores_sigterm_and_its_children_within_five_seconds(tmp_path: Path) -> None:
    process = Supervised(spec(tmp_path, STUBBORN))
    log = tmp_path / "worker.log"
    wait_for(lambda: log.read_text().strip() != "")
    child = int(log.read_text().split()[0])
    started = time.monotonic()
    stop_all([process])
    assert time.monotonic() - started < 5
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
    assert process.has_ended()


def test_process_that_ends_before_it_is_ready_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = Supervised(spec(tmp_path, "raise SystemExit('no such database')", "http://127.0.0.1:9/readyz"))
    with pytest.raises(Unavailable, match="no such database"):
        wait_until_ready([process], 10, lambda name: None)


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_children_end_when_the_launcher_is_killed(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from launcher.processes import ProcessSpec, Supervised
sleep = (sys.executable, "-c", "import time; time.sleep(600)")
child = Supervised(ProcessSpec("x", sleep, Path({str(tmp_path / "x.log")!r})))
print(child.pid, flush=True)
time.sleep(600)
"""
    launcher = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    child = int(launcher.stdout.readline())
    launcher.kill()
    launcher.wait()
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
