"""Everything that answers for a site, opened from the state folder: index, models, templates, calibration."""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from headwater.bundles import Registry
from headwater.errors import HeadwaterError, Unavailable
from headwater.retrieval import Index, Weights
from headwater.serving import Classifier, Encoders, Live, load_classifier
from headwater.settings import Settings
from support_bot.answering import Answerer, Models
from support_bot.extraction import Calibration
from support_bot.slots import Vocabulary
from support_bot.templates import Template, read_templates

# Language group → the registry's name of its encoder; "*" is every language without one of its own.
ENCODERS = {"en": "support-encoder-en", "*": "support-encoder-multilingual"}
INTENTS = {"en": "support-intents-en", "zh": "support-intents-zh"}
DATABASE = "support"
INTENTS_FILE = "intents.toml"


def package_folder(name: str) -> Path:
    """A data folder of this package."""
    return Path(str(files("support_bot") / name))


def open_encoders(registry: Registry, threads: int = 0) -> dict[str, Encoders]:
    """The encoders of each language group, to share between sites. Raises Unavailable before the first set-up."""
    for name in ENCODERS.values():
        if registry.production(name) is None:
            raise Unavailable(f"the model {name} is not prepared yet; run: headwater support prepare")
    return {group: Encoders(registry, name, threads) for group, name in ENCODERS.items()}


def open_index(engine: sa.Engine, site: str, encoders: Mapping[str, Encoders], folder: Path | None = None) -> Index:
    """The site's index with the fusion weights of its folder (`site_folder`), else of the starter."""
    return Index(engine, site, encoders, fusion_weights(folder))


def site_folder(settings: Settings, site: str) -> Path:
    """Where a site's own files lie: intents.toml, vocabulary.json, and what `headwater support fit` writes."""
    return settings.home / "sites" / site


def fusion_weights(folder: Path | None = None) -> dict[str, Weights]:
    """The weight of BM25 by language group; those of the starter are fitted on the sample questions.

    These and the calibrations stay as they are when another encoder is promoted: one whose cosines lie elsewhere than
    its predecessor's needs `headwater support fit` again.
    """
    return {group: Weights(float(value)) for group, value in _fitted("fusion.json", folder).items()}


def calibrations(folder: Path | None = None) -> dict[str, Calibration]:
    """How sure an extracted answer is, by language group; fitted by `headwater support fit`."""
    stored = _fitted("calibration.json", folder)
    # Without a fit: mostly the sentence's cosine, refusing below about .55.
    default = Calibration(-9.0, 12.0, 4.0, 1.0)
    return {group: Calibration(**stored[group]) if group in stored else default for group in ENCODERS}


def _fitted(name: str, folder: Path | None) -> dict[str, Any]:
    """{language group: value}, the folder's where it has one and the starter's beside it."""
    found: dict[str, Any] = {}
    for path in (package_folder("starter") / name, *([folder / name] if folder else [])):
        found |= json.loads(path.read_text()) if path.is_file() else {}
    return found


def open_answerer(settings: Settings, registry: Registry, index: Index) -> Answerer:
    """The answerer of the index's site; intent models are taken up live when they are promoted."""

    def load(bundle: object) -> Classifier:
        return load_classifier(bundle, settings.threads)  # type: ignore[arg-type]

    intents = {language: Live(registry, name, load) for language, name in INTENTS.items()}
    templates, vocabulary = open_templates(settings, index.site)
    fitted = calibrations(site_folder(settings, index.site))
    return Answerer(index, Models(intents), templates, fitted, vocabulary, settings.max_question_characters)


def open_templates(settings: Settings, site: str) -> tuple[dict[tuple[str, str], Template], Vocabulary | None]:
    """The site's answer templates and names of slots: its own, else those of the sample shop where that is shown.

    Its own lie in `HEADWATER_HOME/sites/<site>/` as `intents.toml` and `vocabulary.json`. Every site has the general
    ones (greeting, thanks, a person) besides. Raises HeadwaterError when a file is malformed.
    """
    templates = read_templates(package_folder("texts") / "intents.toml")
    folder = site_folder(settings, site)
    if not (folder / INTENTS_FILE).is_file():
        if not settings.demo or site != settings.site:
            return templates, None
        folder = package_folder("sample_data")
    return templates | read_templates(folder / INTENTS_FILE), read_vocabulary(folder / "vocabulary.json")


def read_vocabulary(path: Path) -> Vocabulary | None:
    """Names that fill slots, {slot: {name: value}}; None without the file. Raises HeadwaterError when malformed."""
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Vocabulary({slot: {name: value + "" for name, value in names.items()} for slot, names in values.items()})
    except (ValueError, AttributeError, TypeError) as error:
        raise HeadwaterError(f'{path} must hold {{"slot": {{"name as written": "value"}}}}: {error}') from error
