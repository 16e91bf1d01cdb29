"""`headwater jobs` and `headwater db`, as a user calls them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.settings import Settings
from headwater.storage import jobs, leases
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate
from headwater.storage.schedules import SCHEDULER_LEASE, ScheduledJob, record_schedules


def headwater(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headwater.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def job(settings: Settings) -> jobs.Job:
    engine = open_engine(settings, "house")
    migrate(engine, "house")
    return jobs.submit(engine, "support", ["support", "ingest", "docs"], actor="ann")


def test_jobs_are_listed_for_people_and_programs(job: jobs.Job) -> None:
    listed = headwater("jobs", "list").stdout
    assert job.id in listed
    assert "support ingest docs" in listed
    (row,) = json.loads(headwater("jobs", "list", "--json").stdout)
    assert (row["id"], row["state"], row["argv"]) == (job.id, "queued", ["support", "ingest", "docs"])
    assert headwater("jobs", "list", "--state", "failed").stdout == "no jobs\n"


def test_cancelled_job_is_shown_by_watch_and_cannot_be_cancelled_again(job: jobs.Job) -> None:
    assert headwater("jobs", "cancel", job.id).stdout == "cancelled\n"
    watched = headwater("jobs", "watch", job.id)
    assert (watched.returncode, watched.stdout.split()[0]) == (1, "cancelled")
    again = headwater("jobs", "cancel", job.id)
    assert (again.returncode, "already cancelled" in again.stderr) == (2, True)


def test_log_of_a_job_is_printed_and_a_missing_one_named(job: jobs.Job, settings: Settings) -> None:
    assert "written nothing yet" in headwater("jobs", "log", job.id).stderr
    path = settings.home / job.log
    path.parent.mkdir(parents=True)
    path.write_text("12 pages read\n")
    assert headwater("jobs", "log", job.id).stdout == "12 pages read\n"


def test_schedules_and_their_ledger_are_shown_with_what_is_silent(settings: Settings) -> None:
    engine = open_engine(settings, "house")
    migrate(engine, "house")
    shown = headwater("jobs", "schedules")
    assert shown.returncode == 1 and "scheduler: has not been heard of yet" in shown.stdout
    assert headwater("jobs", "ledger").stdout == "no scheduled run yet\n"
    nightly = ScheduledJob("nightly", "support", ("support", "reembed"), cron="0 3 * * *")
    record_schedules(engine, [nightly], {"weekly": "no app has a schedule of this name"})
    leases.acquire(engine, SCHEDULER_LEASE, "test", 30)
    shown = headwater("jobs", "schedules")
    assert shown.returncode == 0 and "support reembed" in shown.stdout
    assert "weekly: no app has a schedule of this name" in shown.stdout
    said = json.loads(headwater("jobs", "schedules", "--json").stdout)
    assert [row["name"] for row in said["schedules"]] == ["nightly", "weekly"]
    assert [(alarm["kind"], alarm["subject"]) for alarm in said["alarms"]] == [("settings", "weekly")]


def test_database_status_says_what_to_do_and_migrate_does_it(settings: Settings, tmp_path: Path) -> None:
    before = headwater("db", "status")
    assert before.returncode == 1
    assert "version none" in before.stdout
    assert "headwater db migrate" in before.stdout
    assert headwater("db", "migrate").returncode == 0
    after = headwater("db", "status", "--json")
    assert after.returncode == 0
    assert all(state["up_to_date"] for state in json.loads(after.stdout))
    target = tmp_path / "copies"
    assert headwater("db", "backup", str(target)).returncode == 0
    assert (target / "house.db").exists()
