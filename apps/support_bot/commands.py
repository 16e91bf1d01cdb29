"""`headwater support`: ingest, ask, evaluate, prepare, tune."""

import json
from pathlib import Path
from typing import Any

import click


@click.group()
def support() -> None:
    """The support bot.

    \b
    Examples:
      headwater support prepare
      headwater support ingest help-centre/ https://example.com/sitemap.xml
      headwater support ask "How long does a refund take?"
      headwater support eval --json
    """


def _context() -> Any:
    from headwater.settings import load_settings
    from headwater.web import open_context

    return open_context(load_settings())


def _service() -> Any:
    from support_bot.service import Service

    service = Service(_context())
    service.open()
    return service


@support.command()
def prepare() -> None:
    """Fetch models, migrate databases, export and gate the starter, ingest the sample shop; quick when all is there.

    \b
    Example:
      headwater support prepare
    """
    from headwater.progress import bar
    from headwater.storage.jobs import acting_user, job_progress
    from support_bot.reembedding import reembed_sites
    from support_bot.site import DATABASE, open_encoders, open_index, package_folder
    from support_bot.training import prepare_starter

    context = _context()
    settings = context.settings
    engine = context.engine(DATABASE)
    for name in prepare_starter(settings, context.registry, bar("models")):
        click.echo(f"  prepared {name}")
    index_empty = not _has_documents(engine, settings.site)
    if settings.demo and index_empty:
        from support_bot.ingestion import ingest as run_ingest

        index = open_index(engine, settings.site, open_encoders(context.registry, settings.threads))
        folder = package_folder("sample_data") / "help_centre"
        done = run_ingest(index, [str(folder)], settings, actor=acting_user(), progress=bar("sample shop"))
        click.echo(f"  ingested {len(done.documents)} pages of the sample shop")
        for name, reason in done.failures:
            click.echo(f"  not read: {name}: {reason}", err=True)
    _say_reembedded(reembed_sites(context, job_progress(settings, "embedding")))
    context.close()


def _say_reembedded(counts: dict[str, int]) -> None:
    for site, count in counts.items():
        click.echo(f"  {site}: {count} passages embedded with the encoders in production")


@support.command()
def reembed() -> None:
    """Embed the documents of all sites with the encoders in production; quick when they are.

    Promotion and rollback of an encoder do it themselves; this finishes what was cut off. Until it is done, answers
    come from the former encoder.

    \b
    Example:
      headwater support reembed
    """
    from headwater.storage.jobs import job_progress
    from support_bot.reembedding import reembed_sites

    context = _context()
    counts = reembed_sites(context, job_progress(context.settings, "embedding"))
    _say_reembedded(counts)
    if not counts:
        click.echo("all passages are embedded with the encoders in production")
    context.close()


def _has_documents(engine: Any, site: str) -> bool:
    import sqlalchemy as sa

    from headwater.retrieval.tables import documents

    with engine.connect() as connection:
        return (
            connection.execute(sa.select(documents.c.id).where(documents.c.site_id == site).limit(1)).first()
            is not None
        )


@support.command()
@click.argument("sources", nargs=-1, required=True)
@click.option("--site", default=None, help="site that the documents belong to")
@click.option("--json", "as_json", is_flag=True, help="print for programs")
def ingest(sources: tuple[str, ...], site: str | None, as_json: bool) -> None:
    """Import files, folders, web pages or sitemaps; replaces documents with the same id.

    The id of a file is its path from here without the suffix. What cannot be read is named, the rest is imported, and
    the exit status is 1.

    \b
    Examples:
      headwater support ingest handbook.pdf faq.csv
      headwater support ingest https://example.com/help/sitemap.xml
    """
    from headwater.progress import bar
    from headwater.storage.jobs import acting_user
    from support_bot.ingestion import ingest as run_ingest
    from support_bot.site import DATABASE, open_encoders, open_index

    context = _context()
    encoders = open_encoders(context.registry, context.settings.threads)
    index = open_index(context.engine(DATABASE), site or context.settings.site, encoders)
    done = run_ingest(index, list(sources), context.settings, actor=acting_user(), progress=bar("ingesting"))
    if as_json:
        click.echo(json.dumps({"documents": done.documents, "failures": done.failures}, ensure_ascii=False))
    else:
        click.echo(f"{len(done.documents)} document{'' if len(done.documents) == 1 else 's'} ingested")
        for name, reason in done.failures:
            click.echo(f"not read: {name}: {reason}", err=True)
    if done.failures:
        raise click.exceptions.Exit(1)


@support.command()
@click.argument("question")
@click.option("--language", default=None, help="language of the reply; without one that of the question")
@click.option("--json", "as_json", is_flag=True, help="print for programs")
def ask(question: str, language: str | None, as_json: bool) -> None:
    """Answer one question, with its source.

    \b
    Example:
      headwater support ask "How long does a refund take?"
    """
    from support_bot.api import debug, wire

    answer = _service().answerer(None).answer(question, language)
    if as_json:
        click.echo(json.dumps({**wire(answer), **debug(answer)}, ensure_ascii=False, indent=2))
        return
    click.echo(answer.text)
    for citation in answer.citations:
        click.echo(f"  [{citation.title}{' · ' + citation.section if citation.section else ''}] {citation.url}")
    click.echo(f"  ({answer.path}, confidence {answer.confidence:.2f}, {answer.timings['total']:.0f} ms)")


@support.command("eval")
@click.option(
    "--data", default=None, help="questions (jsonl: question, language, document, sentence); default: the samples"
)
@click.option("--json", "as_json", is_flag=True, help="print for programs")
def evaluate(data: str | None, as_json: bool) -> None:
    """Score answers on questions with and without an answer in the help centre.

    `document` and `sentence` are empty for a question that the bot should refuse. An answer said to be in doubt, with
    the offer of a person, counts as refused.

    \b
    Example:
      headwater support eval
    """
    from support_bot.quality import evaluate as run_evaluation
    from support_bot.quality import read_questions
    from support_bot.site import package_folder

    questions = read_questions(Path(data) if data else package_folder("sample_data") / "questions.jsonl")
    scores = run_evaluation(_service().answerer(None), questions)
    if as_json:
        click.echo(json.dumps(scores, indent=2, ensure_ascii=False))
        return
    for language, row in scores.items():
        click.echo(
            f"{language}: {row['answerable']} answerable: {row['right']:.1%} right, {row['wrong']:.1%} wrong, "
            f"{row['refused']:.1%} refused (of all, {row['right_in_doubt']:.1%} right, but said to be in doubt); "
            f"{row['unanswerable']} without an answer: {1 - row['refused_rightly']:.1%} answered, "
            f"{row['refused_rightly']:.1%} refused; "
            f"median {row['median_ms']:.0f} ms; paths {row['paths']}"
        )


@support.command()
@click.option(
    "--data",
    default=None,
    help="questions as for eval, but others (10 with an answer and 10 without, a language); default: the starter's",
)
def fit(data: str | None) -> None:
    """Fit fusion weights and answer confidence; writes fusion.json and calibration.json.

    They go to `sites/<site>/` of the state folder; without --data, as developers of Headwater do, to the starter. A
    running gateway takes them up when it starts anew.

    \b
    Example:
      headwater support fit --data questions.jsonl
    """
    from support_bot.quality import fit as run_fit
    from support_bot.quality import read_questions
    from support_bot.site import package_folder, site_folder

    questions = read_questions(Path(data) if data else package_folder("sample_data") / "questions_fit.jsonl")
    service = _service()
    output = site_folder(service.settings, service.settings.site) if data else package_folder("starter")
    for line in run_fit(service, questions, output):
        click.echo(line)
    click.echo(f"written to {output}")


@support.command("train-starter")
@click.option("--language", "languages", multiple=True, type=click.Choice(["en", "zh"]), default=("en", "zh"))
@click.option("--output", type=click.Path(path_type=Path), default=Path("build/starter"), show_default=True)
def train_starter_command(languages: tuple[str, ...], output: Path) -> None:
    """Tune the intent models of starter/ again from their texts (minutes), and bring their model card up to date.

    \b
    Example:
      headwater support train-starter --language en
    """
    import shutil

    from headwater.progress import bar
    from headwater.settings import load_settings
    from support_bot.training import train_starter, write_card

    for language in languages:
        folder = output / language
        shutil.rmtree(folder, ignore_errors=True)
        run = train_starter(language, folder, load_settings(), bar(language), click.echo)
        click.echo(json.dumps({"language": language, "metrics": run.metrics}, indent=1))
    write_card()


@support.command("tune-intents")
@click.option("--examples", required=True, type=click.Path(path_type=Path), help="csv or jsonl with text and label")
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)
@click.option("--method", type=click.Choice(["lora", "full", "head"]), default="lora", show_default=True)
@click.option("--epochs", type=int, default=5, show_default=True)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="run folder")
def tune_intents(examples: Path, language: str, method: str, epochs: int, output: Path) -> None:
    """Tune the intent model on your own examples and register it as a candidate.

    \b
    Example:
      headwater support tune-intents --examples intents.csv --output runs/intents
    """
    from headwater.storage.jobs import acting_user, job_progress
    from support_bot.training import tune_on_examples

    context = _context()
    tune_on_examples(
        examples,
        language,
        method,
        epochs,
        output,
        context.settings,
        context.registry,
        actor=acting_user(),
        progress=job_progress(context.settings, "tuning"),
        say=click.echo,
    )


@support.command()
@click.option(
    "--days", type=click.IntRange(1), required=True, help="keep conversations with a turn in the last DAYS days"
)
@click.option("--site", default=None, help="only this site's conversations; without it those of all sites")
def retention(days: int, site: str | None) -> None:
    """Delete old conversations, of every site unless one is named. The scheduler does so each night, with 365 days.

    \b
    Example:
      headwater support retention --days 365
    """
    from support_bot.privacy import retention as run_retention
    from support_bot.site import DATABASE

    context = _context()
    count = run_retention(context.engine(DATABASE), site, days)
    click.echo(f"{count} conversations deleted ({f'site {site}' if site else 'all sites'})")
