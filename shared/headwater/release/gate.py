"""The gate: a candidate replaces the production bundle only when it is not worse on the name's gate set."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from headwater.bundles import Bundle
from headwater.data import TextExample
from headwater.errors import HeadwaterError
from headwater.evaluation import paired_bootstrap
from headwater.release.scoring import Predictions, predict

# Refused when the paired bootstrap says that the candidate is worse by more than this.
LARGEST_LOSS = 0.01
LARGEST_RECALL_LOSS = 0.05
# .90 - .85 is a little more than .05 in binary.
_ROUNDING = 1e-9
# A class with fewer gate examples than this cannot lose five points in a meaningful way.
_LEAST_SUPPORT = 10
# The first version of a name has nothing to be compared with, but must at least do this.
LEAST_FIRST_ACCURACY = 0.5


@dataclass(frozen=True)
class Verdict:
    """What the gate found; `reasons` are sentences with their numbers, empty when nothing speaks against it."""

    accepted: bool
    reasons: tuple[str, ...]
    candidate_accuracy: float | None = None
    production_accuracy: float | None = None
    difference: tuple[float, float, float] | None = None
    examples: int = 0
    recalls: dict[str, list[float]] = field(default_factory=dict)

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

    Without examples (encoders) the candidate's own parity and quantisation report decide.
    """
    if not examples:
        return _judge_by_report(candidate)
    if candidate.manifest.kind != "classifier":
        raise HeadwaterError(f"a {candidate.manifest.kind} cannot be judged on labelled texts; leave out its gate set")
    known = _known(candidate, examples)
    ours = predict(candidate, known, threads)
    accuracy = float(ours.right.mean())
    if production is None:
        low = accuracy < LEAST_FIRST_ACCURACY
        reasons = (f"accuracy {accuracy:.3f} on the gate set is below {LEAST_FIRST_ACCURACY}",) if low else ()
        return Verdict(not low, reasons, accuracy, examples=len(known))
    if set(candidate.manifest.labels) != set(production.manifest.labels) and not new_labels:
        return Verdict(False, (_label_change(candidate, production),), accuracy, examples=len(known))
    shared = [e for e in examples if set(e.labels) <= set(candidate.manifest.labels) & set(production.manifest.labels)]
    if not shared:
        return Verdict(False, ("the two versions share no label of the gate set",), accuracy, examples=0)
    ours, theirs = predict(candidate, shared, threads), predict(production, shared, threads)
    difference = paired_bootstrap(ours.right.astype(float), theirs.right.astype(float))
    recalls = _recalls(ours, theirs)
    reasons_found = [
        f"the recall of {name} falls from {before:.2f} to {after:.2f}"
        for name, (before, after) in recalls.items()
        if before - after > LARGEST_RECALL_LOSS + _ROUNDING
    ]
    if difference.high < -LARGEST_LOSS:
        reasons_found.insert(
            0, f"accuracy is worse by {-difference.value:.3f} (95 %: {-difference.high:.3f} to {-difference.low:.3f})"
        )
    return Verdict(
        not reasons_found,
        tuple(reasons_found),
        float(ours.right.mean()),
        float(theirs.right.mean()),
        (difference.value, difference.low, difference.high),
        len(shared),
        recalls,
    )


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


def _label_change(candidate: Bundle, production: Bundle) -> str:
    ours, theirs = set(candidate.manifest.labels), set(production.manifest.labels)
    parts = [
        f"{word} {', '.join(sorted(names))}"
        for word, names in (("adds", ours - theirs), ("lacks", theirs - ours))
        if names
    ]
    return f"its labels differ: it {' and '.join(parts)}; promote with --new-labels if that is meant"


def _recalls(ours: Predictions, theirs: Predictions) -> dict[str, list[float]]:
    """{label: [production's recall, candidate's recall]} of the labels with enough examples (multi-class)."""
    if ours.space.multi_label:
        return {}
    names = [ours.space.names[i] for i in ours.true]
    found = {}
    for name in sorted(set(names)):
        rows = [i for i, other in enumerate(names) if other == name]
        if len(rows) >= _LEAST_SUPPORT:
            found[name] = [float(theirs.right[rows].mean()), float(ours.right[rows].mean())]
    return found
