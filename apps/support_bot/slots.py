"""Slots of a message by pattern: order number, e-mail, country, product, size, amount."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ORDER = re.compile(r"(?<![A-Za-z0-9])([A-Z]{2,3}-\d{4,8}|#\d{5,10})(?![A-Za-z0-9])", re.IGNORECASE)
_EMAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_SIZE = re.compile(
    r"\b(?:size\s*)?(?:(?:EU|UK|US)\s?\d{1,2}(?:\.5)?|XXS|XS|XXL|XL)\b|(\d{2}(?:\.5)?)\s*码", re.IGNORECASE
)
_AMOUNT = re.compile(
    r"(?:£|€|\$|¥)\s?\d+(?:[.,]\d{2})?|\d+(?:\.\d{2})?\s?(?:pounds|euros|dollars|元|英镑)", re.IGNORECASE
)


@dataclass(frozen=True)
class Vocabulary:
    """Names that fill a slot: {slot: {name as written: value}}."""

    names: Mapping[str, Mapping[str, str]]


def find_slots(text: str, vocabulary: Vocabulary | None = None) -> dict[str, str]:
    """The first value of each slot.

    >>> find_slots("Where is NB-20481?")
    {'order_number': 'NB-20481'}
    """
    found: dict[str, str] = {}
    for slot, pattern in (("order_number", _ORDER), ("email", _EMAIL), ("size", _SIZE), ("amount", _AMOUNT)):
        match = pattern.search(text)
        if match:
            value = match.group().strip()
            found[slot] = value.upper() if slot == "order_number" else value
    for slot, names in (vocabulary.names if vocabulary else {}).items():
        value_found = _first(text, list(names))
        if value_found:
            found[slot] = names[value_found]
    return found


def _first(text: str, names: Sequence[str]) -> str | None:
    folded = text.casefold()
    for name in sorted(names, key=len, reverse=True):
        key = name.casefold()
        place = folded.find(key)
        while place >= 0:
            edges = folded[max(0, place - 1) : place] + folded[place + len(key) : place + len(key) + 1]
            # Latin words need a boundary; CJK is written without.
            if not key.isascii() or not any(c.isascii() and c.isalnum() for c in edges):
                return name
            place = folded.find(key, place + 1)
    return None
