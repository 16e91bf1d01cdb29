"""Calibration: temperature scaling (Guo et al. 2017, arXiv 1706.04599) and expected calibration error."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_GOLDEN = (5**0.5 - 1) / 2


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Row-wise softmax of logits / temperature, [n, classes]."""
    scaled = logits / temperature
    scaled = scaled - scaled.max(1, keepdims=True)
    exponentials = np.exp(scaled)
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True), np.float32)


def sigmoid(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Element-wise logistic function of logits / temperature."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits / temperature, -60, 60))), np.float32)


def fit_temperature(logits: NDArray[np.float32], true: NDArray[np.int64]) -> float:
    """The temperature in [0.05, 20] with the smallest negative log-likelihood on validation logits [n, classes]."""

    def loss(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        top = scaled.max(1)
        normaliser = top + np.log(np.exp(scaled - top[:, None]).sum(1))
        return float((normaliser - scaled[np.arange(len(true)), true]).mean())

    low, high = np.log(0.05), np.log(20.0)
    for _ in range(40):  # golden-section search; the loss is unimodal in the log temperature
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


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
