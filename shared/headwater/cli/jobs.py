"""`headwater jobs`: list, watch, cancel background jobs and read their logs."""

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import sqlalchemy as sa
    from _typeshed import DataclassInstance


@click.group()
def jobs() -> None:
    """List, watch and cancel background jobs, and read their logs.

    \b
    Examples:
      headwater jobs list
      headwater jobs watch 00661057bf2c636713bbf96
    """


@jobs.command("list")
@click.option("--state", type=click.Choice(["queued", "running", "done", "failed", "cancelled"]))
@click.option("--app", help="jobs of one app")
@click.option("--limit", default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="print for programs")
def list_command(state: str | None, app: str | None, limit: int, as_json: bool) -> None:
    """List the latest jobs, newest first.

    \b
    Example:
      headwater jobs list --state failed
    """
    from headwater.storage.jobs import list_jobs

    found = list_jobs(_house(), state=state, app=app, limit=limit)
    if as_json:
        click.echo(json.dumps([_plain(job) for job in found], indent=2))
        return
    for job in found:
        click.echo(f"{job.id}  {job.state:9s} {job.progress:4.0%}  {' '.join(job.argv)[:60]:60s}  {job.message[:60]}")
    if not found:
        click.echo("no jobs")


@jobs.command()
@click.argument("job_id")
def watch(job_id: str) -> None:
    """Follow a job until it ends; exit status 1 unless it is done.

    \b
    Example:
      headwater jobs watch 00661057bf2c636713bbf96
    """
    from headwater.storage.jobs import watch as watch_job

    state = ""
    for job in watch_job(_house(), job_id):
        state = job.state
        click.echo(f"{job.state:9s} {job.progress:4.0%}  {job.message}")
    if state != "done":
        raise click.exceptions.Exit(1)


@jobs.command()
@click.argument("job_id")
def cancel(job_id: str) -> None:
    """Cancel a queued or running job.

    \b
    Example:
      headwater jobs cancel 00661057bf2c636713bbf96
    """
    from headwater.storage.jobs import acting_user
    from headwater.storage.jobs import cancel as cancel_job

    job = cancel_job(_house(), job_id, actor=acting_user())
    click.echo("cancelled" if job.has_ended else "asked the scheduler to stop it")


@jobs.command()
@click.argument("job_id")
def log(job_id: str) -> None:
    """Print what a job has written.

    \b
    Example:
      headwater jobs log 00661057bf2c636713bbf96
    """
    from headwater.errors import NotFound
    from headwater.settings import load_settings
    from headwater.storage.jobs import get

    path = load_settings().home / get(_house(), job_id).log
    if not path.exists():
        raise NotFound(f"job {job_id} has written nothing yet; {path} does not exist")
    click.echo(path.read_text(errors="replace"), nl=False)


@jobs.command()
@click.option("--json", "as_json", is_flag=True, help="print for programs")
def schedules(as_json: bool) -> None:
    """What runs by the clock, and what is silent that should be heard (then exit status 1).

    \b
    Example:
      headwater jobs schedules --json
    """
    from headwater.storage.alarms import alarms
    from headwater.storage.schedules import list_schedules

    house = _house()
    listed, found = list_schedules(house), alarms(house)
    if as_json:
        click.echo(
            json.dumps({"schedules": [_plain(s) for s in listed], "alarms": [_plain(a) for a in found]}, indent=2)
        )
    else:
        for alarm in found:
            click.echo(click.style(f"{alarm.subject}: {alarm.message}", fg="red"))
        for schedule in listed:
            times = schedule.cron or (f"every {schedule.every_seconds:g} s" if schedule.every_seconds else "")
            deadline = "resident" if schedule.resident else f"{schedule.deadline_seconds or 0:g} s at most"
            click.echo(f"{schedule.name:24s} {times:16s} {deadline:16s} {schedule.missed:9s} {' '.join(schedule.argv)}")
        if not listed:
            click.echo("no schedules yet: the scheduler records them when it starts")
    if any(alarm.kind == "silent" for alarm in found) and not as_json:
        raise click.exceptions.Exit(1)


@jobs.command()
@click.option("--schedule", "name", help="rows of one schedule")
@click.option("--limit", default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="print for programs")
def ledger(name: str | None, limit: int, as_json: bool) -> None:
    """What became of the latest scheduled runs: run, several windows as one, or missed with the reason.

    \b
    Example:
      headwater jobs ledger --schedule "support retention"
    """
    from headwater.storage.schedules import ledger as rows_of

    rows = rows_of(_house(), name=name, limit=limit)
    if as_json:
        click.echo(json.dumps([_plain(row) for row in rows], indent=2))
        return
    for row in rows:
        windows = f"{row.windows} windows" if row.windows != 1 else "1 window"
        said = row.reason or (row.message or "")
        click.echo(
            f"{row.due:%Y-%m-%d %H:%M:%S}  {row.name:24s} {row.outcome:7s} {windows:13s} {row.state or '':9s} {said}"
        )
    if not rows:
        click.echo("no scheduled run yet")


def _house() -> "sa.Engine":
    from headwater.settings import load_settings
    from headwater.storage.engine import open_engine
    from headwater.storage.migrations import migrate

    engine = open_engine(load_settings(), "house")
    migrate(engine, "house")
    return engine


def _plain(row: "DataclassInstance") -> dict[str, Any]:
    from dataclasses import asdict

    return {name: getattr(value, "isoformat", lambda v=value: v)() for name, value in asdict(row).items()}
