"""Text → calibrated label probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.bundles import Bundle
from headwater.errors import HeadwaterError
from headwater.evaluation import sigmoid, softmax, with_rejection
from headwater.serving.batches import TruncationCount, run_in_batches
from headwater.serving.session import open_model, open_tokenizer


@dataclass(frozen=True)
class Prediction:
    """The best in-scope label with its probability; `in_scope` is False when it stays below the threshold."""

    label: str
    probability: float
    in_scope: bool


class Classifier:
    """A classifier bundle, ready to use; safe to call from several threads."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        if bundle.manifest.kind != "classifier":
            raise HeadwaterError(f"{bundle.path} is {bundle.manifest.a_kind}, not a classifier")
        self.id = bundle.id
        self.manifest = bundle.manifest
        self.label_space = bundle.manifest.label_space
        self.thresholds = bundle.manifest.thresholds
        self._truncations = TruncationCount()
        self._tokenizer = open_tokenizer(bundle)
        self._session = open_model(bundle, threads)
        self._prefix = bundle.manifest.prefixes.get("query", "")

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Uncalibrated scores float32 [n, labels]."""
        prefixed = [self._prefix + text for text in texts] if self._prefix else texts
        return run_in_batches(self._tokenizer, prefixed, self._run, len(self.label_space), self._truncations)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Calibrated probabilities float32 [n, labels]; rows sum to 1 unless the label space is multi-label."""
        logits = self.logits(texts)
        if self.label_space.multi_label:
            return sigmoid(logits, self.manifest.temperature)
        if self.manifest.rejection_logit is not None and self.manifest.out_of_scope_label is not None:
            outside = self.label_space.index(self.manifest.out_of_scope_label)
            logits = with_rejection(logits, outside, self.manifest.rejection_logit)
        return softmax(logits, self.manifest.temperature)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """The best label of each text, leaving out the out-of-scope label, judged by the bundle's threshold."""
        return [
            best_in_scope(row, self.manifest.labels, self.manifest.out_of_scope_label, self._threshold)
            for row in self.probabilities(texts)
        ]

    def predict_labels(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """The labels of each text whose probability reaches their own threshold.

        Raises HeadwaterError for a bundle that gives one label a text (`predict`).
        """
        if not self.label_space.multi_label:
            raise HeadwaterError("this classifier gives one label a text; call predict instead of predict_labels")
        said = self.probabilities(texts) >= self.label_thresholds
        return [tuple(name for name, holds in zip(self.manifest.labels, row, strict=True) if holds) for row in said]

    @property
    def label_thresholds(self) -> NDArray[np.float64]:
        """The least probability at which each label of a multi-label bundle is said, [labels]."""
        return np.array([self.thresholds.get(name, 0.5) for name in self.manifest.labels])

    @property
    def _threshold(self) -> float:
        return self.thresholds.get("out_of_scope", 0.0)

    @property
    def truncated(self) -> int:
        """How many texts have lost their end since the model was loaded (max_length of the manifest)."""
        return self._truncations.value

    def _run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        output: NDArray[np.float32] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return output


def best_in_scope(
    probabilities: NDArray[np.float32], labels: Sequence[str], out_of_scope: str | None, threshold: float
) -> Prediction:
    """The most probable label other than `out_of_scope`, accepted from `threshold` on. probabilities: [labels]."""
    scores = probabilities.copy()
    if out_of_scope in labels:
        scores[labels.index(out_of_scope)] = -1.0
    best = int(scores.argmax())
    return Prediction(labels[best], float(scores[best]), bool(scores[best] >= threshold))


def load_classifier(bundle: Bundle, threads: int = 0) -> Classifier:
    """Load a classifier bundle; `threads` 0: one per core."""
    return Classifier(bundle, threads)
