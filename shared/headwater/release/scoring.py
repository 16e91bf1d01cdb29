"""Score a classifier bundle on labelled examples, through the serving runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.bundles import Bundle
from headwater.data import LabelSpace, TextExample
from headwater.evaluation import (
    accuracy_interval,
    classification_report,
    expected_calibration_error,
    f1_intervals,
    label_calibration_errors,
    scope_score,
)
from headwater.serving import load_classifier


@dataclass(frozen=True)
class Predictions:
    """What a bundle says of examples: `predicted` as the bot would act on it, with rejected texts as out of scope."""

    space: LabelSpace
    true: NDArray[Any]
    predicted: NDArray[Any]
    probabilities: NDArray[np.float32]

    @property
    def right(self) -> NDArray[np.bool_]:
        equal = self.predicted == self.true
        return np.asarray(equal.all(1) if self.space.multi_label else equal)


def predict(bundle: Bundle, examples: Sequence[TextExample], threads: int = 0) -> Predictions:
    """Predictions at the bundle's own threshold. Raises HeadwaterError for a label that the bundle does not know."""
    classifier = load_classifier(bundle, threads)
    space = classifier.label_space
    true = space.encode(examples)
    probabilities = classifier.probabilities([example.text for example in examples])
    if space.multi_label:
        predicted = (probabilities >= classifier.label_thresholds).astype(np.int64)
        return Predictions(space, (true > 0.5).astype(np.int64), predicted, probabilities)
    outside = bundle.manifest.out_of_scope_label
    if outside is None:
        return Predictions(space, true, probabilities.argmax(1), probabilities)
    index = space.index(outside)
    inside = probabilities.copy()
    inside[:, index] = -1
    accepted = inside.max(1) >= classifier.thresholds.get("out_of_scope", 0.0)
    return Predictions(space, true, np.where(accepted, inside.argmax(1), index), probabilities)


def score_classifier(bundle: Bundle, examples: Sequence[TextExample], threads: int = 0) -> dict[str, Any]:
    """accuracy, macro_f1, weighted_f1, micro_f1, per_class, …; plain numbers for `--json`."""
    found = predict(bundle, examples, threads)
    report = classification_report(found.true, found.predicted, found.space)
    interval = accuracy_interval(found.right)
    averages, by_class = f1_intervals(found.true, found.predicted, found.space)
    scores: dict[str, Any] = {
        "examples": len(examples),
        **report.to_json(),
        "accuracy_interval": [interval.low, interval.high],
        **{f"{name}_interval": [f1.low, f1.high] for name, f1 in averages.items()},
        "f1_intervals": {name: [f1.low, f1.high] for name, f1 in by_class.items()},
        "multi_label": found.space.multi_label,
    }
    if found.space.multi_label:
        errors = label_calibration_errors(found.probabilities, found.true)
        scores["calibration_errors"] = dict(zip(found.space.names, errors.tolist(), strict=True))
        scores["calibration_error"] = float(errors.mean())
    else:
        top = found.probabilities.argmax(1) == found.true
        scores["calibration_error"] = expected_calibration_error(found.probabilities.max(1), top)
    outside = bundle.manifest.out_of_scope_label
    if outside is not None:
        index = found.space.index(outside)
        inside = found.probabilities.copy()
        inside[:, index] = -1
        threshold = bundle.manifest.thresholds.get("out_of_scope", 0.0)
        arrays = inside.max(1), inside.argmax(1) == found.true, found.true != index
        scores["scope"] = scope_score(*arrays, threshold).__dict__
    return scores
