"""Calibration: temperature scaling (Guo et al. 2017, arXiv 1706.04599) and expected calibration error."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = (5**0.5 - 1) / 2
_REJECTION_ROUNDS = 3


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Row-wise softmax of logits / temperature, [n, classes]."""
    scaled = logits / temperature
    scaled = scaled - scaled.max(1, keepdims=True)
    exponentials = np.exp(scaled)
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True), np.float32)


def sigmoid(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Element-wise logistic function of logits / temperature."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits / temperature, -60, 60))), np.float32)


def fit_temperature(logits: NDArray[np.float32], true: NDArray[np.int64] | NDArray[np.float32]) -> float:
    """The temperature in [0.05, 20] with the smallest negative log-likelihood on validation logits [n, classes].

    true: class indices [n], or 0/1 [n, labels] where each label is judged on its own (sigmoid).
    """

    def loss(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        if true.ndim == 2:
            return float((np.logaddexp(0.0, scaled) - true * scaled).mean())
        return float((_log_sum(scaled) - scaled[np.arange(len(true)), true]).mean())

    return float(np.exp(_least(loss, np.log(0.05), np.log(20.0))))


def with_rejection(logits: NDArray[np.float32], outside: int, level: float) -> NDArray[np.float32]:
    """Logits [n, classes] whose column `outside` becomes log(e^logit + e^level), so that it stays above `level`.

    A softmax judges a text by how much better one class is than the others; a text far from all of them may still
    favour one. The level adds how near it is at all, which separates unknown texts better (the largest logit,
    Hendrycks et al. 2022, arXiv 1911.11132), and keeps the outcome a probability.
    """
    raised = logits.copy()
    raised[:, outside] = np.logaddexp(logits[:, outside], level)
    return raised


def fit_rejection(logits: NDArray[np.float32], true: NDArray[np.int64], outside: int) -> tuple[float, float]:
    """(level, temperature) for `with_rejection` with the smallest negative log-likelihood on validation logits.

    `true` must hold `outside`, else no level is too low. Both are fitted in turn, each with the other fixed.
    """
    exact = logits.astype(np.float64)
    inside, own, chosen = np.delete(exact, outside, axis=1), exact[:, outside], exact[np.arange(len(true)), true]

    def level_at(temperature: float) -> float:
        others = _log_sum(inside / temperature)

        def loss(level: float) -> float:
            raised = np.logaddexp(own, level)
            target = np.where(true == outside, raised, chosen)
            return float((np.logaddexp(others, raised / temperature) - target / temperature).mean())

        return _least(loss, float(exact.min()), float(exact.max()))

    temperature = fit_temperature(logits, true)
    for _ in range(_REJECTION_ROUNDS):
        level = level_at(temperature)
        temperature = fit_temperature(with_rejection(logits, outside, level), true)
    return level, temperature


def _log_sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    top = values.max(1)
    return np.asarray(top + np.log(np.exp(values - top[:, None]).sum(1)))


def _least(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a unimodal function is least, by golden-section search."""
    for _ in range(40):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return (low + high) / 2


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions of like confidence: how many, their mean confidence, and how many of them were right."""

    count: int
    confidence: float
    accuracy: float


def reliability(confidence: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = 15) -> list[ReliabilityBin]:
    """Equal-width bins of the top-class confidence, empty ones left out."""
    index = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    found = []
    for number in range(bins):
        inside = index == number
        if inside.any():
            found.append(
                ReliabilityBin(int(inside.sum()), float(confidence[inside].mean()), float(correct[inside].mean()))
            )
    return found


def expected_calibration_error(confidence: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = 15) -> float:
    """Mean distance of confidence and accuracy over equal-width bins, weighted by their counts (0 to 1)."""
    parts = reliability(confidence, correct, bins)
    return sum(part.count * abs(part.confidence - part.accuracy) for part in parts) / max(len(confidence), 1)


def label_calibration_errors(
    probabilities: NDArray[np.floating], true: NDArray[Any], bins: int = 15
) -> NDArray[np.float64]:
    """The calibration error of each label [labels] on its own: how far its probabilities are from how often it holds.

    probabilities, true (0/1): [n, labels].
    """
    columns = zip(probabilities.T, (true > 0.5).T, strict=True)
    return np.array([expected_calibration_error(scores, holds, bins) for scores, holds in columns])
