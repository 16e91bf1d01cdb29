"""Convex fusion of vector and lexical scores (Bruch et al. 2023, arXiv 2210.11934), with a fitted weight."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Weights:
    """`lexical` in [0, 1] is the share of BM25 in the fused score; 0: vectors alone, and openly so."""

    lexical: float = 0.3

    def fuse(self, cosine: NDArray[np.floating], bm25: NDArray[np.floating], best_bm25: float) -> NDArray[np.float64]:
        """Fused scores of candidates [n]: BM25 relative to the query's best, cosine as it is (-1 to 1)."""
        relative = bm25 / best_bm25 if best_bm25 > 0 else np.zeros_like(bm25)
        return np.asarray((1 - self.lexical) * cosine + self.lexical * relative * _SPREAD, float)


# Cosines of candidates lie within a narrow band (about .2 wide), relative BM25 between 0 and 1.
_SPREAD = 0.4


def fit_weights(
    score: Callable[[Weights], float], grid: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
) -> tuple[Weights, float]:
    """The weight with the best metric on validation questions; a tie goes to the smaller one."""
    best, best_score = Weights(grid[0]), -1.0
    for value in grid:
        found = score(Weights(value))
        if found > best_score + 1e-9:
            best, best_score = Weights(value), found
    return best, best_score
