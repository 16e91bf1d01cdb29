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


def _open() -> tuple[Any, Any]:
    """The settings and the registry."""
    from headwater.bundles import open_registry
    from headwater.settings import load_settings
    from headwater.storage.engine import open_engine
    from headwater.storage.migrations import migrate

    settings = load_settings()
    engine = open_engine(settings, "house")
    migrate(engine, "house")
    return settings, open_registry(settings, engine)


def _split(reference: str) -> tuple[str, int | None]:
    name, _, number = reference.partition("@")
    if number and not number.isdigit():
        raise click.UsageError(f"{reference!r}: a version is a number, as in {name}@3")
    return name, int(number) if number else None


@registry.command("list")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="print for programs")
def list_bundles(name: str | None, as_json: bool) -> None:
    """List all names, or the versions of one, newest first.

    \b
    Examples:
      headwater registry list
      headwater registry list support-intents-en --json
    """
    _, found = _open()
    if name:
        found.version(name)  # says which names there are when this is none of them
    rows = [asdict(v) for n in ([name] if name else found.names()) for v in found.versions(n)]
    if as_json:
        click.echo(json.dumps(rows, indent=2, default=str))
        return
    for row in rows:
        created = row["created"].strftime("%Y-%m-%d %H:%M")
        click.echo(
            f"{row['name']}@{row['version']:<4d} {row['stage']:11s} {created}  {row['bundle_id']}  by {row['actor']}"
        )
    if not rows:
        click.echo(
            "no bundles; `headwater support prepare` registers those of the support bot, "
            "`headwater registry add NAME RUN` one of your own",
            err=True,
        )


@registry.command()
@click.argument("name")
@click.argument("reference")
@click.option("--gate", default=None, help="labelled file (columns text, label) that promotions are judged on; copied")
@click.option("--replace-gate", is_flag=True, help="judge on this file from now on instead of the name's present one")
def add(name: str, reference: str, gate: str | None, replace_gate: bool) -> None:
    """Register a run or bundle folder as a candidate.

    \b
    Example:
      headwater registry add my-intents runs/intents --gate gate.csv
    """
    from headwater.bundles import find_bundle
    from headwater.storage.jobs import acting_user

    settings, found = _open()
    bundle = find_bundle(reference, settings)
    examples = _read_gate(gate, bundle.manifest.config.get("label_separator")) if gate else None
    version = found.add(name, bundle, actor=acting_user(), gate=examples, replace_gate=replace_gate)
    click.echo(f"{name}@{version.version} ({version.stage})")


def _read_gate(path: str, separator: str | None) -> Any:
    """The examples of a gate file; a row that cannot be used would be left out of every later promotion."""
    from headwater.data import read_texts
    from headwater.errors import HeadwaterError

    result = read_texts(path, label_separator=separator)
    if result.problems:
        raise HeadwaterError(
            f"{len(result.problems)} rows of the gate set cannot be used, the first is {result.problems[0]}; "
            "mend or remove them"
        )
    return result.examples


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
    from headwater.release import follow
    from headwater.release import promote as run_promote
    from headwater.storage.jobs import acting_user, job_progress

    name, number = _split(reference)
    settings, found = _open()
    version, verdict = run_promote(found, name, number, actor=acting_user(), new_labels=new_labels)
    follow(settings, name, job_progress(settings, name))
    if as_json:
        click.echo(json.dumps({"version": version.version, "verdict": verdict.to_json()}))
        return
    scores = [f"accuracy {verdict.candidate_accuracy:.4f}"] if verdict.candidate_accuracy is not None else []
    if verdict.production_accuracy is not None:
        scores.append(f"before {verdict.production_accuracy:.4f}")
        scores.append(f"recall compared in {len(verdict.recalls)} of {verdict.classes} classes")
    click.echo(
        f"{name}@{version.version} is in production {('(' + ', '.join(scores) + ')') if scores else ''}".rstrip()
    )


@registry.command()
@click.argument("name")
def rollback(name: str) -> None:
    """Go back to the version that was in production before.

    \b
    Example:
      headwater registry rollback my-intents
    """
    from headwater.release import follow
    from headwater.release import rollback as run_rollback
    from headwater.storage.jobs import acting_user, job_progress

    settings, found = _open()
    version = run_rollback(found, name, actor=acting_user())
    follow(settings, name, job_progress(settings, name))
    click.echo(f"{name}@{version.version} is in production again")
