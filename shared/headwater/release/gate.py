"""The gate: a candidate replaces the production bundle only when it is not worse on the name's gate set."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.bundles import Bundle
from headwater.data import LabelSpace, TextExample
from headwater.errors import HeadwaterError
from headwater.evaluation import Interval, bootstrap_interval, metric_value, paired_bootstrap
from headwater.release.scoring import Predictions, predict

# Refused when the paired bootstrap says that the candidate is worse by more than this: in accuracy, or in micro F1
# where texts have several labels, since there accuracy asks for every label of a text at once.
LARGEST_LOSS = 0.01
# Refused when a class loses more recall than this, and at least two of its gate examples: one answer that flipped is
# no finding. From 20 examples on the points alone decide, since one of 20 is not more than five.
LARGEST_RECALL_LOSS = 0.05
_LEAST_LOST = 2
# Classes with fewer gate examples are left to the accuracy as a whole.
_LEAST_SUPPORT = 4
# .90 - .85 is a little more than .05 in binary.
_ROUNDING = 1e-9
# The first version of a name has nothing to be compared with, but must at least do this.
LEAST_FIRST = 0.5
# A verdict is read in a line of a terminal or a dashboard.
_LONGEST_LIST = 5
_LONGEST_LABEL = 40


@dataclass(frozen=True)
class Verdict:
    """What the gate found; `reasons` are sentences with their numbers, empty when nothing speaks against it.

    `difference`: (value, low, high) of the candidate's accuracy less production's, of several labels a text of their
    micro F1. `recalls`: {label: [production's, candidate's]} of the classes that were compared, of `classes` in all.
    """

    accepted: bool
    reasons: tuple[str, ...]
    candidate_accuracy: float | None = None
    production_accuracy: float | None = None
    difference: tuple[float, float, float] | None = None
    examples: int = 0
    recalls: dict[str, list[float]] = field(default_factory=dict)
    classes: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(
    candidate: Bundle,
    production: Bundle | None,
    examples: Sequence[TextExample],
    *,
    new_labels: bool = False,
    threads: int = 0,
) -> Verdict:
    """Score both bundles now on the gate set and compare them example by example.

    Without examples the candidate's own parity and quantisation report decide; of a classifier, which has labelled
    texts to be compared on, that is enough for a first version only.
    """
    refusal = _contract(candidate, production, new_labels)
    if refusal:
        return Verdict(False, (refusal,))
    if not examples and candidate.manifest.kind == "classifier" and production is not None:
        return Verdict(False, (_NO_GATE,))
    if not examples:
        return _judge_by_report(candidate)
    if candidate.manifest.kind != "classifier":
        raise HeadwaterError(f"{candidate.manifest.a_kind} cannot be judged on labelled texts; leave out its gate set")
    known = _known(candidate, examples)
    shared = [] if production is None else [e for e in known if set(e.labels) <= set(production.manifest.labels)]
    if production is None or not shared:  # wholly new labels, which were meant: nothing to be compared with either
        return _judge_first(predict(candidate, known, threads))
    ours, theirs = predict(candidate, shared, threads), predict(production, shared, threads)
    difference = _difference(ours, theirs)
    recalls, fallen = _recalls(ours, theirs)
    reasons = [_shortened(fallen, "classes")] if fallen else []
    if difference.high < -LARGEST_LOSS:
        reasons.insert(
            0,
            f"{_metric(ours.space)} is worse by {-difference.value:.3f} "
            f"(95 %: {-difference.high:.3f} to {-difference.low:.3f})",
        )
    return Verdict(
        not reasons,
        tuple(reasons),
        float(ours.right.mean()),
        float(theirs.right.mean()),
        (difference.value, difference.low, difference.high),
        len(shared),
        recalls,
        len({label for example in shared for label in example.labels}),
    )


_NO_GATE = (
    "it has no gate set on which it could be compared with the version in production; give it one: "
    "headwater registry add NAME BUNDLE --gate FILE (columns text, label)"
)


def _contract(candidate: Bundle, production: Bundle | None, new_labels: bool) -> str:
    """Why whatever uses the version in production could not use the candidate in its place; empty when it could."""
    if production is None:
        return ""
    ours, theirs = candidate.manifest, production.manifest
    if ours.kind != theirs.kind:
        return f"it is a bundle of kind {ours.kind}, the one in production {theirs.kind}; give it a name of its own"
    if ours.multi_label != theirs.multi_label:
        some, one = "any number of labels a text", "one label a text"
        gives = (some, one) if ours.multi_label else (one, some)
        return f"it gives {gives[0]}, the version in production {gives[1]}; give it a name of its own"
    return "" if new_labels or set(ours.labels) == set(theirs.labels) else _label_change(ours.labels, theirs.labels)


def _known(bundle: Bundle, examples: Sequence[TextExample]) -> list[TextExample]:
    known = [example for example in examples if set(example.labels) <= set(bundle.manifest.labels)]
    if not known:
        raise HeadwaterError("the gate set shares no label with this bundle; name another gate set for it")
    return known


def _judge_by_report(candidate: Bundle) -> Verdict:
    manifest = candidate.manifest
    ok = bool(manifest.parity) and (
        bool(manifest.quantisation.get("accepted")) or not manifest.model.endswith("int8.onnx")
    )
    return Verdict(ok, () if ok else ("its manifest holds no parity report",))


def _judge_first(ours: Predictions) -> Verdict:
    reached = metric_value("micro_f1", ours.true, ours.predicted, ours.space)  # of one label a text: accuracy
    low = reached < LEAST_FIRST
    reasons = (f"{_metric(ours.space)} {reached:.3f} on the gate set is below {LEAST_FIRST}",) if low else ()
    return Verdict(not low, reasons, float(ours.right.mean()), examples=len(ours.right))


def _metric(space: LabelSpace) -> str:
    return "micro F1" if space.multi_label else "accuracy"


def _difference(ours: Predictions, theirs: Predictions) -> Interval:
    """How much better the candidate is, over the same resampled texts; micro F1 over the labels that both know."""
    if not ours.space.multi_label:
        return paired_bootstrap(ours.right.astype(float), theirs.right.astype(float))
    both = LabelSpace(tuple(name for name in ours.space.names if name in theirs.space.names), multi_label=True)
    (true, said), (_, before) = _columns(ours, both), _columns(theirs, both)

    def better(rows: NDArray[np.int64]) -> float:
        after, then = (metric_value("micro_f1", true[rows], labels[rows], both) for labels in (said, before))
        return after - then

    return bootstrap_interval(np.arange(len(true), dtype=float), better)


def _columns(found: Predictions, labels: LabelSpace) -> tuple[NDArray[Any], NDArray[Any]]:
    """(true, predicted) [n, labels] of these labels."""
    places = [found.space.index(name) for name in labels.names]
    return found.true[:, places], found.predicted[:, places]


def _label_change(ours: Sequence[str], theirs: Sequence[str]) -> str:
    parts = [
        f"{word} {_shortened([name[:_LONGEST_LABEL] for name in sorted(names)], '')}"
        for word, names in (("adds", set(ours) - set(theirs)), ("lacks", set(theirs) - set(ours)))
        if names
    ]
    return f"its labels differ: it {' and '.join(parts)}; promote with --new-labels if that is meant"


def _shortened(items: Sequence[str], noun: str) -> str:
    """The first few, and how many there are beyond them."""
    more = len(items) - _LONGEST_LIST
    return ", ".join(items[:_LONGEST_LIST]) + (f" and {more} more {noun}".rstrip() if more > 0 else "")


def _recalls(ours: Predictions, theirs: Predictions) -> tuple[dict[str, list[float]], list[str]]:
    """{label: [production's recall, candidate's recall]} of the labels with enough examples, and whose have fallen."""
    recalls: dict[str, list[float]] = {}
    fallen: list[str] = []
    for name in sorted(set(ours.space.names) & set(theirs.space.names)):
        before, after = _found(theirs, name), _found(ours, name)
        support = len(before)
        if support < _LEAST_SUPPORT:
            continue
        recalls[name] = [float(before.mean()), float(after.mean())]
        lost = int(before.sum()) - int(after.sum())
        if lost >= _LEAST_LOST and lost / support > LARGEST_RECALL_LOSS + _ROUNDING:
            fallen.append(
                f"the recall of {name[:_LONGEST_LABEL]} falls from {before.mean():.2f} to {after.mean():.2f} "
                f"({lost} of {support} examples)"
            )
    return recalls, fallen


def _found(predictions: Predictions, label: str) -> NDArray[np.bool_]:
    """Of the examples that have the label, which were given it."""
    index = predictions.space.index(label)
    if predictions.space.multi_label:
        return np.asarray(predictions.predicted[predictions.true[:, index] == 1, index] == 1)
    return np.asarray(predictions.predicted[predictions.true == index] == index)
