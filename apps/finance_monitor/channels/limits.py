"""Texts that fit where they go: cut between characters, with a note and a link."""

from collections.abc import Callable

from finance_monitor.channels.message import Message
from finance_monitor.channels.rendering import say

_WELL_USED = 0.9


def utf8_bytes(text: str) -> int:
    """The length that the messengers count."""
    return len(text.encode())


def fit(text: str, limit: int, note: str, measure: Callable[[str], int] = utf8_bytes) -> str:
    """The text, or as many of its first lines as fit and the note: at most `limit` long by `measure`.

    `measure` must grow with the text. A line is cut within itself where leaving it out would leave much room unused;
    a link is left whole or out.
    """
    if measure(text) <= limit:
        return text
    room = max(limit - measure("\n\n" + note), 0)
    most = _prefix(text, room, measure)
    kept = most[: most.rfind("\n") + 1]
    rest = text[len(kept) :].split("\n", 1)[0]
    if measure(kept) < room * _WELL_USED and "](" not in rest and "://" not in rest:
        kept = most
    return kept.rstrip() + "\n\n" + note


def _prefix(text: str, room: int, measure: Callable[[str], int]) -> str:
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if measure(text[:middle]) <= room else (low, middle - 1)
    return text[:low]


def note_of(message: Message, link_form: str = "{link}") -> str:
    """What stands at the end of a shortened message: that it is, and where the whole is."""
    language = message.languages[0]
    if not message.link or len(message.link) > 500:
        return say("cut_bare", language)
    return say("cut", language, link=link_form.format(link=message.link))
