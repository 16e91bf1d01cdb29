"""The bot's own sentences, by language."""

import functools
import tomllib
from importlib.resources import files
from typing import Any

LANGUAGES = ("en", "zh")


@functools.cache
def _texts(language: str) -> dict[str, Any]:
    return tomllib.loads((files("support_bot") / "texts" / f"{language}.toml").read_text(encoding="utf-8"))


def say(key: str, language: str) -> str:
    """The sentence `key` in `language`; English where it has not been written in it."""
    return str(_texts(language if language in LANGUAGES else "en")[key])


def dashboard_words(language: str) -> dict[str, str]:
    """Every word of the dashboard, in English or Chinese."""
    return dict(_texts(language)["dashboard"])


def follow_up_words(language: str) -> dict[str, str]:
    """Phrases that accept (`yes`) or decline (`no`) an offer, and `polite` ones beside them; `|` between them."""
    return dict(_texts(language)["follow_up"])
