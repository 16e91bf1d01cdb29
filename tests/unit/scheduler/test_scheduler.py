"""The scheduler's promises, on real processes: it runs, cancels, recovers, and is alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from headwater.settings import Settings
from headwater.storage import jobs, leases
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate
from scheduler.running import RunningJob, kill_left_over

# A verb of the command line, as an installed app would add one: it names itself in a file and waits, with a child.
PLUGIN = """
import os, pathlib, signal, subprocess, sys, time
import click
from headwater.progress import Step
from headwater.settings import load_settings
from headwater.storage.jobs import acting_user, job_progress

@click.command()
@click.argument("seconds", type=float)
@click.option("--status", type=int, default=0)
@click.option("--stubborn", is_flag=True)
@click.option("--deaf", is_flag=True)
def linger(seconds, status, stubborn, deaf):
    settings = load_settings()
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=deaf)
    report = job_progress(settings, "lingering")
    report(Step(1, 2, "half way"))
    deadline = time.monotonic() + seconds
    started = False
    while time.monotonic() < deadline:
        try:
            if not started:  # said within the try: what is sent from now on is met
                started = True
                with (settings.home / "started").open("a") as file:
                    file.write(f"{os.getpid()} {child.pid}\\n")
            time.sleep(0.05)
        except KeyboardInterrupt:
            if not stubborn:
                print("kept the checkpoint")
                raise
    print("for", acting_user())
    print("last words")
    sys.exit(status)
"""


@pytest.fixture
def house(settings: Settings) -> Iterator[sa.Engine]:
    engine = open_engine(settings, "house")
    migrate(engine, "house")
    yield engine
    engine.dispose()


@pytest.fixture
def start(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts schedulers whose command line also knows the verb `linger`; ends what is left of them."""
    plugin = tmp_path / "plugin"
    (plugin / "lingering-1.dist-info").mkdir(parents=True)
    (plugin / "lingering.py").write_text(PLUGIN)
    (plugin / "lingering-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: lingering\nVersion: 1\n")
    (plugin / "lingering-1.dist-info" / "entry_points.txt").write_text(
        "[headwater.commands]\nlinger = lingering:linger\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(plugin), prepend=os.pathsep)
    started: list[subprocess.Popen[bytes]] = []

    def start_one(lease_seconds: str = "2") -> subprocess.Popen[bytes]:
        with (tmp_path / "scheduler.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "scheduler", "--lease-seconds", lease_seconds], stdout=log, stderr=log
            )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.wait()


def test_job_runs_with_progress_and_log_and_its_row_says_done(house: sa.Engine, settings: Settings, start) -> None:
    start()
    job = jobs.submit(house, "house", ["linger", "1"], actor="ann")
    wait_for(lambda: jobs.get(house, job.id).message == "half way")
    assert jobs.get(house, job.id).progress == 0.5
    ended = wait_for_end(house, job.id)
    assert (ended.state, ended.progress) == ("done", 1.0)
    log = (settings.home / job.log).read_text()
    assert "last words" in log
    assert "for ann" in log


def test_failed_job_says_its_last_line_and_an_unknown_verb_is_one(house: sa.Engine, start) -> None:
    start()
    failing = jobs.submit(house, "house", ["linger", "0", "--status", "3"], actor="ann")
    unknown = jobs.submit(house, "house", ["no-such-verb"], actor="ann")
    assert (wait_for_end(house, failing.id).state, jobs.get(house, failing.id).message) == ("failed", "last words")
    assert wait_for_end(house, unknown.id).state == "failed"
    assert "no-such-verb" in jobs.get(house, unknown.id).message


def test_long_last_line_keeps_its_end_where_the_way_out_stands(house: sa.Engine, start) -> None:
    start()
    job = jobs.submit(house, "house", ["registry", "promote", f"{'long' * 300}@last"], actor="ann")
    message = wait_for_end(house, job.id).message
    assert message.lower().startswith("error: ")
    assert " … " in message
    assert message.endswith("long@3")
    assert len(message) == 500


@pytest.mark.parametrize("manner", ["--stubborn", "polite"])
def test_cancelled_job_ends_with_its_children(house: sa.Engine, settings: Settings, start, manner: str) -> None:
    start()
    extra = [manner] if manner == "--stubborn" else []
    job = jobs.submit(house, "house", ["linger", "600", *extra], actor="ann")
    pids = started_pids(settings)
    jobs.cancel(house, job.id, actor="bob")
    ended = wait_for_end(house, job.id)
    assert (ended.state, ended.message) == ("cancelled", "cancelled by bob")
    wait_for(lambda: not any(is_alive(pid) for pid in pids))
    if manner == "polite":
        assert "kept the checkpoint" in (settings.home / job.log).read_text()


def test_job_of_a_killed_scheduler_dies_with_it_and_is_run_again_by_the_next(
    house: sa.Engine, settings: Settings, start
) -> None:
    first = start()
    job = jobs.submit(house, "house", ["linger", "2"], actor="ann")
    pids = started_pids(settings)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    wait_for(lambda: not is_alive(pids[0]))
    start()
    ended = wait_for_end(house, job.id)
    assert (ended.state, ended.attempts) == ("done", 2)
    assert not any(is_alive(pid) for pid in pids)


def test_second_scheduler_waits_and_takes_over_when_the_first_stops(house: sa.Engine, start) -> None:
    first = start()
    wait_for(lambda: leases.holder_of(house, "scheduler") is not None)
    second = start()
    holder = leases.holder_of(house, "scheduler")
    assert holder is not None
    assert f":{first.pid}:" in holder.holder
    time.sleep(2.5)  # longer than the lease: the first renews it
    assert f":{first.pid}:" in leases.holder_of(house, "scheduler").holder
    first.terminate()
    first.wait(5)
    wait_for(lambda: f":{second.pid}:" in getattr(leases.holder_of(house, "scheduler"), "holder", ""))


def test_stop_takes_less_than_five_seconds_leaves_no_process_and_the_job_goes_on_later(
    house: sa.Engine, settings: Settings, start
) -> None:
    scheduler = start()
    job = jobs.submit(house, "house", ["linger", "600", "--stubborn"], actor="ann")
    pids = started_pids(settings)
    started = time.monotonic()
    scheduler.terminate()
    assert scheduler.wait(10) == 0
    assert time.monotonic() - started < 3  # the launcher kills after three
    assert not any(is_alive(pid) for pid in pids)
    assert (jobs.get(house, job.id).state, jobs.get(house, job.id).attempts) == ("queued", 0)


@pytest.mark.parametrize("manner", ["--deaf", "polite"])
@pytest.mark.usefixtures("start")
def test_job_past_its_deadline_is_ended_with_its_children_and_says_why(
    house: sa.Engine, settings: Settings, manner: str
) -> None:
    extra = [manner] if manner == "--deaf" else []
    job = jobs.submit(house, "house", ["linger", "600", *extra], actor="ann", deadline_seconds=600)
    running = RunningJob(job, settings.home)
    pids = started_pids(settings)
    assert running.poll() is None
    running._deadline = began = time.monotonic()
    wait_for(lambda: running.poll() is not None)
    lasted = time.monotonic() - began
    state, message = running.outcome(running.poll())
    assert state == "failed"
    manner_of_death = "killed, 10 s after SIGTERM" if manner == "--deaf" else "SIGTERM"
    assert message == f"ended at its deadline of 600 s ({manner_of_death}); log: {running.log}"
    assert (lasted >= 10) is (manner == "--deaf")
    kill_left_over(job.id)  # the deaf one's child has left its group
    wait_for(lambda: not any(is_alive(pid) for pid in pids))


def test_scheduler_ends_a_job_at_its_deadline_and_its_row_says_why(house: sa.Engine, start) -> None:
    start()
    job = jobs.submit(house, "house", ["linger", "600"], actor="ann", deadline_seconds=1)
    ended = wait_for_end(house, job.id)
    assert (ended.state, ended.attempts) == ("failed", 1)
    assert ended.message.startswith("ended at its deadline of 1 s (SIGTERM); log: ")


def test_second_scheduler_takes_over_within_sixty_seconds_of_a_kill_at_the_default_lease(
    house: sa.Engine, start
) -> None:
    first = start("10")
    wait_for(lambda: leases.holder_of(house, "scheduler") is not None)
    second = start("10")
    time.sleep(1)
    killed = time.monotonic()
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    wait_for(lambda: f":{second.pid}:" in getattr(leases.holder_of(house, "scheduler"), "holder", ""), 60)
    print(f"taken over after {time.monotonic() - killed:.1f} s")


def started_pids(settings: Settings) -> list[int]:
    file = settings.home / "started"
    wait_for(lambda: file.exists() and file.read_text().endswith("\n"))
    return [int(word) for word in file.read_text().split()]


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come"
        time.sleep(0.03)


def wait_for_end(engine: sa.Engine, job_id: str) -> jobs.Job:
    wait_for(lambda: jobs.get(engine, job_id).has_ended)
    return jobs.get(engine, job_id)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
