"""Inner-product search with stable ids, on FAISS: exact, and by cells when exact search would be slow.

Rows are kept once, in half precision. Above `exact_rows` of them, product codes in cells (Jégou et al. 2011; the 4-bit
"fast scan" codes of André et al. 2017) name candidates, which are then scored again by their rows: 0.6 of the bytes of
float32 in all. `make bench BENCH=retrieval-scale` prints recall and times.
"""

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Exact search of so many rows takes 5 ms on one core.
EXACT_ROWS = 200_000
# The cells are made anew when so large a share of their rows is gone, or when they hold so many times the first rows.
_DEAD_SHARE = 0.2
_GROWTH = 2.0
# With a smaller share of a query's candidates left, what was removed hides what is near: search is exact then.
_LEAST_LIVE = 0.5
# Chosen on a million sentence vectors: the share of cells that is read, and candidates scored again for each result.
_PROBED = 0.4
_CANDIDATES, _LEAST_CANDIDATES = 10, 800
_ROWS_A_CELL_TO_LEARN = 64
_CHUNK = 50_000


class VectorIndex:
    """Unit vectors by row id; safe to call from several threads.

    Every change counts for the next search. Cells are made in the background; meanwhile search is exact.
    """

    def __init__(self, dimension: int, exact_rows: int = EXACT_ROWS) -> None:
        import faiss

        self.dimension = dimension
        self.exact_rows = exact_rows
        half = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        self._rows: Any = faiss.IndexIDMap(half)
        self._cells: _Cells | None = None
        self._maker: threading.Thread | None = None
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return int(self._rows.ntotal)

    @property
    def is_exact(self) -> bool:
        return self._cells is None

    def add(self, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Add unit rows [n, dimension] under `ids`, which must be new."""
        if not len(ids):
            return
        order = np.argsort(np.array(ids, np.int64))
        numbers = np.array(ids, np.int64)[order]
        rows = np.ascontiguousarray(vectors, np.float32)[order]
        with self._lock:
            if len(self) and numbers[0] < self._ids()[-1]:
                numbers, rows = self._merged(numbers, rows)
            self._rows.add_with_ids(rows, numbers)
            if self._cells is not None:
                self._cells.add(rows, numbers)
            self._tend()

    def remove(self, ids: Sequence[int]) -> None:
        if len(ids):
            with self._lock:
                self._rows.remove_ids(np.array(ids, np.int64))
                self._tend()

    def search(self, query: NDArray[np.float32], count: int) -> list[tuple[int, float]]:
        """(id, cosine) of the nearest rows of one query [dimension], best first."""
        with self._lock:
            count = min(count, len(self))
            if count == 0:
                return []
            if self._cells is not None:
                found = self._search_cells(self._cells, query, count)
                if len(found) == count:
                    return found
            scores, ids = self._rows.search(query.reshape(1, -1), count)
            return [(int(i), float(s)) for i, s in zip(ids[0], scores[0], strict=True)]

    def cosine(self, query: NDArray[np.float32], row: int) -> float:
        """The cosine of one row that is in the index."""
        with self._lock:
            place = int(np.searchsorted(self._ids(), row))
            return float(self._halves()[place].astype(np.float32) @ query)

    def settle(self) -> None:
        """Wait until cells that are being made are in use."""
        maker = self._maker
        if maker is not None:
            maker.join()

    def _search_cells(self, cells: "_Cells", query: NDArray[np.float32], count: int) -> list[tuple[int, float]]:
        candidates = np.unique(cells.search(query, max(_LEAST_CANDIDATES, _CANDIDATES * count)))
        places = np.searchsorted(self._ids(), candidates)
        # Removed rows stay in the cells until those are made anew; here they are left out.
        live = self._ids()[np.minimum(places, len(self) - 1)] == candidates
        if live.sum() < _LEAST_LIVE * len(candidates):
            return []
        candidates, places = candidates[live], places[live]
        scores = self._halves()[places].astype(np.float32) @ query
        best = np.argsort(-scores, kind="stable")[:count]
        return [(int(candidates[i]), float(scores[i])) for i in best]

    def _ids(self) -> NDArray[np.int64]:
        """Row ids in rising order; a view, good until the next change."""
        import faiss

        ids: NDArray[np.int64] = faiss.rev_swig_ptr(self._rows.id_map.data(), self._rows.id_map.size())
        return ids

    def _halves(self) -> NDArray[np.float16]:
        """Rows in the order of `_ids`; a view, good until the next change."""
        import faiss

        half: Any = faiss.downcast_index(self._rows.index)
        codes = half.codes
        return np.asarray(faiss.rev_swig_ptr(codes.data(), codes.size()).view(np.float16)).reshape(-1, self.dimension)

    def _merged(
        self, numbers: NDArray[np.int64], rows: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Take out the rows above the least new number, to be added again behind it: ids must rise."""
        place = int(np.searchsorted(self._ids(), numbers[0]))
        later, their = self._ids()[place:].copy(), self._halves()[place:].astype(np.float32)
        self._rows.remove_ids(later)
        joined = np.concatenate([numbers, later])
        order = np.argsort(joined)
        return joined[order], np.concatenate([rows, their])[order]

    def _tend(self) -> None:
        """Start making cells when search is exact on too many rows, or when the present ones no longer fit."""
        if len(self) <= self.exact_rows:
            self._cells = None
        elif self._maker is None and (self._cells is None or self._cells.is_outgrown(len(self))):
            self._maker = threading.Thread(target=self._make, name="vector cells", daemon=True)
            self._maker.start()

    def _make(self) -> None:
        try:
            with self._lock:
                size = len(self)
                chosen = np.random.default_rng(0).permutation(size)[: _cells_for(size) * _ROWS_A_CELL_TO_LEARN]
                sample = self._halves()[np.sort(chosen)].astype(np.float32)
            cells = _Cells(sample, size)
            known = np.zeros(0, np.int64)
            while True:
                # What came meanwhile is added in the next round; the last one holds the lock and puts the cells in use.
                with self._lock:
                    missing = np.setdiff1d(self._ids(), known, assume_unique=True)
                    part = missing[:_CHUNK]
                    rows = self._halves()[np.searchsorted(self._ids(), part)].astype(np.float32)
                    if len(missing) <= _CHUNK:
                        cells.add(rows, part)
                        self._cells = cells if len(self) > self.exact_rows else None
                        return
                cells.add(rows, part)
                known = np.union1d(known, part)
        finally:
            self._maker = None


class _Cells:
    """Product codes of rows in Voronoi cells. Rows are only added: removal leaves codes that the caller filters."""

    def __init__(self, sample: NDArray[np.float32], size: int) -> None:
        import faiss

        self._first_size = size
        dimension = sample.shape[1]
        cells = _cells_for(size)
        self._centroids = faiss.IndexFlatIP(dimension)
        # Three dimensions a 4-bit code. Codes of the rows themselves, not of residuals: no table for each cell.
        codes = dimension // (3 if dimension % 3 == 0 else 2)
        self._index = faiss.IndexIVFPQFastScan(self._centroids, dimension, cells, codes, 4, faiss.METRIC_INNER_PRODUCT)
        self._index.by_residual = False
        self._index.cp.max_points_per_centroid = _ROWS_A_CELL_TO_LEARN
        self._index.cp.min_points_per_centroid = 1
        self._index.cp.niter = 8
        self._index.cp.spherical = True
        self._index.train(sample)
        self._index.nprobe = max(1, round(_PROBED * cells))

    def add(self, rows: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        if len(ids):
            self._index.add_with_ids(rows, ids)

    def search(self, query: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Ids of candidates, at most `count`."""
        ids: NDArray[np.int64] = self._index.search(query.reshape(1, -1), count)[1][0]
        return ids[ids >= 0]

    def is_outgrown(self, live: int) -> bool:
        held = int(self._index.ntotal)
        return held - live > _DEAD_SHARE * held or live > _GROWTH * self._first_size


def _cells_for(size: int) -> int:
    """About twice the square root, as is usual: reading centroids and reading codes then cost alike."""
    return max(16, 2 * math.isqrt(size))
