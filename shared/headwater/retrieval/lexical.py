"""BM25 over Latin words (stemmed) and CJK uni- and bigrams."""

import functools
import logging
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TOKEN = re.compile(r"[a-z0-9]+(?:[-_'’./][a-z0-9]+)*|[^\W\d_a-z]+", re.UNICODE)
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_STOP = frozenset(
    """a an and are as at be been but by can could did do does for from had has have how i if in is it its me my of on
    or our shall should so that the their them then there these they this to was we were what when where which who
    why will with would you your""".split()
)
_STOP_CJK = frozenset("的了吗呢吧是我你您们在和与或请")
# Robertson's saturation and length weight; chosen on the training claims of SciFact and sample questions.
_K1, _B = 1.2, 0.75


def tokenise(text: str) -> list[str]:
    """Terms of a text: folded, stemmed words (codes such as nb-2048 also whole), and CJK uni- and bigrams.

    >>> tokenise("Refunds for 退款")
    ['refund', '退', '款', '退款']
    """
    terms: list[str] = []
    for token in _TOKEN.findall(unicodedata.normalize("NFKC", text).lower()):
        if _CJK.match(token):
            kept = [c for c in token if c not in _STOP_CJK]
            terms += kept
            terms += [token[i : i + 2] for i in range(len(token) - 1)]
        elif token not in _STOP:
            terms.append(_stem(token))
            parts = re.split(r"[-_'’./]", token)
            if len(parts) > 1:
                terms += [_stem(part) for part in parts if part and part not in _STOP]
    return terms


@functools.lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    stemmed: str = _stemmer().stemWord(word)
    return stemmed


@functools.cache
def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")


class LexicalIndex:
    """BM25 (Robertson and Zaragoza 2009) of immutable texts; build a new one to change it.

    Several can be searched as one: `inverse_frequencies` weighs a term by all of them, so that a text that came later
    scores as if it had been there from the start.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.size = len(texts)
        self._vocabulary: dict[str, int] = {}
        corpus = [tokenise(text) for text in texts]
        if any(corpus):
            import bm25s

            # It logs every build at level DEBUG to whoever listens.
            logging.getLogger("bm25s").setLevel(logging.WARNING)
            index = bm25s.BM25(k1=_K1, b=_B, method="lucene")
            index.index(corpus, show_progress=False)
            self._vocabulary = index.vocab_dict
            # Postings by term, column by column: `_weights` already hold this index's own inverse frequency.
            self._starts: NDArray[np.int64] = np.asarray(index.scores["indptr"], np.int64)
            self._texts: NDArray[np.int32] = index.scores["indices"]
            self._weights: NDArray[np.float32] = index.scores["data"]

    def frequency(self, term: str) -> int:
        """How many texts hold a term."""
        number = self._vocabulary.get(term)
        if number is None or number + 1 >= len(self._starts):
            return 0
        return int(self._starts[number + 1] - self._starts[number])

    def scores(self, terms: Sequence[str], weights: Mapping[str, float]) -> NDArray[np.float32]:
        """The BM25 score of every text, [size]; `weights` are the inverse frequencies of the terms."""
        scores = np.zeros(self.size, np.float32)
        for term in terms:
            frequency = self.frequency(term)
            if frequency:
                start = self._starts[self._vocabulary[term]]
                found = slice(start, start + frequency)
                scores[self._texts[found]] += self._weights[found] * (weights[term] / _inverse(frequency, self.size))
        return scores


def inverse_frequencies(terms: Sequence[str], indexes: Sequence[LexicalIndex]) -> dict[str, float]:
    """The inverse document frequency of each term over all indexes together (Lucene's form, never negative)."""
    size = sum(index.size for index in indexes)
    return {term: _inverse(sum(index.frequency(term) for index in indexes), size) for term in set(terms)}


def _inverse(frequency: int, size: int) -> float:
    return math.log(1 + (size - frequency + 0.5) / (frequency + 0.5))
