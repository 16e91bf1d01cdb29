"""The starter: sentiment per company and topics, tuned on public sets with an open licence and on own texts.

English models stand on `minilm`, those of every other language on `multilingual`, tuned on English and Chinese,
so that what the public English sets teach carries over.
"""

import json
import random
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from finance_monitor.companies import Gazetteer, read_gazetteer
from finance_monitor.domain import SENTIMENTS
from finance_monitor.marking import mark, mark_names
from finance_monitor.models import ENCODERS, SENTIMENT, TOPICS
from finance_monitor.wording import topic_keys
from headwater.bundles import Bundle, Registry
from headwater.data import TextExample, split_grouped
from headwater.data.public import sentfin, twitter_financial_news
from headwater.errors import HeadwaterError
from headwater.models import resolve_base
from headwater.progress import Progress, Step, silent
from headwater.release import promote
from headwater.settings import Settings

BASES = {"en": "minilm", "*": "multilingual"}
SUFFIX = {"en": "en", "*": "multilingual"}
TASKS = ("sentiment", "topics")
# The sample world is written from frames; several draws of it use most of what they can say.
WORLD_SEEDS = (101, 102, 103, 104)
_WORLD_ANCHOR = datetime(2026, 3, 2, 12, tzinfo=UTC)
_PUBLIC_SOURCES = (
    "twitter_financial_news_sentiment (MIT)",
    "SEntFiN 1.0 (MIT)",
    "texts written for this project",
)
_PUBLIC_HELP = 6_000
_PUBLIC_REHEARSED = 2_500
_OWN_SOURCES = ("texts written for this project",)


def package_folder(name: str) -> Path:
    """A data folder of this package."""
    return Path(str(files("finance_monitor") / name))


def starter_name(task: str, group: str) -> str:
    return f"{task}-{SUFFIX[group]}"


# --- texts ------------------------------------------------------------------------------------------------------------


def own_texts(part: str) -> list[dict[str, Any]]:
    """Rows of starter/texts.jsonl: text, language, target (or null), label, topics, part (train, valid, gate)."""
    path = package_folder("starter") / "texts.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [row for row in rows if row["part"] == part]


def sentiment_example(row: dict[str, Any]) -> TextExample:
    """An own text as the model reads it."""
    text = (
        mark_names(row["text"], row["target"], row.get("others", ()), row["language"]) if row["target"] else row["text"]
    )
    return TextExample(text, (row["label"],))


def gate(task: str, group: str) -> list[TextExample]:
    """The gate's texts of a model; written by hand, none of them from the sample world's frames."""
    rows = [row for row in own_texts("gate") if (row["language"] == "en") == (group == "en")]
    if task == "sentiment":
        return [sentiment_example(row) for row in rows]
    written = written_topics("gate", ("en",) if group == "en" else ("zh",))
    return [TextExample(row["text"], tuple(row["topics"])) for row in rows] + written


def written_texts(part: str, language: str) -> list[TextExample]:
    """Headlines written to teach wording that turns a meaning round (starter/sentiment-PART-LANGUAGE.jsonl)."""
    path = package_folder("starter") / f"sentiment-{part}-{language}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    named: dict[str, set[str]] = {}
    for row in rows:
        named.setdefault(row["text"], set()).add(row["target"] or "")
    examples = []
    for row in rows:
        target = row["target"]
        others = sorted(named[row["text"]] - {target, ""})
        text = mark_names(row["text"], target, others, language) if target else row["text"]
        examples.append(TextExample(text, (row["label"],)))
    return examples


def written_topics(part: str, languages: Sequence[str]) -> list[TextExample]:
    """Texts written for the topic model (starter/topics-PART.jsonl)."""
    path = package_folder("starter") / f"topics-{part}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    return [TextExample(row["text"], tuple(row["labels"])) for row in rows if row["language"] in languages]


def world_texts(language: str, task: str) -> list[TextExample]:
    """Titles, and titles with their first sentences, of several draws of the sample world."""
    from finance_monitor.world import build_world

    gazetteer = Gazetteer(read_gazetteer(package_folder("sample_data") / "gazetteer.csv"))
    found: dict[str, TextExample] = {}
    for seed in WORLD_SEEDS:
        for article in build_world(_WORLD_ANCHOR, seed).articles:
            if not article.language.startswith(language) or article.reprint_of or article.kind == "comment":
                continue
            if task == "topics":
                labels = tuple(sorted(article.topics)) or ("other",)
                for text in (article.title, f"{article.title}. {article.summary}"):
                    found[text] = TextExample(text, labels, group=article.event)
                continue
            mentions = gazetteer.mentions(article.title, "", article.published)
            for mention in mentions:
                if mention.company_id not in article.polarity:
                    continue
                others = [span for m in mentions if m.company_id != mention.company_id for span in m.spans]
                text = mark(article.title, mention.spans, others, language)
                found[text] = TextExample(text, (article.polarity[mention.company_id],), group=article.event)
    return list(found.values())


def public_sentiment() -> list[TextExample]:
    """The English sets that a starter may be tuned on: tweets as they are, headlines once for each company."""
    marked = [
        TextExample(mark_names(row.text, row.target, row.others, "en"), (row.label,), group=f"s{row.group}")
        for row in sentfin()
    ]
    tweets = [TextExample(e.text, e.labels, group=f"t{i}") for i, e in enumerate(twitter_financial_news().train)]
    return marked + tweets


def starter_data(
    task: str, group: str, seed: int = 0, *, public: bool = True
) -> tuple[list[TextExample], list[TextExample]]:
    """Training and validation part of a starter model; what one event or headline gave stays in one part.

    Without `public` only what is packaged, which a user has.
    """
    languages = ("en",) if group == "en" else ("en", "zh")
    examples: list[TextExample] = []
    if task == "sentiment" and public:
        found = public_sentiment()
        # For the multilingual model English is the help, and Chinese the task.
        examples += found if group == "en" else random.Random(seed).sample(found, _PUBLIC_HELP)
    # For topics the English half of the world adds little to what the multilingual model needs: Chinese.
    worlds = ("zh",) if task == "topics" and group == "*" else languages
    for language in worlds:
        examples += world_texts(language, task)
    train, valid = split_grouped(examples, 0.1, seed)
    for part, kept in (("train", train), ("valid", valid)):
        rows = [row for row in own_texts(part) if row["language"] in languages]
        if task == "sentiment":
            kept += [sentiment_example(row) for row in rows]
            kept += [example for language in languages for example in written_texts(part, language)]
        else:
            kept += [TextExample(row["text"], tuple(row["topics"])) for row in rows]
            kept += written_topics(part, languages)
    random.Random(seed).shuffle(train)
    return [_plain(e) for e in train], [_plain(e) for e in valid]


def _plain(example: TextExample) -> TextExample:
    return TextExample(example.text, example.labels)


# --- tuning -----------------------------------------------------------------------------------------------------------


def train_starter(
    task: str, group: str, output: Path, settings: Settings, progress: Progress, say: Callable[[str], None]
) -> Any:
    """Tune one model by the recipe and keep its adapter under starter/. Sentiment needs HEADWATER_DATA."""
    from headwater.tuning.classify import ClassificationData, tune_classifier
    from headwater.tuning.config import ClassifyConfig
    from headwater.tuning.starters import keep_adapter

    train, valid = starter_data(task, group)
    config = ClassifyConfig(
        base=BASES[group],
        output=str(output),
        method="lora",
        lora_rank=16,
        lora_alpha=32,
        epochs=2 if (task, group) == ("sentiment", "en") else 4,  # 25,000 texts against a few thousand
        learning_rate=1e-3,
        patience=0,
        label_separator="|" if task == "topics" else None,
        max_length=64 if task == "sentiment" else 96,
    )
    data = ClassificationData(train, valid, gate(task, group))
    run = tune_classifier(config, progress, data=data, settings=settings, say=say, with_bundle_weights=False)
    sources = _PUBLIC_SOURCES if task == "sentiment" else _OWN_SOURCES
    keep_adapter(run, output, package_folder("starter"), starter_name(task, group), sources)
    return run if task == "topics" else sharpen_starter(group, output, settings, progress, say)


def sharpen_starter(
    group: str, output: Path, settings: Settings, progress: Progress, say: Callable[[str], None]
) -> Any:
    """The second stage of a sentiment model: from the kept adapter on with the own texts, which teach wording that
    turns a meaning round and are few among the public ones. What is kept becomes the sum of both stages.

    Needs HEADWATER_DATA, for the public texts that are learnt again beside them.
    """
    from headwater.tuning.classify import ClassificationData, tune_classifier
    from headwater.tuning.config import ClassifyConfig
    from headwater.tuning.starters import keep_adapter, merged_base

    name, folder = starter_name("sentiment", group), package_folder("starter")
    own, valid = starter_data("sentiment", group, public=False)
    rng = random.Random(0)
    mixed = [_plain(example) for example in rng.sample(public_sentiment(), _PUBLIC_REHEARSED)] + own
    rng.shuffle(mixed)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".base-") as temporary:
        base = merged_base(folder, name, BASES[group], Path(temporary) / "base", settings)
        config = ClassifyConfig(
            base=str(base.path),
            output=str(output / "sharpened"),
            method="lora",
            lora_rank=32,
            lora_alpha=64,
            epochs=5,
            learning_rate=1e-3,
            patience=0,
            max_length=64,
        )
        data = ClassificationData(mixed, valid, gate("sentiment", group))
        run = tune_classifier(config, progress, data=data, settings=settings, say=say, with_bundle_weights=False)
    keep_adapter(run, output / "sharpened", folder, name, _PUBLIC_SOURCES, onto=True)
    return run


def tune_on_labels(
    examples: Path,
    task: str,
    group: str,
    output: Path,
    settings: Settings,
    registry: Registry,
    *,
    epochs: int = 3,
    rehearsed: int = 2_000,
    actor: str,
    progress: Progress,
    say: Callable[[str], None],
) -> Any:
    """Go on from the starter with a company's own labels (text, label, language); the result is a candidate.

    A fifth of the labels is kept apart and joins the gate, so that a promotion is judged on them too. `rehearsed`
    packaged texts are learnt again beside them, so that nothing else is unlearnt. Raises HeadwaterError where no label
    is of this model's language.
    """
    from headwater.tuning.classify import ClassificationData, tune_classifier
    from headwater.tuning.config import ClassifyConfig
    from headwater.tuning.starters import merged_base

    own, kept_apart = own_labels(examples, task, group, say)
    train, valid = starter_data(task, group, public=False)
    names = {"sentiment": SENTIMENT, "topics": TOPICS}[task]
    rng = random.Random(0)
    known = rng.sample(train, min(rehearsed, len(train)))
    # A few labels among thousands of texts would move nothing: together they are a quarter, each at most ten times.
    times = max(1, min(10, len(known) // (3 * len(own))))
    mixed = known + own * times
    rng.shuffle(mixed)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".base-") as temporary:
        base = merged_base(
            package_folder("starter"), starter_name(task, group), BASES[group], Path(temporary) / "base", settings
        )
        config = ClassifyConfig(
            base=str(base.path),
            output=str(output / "run"),
            method="lora",
            lora_rank=16,
            lora_alpha=32,
            epochs=epochs,
            learning_rate=5e-4,
            patience=0,
            label_separator="|" if task == "topics" else None,
            max_length=64 if task == "sentiment" else 96,
        )
        known_valid = rng.sample(valid, min(rehearsed // 2, len(valid)))
        data = ClassificationData(mixed, known_valid, [*gate(task, group), *kept_apart])
        run = tune_classifier(config, progress, data=data, settings=settings, say=say, with_bundle_weights=False)
    _say_before_and_after(registry, names[group], run.bundle, kept_apart, say)
    version = registry.add(
        names[group], run.bundle, actor=actor, gate=[*gate(task, group), *kept_apart], replace_gate=True
    )
    say(
        f"registered as {version.name}@{version.version}, a candidate; promote it in the dashboard or with: "
        f"headwater registry promote {version.name}@{version.version}"
    )
    return run


def own_labels(
    path: Path, task: str, group: str, say: Callable[[str], None]
) -> tuple[list[TextExample], list[TextExample]]:
    """A file's labels of the model's language, as (for training, kept apart); without a column language, all of it."""
    from headwater.data import read_texts
    from headwater.data.rows import columns_of

    has_language = "language" in columns_of(path)
    separator = "|" if task == "topics" else None
    result = read_texts(path, label_separator=separator, group_column="language" if has_language else None)
    for problem in result.problems:
        say(f"not used: {problem}")
    wanted = [e for e in result.examples if not has_language or ((e.group or "").startswith("en") == (group == "en"))]
    allowed = set(SENTIMENTS) if task == "sentiment" else {*topic_keys(), "other"}
    for example in wanted:
        if unknown := set(example.labels) - allowed:
            said = f"{path}: {example.text[:60]!r} is labelled {sorted(unknown)[0]!r}"
            raise HeadwaterError(f"{said}; known are: {', '.join(sorted(allowed))}")
    if not wanted:
        raise HeadwaterError(f"{path} has no label for the {starter_name(task, group)} model; label some texts first")
    wanted = [_plain(example) for example in dict.fromkeys(wanted)]
    random.Random(0).shuffle(wanted)
    apart = len(wanted) // 5
    return wanted[apart:], wanted[:apart]


def _say_before_and_after(
    registry: Registry, name: str, tuned: Bundle, rows: list[TextExample], say: Callable[[str], None]
) -> None:
    if not rows:
        say("fewer than five labels: none is kept apart, and whether they were learnt is not measured")
        return
    production = registry.production(name)
    before = "" if production is None else f", {_right(registry.open(production), rows)} before"
    say(f"of {len(rows)} labels that were kept apart {_right(tuned, rows)} are met now{before}")


def _right(bundle: Bundle, rows: list[TextExample]) -> int:
    from headwater.serving import load_classifier

    model, texts = load_classifier(bundle), [row.text for row in rows]
    if model.label_space.multi_label:
        said = [set(labels) for labels in model.predict_labels(texts)]
    else:
        said = [{found.label} for found in model.predict(texts)]
    return sum(labels == set(row.labels) for labels, row in zip(said, rows, strict=True))


def judged_on(task: str, group: str) -> Sequence[TextExample]:
    """What int8 is judged on at export: the gate, since a user has no public set."""
    return gate(task, group)


def prepare_starter(settings: Settings, registry: Registry, progress: Progress = silent) -> list[str]:
    """Export and register what is not in production yet; returns the names that were prepared. Quick when none is."""
    steps: list[tuple[str, Callable[[Path], Bundle], list[TextExample] | None]] = []
    for group, name in ENCODERS.items():
        if registry.production(name) is None:
            steps.append((name, _encoder_step(settings, group), None))
    for task, names in (("sentiment", SENTIMENT), ("topics", TOPICS)):
        for group, name in names.items():
            if registry.production(name) is None:
                steps.append((name, _model_step(settings, task, group), gate(task, group)))
    for number, (name, build, rows) in enumerate(steps):
        progress(Step(number, len(steps), f"preparing {name}"))
        with tempfile.TemporaryDirectory(dir=settings.folder("bundles"), prefix=".prepare-") as temporary:
            registry.add(name, build(Path(temporary) / "bundle"), actor="setup", gate=rows, replace_gate=True)
        promote(registry, name, actor="setup", threads=settings.threads)
    progress(Step(max(1, len(steps)), max(1, len(steps)), "models ready"))
    return [name for name, _, _ in steps]


def _encoder_step(settings: Settings, group: str) -> Callable[[Path], Bundle]:
    def build(output: Path) -> Bundle:
        from headwater.tuning.export.encoder import export_encoder

        return export_encoder(resolve_base(BASES[group], settings), output)

    return build


def _model_step(settings: Settings, task: str, group: str) -> Callable[[Path], Bundle]:
    def build(output: Path) -> Bundle:
        from headwater.tuning.starters import merge_adapter

        name = starter_name(task, group)
        return merge_adapter(package_folder("starter"), name, BASES[group], output, settings, judged_on(task, group))

    return build
