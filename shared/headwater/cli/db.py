"""`headwater db`: bring the databases to the installed version, and see where they are."""

import json

import click


@click.group()
def db() -> None:
    """Migrate, check and back up the databases: one for the house, one an app.

    \b
    Examples:
      headwater db status
      headwater db backup backups/2026-11-24
    """


@db.command("migrate")
def migrate_command() -> None:
    """Bring every database to the newest version; safe while other processes do the same.

    \b
    Example:
      headwater db migrate
    """
    from headwater.settings import load_settings
    from headwater.storage.engine import open_engine
    from headwater.storage.migrations import databases, migrate

    settings = load_settings()
    for name in databases():
        state = migrate(open_engine(settings, name), name)
        click.echo(f"{name}: version {state.current}")


@db.command()
@click.option("--json", "as_json", is_flag=True, help="print for programs")
def status(as_json: bool) -> None:
    """Show each database's version and the newest one; exit status 1 when one is behind.

    \b
    Example:
      headwater db status
    """
    from dataclasses import asdict

    from headwater.settings import load_settings
    from headwater.storage.engine import open_engine
    from headwater.storage.migrations import databases, schema_state

    settings = load_settings()
    states = [schema_state(open_engine(settings, name), name) for name in databases()]
    if as_json:
        click.echo(json.dumps([asdict(state) | {"up_to_date": state.up_to_date} for state in states], indent=2))
    else:
        for state in states:
            way_out = "" if state.up_to_date else "   → headwater db migrate"
            click.echo(f"{state.database}: version {state.current or 'none'} of {state.newest}{way_out}")
    if not all(state.up_to_date for state in states):
        raise click.exceptions.Exit(1)


@db.command()
@click.argument("folder", type=click.Path(file_okay=False))
def backup(folder: str) -> None:
    """Copy every SQLite database into FOLDER while the processes run; restore by copying back into home/db.

    \b
    Example:
      headwater db backup backups/2026-11-24
    """
    from pathlib import Path

    from headwater.settings import load_settings
    from headwater.storage.backup import back_up
    from headwater.storage.engine import open_engine
    from headwater.storage.migrations import databases, schema_state

    settings = load_settings()
    for name in databases():
        engine = open_engine(settings, name)
        if schema_state(engine, name).current is None:
            continue
        target = Path(folder) / f"{name}.db"
        back_up(engine, target)
        click.echo(f"{name}: {target} ({target.stat().st_size:,} bytes)")
