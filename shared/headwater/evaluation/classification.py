"""Precision, recall and F1 for a class, and their averages (micro, macro, weighted), by plain counting."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.data import LabelSpace
from headwater.errors import HeadwaterError
from headwater.evaluation.intervals import Interval, accuracy_interval


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
    if not labels.multi_label:
        confusion = np.zeros((len(labels), len(labels)), np.int64)
        np.add.at(confusion, (true.astype(np.int64), predicted.astype(np.int64)), 1)
    counts = _counts(true, predicted, labels)
    accuracy = metric_value("accuracy", true, predicted, labels)
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


def metric_value(metric: str, true: NDArray[Any], predicted: NDArray[Any], labels: LabelSpace) -> float:
    """accuracy, macro_f1 or micro_f1 (of one label a text: accuracy) of what `classification_report` takes."""
    if metric == "accuracy":
        equal = (true > 0.5) == (predicted > 0.5) if labels.multi_label else true == predicted
        return float(equal.all(1).mean() if labels.multi_label else equal.mean())
    counts = _counts(true, predicted, labels)
    return _micro(counts) if metric == "micro_f1" else _macro(_f1(counts))


def f1_intervals(
    true: NDArray[Any],
    predicted: NDArray[Any],
    labels: LabelSpace,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Bootstrap intervals ({"micro_f1", "macro_f1"}, {class: of its F1}); classes that do not occur are left out."""
    counts = _counts(true, predicted, labels)
    generator = np.random.default_rng(seed)
    averages = np.empty((resamples, 2))
    classes = np.empty((resamples, len(labels)))
    for number in range(resamples):
        rows = generator.integers(0, len(true), len(true))
        drawn = _counts(true[rows], predicted[rows], labels)
        classes[number] = _f1(drawn)
        averages[number] = _micro(drawn), _macro(classes[number])
    values = _f1(counts)
    micro, macro = _micro(counts), _macro(values)
    concerned = counts[1] + counts[2] - counts[0]  # texts of which a class is true or said
    by_class = {}
    for label in np.flatnonzero(concerned):
        value = float(values[label])
        found = _interval(value, classes[:, label], int(concerned[label]), level)
        if value in (0, 1):  # found is of the share s that is right among these texts; F1 is 2s / (1 + s)
            found = Interval(value, *(2 * end / (1 + end) for end in (found.low, found.high)))
        by_class[labels.names[label]] = found
    return {
        "micro_f1": _interval(micro, averages[:, 0], len(true), level),
        "macro_f1": _interval(macro, averages[:, 1], len(true), level),
    }, by_class


def _interval(value: float, drawn: NDArray[np.float64], texts: int, level: float) -> Interval:
    """The percentiles of the drawn values; where all of `texts` are right or none is, see `accuracy_interval`."""
    if value in (0, 1):
        return accuracy_interval(np.full(texts, value), level=level)
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _counts(true: NDArray[Any], predicted: NDArray[Any], labels: LabelSpace) -> NDArray[np.int64]:
    """How often each class is rightly said, said, and true: [3, classes]."""
    if labels.multi_label:
        holds, said = true > 0.5, predicted > 0.5
        return np.stack([(holds & said).sum(0), said.sum(0), holds.sum(0)])
    sets = (true[true == predicted], predicted, true)
    return np.stack([np.bincount(part.astype(np.int64), minlength=len(labels)) for part in sets])


def _f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 of each class [classes]; NaN where it neither occurs nor is predicted."""
    total = (counts[1] + counts[2]).astype(np.float64)
    return np.asarray(2 * counts[0] / np.where(total > 0, total, np.nan))


def _macro(f1: NDArray[np.float64]) -> float:
    seen = f1[~np.isnan(f1)]
    return float(seen.mean()) if len(seen) else 0.0


def _micro(counts: NDArray[np.int64]) -> float:
    hits, said, holds = counts.sum(1)
    return float(2 * hits / max(said + holds, 1))


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


def confident_label_mistakes(
    true: NDArray[np.floating],
    probabilities: NDArray[np.float32],
    predicted: NDArray[np.int64],
    labels: LabelSpace,
    count: int = 25,
) -> list[Mistake]:
    """The texts with a wrong label set of a multi-label model, the surest wrong decision first. All: [n, labels].

    A label that is wrongly said is as sure as its probability, one that is wrongly missing as its complement.
    """
    wrong = predicted != (true > 0.5)
    sure = np.where(wrong, np.where(predicted > 0, probabilities, 1 - probabilities), -1.0).max(1)
    order = np.argsort(-sure, kind="stable")[: min(count, int(wrong.any(1).sum()))]

    def named(row: NDArray[Any]) -> str:
        return " + ".join(name for name, holds in zip(labels.names, row > 0.5, strict=True) if holds) or "none"

    return [Mistake(int(i), named(true[i]), named(predicted[i]), float(sure[i])) for i in order]
