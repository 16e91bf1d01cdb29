"""The starter: sentiment per company and topics, by recipe; and what a company's own labels add to it.

Models of every language but English stand on `multilingual`, tuned on English and Chinese, so that what the public
English sets teach carries over.
"""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finance_monitor.domain import SENTIMENTS
from finance_monitor.marking import as_read
from finance_monitor.models import ENCODERS, SENTIMENT, TOPICS
from finance_monitor.starter_texts import gate, package_folder, public_sentiment, starter_data
from finance_monitor.wording import topic_keys
from headwater.bundles import Bundle, Registry
from headwater.data import TextExample
from headwater.errors import HeadwaterError
from headwater.models import resolve_base
from headwater.progress import Progress, Step, silent
from headwater.release import promote
from headwater.settings import Settings

# Sentiment in English stands on the larger base: what turns a meaning round (who pays whom, a denial, a smaller loss)
# the small one learns by half only.
BASES = {
    ("sentiment", "en"): "mpnet",
    ("sentiment", "*"): "multilingual",
    ("topics", "en"): "minilm",
    ("topics", "*"): "multilingual",
}
ENCODER_BASES = {"en": "minilm", "*": "multilingual"}
SUFFIX = {"en": "en", "*": "multilingual"}
TASKS = ("sentiment", "topics")
_RANK = 16
_REHEARSED = 2_500
_EPOCHS = {("sentiment", "en"): 1, ("sentiment", "*"): 2, ("topics", "en"): 4, ("topics", "*"): 4}
_SOURCES = {
    "sentiment": ("twitter_financial_news_sentiment (MIT)", "SEntFiN 1.0 (MIT)", "texts written for this project"),
    "topics": ("texts written for this project",),
}


def starter_name(task: str, group: str) -> str:
    return f"{task}-{SUFFIX[group]}"


def train_starter(
    task: str, group: str, output: Path, settings: Settings, progress: Progress, say: Callable[[str], None]
) -> Any:
    """Tune one model by the recipe and keep its adapter under starter/. Sentiment needs HEADWATER_DATA, and goes on
    from there with the project's texts (`sharpen_starter`)."""
    from headwater.tuning.classify import ClassificationData, tune_classifier
    from headwater.tuning.config import ClassifyConfig
    from headwater.tuning.starters import keep_adapter

    train, valid = starter_data(task, group)
    config = ClassifyConfig(
        base=BASES[task, group],
        output=str(output),
        method="lora",
        lora_rank=_RANK,
        lora_alpha=2 * _RANK,
        epochs=_EPOCHS[task, group],
        learning_rate=1e-3,
        patience=0,
        label_separator="|" if task == "topics" else None,
        max_length=64 if task == "sentiment" else 96,
    )
    data = ClassificationData(train, valid, gate(task, group))
    run = tune_classifier(config, progress, data=data, settings=settings, say=say, with_bundle_weights=False)
    keep_adapter(run, output, package_folder("starter"), starter_name(task, group), _SOURCES[task])
    return sharpen_starter(group, output / "sharpened", settings, progress, say) if task == "sentiment" else run


def sharpen_starter(
    group: str, output: Path, settings: Settings, progress: Progress, say: Callable[[str], None]
) -> Any:
    """Go on from the kept sentiment adapter with the project's texts, which teach what turns a meaning round and
    are few among the public ones; some of those are learnt again beside them. Needs HEADWATER_DATA."""
    from headwater.tuning.classify import ClassificationData, tune_classifier
    from headwater.tuning.config import ClassifyConfig
    from headwater.tuning.starters import keep_adapter

    name, folder = starter_name("sentiment", group), package_folder("starter")
    own, valid = starter_data("sentiment", group, public=False)
    rng = random.Random(0)
    mixed = [TextExample(e.text, e.labels) for e in rng.sample(public_sentiment(), _REHEARSED)] + own
    rng.shuffle(mixed)
    config = ClassifyConfig(
        base=BASES["sentiment", group],
        output=str(output),
        method="lora",
        start=str(folder / f"{name}.safetensors"),
        lora_rank=_RANK,
        lora_alpha=2 * _RANK,
        epochs=2,
        learning_rate=5e-4,
        patience=0,
        max_length=64,
    )
    data = ClassificationData(mixed, valid, gate("sentiment", group))
    run = tune_classifier(config, progress, data=data, settings=settings, say=say, with_bundle_weights=False)
    keep_adapter(run, output, folder, name, _SOURCES["sentiment"])
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
            package_folder("starter"), starter_name(task, group), BASES[task, group], Path(temporary) / "base", settings
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
    wanted = list(dict.fromkeys(_as_learnt(example, task, group) for example in wanted))
    random.Random(0).shuffle(wanted)
    apart = len(wanted) // 5
    return wanted[apart:], wanted[:apart]


def _as_learnt(example: TextExample, task: str, group: str) -> TextExample:
    """A row of a user's file as the model reads it; its group is its language, where the file says one."""
    language = "en" if group == "en" else example.group or "zh"
    return TextExample(as_read(example.text, language) if task == "sentiment" else example.text, example.labels)


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

        return export_encoder(resolve_base(ENCODER_BASES[group], settings), output)

    return build


def _model_step(settings: Settings, task: str, group: str) -> Callable[[Path], Bundle]:
    def build(output: Path) -> Bundle:
        from headwater.tuning.starters import merge_adapter

        name = starter_name(task, group)
        # int8 is judged on the gate: a user has no public set.
        base, rows = BASES[task, group], gate(task, group)
        return merge_adapter(package_folder("starter"), name, base, output, settings, rows)

    return build
