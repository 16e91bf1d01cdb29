"""Precision, recall and F1 for a class, and their averages (micro, macro, weighted), by plain counting."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.data import LabelSpace
from headwater.errors import HeadwaterError


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class; `support` is how often it is true."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class ClassificationReport:
    """All scores of a classifier. `confusion[i][j]`: true class i taken for j (empty for multi-label)."""

    accuracy: float
    micro: ClassScore
    macro: ClassScore
    weighted: ClassScore
    per_class: dict[str, ClassScore]
    confusion: list[list[int]]

    @property
    def macro_f1(self) -> float:
        return self.macro.f1

    @property
    def weighted_f1(self) -> float:
        return self.weighted.f1

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "macro_f1": self.macro_f1, "weighted_f1": self.weighted_f1, "micro_f1": self.micro.f1}


def classification_report(true: NDArray[Any], predicted: NDArray[Any], labels: LabelSpace) -> ClassificationReport:
    """Score predictions: class indices int [n], or for a multi-label space 0/1 arrays [n, labels].

    A class that is never predicted has precision 0; accuracy of multi-label is exact match. Raises HeadwaterError on
    shapes that do not fit.
    """
    if len(true) != len(predicted) or len(true) == 0:
        raise HeadwaterError(f"{len(true)} true and {len(predicted)} predicted labels cannot be compared")
    confusion = np.zeros((0, 0), np.int64)
    if labels.multi_label:
        hit = (true > 0.5) & (predicted > 0.5)
        counts = np.stack([hit.sum(0), (predicted > 0.5).sum(0), (true > 0.5).sum(0)])
        accuracy = float(((true > 0.5) == (predicted > 0.5)).all(1).mean())
    else:
        confusion = np.zeros((len(labels), len(labels)), np.int64)
        np.add.at(confusion, (true.astype(np.int64), predicted.astype(np.int64)), 1)
        counts = np.stack([confusion.diagonal(), confusion.sum(0), confusion.sum(1)])
        accuracy = float((true == predicted).mean())
    per_class = {name: _score(*(int(c) for c in counts[:, i])) for i, name in enumerate(labels.names)}
    # A class that neither occurs nor is predicted says nothing; it does not count in the macro average.
    seen = [score for i, score in enumerate(per_class.values()) if counts[1, i] or counts[2, i]]
    return ClassificationReport(
        accuracy,
        _score(*(int(c) for c in counts.sum(1))),
        _average(seen, [1.0] * len(seen)),
        _average(seen, [float(score.support) for score in seen]),
        per_class,
        confusion.tolist(),
    )


def _score(hits: int, predicted: int, support: int) -> ClassScore:
    precision = hits / predicted if predicted else 0.0
    recall = hits / support if support else 0.0
    f1 = 2 * hits / (predicted + support) if predicted + support else 0.0
    return ClassScore(precision, recall, f1, support)


def _average(scores: Sequence[ClassScore], weights: Sequence[float]) -> ClassScore:
    total = sum(weights) or 1.0
    parts = [
        sum(w * getattr(s, field) for s, w in zip(scores, weights, strict=True)) / total
        for field in ("precision", "recall", "f1")
    ]
    return ClassScore(parts[0], parts[1], parts[2], sum(score.support for score in scores))


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction: the row, what was true, what was said, and with which probability."""

    index: int
    true: str
    predicted: str
    probability: float


def confident_mistakes(
    true: NDArray[np.int64], probabilities: NDArray[np.float32], labels: LabelSpace, count: int = 25
) -> list[Mistake]:
    """The wrong predictions of a multi-class model, most confident first. probabilities: [n, labels]."""
    predicted = probabilities.argmax(1)
    confidence = probabilities.max(1)
    wrong = np.flatnonzero(predicted != true)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    return [Mistake(int(i), labels.names[true[i]], labels.names[predicted[i]], float(confidence[i])) for i in order]


def macro_f1(true: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> float:
    """Macro F1 alone, quick enough for a bootstrap: classes that neither occur nor are predicted are left out."""
    hits = np.bincount(true[true == predicted], minlength=classes)
    total = np.bincount(true, minlength=classes) + np.bincount(predicted, minlength=classes)
    seen = total > 0
    return float((2 * hits[seen] / total[seen]).mean())
