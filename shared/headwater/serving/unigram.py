"""Unigram tokenisation (Kudo 2018) with a compact vocabulary.

The library keeps a vocabulary as a tree of hash maps: 270 MB and a second to load for 250,000 multilingual pieces. Here
it is one dictionary in 40 MB; normalisation and splitting stay the library's. The ids are the library's own, piece by
piece (its search over all segmentations, its penalty and its joining of unknown characters).
"""

import json
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

# Smaller vocabularies are left to the library.
_LARGE_VOCABULARY = 60_000
# The library's: what an unknown character costs below the least probable piece.
_UNKNOWN_PENALTY = 10.0
# Special tokens with higher ids would need most of the vocabulary in the library's tokenizer.
_FIRST_PIECES = 1_000


@dataclass(frozen=True)
class Tokens:
    """Ids with those of the special tokens around them, and whether the text lost its end."""

    ids: list[int]
    overflowing: bool


@dataclass(frozen=True)
class _Vocabulary:
    """Pieces with their ids, log-probabilities by id, the longest piece's length, and what is unknown."""

    ids: dict[str, int]
    scores: "array[float]"
    longest: int
    unknown: int
    unknown_score: float


class UnigramTokenizer:
    """Texts → ids, cut at `max_length`; safe to call from several threads."""

    def __init__(self, pipeline: Tokenizer, vocabulary: _Vocabulary, max_length: int) -> None:
        self._pipeline = pipeline
        self._vocabulary = vocabulary
        self._special = {token.content: id for id, token in pipeline.get_added_tokens_decoder().items()}
        self._split = re.compile("|".join(map(re.escape, sorted(self._special, key=len, reverse=True))))
        around: list[int] = pipeline.encode(
            next(text for text, id in self._special.items() if id == vocabulary.unknown)
        ).ids
        place = around.index(vocabulary.unknown)
        self._before, self._after = around[:place], around[place + 1 :]
        self._room = max_length - len(around) + 1

    def with_length(self, max_length: int) -> "UnigramTokenizer":
        """The same vocabulary, cut elsewhere."""
        return UnigramTokenizer(self._pipeline, self._vocabulary, max_length)

    def encode_batch(self, texts: Sequence[str]) -> list[Tokens]:
        return [self.encode(text) for text in texts]

    def encode(self, text: str) -> Tokens:
        ids: list[int] = []
        start = 0
        for match in self._split.finditer(text):
            ids += self._pieces(text[start : match.start()])
            ids.append(self._special[match.group()])
            start = match.end()
        ids += self._pieces(text[start:])
        return Tokens([*self._before, *ids[: self._room], *self._after], len(ids) > self._room)

    def _pieces(self, text: str) -> list[int]:
        if not text:
            return []
        normal = self._pipeline.normalizer.normalize_str(text)
        words = self._pipeline.pre_tokenizer.pre_tokenize_str(normal)
        return [id for word, _ in words for id in _best_pieces(word, self._vocabulary)]


def _best_pieces(word: str, vocabulary: _Vocabulary) -> list[int]:
    """The most probable segmentation: Viterbi over the ends of pieces, the first of equals."""
    size = len(word)
    best = [0.0] * (size + 1)
    starts = [-1] * (size + 1)
    ids = [0] * (size + 1)
    for start in range(size):
        here = best[start]
        single = False
        for end in range(start + 1, min(size, start + vocabulary.longest) + 1):
            id = vocabulary.ids.get(word[start:end])
            if id is None:
                continue
            single = single or end == start + 1
            score = here + vocabulary.scores[id]
            if starts[end] < 0 or score > best[end]:
                best[end], starts[end], ids[end] = score, start, id
        if not single:
            score = here + vocabulary.unknown_score
            if starts[start + 1] < 0 or score > best[start + 1]:
                best[start + 1], starts[start + 1], ids[start + 1] = score, start, vocabulary.unknown
    found: list[int] = []
    end = size
    while end > 0:
        if not (ids[end] == vocabulary.unknown and found and found[-1] == vocabulary.unknown):
            found.append(ids[end])
        end = starts[end]
    return found[::-1]


def read_unigram(path: Path, max_length: int) -> UnigramTokenizer | None:
    """The tokenizer of a tokenizer.json with a large Unigram vocabulary; None for another, which the library reads."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    model = fields["model"]
    if not _is_supported(fields, model):
        return None
    pieces: list[Any] = model["vocab"]
    ids = {piece: id for id, (piece, _) in enumerate(pieces)}
    scores = array("d", (score for _, score in pieces))
    vocabulary = _Vocabulary(ids, scores, max(map(len, ids)), model["unk_id"], min(scores) - _UNKNOWN_PENALTY)
    model["vocab"] = pieces[: max(model["unk_id"], *(token["id"] for token in fields["added_tokens"])) + 1]
    pipeline = Tokenizer.from_str(json.dumps(fields))
    return UnigramTokenizer(pipeline, vocabulary, max_length)


def _is_supported(fields: dict[str, Any], model: dict[str, Any]) -> bool:
    added = fields["added_tokens"]
    return bool(
        model.get("type") == "Unigram"
        and len(model["vocab"]) > _LARGE_VOCABULARY
        and not model.get("byte_fallback")
        and fields["normalizer"]
        and fields["pre_tokenizer"]
        and any(token["id"] == model["unk_id"] for token in added)
        and all(token["id"] < _FIRST_PIECES for token in added)
        and not any(token[flag] for token in added for flag in ("single_word", "lstrip", "rstrip", "normalized"))
    )
