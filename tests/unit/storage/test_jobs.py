"""The jobs table: who may run what, cancelling, and jobs whose scheduler died."""

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from headwater.errors import Conflict, HeadwaterError, NotFound
from headwater.progress import Step
from headwater.settings import Settings
from headwater.storage import jobs
from headwater.storage.columns import now
from headwater.storage.tables import jobs as table


def test_submitted_job_waits_with_its_words_actor_and_log(house: sa.Engine) -> None:
    job = jobs.submit(house, "support", ["support", "ingest", "一份.md"], actor="ann")
    assert (job.state, job.argv, job.actor) == ("queued", ("support", "ingest", "一份.md"), "ann")
    assert job.log == f"logs/jobs/{job.id}.log"
    assert jobs.list_jobs(house) == [job]
    assert jobs.list_jobs(house, app="finance") == []


@pytest.mark.parametrize("argv", [[], ["tune", "a\0b"]])
def test_words_that_are_no_command_are_refused(house: sa.Engine, argv: list[str]) -> None:
    with pytest.raises(HeadwaterError, match="words of a headwater command"):
        jobs.submit(house, "house", argv, actor="ann")


def test_one_heavy_job_runs_at_a_time_while_light_ones_pass_it(house: sa.Engine) -> None:
    first = jobs.submit(house, "house", ["tune", "a"], actor="ann", heavy=True)
    second = jobs.submit(house, "house", ["tune", "b"], actor="ann", heavy=True)
    light = jobs.submit(house, "house", ["db", "status"], actor="ann")
    taken = [jobs.claim(house, "w", light_slots=1) for _ in range(3)]
    assert [job.id if job else None for job in taken] == [first.id, light.id, None]
    jobs.finish(house, first.id, "done", "finished")
    following = jobs.claim(house, "w", light_slots=1)
    assert following is not None
    assert following.id == second.id


def test_many_claimers_never_take_one_job_twice(house: sa.Engine) -> None:
    for number in range(20):
        jobs.submit(house, "house", ["db", str(number)], actor="ann")
    taken: list[str] = []

    def claim_all(worker: str) -> None:
        while (job := jobs.claim(house, worker, light_slots=100)) is not None:
            taken.append(job.id)

    threads = [threading.Thread(target=claim_all, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(taken) == len(set(taken)) == 20


def test_queued_job_is_cancelled_at_once_and_never_claimed(house: sa.Engine) -> None:
    job = jobs.submit(house, "house", ["tune"], actor="ann")
    assert jobs.cancel(house, job.id, actor="bob").state == "cancelled"
    assert jobs.claim(house, "w", light_slots=1) is None
    with pytest.raises(Conflict, match="already cancelled"):
        jobs.cancel(house, job.id, actor="bob")


def test_cancelling_a_running_job_reaches_its_worker_with_the_next_heartbeat(house: sa.Engine) -> None:
    job = jobs.submit(house, "house", ["tune"], actor="ann")
    jobs.claim(house, "w", light_slots=1)
    assert jobs.beat(house, "w", [job.id]) == []
    assert jobs.cancel(house, job.id, actor="bob").state == "running"
    assert jobs.beat(house, "w", [job.id]) == [job.id]
    assert jobs.beat(house, "other", [job.id]) == []


def test_heartbeat_keeps_the_named_jobs_alive_and_lets_others_grow_silent(house: sa.Engine) -> None:
    kept, forgotten = (jobs.submit(house, "house", ["db"], actor="ann") for _ in range(2))
    jobs.claim(house, "w", light_slots=2)
    jobs.claim(house, "w", light_slots=2)
    silence(house)
    jobs.beat(house, "w", [kept.id])
    assert [job.id for job in jobs.lost(house, 30)] == [forgotten.id]


def test_job_reports_its_progress_into_its_row(
    house: sa.Engine, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.submit(house, "house", ["tune"], actor="ann")
    jobs.claim(house, "w", light_slots=1)
    monkeypatch.setenv(jobs.JOB_VARIABLE, job.id)
    report = jobs.job_progress(database_settings, "tuning")
    report(Step(3, 12, "epoch 1"))
    assert (jobs.get(house, job.id).progress, jobs.get(house, job.id).message) == (0.25, "epoch 1")
    report(Step(4, 12, "too soon after the last"))
    assert jobs.get(house, job.id).progress == 0.25
    report(Step(12, 12, "ready"))
    assert jobs.get(house, job.id).progress == 1.0


def test_lost_job_is_queued_again_until_its_attempts_are_used_up(house: sa.Engine) -> None:
    job = jobs.submit(house, "house", ["tune"], actor="ann")
    for _ in range(jobs.MAX_ATTEMPTS):
        assert jobs.get(house, job.id).state == "queued"
        jobs.claim(house, "w", light_slots=1)
        assert jobs.lost(house, 30) == []
        silence(house)
        (found,) = jobs.lost(house, 30)
        jobs.recover(house, found)
    assert jobs.get(house, job.id).state == "failed"
    assert "3 times" in jobs.get(house, job.id).message


def test_lost_job_that_was_to_be_cancelled_is_cancelled(house: sa.Engine) -> None:
    job = jobs.submit(house, "house", ["tune"], actor="ann")
    jobs.claim(house, "w", light_slots=1)
    jobs.cancel(house, job.id, actor="bob")
    assert jobs.recover(house, jobs.get(house, job.id)).state == "cancelled"


def test_stop_of_the_scheduler_costs_a_job_no_attempt(house: sa.Engine) -> None:
    job = jobs.submit(house, "house", ["tune"], actor="ann")
    jobs.claim(house, "w", light_slots=1)
    jobs.requeue(house, job.id, "the scheduler stopped")
    assert (jobs.get(house, job.id).state, jobs.get(house, job.id).attempts) == ("queued", 0)


def test_watching_shows_each_change_until_the_end(house: sa.Engine) -> None:
    job = jobs.submit(house, "house", ["tune"], actor="ann")
    seen = []
    for state in jobs.watch(house, job.id, interval=0.01):
        seen.append(state.state)
        if state.state == "queued":
            jobs.claim(house, "w", light_slots=1)
        elif state.state == "running":
            jobs.finish(house, job.id, "failed", "exit status 2")
    assert seen == ["queued", "running", "failed"]


def test_unknown_job_is_not_found(house: sa.Engine) -> None:
    for call in (lambda: jobs.get(house, "nope"), lambda: jobs.cancel(house, "nope", actor="ann")):
        with pytest.raises(NotFound, match="nope"):
            call()


def silence(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(table.update().values(heartbeat=now() - timedelta(seconds=60)))
