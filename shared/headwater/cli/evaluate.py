"""`headwater evaluate`: score a bundle on labelled data, through the runtime that serves it."""

import json
from typing import Any

import click


@click.command()
@click.argument("reference")
@click.option("--data", required=True, type=click.Path(), help="labelled file: csv, tsv, jsonl or parquet")
@click.option("--text-column", default="text", show_default=True)
@click.option("--label-column", default="label", show_default=True)
@click.option("--label-separator", default=None, help="separator of several labels in one cell")
@click.option("--json", "as_json", is_flag=True, help="print for programs")
def evaluate(
    reference: str, data: str, text_column: str, label_column: str, label_separator: str | None, as_json: bool
) -> None:
    """Score a run folder, bundle folder or name[@version] on labelled data.

    \b
    Examples:
      headwater evaluate runs/intents --data test.csv
      headwater evaluate support-intents-en@2 --data test.csv --text-column text --label-column intent --json
    """
    from headwater.bundles import find_bundle
    from headwater.data import read_texts
    from headwater.release.scoring import score_classifier
    from headwater.settings import load_settings

    settings = load_settings()
    bundle = find_bundle(reference, settings)
    result = read_texts(data, text_column=text_column, label_column=label_column, label_separator=label_separator)
    for problem in result.problems:
        click.echo(f"not used: {problem}", err=True)
    scores = score_classifier(bundle, result.examples, settings.threads)
    if as_json:
        click.echo(json.dumps(scores, indent=2, ensure_ascii=False))
        return
    _print(scores)


def _print(scores: dict[str, Any]) -> None:
    low, high = scores["accuracy_interval"]
    click.echo(f"{scores['examples']} examples, accuracy {scores['accuracy']:.4f} (95 % {low:.4f} to {high:.4f})")
    click.echo(f"macro F1 {scores['macro_f1']:.4f}, weighted F1 {scores['weighted_f1']:.4f}")
    if "scope" in scores:
        scope = scores["scope"]
        inside, recall = scope["in_scope_accuracy"], scope["out_of_scope_recall"]
        click.echo(f"out of scope: recall {recall:.4f}, in-scope accuracy {inside:.4f}")
    width = max(len(name) for name in scores["per_class"])
    click.echo(f"{'class':{width}s}  precision  recall  F1     support")
    for name, s in scores["per_class"].items():
        click.echo(f"{name:{width}s}  {s['precision']:.3f}      {s['recall']:.3f}   {s['f1']:.3f}  {s['support']}")
