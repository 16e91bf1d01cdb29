"""The monitor's own sentences, by language."""

import functools
import tomllib
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
