"""The monitor's own sentences, by language."""

import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

LANGUAGES = ("en", "zh")


@functools.cache
def _texts(name: str) -> dict[str, Any]:
    return tomllib.loads((files("finance_monitor") / "texts" / f"{name}.toml").read_text(encoding="utf-8"))


def dashboard_words(language: str) -> dict[str, str]:
    """Every word of the dashboard, in English or Chinese."""
    return dict(_texts(language if language in LANGUAGES else "en")["dashboard"])


def topic_keys() -> tuple[str, ...]:
    """The event types that there are, in the order of topics.toml."""
    return tuple(_texts("topics"))


def topic_name(topic: str, language: str) -> str:
    """An event type as people call it; the key itself where it is unknown."""
    return str(_texts("topics").get(topic, {}).get("zh" if language == "zh" else "en", topic))


def entity_name(kind: str, entity: str, reason: Mapping[str, Any], language: str) -> str:
    """What an incident is about, as people call it: a company by the name it had then, a topic in `language`."""
    if kind == "topic":
        return topic_name(entity, language)
    return str(reason.get("entity_name") or entity)


def told(kind: str, entity: str, reason: Mapping[str, Any], language: str) -> str:
    """Why, in words; "" where the reason has none."""
    texts = reason.get("text") or {}
    text = str(texts.get(language) or texts.get("en", ""))
    # A topic's reason is written once for all languages, and begins with the topic's key.
    if kind == "topic" and text.startswith(entity):
        text = topic_name(entity, language) + text[len(entity) :]
    return text
