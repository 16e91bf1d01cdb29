"""Decision thresholds of a multi-label classifier, one a label."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# With fewer positive validation texts than this a label's own best threshold is chance; it takes that of all labels.
_LEAST_POSITIVES = 5


def choose_label_thresholds(probabilities: NDArray[np.floating], true: NDArray[Any]) -> NDArray[np.float64]:
    """Thresholds [labels] with the best F1 of each label on validation data. probabilities, true (0/1): [n, labels].

    A label with few positive texts takes the threshold with the best micro F1 over all labels.
    """
    shared = _best_threshold(probabilities.ravel(), true.ravel() > 0.5)
    return np.array(
        [
            _best_threshold(scores, positive) if positive.sum() >= _LEAST_POSITIVES else shared
            for scores, positive in zip(probabilities.T, (true > 0.5).T, strict=True)
        ]
    )


def _best_threshold(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """The threshold with the best F1, midway between two scores; of equally good ones the nearest to one half."""
    if not positive.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order].astype(np.float64)
    hits = np.cumsum(positive[order])
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + hits[-1])
    below = np.append(ordered[1:], 0.0)
    f1[ordered == below] = -1.0  # no threshold lies between equal scores
    middle = (ordered + below) / 2
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(middle[best[np.abs(middle[best] - 0.5).argmin()]])
