"""`headwater finance`: from prepare and crawl to alerts, replay and tuning."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click


@click.group()
def finance() -> None:
    """The finance monitor.

    \b
    Examples:
      headwater finance prepare
      headwater finance crawl
      headwater finance score --file news.csv --text-column title --json
      headwater finance alerts --json
      headwater finance replay --from 2026-11-01 --to 2026-11-24
    """


def _context() -> Any:
    from headwater.settings import load_settings
    from headwater.web import open_context

    return open_context(load_settings())


@finance.command()
def prepare() -> None:
    """Fetch models, migrate databases, export and gate the starter, set up the sample world; quick when all is there.

    \b
    Example:
      headwater finance prepare
    """
    from finance_monitor.setup import prepare_world
    from finance_monitor.training import prepare_starter
    from headwater.progress import bar

    context = _context()
    engine = context.engine("finance")
    for name in prepare_starter(context.settings, context.registry, bar("models")):
        click.echo(f"  prepared {name}")
    if context.settings.demo and prepare_world(context.settings, engine):
        click.echo("  set up the sample world: sources, companies, an alert rule and a local inbox")


@finance.command()
@click.argument("source", nargs=-1)
@click.option("--sources", "path", type=click.Path(path_type=Path), help="another file than home/finance/sources.yaml")
@click.option("--json", "as_json", is_flag=True, help="one JSON list instead of lines")
def crawl(source: tuple[str, ...], path: Path | None, as_json: bool) -> None:
    """Crawl the named sources now, or all of them.

    \b
    Examples:
      headwater finance crawl
      headwater finance crawl harbour-wire --json
    """
    from dataclasses import asdict

    from finance_monitor.crawling import crawl_all
    from finance_monitor.sources import load_sources, sources_path
    from headwater.errors import NotFound
    from headwater.progress import bar

    context = _context()
    context.engine("finance")
    wanted = load_sources(path or sources_path(context.settings))
    unknown = sorted(set(source) - {s.id for s in wanted})
    if unknown:
        raise NotFound(f"there is no source {unknown[0]!r}; there are: {', '.join(s.id for s in wanted)}")
    chosen = [s for s in wanted if (s.id in source if source else s.enabled)]
    outcomes = crawl_all(context.settings, chosen, progress=bar("crawl"))
    if as_json:
        click.echo(json.dumps([asdict(outcome) for outcome in outcomes], ensure_ascii=False, indent=1))
        return
    for outcome in outcomes:
        figures = outcome.figures
        click.echo(
            f"  {outcome.source_id:24s} {outcome.outcome:9s} {figures.get('new', 0):5d} new "
            f"{figures.get('not_modified', 0):5d} unchanged {figures.get('errors', 0):4d} errors  {outcome.reason}"
        )


@finance.command()
@click.option("--until-idle", is_flag=True, help="end when nothing is left to do")
def work(until_idle: bool) -> None:
    """Crawl, judge and alert until stopped; the scheduler runs this.

    \b
    Example:
      headwater finance work --until-idle
    """
    import logging
    import signal

    from finance_monitor.models import Models
    from finance_monitor.worker import Worker

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    context = _context()
    models = Models(context.registry, threads=1)  # for each of the worker's readers
    models.load()
    worker = Worker(context.settings, context.engine("finance"), models)
    signal.signal(signal.SIGTERM, lambda number, frame: worker.stopping.set())
    signal.signal(signal.SIGINT, lambda number, frame: worker.stopping.set())
    if until_idle:
        worker.run_until_idle(click.echo)
    else:
        worker.run(click.echo)


@finance.command()
@click.option("--file", "path", type=click.Path(path_type=Path), required=True, help="csv, tsv, jsonl or parquet")
@click.option("--text-column", default="text", show_default=True, help="column with the text")
@click.option("--json", "as_json", is_flag=True, help="one JSON list instead of lines")
def score(path: Path, text_column: str, as_json: bool) -> None:
    """Sentiment, companies and topics of your own texts.

    \b
    Example:
      headwater finance score --file news.csv --text-column title --json
    """
    from finance_monitor.models import Models
    from finance_monitor.scoring import score_texts
    from finance_monitor.worker import open_gazetteer
    from headwater.data import RowProblem
    from headwater.data.rows import columns_of, stream_rows
    from headwater.errors import NotFound
    from headwater.progress import bar

    context = _context()
    if text_column not in columns_of(path):
        raise NotFound(f"{path} has no column {text_column!r}; there are: {', '.join(columns_of(path))}")
    problems: list[RowProblem] = []
    texts = [row.values[text_column] or "" for row in stream_rows(path, problems)]
    for problem in problems:
        click.echo(f"not used: {problem}", err=True)
    models = Models(context.registry, context.settings.threads)
    found = score_texts(texts, models, open_gazetteer(context.settings), progress=bar("score"))
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    for item in found:
        said = ", ".join(f"{c['name']} {c['sentiment']['label'] or 'unsure'}" for c in item["companies"])
        label = item["sentiment"]["label"] or "unsure"
        click.echo(f"{label:9s} {item['text'][:70]}  [{said}] {', '.join(t['topic'] for t in item['topics'])}")


@finance.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="one JSON list instead of lines")
def alerts(limit: int, as_json: bool) -> None:
    """The latest alerts, newest first.

    \b
    Example:
      headwater finance alerts --limit 5
    """
    from finance_monitor.queries import recent_alerts
    from finance_monitor.wording import told

    context = _context()
    found = recent_alerts(context.engine("finance"), context.settings.site, limit)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=1, default=str))
        return
    for alert in found:
        content = alert["content"]
        what = f"{content['incident']['severity']:8s} {content['change']:6s}"
        about = content["incident"]
        said = told(about["entity_kind"], about["entity"], content["reason"], "en") or about["entity"]
        click.echo(f"{alert['created']:%Y-%m-%d %H:%M} {alert['held'] or 'sent':12s} {what} {said}")


@finance.command()
@click.option("--from", "start", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]), help="first moment shown (UTC)")
@click.option("--to", "end", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]), help="last moment shown (UTC)")
@click.option("--speed", type=float, default=0.0, help="times real time; 0: as fast as possible")
@click.option("--output", type=click.Path(path_type=Path), help="file for the alerts as JSON lines")
def replay(start: datetime | None, end: datetime | None, speed: float, output: Path | None) -> None:
    """Run the whole path again over what is stored, as it was known then, into a database of its own.

    \b
    Example:
      headwater finance replay --from 2026-11-01 --to 2026-11-24 --output alerts.jsonl
    """
    from datetime import UTC

    from finance_monitor.models import Models
    from finance_monitor.replay import replay as run_replay
    from finance_monitor.worker import alert_age, open_gazetteer
    from headwater.progress import bar

    context = _context()
    report = run_replay(
        context.settings,
        context.engine("finance"),
        Models(context.registry, context.settings.threads),
        open_gazetteer(context.settings),
        start=start.replace(tzinfo=UTC) if start else None,
        end=end.replace(tzinfo=UTC) if end else None,
        speed=speed,
        alert_age=alert_age(context.settings),
        progress=bar("replay"),
    )
    text = "".join(line + "\n" for line in report.alerts)
    if output:
        output.write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)
    click.echo(f"{report.entries} entries, {len(report.alerts)} alerts, sha256 {report.digest}", err=True)


@finance.command("import-companies")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--exchange", default="", help="of all companies of the list: NYSE, SSE, SZSE, HKEX, LSE …")
@click.option("--country", default="", help="of all companies of the list")
def import_companies_command(path: Path, exchange: str, country: str) -> None:
    """Add the companies of an exchange's list (CSV in its own words, or SEC's JSON) to those that are watched.

    \b
    Example:
      headwater finance import-companies companies.csv --exchange LSE
    """
    from finance_monitor.companies import read_gazetteer, write_gazetteer
    from finance_monitor.importers import import_companies, merge
    from finance_monitor.worker import gazetteer_path

    report = import_companies(path, exchange, country)
    for problem in report.problems[:20]:
        click.echo(f"not used: {problem}", err=True)
    target = gazetteer_path(_context().settings)
    old = read_gazetteer(target) if target.is_file() else []
    merged = merge(old, report.companies)
    write_gazetteer(target, merged)
    click.echo(f"{len(merged) - len(old)} of {len(report.companies)} companies are new; {len(merged)} in {target}")


@finance.command()
@click.option("--days", type=click.IntRange(1), required=True, help="keep names and reasons of the last DAYS days")
@click.option("--site", default=None, help="only this site's rows; without it those of all sites")
def retention(days: int, site: str | None) -> None:
    """Take names and reasons out of old acknowledgements, corrections and silences; what was decided stays. The
    scheduler does so each night, with 365 days.

    \b
    Example:
      headwater finance retention --days 365
    """
    from finance_monitor.privacy import retention as run_retention

    count = run_retention(_context().engine("finance"), site, days)
    click.echo(f"names taken out of {count} rows ({f'site {site}' if site else 'all sites'})")


@finance.command("judge-again")
def judge_again_command() -> None:
    """Take up once more what could not be judged and was put aside, after what stood in the way is mended.

    \b
    Example:
      headwater finance judge-again
    """
    from finance_monitor.journaling import judge_again
    from headwater.storage.columns import now

    count = judge_again(_context().engine("finance"), now())
    click.echo(f"{count} entered again; the worker judges them next" if count else "nothing was put aside")


@finance.command()
@click.argument("task", type=click.Choice(["sentiment", "topics"]))
@click.option(
    "--examples",
    type=click.Path(path_type=Path),
    help="csv or jsonl: text, label, language; else what was corrected in the dashboard",
)
@click.option(
    "--language",
    type=click.Choice(["en", "other"]),
    default="en",
    show_default=True,
    help="which model: English, or all other languages",
)
@click.option("--epochs", type=click.IntRange(1, 50), default=3, show_default=True)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="new folder for the run")
def tune(task: str, examples: Path | None, language: str, epochs: int, output: Path) -> None:
    """Go on from the starter with the labels that people corrected; the result is a candidate, judged on them too.

    \b
    Examples:
      headwater finance tune sentiment --output runs/sentiment
      headwater finance tune topics --examples labels.csv --language other --output runs/topics
    """
    from finance_monitor.labelling import training_csv
    from finance_monitor.training import tune_on_labels
    from finance_monitor.worker import open_gazetteer
    from headwater.storage.jobs import acting_user, job_progress

    context = _context()
    if examples is None:
        with context.engine("finance").connect() as connection:
            data = training_csv(connection, context.settings.site, task, open_gazetteer(context.settings))
        output.mkdir(parents=True, exist_ok=True)
        examples = output / "labels.csv"
        examples.write_bytes(data)
    tune_on_labels(
        examples,
        task,
        "en" if language == "en" else "*",
        output,
        context.settings,
        context.registry,
        epochs=epochs,
        actor=acting_user(),
        progress=job_progress(context.settings, "tuning"),
        say=click.echo,
    )


@finance.command("train-starter")
@click.argument("model", nargs=-1)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="folder for the run folders")
def train_starter_command(model: tuple[str, ...], output: Path) -> None:
    """Tune the starter again by its recipe: sentiment-en, sentiment-multilingual, topics-en, topics-multilingual.

    \b
    Example:
      headwater finance train-starter topics-en --output build/finance
    """
    from finance_monitor.training import SUFFIX, TASKS, starter_name, train_starter
    from headwater.errors import NotFound
    from headwater.progress import bar

    names = {starter_name(task, group): (task, group) for task in TASKS for group in SUFFIX}
    for name in model or names:
        if name not in names:
            raise NotFound(f"there is no starter {name!r}; there are: {', '.join(names)}")
        run = train_starter(*names[name], output / name, _context().settings, bar(name), click.echo)
        click.echo(f"{name}: {json.dumps(run.metrics['test'])[:400]}")
