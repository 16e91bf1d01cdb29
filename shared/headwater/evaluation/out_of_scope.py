"""Classification with rejection: in-scope accuracy and out-of-scope recall at one threshold (Larson et al. 2019)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ScopeScore:
    """`in_scope_accuracy`: in-scope texts neither rejected nor misread. Recall and precision are of rejection."""

    threshold: float
    in_scope_accuracy: float
    out_of_scope_recall: float
    out_of_scope_precision: float
    area: float


def scope_score(
    scores: NDArray[np.floating], right: NDArray[np.bool_], in_scope: NDArray[np.bool_], threshold: float
) -> ScopeScore:
    """Score rejection below `threshold`. scores: in-scope confidence [n]; right: the best in-scope class is true."""
    accepted = scores >= threshold
    rejected_outside = (~accepted & ~in_scope).sum()
    return ScopeScore(
        float(threshold),
        float((accepted & right)[in_scope].mean()),
        float(rejected_outside / max((~in_scope).sum(), 1)),
        float(rejected_outside / max((~accepted).sum(), 1)),
        area_under_roc(scores, in_scope),
    )


def choose_threshold(
    scores: NDArray[np.floating],
    right: NDArray[np.bool_],
    in_scope: NDArray[np.bool_],
    largest_loss: float = 0.01,
) -> float:
    """The threshold with the best sum of in-scope accuracy and out-of-scope recall on validation data,

    among those that cost at most `largest_loss` of in-scope accuracy. Use validation scores only.
    """
    inside = np.sort(scores[in_scope & right])
    if not len(inside) or not (~in_scope).any():
        return 0.0
    candidates = np.unique(np.concatenate([[0.0], scores[scores <= np.quantile(inside, 0.5)]]))
    free = float(right[in_scope].mean())
    best, best_value = 0.0, -1.0
    for threshold in candidates:
        score = scope_score(scores, right, in_scope, threshold)
        value = score.in_scope_accuracy + score.out_of_scope_recall
        if score.in_scope_accuracy >= free - largest_loss and value > best_value:
            best, best_value = float(threshold), value
    return best


def area_under_roc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney), ties counted half; 0.5 when one class is missing."""
    ordered = np.argsort(scores, kind="stable")
    values = scores[ordered]
    _, first, counts = np.unique(values, return_index=True, return_counts=True)
    ranks = np.repeat(first + (counts + 1) / 2, counts)
    ups = positive[ordered]
    n_up, n_down = int(ups.sum()), int((~ups).sum())
    if not n_up or not n_down:
        return 0.5
    return float((ranks[ups].sum() - n_up * (n_up + 1) / 2) / (n_up * n_down))
