"""Intents with answer templates whose optional parts depend on slots, and the source that each answer rests on."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headwater.errors import HeadwaterError

_FIELD = re.compile(r"\{(\w+)\}")
_OPTIONAL = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)


@dataclass(frozen=True)
class Template:
    """An answer in one language. `{slot}` is filled; `[[...]]` is left out unless all its slots are known."""

    intent: str
    language: str
    text: str
    document_id: str
    quote: str
    handoff: bool = False

    @property
    def slots(self) -> frozenset[str]:
        """The slots that its text can take up."""
        return frozenset(_FIELD.findall(self.text))

    def fill(self, slots: Mapping[str, str]) -> str:
        """The answer for these slots; a slot outside [[ ]] that is missing leaves its field's name out."""
        kept = _OPTIONAL.sub(lambda m: m.group(1) if set(_FIELD.findall(m.group(1))) <= slots.keys() else "", self.text)
        filled = _FIELD.sub(lambda m: slots.get(m.group(1), ""), kept)
        return re.sub(r"[ \t]{2,}", " ", filled).strip()


def read_templates(path: Path) -> dict[tuple[str, str], Template]:
    """Templates by (intent, language) from `intents.toml`. Raises HeadwaterError naming the intent that is wrong."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise HeadwaterError(f"{path} cannot be read: {error}") from error
    found = {}
    for intent, body in values.items():
        for language, answer in body.get("answer", {}).items():
            if not isinstance(answer, dict) or "text" not in answer:
                raise HeadwaterError(f"{path}: intent {intent}, language {language} needs a text")
            found[intent, language] = Template(
                intent,
                language,
                answer["text"].strip(),
                answer.get("document", ""),
                answer.get("quote", ""),
                bool(body.get("handoff", False)),
            )
    return found
