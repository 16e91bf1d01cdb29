"""What is wrong with a data set, said before training starts."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from headwater.data.examples import RowProblem, TextExample
from headwater.data.labels import LabelSpace
from headwater.data.splits import normalised
from headwater.errors import HeadwaterError

_SMALL_CLASS = 5
_SHOWN = 5


@dataclass(frozen=True)
class DataReport:
    """Counts and findings of a data set; `lines` is the text for a person."""

    train: int
    valid: int
    test: int
    labels: dict[str, int]
    unused_rows: int
    duplicates: int
    contradictions: tuple[str, ...]
    leaks: int
    small_classes: tuple[str, ...]
    median_characters: int
    longest_characters: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def lines(self) -> list[str]:
        lines = [
            f"{self.train} training, {self.valid} validation and {self.test} test examples, {len(self.labels)} labels"
        ]
        lines.append(f"texts: median {self.median_characters} characters, longest {self.longest_characters}")
        if self.unused_rows:
            lines.append(f"{self.unused_rows} rows could not be used")
        if self.duplicates:
            lines.append(f"{self.duplicates} training texts occur more than once with the same label")
        if self.contradictions:
            lines.append(
                f"{len(self.contradictions)} texts have different labels: " + "; ".join(self.contradictions[:_SHOWN])
            )
        if self.leaks:
            lines.append(f"{self.leaks} validation or test texts also occur in training: their score is too good")
        if self.small_classes:
            lines.append(f"labels with fewer than {_SMALL_CLASS} examples: " + ", ".join(self.small_classes[:_SHOWN]))
        return lines


def check_examples(
    train: Sequence[TextExample],
    valid: Sequence[TextExample] = (),
    test: Sequence[TextExample] = (),
    problems: Sequence[RowProblem] = (),
    multi_label: bool = False,
    out_of_scope: str | None = None,
) -> DataReport:
    """Examine the parts. Raises HeadwaterError when training is impossible: no examples, one class, unknown labels.

    `out_of_scope` may lack training examples when the validation part has some, from which its threshold is chosen.
    """
    if not train:
        raise HeadwaterError("there is no training example; name a file with at least two labels (--train)")
    space = LabelSpace.from_examples(train, multi_label)
    if len(space) < 2 and not multi_label:
        only = space.names[0] if space.names else "none"
        raise HeadwaterError(
            f"all {len(train)} training examples have one label ({only}); a classifier needs at least two"
        )
    if not space.names:
        raise HeadwaterError("no training example has a label; check the label column and its separator")
    known = set(space.names)
    if out_of_scope is not None:
        if not any(out_of_scope in e.labels for e in (*train, *valid)):
            raise HeadwaterError(
                f"no training or validation example has the out-of-scope label {out_of_scope!r}; "
                "add some, correct the label (--out-of-scope), or leave it out"
            )
        known.add(out_of_scope)
    for name, part in (("validation", valid), ("test", test)):
        unknown = Counter(label for e in part for label in e.labels if label not in known)
        if unknown:
            where = next(e.source for e in part if set(e.labels) & unknown.keys())
            listed = ", ".join(f"{label!r} ({count})" for label, count in unknown.most_common(_SHOWN))
            raise HeadwaterError(
                f"the {name} part has labels that training has not: {listed}; the first is at {where}. "
                "Add training examples for them, rename them, or leave those rows out"
            )
    counts = Counter(label for example in train for label in example.labels)
    lengths = sorted(len(example.text) for example in train)
    by_text: dict[str, list[TextExample]] = defaultdict(list)
    for example in train:
        by_text[normalised(example.text)].append(example)
    contradictions = [_contradiction(same) for same in by_text.values() if len({frozenset(e.labels) for e in same}) > 1]
    return DataReport(
        train=len(train),
        valid=len(valid),
        test=len(test),
        labels=dict(sorted(counts.items())),
        unused_rows=len(problems),
        duplicates=sum(len(same) - len({frozenset(e.labels) for e in same}) for same in by_text.values()),
        contradictions=tuple(contradictions),
        leaks=sum(normalised(example.text) in by_text for example in (*valid, *test)),
        small_classes=tuple(sorted(label for label, count in counts.items() if count < _SMALL_CLASS)),
        median_characters=lengths[len(lengths) // 2],
        longest_characters=lengths[-1],
    )


def _contradiction(same: list[TextExample]) -> str:
    places = ", ".join(f"{'+'.join(e.labels) or 'none'} ({e.source})" for e in same[:3])
    return f"{same[0].text[:60]!r}: {places}"
