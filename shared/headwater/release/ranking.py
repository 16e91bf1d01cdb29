"""Score an encoder bundle on query-passage pairs, through the serving runtime."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from headwater.bundles import Bundle
from headwater.data import PairExample
from headwater.evaluation import accuracy_interval, mrr_at_k, ndcg_at_k, recall_at_k
from headwater.serving import load_encoder

_METRICS = {
    "recall@1": (recall_at_k, 1),
    "recall@5": (recall_at_k, 5),
    "ndcg@10": (ndcg_at_k, 10),
    "mrr@10": (mrr_at_k, 10),
}
_DEEPEST = 10
_QUERIES_AT_ONCE = 512


def score_encoder(bundle: Bundle, pairs: Sequence[PairExample], threads: int = 0) -> dict[str, Any]:
    """recall@1, recall@5, nDCG@10 and MRR@10 with their intervals: each query against all passages of the pairs.

    Negatives of the pairs are passages too. A query with several positives has several right answers.
    """
    relevant: dict[str, set[str]] = {}
    for pair in pairs:
        relevant.setdefault(pair.query, set()).add(pair.positive)
    passages = list(dict.fromkeys(text for pair in pairs for text in (pair.positive, *pair.negatives)))
    encoder = load_encoder(bundle, threads)
    found = encoder.encode(passages, "passage")
    queries = list(relevant)
    values: dict[str, list[float]] = {name: [] for name in _METRICS}
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        part = queries[start : start + _QUERIES_AT_ONCE]
        similar = encoder.encode(part, "query") @ found.T
        for query, order in zip(part, np.argsort(-similar, axis=1, kind="stable")[:, :_DEEPEST], strict=True):
            ranked = [passages[place] for place in order]
            for name, (metric, k) in _METRICS.items():
                values[name].append(metric(ranked, relevant[query], k))
    scores: dict[str, Any] = {"queries": len(queries), "passages": len(passages)}
    for name, each in values.items():
        interval = accuracy_interval(np.array(each))
        scores |= {name: interval.value, f"{name}_interval": [interval.low, interval.high]}
    return scores
