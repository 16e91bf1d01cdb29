"""The starter: tuned from the project's own texts to an adapter, and merged, exported, gated at first start."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from headwater.bundles import Bundle, Registry
from headwater.data import TextExample, read_texts
from headwater.errors import HeadwaterError
from headwater.models import resolve_base
from headwater.progress import Progress, Step, silent
from headwater.release import promote
from headwater.settings import Settings
from support_bot.site import ENCODERS, INTENTS, package_folder

OUT_OF_SCOPE = "out_of_scope"
BASES = {"en": "minilm", "zh": "multilingual"}
ENCODER_BASES = {"en": "minilm", "*": "multilingual"}
CARD_BEGIN = "<!-- figures: written by `make starters` -->"
CARD_END = "<!-- end of figures -->"


def starter_folder() -> Path:
    return package_folder("starter")


def read_starter(part: str, language: str) -> list[TextExample]:
    """The starter's texts of a part (train, valid, gate) in one language."""
    path = starter_folder() / f"{part}.jsonl"
    rows = read_texts(path, label_column="label", group_column="language").examples
    return [replace(example, group=None) for example in rows if example.group == language]


def train_starter(
    language: str, output: Path, settings: Settings, progress: Progress, say: Callable[[str], None]
) -> Any:
    """Tune the intent model of a language by the recipe and keep its adapter under starter/."""
    from headwater.tuning.classify import ClassificationData, tune_classifier
    from headwater.tuning.config import ClassifyConfig
    from headwater.tuning.starters import keep_adapter

    config = ClassifyConfig(
        base=BASES[language],
        output=str(output),
        method="lora",
        epochs=8,
        learning_rate=5e-4,
        r_drop=1.0,  # with this and the rate above: best of five settings on the validation part, in both languages
        patience=0,
        out_of_scope=OUT_OF_SCOPE,
        out_of_scope_loss=0.02,
        label_texts=language == "en",
        lora_dropout=0.1,
    )
    data = ClassificationData(
        read_starter("train", language), read_starter("valid", language), read_starter("gate", language)
    )
    run = tune_classifier(config, progress, data=data, settings=settings, say=say, with_bundle_weights=False)
    keep_adapter(run, output, starter_folder(), f"intents-{language}", ["texts written for this project"])
    return run


def write_card() -> None:
    """Bring the figures of the model card, starter/README.md, in line with the texts and the reports beside it."""
    path = starter_folder() / "README.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(CARD_BEGIN)
    _, end, after = rest.partition(CARD_END)
    if not end:
        raise HeadwaterError(
            f"{path} has lost the lines {CARD_BEGIN!r} and {CARD_END!r} that its figures stand between"
        )
    path.write_text(f"{before}{CARD_BEGIN}\n{card_figures()}{CARD_END}{after}", encoding="utf-8")


def card_figures() -> str:
    """The model card's two tables: texts a part and language, and the scores of `intents-*.report.json`."""
    lines = ["| texts (out of scope among them) | English | Chinese |", "|---|---|---|"]
    for part, use in (("train", "training"), ("valid", "validation"), ("gate", "gate")):
        texts = [read_starter(part, language) for language in BASES]
        cells = [f"{len(t)} ({sum(e.label == OUT_OF_SCOPE for e in t)})" for t in texts]
        lines.append(f"| {use} (`{part}.jsonl`) | {' | '.join(cells)} |")
    lines += ["", "| measured | English | Chinese |", "|---|---|---|"]
    folder = starter_folder()
    reports = [json.loads((folder / f"intents-{name}.report.json").read_text(encoding="utf-8")) for name in BASES]
    for part, use in (("validation", "validation"), ("test", "gate")):
        found = [report["metrics"][part] for report in reports]
        rows = {
            "accuracy (95 % interval)": [
                f"{m['accuracy']['value']:.3f} ({m['accuracy']['low']:.3f} to {m['accuracy']['high']:.3f})"
                for m in found
            ],
            "macro F1": [f"{m['macro_f1']:.3f}" for m in found],
            "calibration error": [f"{m['calibration_error']:.3f}" for m in found],
            "in-scope accuracy at the threshold": [f"{m['scope']['in_scope_accuracy']:.3f}" for m in found],
            "out-of-scope recall at the threshold": [f"{m['scope']['out_of_scope_recall']:.3f}" for m in found],
            "out-of-scope area under ROC": [f"{m['scope']['area']:.3f}" for m in found],
        }
        lines += [f"| {use}: {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    return "\n".join(lines) + "\n"


def prepare_starter(settings: Settings, registry: Registry, progress: Progress = silent) -> list[str]:
    """Export and register what is not in production yet; returns the names that were prepared. Quick when none is."""
    steps: list[tuple[str, Callable[[Path], Bundle], list[TextExample] | None]] = []
    for group, name in ENCODERS.items():
        if registry.production(name) is None:
            steps.append((name, _encoder_step(settings, ENCODER_BASES[group]), None))
    for language, name in INTENTS.items():
        adapter = starter_folder() / f"intents-{language}.safetensors"
        if registry.production(name) is None and adapter.is_file():
            steps.append((name, _intent_step(settings, language), read_starter("gate", language)))
    for number, (name, build, gate) in enumerate(steps):
        progress(Step(number, len(steps), f"preparing {name}"))
        with tempfile.TemporaryDirectory(dir=settings.folder("bundles"), prefix=".prepare-") as temporary:
            bundle = build(Path(temporary) / "bundle")
            # An earlier set-up that was cut off, of an older Headwater, may have left an older set.
            registry.add(name, bundle, actor="setup", gate=gate, replace_gate=True)
        promote(registry, name, actor="setup", threads=settings.threads)
    progress(Step(max(1, len(steps)), max(1, len(steps)), "models ready"))
    return [name for name, _, _ in steps]


def _encoder_step(settings: Settings, base: str) -> Callable[[Path], Bundle]:
    def build(output: Path) -> Bundle:
        from headwater.tuning.export.encoder import export_encoder

        return export_encoder(resolve_base(base, settings), output)

    return build


def _intent_step(settings: Settings, language: str) -> Callable[[Path], Bundle]:
    def build(output: Path) -> Bundle:
        return merge_starter(language, output, settings)

    return build


def merge_starter(language: str, output: Path, settings: Settings) -> Bundle:
    """Base model + adapter → classifier bundle. Raises HeadwaterError when the adapter belongs to another base."""
    from headwater.tuning.starters import merge_adapter

    valid = read_starter("valid", language)
    return merge_adapter(starter_folder(), f"intents-{language}", BASES[language], output, settings, valid)


def tune_on_examples(
    examples: Path,
    language: str,
    method: str,
    epochs: int,
    output: Path,
    settings: Settings,
    registry: Registry,
    *,
    actor: str,
    progress: Progress,
    say: Callable[[str], None],
) -> Any:
    """Tune the intent model on a company's own labelled texts; registers the result as a candidate.

    The starter's out-of-scope texts are added when the file has none, so that the bot keeps refusing.
    """
    from headwater.data import split_stratified
    from headwater.tuning.classify import ClassificationData, tune_classifier
    from headwater.tuning.config import ClassifyConfig

    result = read_texts(examples)
    for problem in result.problems:
        say(f"not used: {problem}")
    own = result.examples
    if not any(e.label == OUT_OF_SCOPE for e in own):
        say("the file has no out_of_scope texts; those of the starter are added")
        own = [*own, *[e for e in read_starter("train", language) if e.label == OUT_OF_SCOPE]]
    train, valid = split_stratified(own, 0.15, 0)
    config = ClassifyConfig(
        train=str(examples),
        base=BASES[language],
        output=str(output),
        method=method,
        epochs=epochs,
        out_of_scope=OUT_OF_SCOPE,
        out_of_scope_loss=0.02,
    )
    run = tune_classifier(
        config, progress, data=ClassificationData(train, valid, [], tuple(result.problems)), settings=settings, say=say
    )
    version = registry.add(INTENTS[language], run.bundle, actor=actor)
    say(
        f"registered as {version.name}@{version.version}, a candidate; promote it in the dashboard or with: "
        f"headwater registry promote {version.name}@{version.version} --new-labels"
    )
    return run
