"""The bot's own sentences, by language."""

import functools
import tomllib
from importlib.resources import files


@functools.cache
def _texts(language: str) -> dict[str, str]:
    return tomllib.loads((files("support_bot") / "texts" / f"{language}.toml").read_text(encoding="utf-8"))


def say(key: str, language: str) -> str:
    """The sentence `key` in `language`; English where it has not been written in it."""
    return _texts(language if language in ("en", "zh") else "en")[key]
