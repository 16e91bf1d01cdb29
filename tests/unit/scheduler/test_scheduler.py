"""The scheduler's promises, on real processes: it runs, cancels, recovers, and is alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from headwater.settings import Settings
from headwater.storage import jobs, leases
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate
from headwater.storage.schedules import ScheduledJob, last_due, submit_due
from scheduler.clock import missed_run, start_clock

# A verb of the command line, as an installed app would add one: it names itself in a file and waits, with a child.
PLUGIN = """
import os, pathlib, subprocess, sys, time
import click
from headwater.progress import Step
from headwater.settings import load_settings
from headwater.storage.jobs import acting_user, job_progress

@click.command()
@click.argument("seconds", type=float)
@click.option("--status", type=int, default=0)
@click.option("--stubborn", is_flag=True)
def linger(seconds, status, stubborn):
    settings = load_settings()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with (settings.home / "started").open("a") as file:
        file.write(f"{os.getpid()} {child.pid}\\n")
    report = job_progress(settings, "lingering")
    report(Step(1, 2, "half way"))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
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
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts schedulers whose command line also knows the verb `linger`; ends what is left of them."""
    plugin = tmp_path / "plugin"
    (plugin / "lingering-1.dist-info").mkdir(parents=True)
    (plugin / "lingering.py").write_text(PLUGIN)
    (plugin / "lingering-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: lingering\nVersion: 1\n")
    (plugin / "lingering-1.dist-info" / "entry_points.txt").write_text(
        "[headwater.commands]\nlinger = lingering:linger\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(plugin))
    started: list[subprocess.Popen[bytes]] = []

    def start_one() -> subprocess.Popen[bytes]:
        with (tmp_path / "scheduler.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "scheduler", "--lease-seconds", "2"], stdout=log, stderr=log
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


def test_scheduled_run_is_submitted_once_for_its_moment_and_not_while_the_last_one_runs(house: sa.Engine) -> None:
    nightly = ScheduledJob("tidy", "house", ("db", "status"), cron="0 3 * * *")
    due = datetime(2026, 11, 23, 3, tzinfo=UTC)
    job = submit_due(house, nightly, due)
    assert job is not None
    assert submit_due(house, nightly, due) is None
    assert submit_due(house, nightly, due + timedelta(days=1)) is None
    jobs.cancel(house, job.id, actor="ann")
    assert submit_due(house, nightly, due + timedelta(days=1)) is not None
    assert last_due(house, "tidy") == due + timedelta(days=1)


def test_several_missed_runs_are_caught_up_as_one() -> None:
    moment = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)
    nightly = CronTrigger.from_crontab("0 3 * * *", timezone=UTC)
    every_minute = IntervalTrigger(seconds=60, start_date=datetime(2020, 1, 1, tzinfo=UTC), timezone=UTC)
    assert missed_run(nightly, moment - timedelta(days=3), moment) == moment.replace(hour=3, second=0)
    assert missed_run(nightly, moment.replace(hour=3, second=0), moment) is None
    assert missed_run(every_minute, moment - timedelta(hours=1), moment) == moment.replace(second=0)
    assert missed_run(every_minute, moment.replace(second=0), moment) is None
    assert missed_run(nightly, None, moment) is None


def test_interval_job_fires_by_the_clock(house: sa.Engine) -> None:
    clock = start_clock(house, [ScheduledJob("often", "house", ("db", "status"), every_seconds=1)])
    try:
        wait_for(lambda: len(jobs.list_jobs(house)) == 1)
    finally:
        clock.shutdown()
    assert jobs.list_jobs(house)[0].actor == "schedule"


def started_pids(settings: Settings) -> list[int]:
    file = settings.home / "started"
    wait_for(lambda: file.exists() and file.read_text().endswith("\n"))
    return [int(word) for word in file.read_text().split()]


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come"
        time.sleep(0.03)


def wait_for_end(engine: sa.Engine, job_id: str) -> jobs.Job:
    wait_for(lambda: jobs.get(engine, job_id).has_ended)
    return jobs.get(engine, job_id)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
