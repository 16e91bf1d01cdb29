"""How a text is put to the sentiment model for one of the companies that it names.

The names are replaced: the company in question by one phrase, every other company by another. So the model reads who is
meant and cannot learn opinions of names (swapping names moves no label); the same holds for countries, genders, and
persons where they can be told (`neutral`). The order of figures is worked out for it (`figures`).
"""

from collections.abc import Iterable, Sequence

from finance_monitor.domain import TARGETS
from finance_monitor.figures import with_order
from finance_monitor.neutral import neutral


def mark(text: str, target: Iterable[tuple[int, int]], others: Iterable[tuple[int, int]], language: str) -> str:
    """`text` with the spans of the target and of the other companies replaced; overlapping spans: the first counts."""
    this, other = TARGETS["zh" if language == "zh" else "en"]
    parts: list[str] = []
    position = 0
    for start, end, word in sorted([(s, e, this) for s, e in target] + [(s, e, other) for s, e in others]):
        if start >= position:
            parts += [text[position:start], word]
            position = end
    return as_read("".join([*parts, text[position:]]), language)


def as_read(text: str, language: str) -> str:
    """A text whose companies are replaced, or that names none, as the sentiment model reads it. Idempotent."""
    return with_order(neutral(text, language), language)


def mark_names(text: str, target: str, others: Sequence[str], language: str) -> str:
    """`mark` by names instead of spans: for labelled examples. A text without the target's name gets it in front."""
    own = find_all(text, target)
    marked = mark(text, own, [span for name in others for span in find_all(text, name)], language)
    if own:
        return marked
    this = TARGETS["zh" if language == "zh" else "en"][0]
    return f"{this}: {marked}"


def find_all(text: str, name: str) -> list[tuple[int, int]]:
    """Spans of `name` in `text`, whatever its case."""
    folded, wanted = text.lower(), name.lower()
    spans = []
    start = folded.find(wanted) if wanted else -1
    while start >= 0:
        spans.append((start, start + len(wanted)))
        start = folded.find(wanted, start + len(wanted))
    return spans
