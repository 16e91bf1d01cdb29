"""`headwater models`: list and fetch base models."""

import json

import click


@click.group()
def models() -> None:
    """List and fetch base models.

    \b
    Examples:
      headwater models list
      headwater models fetch minilm multilingual
    """


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="print for programs")
def list_models(as_json: bool) -> None:
    """The catalog, and which of it is here.

    \b
    Example:
      headwater models list --json
    """
    from headwater.models import CATALOG
    from headwater.settings import load_settings

    folder = load_settings().folder("models")
    rows = [
        {
            "name": entry.name,
            "kind": entry.kind,
            "language": entry.language,
            "licence": entry.licence,
            "fetched": (folder / entry.name / "headwater.json").is_file(),
            "summary": entry.summary,
        }
        for entry in CATALOG.values()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        mark = "fetched" if row["fetched"] else "-"
        click.echo(f"{row['name']!s:14s} {mark:8s} {row['kind']!s:10s} {row['language']!s:6s} {row['summary']}")


@models.command("fetch")
@click.argument("names", nargs=-1, required=True)
def fetch_models(names: tuple[str, ...]) -> None:
    """Fetch catalog models or hub ids into the state folder; what is there already is left alone.

    \b
    Example:
      headwater models fetch minilm multilingual
    """
    from headwater.models import resolve_base
    from headwater.progress import bar
    from headwater.settings import load_settings

    settings = load_settings()
    for name in names:
        model = resolve_base(name, settings, bar(name))
        click.echo(f"{name}: {model.path}")
