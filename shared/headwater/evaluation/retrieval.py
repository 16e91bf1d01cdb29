"""Ranking metrics for one query at a time, so that they can be bootstrapped (Järvelin and Kekäläinen 2002 for nDCG)."""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def ndcg_at_k(ranked: Sequence[str], relevant: Collection[str], k: int = 10) -> float:
    """Binary-relevance nDCG@k of one ranking; 0 when nothing is relevant."""
    gain = sum(1 / math.log2(rank + 2) for rank, item in enumerate(ranked[:k]) if item in relevant)
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(relevant))))
    return gain / ideal if ideal else 0.0


def recall_at_k(ranked: Sequence[str], relevant: Collection[str], k: int = 10) -> float:
    """Share of the relevant items among the first k."""
    return sum(item in relevant for item in ranked[:k]) / len(relevant) if relevant else 0.0


def mrr_at_k(ranked: Sequence[str], relevant: Collection[str], k: int = 10) -> float:
    """Reciprocal rank of the first relevant item among the first k."""
    return next((1 / (rank + 1) for rank, item in enumerate(ranked[:k]) if item in relevant), 0.0)


def per_query(
    metric: str, rankings: Mapping[str, Sequence[str]], relevant: Mapping[str, Collection[str]], k: int = 10
) -> NDArray[np.float64]:
    """One value a query, in the order of `rankings`; `metric` is ndcg, recall or mrr."""
    function = {"ndcg": ndcg_at_k, "recall": recall_at_k, "mrr": mrr_at_k}[metric]
    return np.array([function(ranked, relevant[query], k) for query, ranked in rankings.items()])
