"""`headwater registry`: list, add, promote and roll back bundles."""

import json
from dataclasses import asdict
from typing import Any

import click


@click.group()
def registry() -> None:
    """List, promote and roll back bundles.

    \b
    Examples:
      headwater registry list
      headwater registry add my-intents runs/intents --gate gate.csv
      headwater registry promote my-intents@2
      headwater registry rollback my-intents
    """


def _open() -> Any:
    from headwater.bundles import open_registry
    from headwater.settings import load_settings
    from headwater.storage.engine import open_engine
    from headwater.storage.migrations import migrate

    settings = load_settings()
    engine = open_engine(settings, "house")
    migrate(engine, "house")
    return open_registry(settings, engine)


def _split(reference: str) -> tuple[str, int | None]:
    name, _, number = reference.partition("@")
    if number and not number.isdigit():
        raise click.UsageError(f"{reference!r}: a version is a number, as in {name}@3")
    return name, int(number) if number else None


@registry.command("list")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="print for programs")
def list_bundles(name: str | None, as_json: bool) -> None:
    """All names, or the versions of one."""
    found = _open()
    rows = [asdict(v) for n in ([name] if name else found.names()) for v in found.versions(n)]
    if as_json:
        click.echo(json.dumps(rows, indent=2, default=str))
        return
    for row in rows:
        created = row["created"].strftime("%Y-%m-%d %H:%M")
        click.echo(
            f"{row['name']}@{row['version']:<4d} {row['stage']:11s} {created}  {row['bundle_id']}  by {row['actor']}"
        )


@registry.command()
@click.argument("name")
@click.argument("reference")
@click.option("--gate", default=None, help="labelled file (columns text, label) that promotions are judged on")
def add(name: str, reference: str, gate: str | None) -> None:
    """Register a run or bundle folder as a candidate.

    \b
    Example:
      headwater registry add my-intents runs/intents --gate gate.csv
    """
    from pathlib import Path

    from headwater.bundles import find_bundle
    from headwater.settings import load_settings
    from headwater.storage.jobs import acting_user

    bundle = find_bundle(reference, load_settings())
    version = _open().add(name, bundle, actor=acting_user(), gate_set=str(Path(gate).absolute()) if gate else None)
    click.echo(f"{name}@{version.version} ({version.stage})")


@registry.command()
@click.argument("reference")
@click.option("--new-labels", is_flag=True, help="accept labels that the production version has not")
@click.option("--json", "as_json", is_flag=True, help="print the verdict for programs")
def promote(reference: str, new_labels: bool, as_json: bool) -> None:
    """Put a version into production, if the gate finds it not worse than the present one.

    \b
    Example:
      headwater registry promote my-intents@2
    """
    from headwater.release import promote as run_promote
    from headwater.storage.jobs import acting_user

    name, number = _split(reference)
    version, verdict = run_promote(_open(), name, number, actor=acting_user(), new_labels=new_labels)
    if as_json:
        click.echo(json.dumps({"version": version.version, "verdict": verdict.to_json()}))
        return
    scores = [f"accuracy {verdict.candidate_accuracy:.4f}"] if verdict.candidate_accuracy is not None else []
    if verdict.production_accuracy is not None:
        scores.append(f"before {verdict.production_accuracy:.4f}")
    click.echo(
        f"{name}@{version.version} is in production {('(' + ', '.join(scores) + ')') if scores else ''}".rstrip()
    )


@registry.command()
@click.argument("name")
def rollback(name: str) -> None:
    """Go back to the version that was in production before."""
    from headwater.release import rollback as run_rollback
    from headwater.storage.jobs import acting_user

    version = run_rollback(_open(), name, actor=acting_user())
    click.echo(f"{name}@{version.version} is in production again")
