"""BM25 over Latin words (stemmed) and CJK uni- and bigrams."""

import functools
import re
import unicodedata
from collections.abc import Sequence
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
    """BM25 (Robertson and Zaragoza 2009) of immutable texts; build a new one to change it."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.size = len(texts)
        self._index: Any = None
        corpus = [tokenise(text) for text in texts]
        if any(corpus):
            import bm25s

            self._index = bm25s.BM25(k1=_K1, b=_B, method="lucene")
            self._index.index(corpus, show_progress=False)

    def scores(self, query: str) -> NDArray[np.float32]:
        """The BM25 score of every text, [size]; zeros when no term is known."""
        if self._index is None:
            return np.zeros(self.size, np.float32)
        terms = [term for term in tokenise(query) if term in self._index.vocab_dict]
        if not terms:
            return np.zeros(self.size, np.float32)
        scores: NDArray[np.float32] = self._index.get_scores(terms)
        return scores
