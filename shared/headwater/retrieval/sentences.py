"""Sentence boundaries with exact offsets, for Latin and CJK scripts."""

import re

# A full stop ends a sentence before a space and a capital, digit, quote or CJK character; CJK marks end one anywhere.
_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s+[\"'“‘(\[]?[A-Z0-9À-Þ\u3400-\u9fff]|\s*$|\s*\n)|[。！？；]+[”’」』）]*|\n+")
# Words that carry a full stop inside a sentence.
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|approx|no|No|Mr|Mrs|Ms|Dr|St|Inc|Ltd|Co|cf|incl|max|min)|\b[A-Z])\.$"
)
_ABBREVIATION_LENGTH = 16
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")


def split_sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence in `text`, without surrounding space; together they hold all visible text.

    >>> split_sentences("Open daily. 周末休息。")
    [(0, 11), (12, 17)]
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        # Only the end decides, and a text of nothing but abbreviations must not be read again and again.
        tail = text[max(start, match.end() - _ABBREVIATION_LENGTH) : match.end()]
        if "\n" not in match.group() and _ABBREVIATION.search(tail.rstrip()):
            continue
        _append(text, start, match.end(), spans)
        start = match.end()
    _append(text, start, len(text), spans)
    return spans


def _append(text: str, start: int, end: int, spans: list[tuple[int, int]]) -> None:
    piece = text[start:end]
    bullet = _BULLET.match(piece)
    start += bullet.end() if bullet else len(piece) - len(piece.lstrip())
    end -= len(piece) - len(piece.rstrip())
    if end > start:
        spans.append((start, end))
