"""Everything that answers for a site, opened from the state folder: index, models, templates, calibration."""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import sqlalchemy as sa

from headwater.bundles import Registry
from headwater.errors import Unavailable
from headwater.retrieval import Index, Weights
from headwater.serving import Classifier, Encoder, Live, load_classifier, load_encoder
from headwater.settings import Settings
from support_bot.answering import Answerer, Models
from support_bot.extraction import Calibration
from support_bot.slots import Vocabulary
from support_bot.templates import read_templates

# Language group → the registry's name of its encoder; "*" is every language without one of its own.
ENCODERS = {"en": "support-encoder-en", "*": "support-encoder-multilingual"}
INTENTS = {"en": "support-intents-en", "zh": "support-intents-zh"}
DATABASE = "support"


def package_folder(name: str) -> Path:
    """A data folder of this package."""
    return Path(str(files("support_bot") / name))


def load_encoders(registry: Registry, threads: int = 0) -> dict[str, Encoder]:
    """The encoders in production. Raises Unavailable before the first set-up."""
    found = {}
    for group, name in ENCODERS.items():
        version = registry.production(name)
        if version is None:
            raise Unavailable(f"the model {name} is not prepared yet; run: headwater support prepare")
        found[group] = load_encoder(registry.open(version), threads)
    return found


def open_index(engine: sa.Engine, site: str, encoders: Mapping[str, Encoder]) -> Index:
    """The site's index with the fusion weights of `starter/fusion.json`."""
    return Index(engine, site, encoders, fusion_weights())


def fusion_weights() -> dict[str, Weights]:
    """The weight of BM25 by language group, fitted on sample questions."""
    path = package_folder("starter") / "fusion.json"
    stored = json.loads(path.read_text()) if path.is_file() else {}
    return {group: Weights(float(value)) for group, value in stored.items()}


def calibrations() -> dict[str, Calibration]:
    """How sure an extracted answer is, by language group; fitted by `headwater support fit`."""
    path = package_folder("starter") / "calibration.json"
    stored = json.loads(path.read_text()) if path.is_file() else {}
    # Without a fit: mostly the sentence's cosine, refusing below about .55.
    default = Calibration(-9.0, 12.0, 4.0, 1.0)
    return {group: Calibration(**stored[group]) if group in stored else default for group in ENCODERS}


def open_answerer(settings: Settings, registry: Registry, index: Index, encoders: Mapping[str, Encoder]) -> Answerer:
    """The answerer of the index's site; intent models are taken up live when they are promoted."""

    def load(bundle: object) -> Classifier:
        return load_classifier(bundle, settings.threads)  # type: ignore[arg-type]

    intents = {language: Live(registry, name, load) for language, name in INTENTS.items()}
    sample = package_folder("sample_data")
    return Answerer(
        index,
        Models(encoders, intents),
        read_templates(sample / "intents.toml"),
        calibrations(),
        read_vocabulary(sample / "vocabulary.json"),
        settings.max_question_characters,
    )


def read_vocabulary(path: Path) -> Vocabulary | None:
    """Names that fill slots, {slot: {name: value}}."""
    return Vocabulary(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
