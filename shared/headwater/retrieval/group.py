"""The passages of one encoder in memory, searched by meaning and by words."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from headwater.retrieval.documents import Chunk
from headwater.retrieval.embedding import Embedder
from headwater.retrieval.fusion import Weights
from headwater.retrieval.lexical import LexicalIndex, inverse_frequencies, tokenise
from headwater.retrieval.vectors import VectorIndex
from headwater.serving import MicroBatcher

# The base of the lexical index is rebuilt when the changes since have grown to this share of it.
_REBUILD_SHARE = 0.1
_REBUILD_LEAST = 200


class Group:
    """The chunks of one encoder: vectors, a lexical base, and the few rows that came since the base was built."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        # Questions of several threads become one batch.
        self.embed: MicroBatcher[str] = MicroBatcher(lambda texts: embedder.encode(texts, "query"))
        self.vectors = VectorIndex(embedder.dimension)
        self._members: set[int] = set()
        self._base_rows: list[int] = []
        self._base = LexicalIndex([])
        self._late_rows: list[int] = []
        self._late = LexicalIndex([])
        # Where a row stands: position, and whether in the late part.
        self._place: dict[int, tuple[int, bool]] = {}

    def change(
        self, gone: set[int], new: list[tuple[int, Chunk, str, NDArray[np.float32]]], rows: Mapping[int, Chunk]
    ) -> None:
        leaving = gone & self._members
        if not leaving and not new:
            return
        self.vectors.remove(sorted(leaving))
        if new:
            self.vectors.add([entry[0] for entry in new], np.stack([entry[3] for entry in new]))
        self._members = (self._members - leaving) | {entry[0] for entry in new}
        late = [row for row in self._late_rows if row not in leaving] + [entry[0] for entry in new]
        dead = len(self._base_rows) - sum(row in self._members for row in self._base_rows)
        if len(late) + dead > max(_REBUILD_LEAST, _REBUILD_SHARE * len(self._base_rows)) or not self._base_rows:
            self._base_rows, self._late_rows = sorted(self._members), []
            self._base, self._late = (
                LexicalIndex([_lexical_text(rows[row]) for row in self._base_rows]),
                LexicalIndex([]),
            )
        else:
            self._late_rows = late
            self._late = LexicalIndex([_lexical_text(rows[row]) for row in late])
        self._place = {row: (place, False) for place, row in enumerate(self._base_rows)}
        self._place |= {row: (place, True) for place, row in enumerate(self._late_rows)}

    def search(
        self, query: str, vector: NDArray[np.float32], weights: Weights, count: int
    ) -> list[tuple[int, float, float, float]]:
        """(row, fused score, cosine, BM25) of the best candidates of either kind."""
        terms = tokenise(query)
        frequencies = inverse_frequencies(terms, (self._base, self._late))
        base, late = self._base.scores(terms, frequencies), self._late.scores(terms, frequencies)
        cosine = dict(self.vectors.search(vector, count))
        bm25: dict[int, float] = {}
        best = 0.0
        for scores, numbers in ((base, self._base_rows), (late, self._late_rows)):
            for position in _largest(scores, count):
                if scores[position] > 0 and numbers[position] in self._members:
                    bm25[numbers[position]] = float(scores[position])
                    best = max(best, float(scores[position]))
        for row in cosine.keys() - bm25.keys():
            place, is_late = self._place[row]
            bm25[row] = float(late[place] if is_late else base[place])
        rows = list(bm25)
        cosines = np.array([cosine[row] if row in cosine else self.vectors.cosine(vector, row) for row in rows])
        values = np.array([bm25[row] for row in rows])
        fused = weights.fuse(cosines, values, best)
        order = np.argsort(-fused, kind="stable")[:count]
        return [(rows[i], float(fused[i]), float(cosines[i]), float(values[i])) for i in order]


def _largest(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Positions of the `count` largest scores, in no order."""
    if len(scores) <= count:
        return np.arange(len(scores))
    return np.asarray(np.argpartition(-scores, count)[:count], np.int64)


def _lexical_text(chunk: Chunk) -> str:
    return f"{chunk.title} {chunk.section} {chunk.text}"
