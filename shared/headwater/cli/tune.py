"""`headwater tune`: fine-tune on files of your own."""

import functools
from typing import Any

import click


class _Tasks(click.Group):
    """Builds a task's flags from its configuration only when that task is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["bi-encoder", "classify"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return {"classify": _classify, "bi-encoder": _bi_encoder}.get(cmd_name, lambda: None)()


@click.group(cls=_Tasks)
def tune() -> None:
    """Fine-tune a model on your examples.

    \b
    Examples:
      headwater tune classify --train a.csv --text-column text --label-column label --output runs/intents
      headwater tune classify --config intents.yaml --method lora --output runs/intents-lora
      headwater tune bi-encoder --train pairs.jsonl --output runs/s
    """


@functools.cache
def _classify() -> click.Command:
    from headwater.tuning.config import ClassifyConfig
    from headwater.tuning.options import config_options

    @click.command("classify", short_help="assign labels to texts (multi-class or multi-label)")
    @config_options(ClassifyConfig)
    @click.option("--json", "as_json", is_flag=True, help="print the metrics for programs")
    def classify(config: Any, as_json: bool = False) -> None:
        """Tune a classifier on labelled texts; says what it will cost, then trains, calibrates, scores and exports.

        \b
        Example:
          headwater tune classify --train tickets.csv --text-column body --label-column queue --output runs/queues
        """
        _need(config.train, config.output)
        from headwater.settings import load_settings
        from headwater.storage.jobs import job_progress
        from headwater.tuning.classify import tune_classifier

        settings = load_settings()
        try:
            run = tune_classifier(config, job_progress(settings, "tuning"), settings=settings, say=_say)
        except KeyboardInterrupt:
            raise click.ClickException("stopped; the same command goes on from the last checkpoint") from None
        _print_run(run, as_json)

    return classify


@functools.cache
def _bi_encoder() -> click.Command:
    from headwater.tuning.config import BiEncoderConfig
    from headwater.tuning.options import config_options

    @click.command("bi-encoder", short_help="draw queries and the passages that answer them together")
    @config_options(BiEncoderConfig)
    @click.option("--json", "as_json", is_flag=True, help="print the metrics for programs")
    def bi_encoder(config: Any, as_json: bool = False) -> None:
        """Tune an encoder for search on query-passage pairs.

        \b
        Example:
          headwater tune bi-encoder --train pairs.csv --query-column question --positive-column page --output runs/s
        """
        _need(config.train, config.output)
        from headwater.settings import load_settings
        from headwater.storage.jobs import job_progress
        from headwater.tuning.bi_encoder import tune_bi_encoder

        settings = load_settings()
        try:
            run = tune_bi_encoder(config, job_progress(settings, "tuning"), settings=settings, say=_say)
        except KeyboardInterrupt:
            raise click.ClickException("stopped; the same command goes on from the last checkpoint") from None
        _print_run(run, as_json)

    return bi_encoder


def _need(train: str | None, output: str) -> None:
    if not train:
        raise click.UsageError("name the training file: --train examples.csv")
    if not output:
        raise click.UsageError("name a folder for the run: --output runs/my-run")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print_run(run: Any, as_json: bool) -> None:
    import json

    if as_json:
        click.echo(json.dumps({"folder": str(run.folder), "metrics": run.metrics}, indent=2))
        return
    for part, scores in run.metrics.items():
        numbers = [
            f"{name.removesuffix('_interval')} {_number(value)}"
            for name, value in scores.items()
            if _number(value) and f"{name}_interval" not in scores
        ]
        click.echo(f"{part}: {', '.join(numbers)}")
    click.echo(f"report: {run.folder / 'report.md'}")
    click.echo(f"bundle: {run.folder / 'bundle'}")


def _number(value: Any) -> str:
    if isinstance(value, dict) and "value" in value:
        return f"{value['value']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"
    return f"{value:.4f}" if isinstance(value, float) else ""
