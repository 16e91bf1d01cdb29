"""`headwater evaluate`: score a bundle on labelled data, through the runtime that serves it."""

import json
from collections.abc import Sequence
from typing import Any

import click


@click.command()
@click.argument("reference")
@click.option("--data", required=True, type=click.Path(), help="file: csv, tsv, jsonl or parquet")
@click.option("--text-column", default="text", show_default=True, help="for a classifier")
@click.option("--label-column", default="label", show_default=True, help="for a classifier")
@click.option(
    "--label-separator", default=None, help="separator of several labels in one cell  [default: as in tuning]"
)
@click.option("--query-column", default="query", show_default=True, help="for an encoder")
@click.option("--positive-column", default="positive", show_default=True, help="for an encoder")
@click.option("--negative-column", default=None, help="for an encoder: further passages to search among")
@click.option("--json", "as_json", is_flag=True, help="print for programs")
def evaluate(reference: str, data: str, as_json: bool, **columns: Any) -> None:
    """Score a run folder, bundle folder or name[@version]: a classifier on labelled texts, an encoder on pairs.

    \b
    Examples:
      headwater evaluate runs/intents --data test.csv
      headwater evaluate support-intents-en@2 --data test.csv --text-column text --label-column intent --json
      headwater evaluate runs/search --data pairs.csv --query-column question --positive-column page
    """
    from headwater.bundles import find_bundle
    from headwater.errors import Unsupported
    from headwater.settings import load_settings

    settings = load_settings()
    bundle = find_bundle(reference, settings)
    if bundle.manifest.kind not in ("classifier", "encoder"):
        raise Unsupported(f"{reference} is {bundle.manifest.a_kind}; classifiers and encoders are scored")
    if bundle.manifest.kind == "encoder":
        scores, show = _score_encoder(bundle, data, settings.threads, columns), _print_encoder
    else:
        scores, show = _score_classifier(bundle, data, settings.threads, columns), _print
    if as_json:
        click.echo(json.dumps(scores, indent=2, ensure_ascii=False))
    else:
        show(scores)


def _score_classifier(bundle: Any, data: str, threads: int, columns: dict[str, Any]) -> dict[str, Any]:
    from headwater.data import read_texts
    from headwater.release.scoring import score_classifier

    result = read_texts(
        data,
        text_column=columns["text_column"],
        label_column=columns["label_column"],
        label_separator=columns["label_separator"] or bundle.manifest.config.get("label_separator"),
    )
    _name(result.problems)
    return score_classifier(bundle, result.examples, threads)


def _score_encoder(bundle: Any, data: str, threads: int, columns: dict[str, Any]) -> dict[str, Any]:
    from headwater.data import read_pairs
    from headwater.release.ranking import score_encoder

    names = ("query_column", "positive_column", "negative_column")
    result = read_pairs(data, **{name: columns[name] for name in names})
    _name(result.problems)
    return score_encoder(bundle, result.examples, threads)


def _name(problems: Sequence[Any]) -> None:
    for problem in problems:
        click.echo(f"not used: {problem}", err=True)


def _print_encoder(scores: dict[str, Any]) -> None:
    click.echo(f"{scores['queries']} queries against {scores['passages']} passages")
    for name in ("recall@1", "recall@5", "ndcg@10", "mrr@10"):
        low, high = scores[f"{name}_interval"]
        click.echo(f"{name:8s}  {scores[name]:.4f} (95 % {low:.4f} to {high:.4f})")


def _print(scores: dict[str, Any]) -> None:
    def line(key: str) -> str:
        low, high = scores[f"{key}_interval"]
        return f"{scores[key]:.4f} (95 % {low:.4f} to {high:.4f})"

    if scores["multi_label"]:
        click.echo(f"{scores['examples']} examples, micro F1 {line('micro_f1')}")
        click.echo(f"all labels of a text right {line('accuracy')}")
    else:
        click.echo(f"{scores['examples']} examples, accuracy {line('accuracy')}")
    click.echo(f"macro F1 {line('macro_f1')}, weighted F1 {scores['weighted_f1']:.4f}")
    if "scope" in scores:
        scope = scores["scope"]
        inside, recall = scope["in_scope_accuracy"], scope["out_of_scope_recall"]
        click.echo(f"out of scope: recall {recall:.4f}, in-scope accuracy {inside:.4f}")
    width = max(len(name) for name in scores["per_class"])
    click.echo(f"{'class':{width}s}  precision  recall  F1     support")
    for name, s in scores["per_class"].items():
        click.echo(f"{name:{width}s}  {s['precision']:.3f}      {s['recall']:.3f}   {s['f1']:.3f}  {s['support']}")
