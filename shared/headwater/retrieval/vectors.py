"""Exact inner-product search with stable ids, on FAISS."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class VectorIndex:
    """Unit vectors by row id; `search` is exact. Rows are added and removed in place."""

    def __init__(self, dimension: int) -> None:
        import faiss

        self.dimension = dimension
        self._index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Add unit rows [n, dimension] under `ids`, which must be new."""
        if len(ids):
            self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.array(ids, np.int64))

    def remove(self, ids: Sequence[int]) -> None:
        if len(ids):
            self._index.remove_ids(np.array(ids, np.int64))

    def search(self, query: NDArray[np.float32], count: int) -> list[tuple[int, float]]:
        """(id, cosine) of the nearest rows of one query [dimension], best first."""
        count = min(count, len(self))
        if count == 0:
            return []
        scores, ids = self._index.search(query.reshape(1, -1), count)
        return [(int(i), float(s)) for i, s in zip(ids[0], scores[0], strict=True) if i >= 0]

    def cosine(self, query: NDArray[np.float32], row: int) -> float:
        """The cosine of one row that is in the index."""
        return float(self._index.reconstruct(row) @ query)
