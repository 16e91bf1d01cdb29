"""Splits that keep duplicates and groups on one side; deterministic by seed."""

import hashlib
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TypeVar

from headwater.data.examples import PairExample, TextExample
from headwater.errors import HeadwaterError

Grouped = TypeVar("Grouped", TextExample, PairExample)
_SPACES = re.compile(r"\s+")


def normalised(text: str) -> str:
    """The key under which two texts count as the same: case and spaces ignored."""
    return _SPACES.sub(" ", text.casefold()).strip()


def split_stratified(
    examples: Sequence[TextExample], fraction: float, seed: int = 0
) -> tuple[list[TextExample], list[TextExample]]:
    """(rest, part) with about `fraction` of each class, and at least one text of each that has two, in the part.

    A class with one text stays in the rest, which keeps at least one example of every label. Equal texts, and
    examples of one group, are never torn apart. Multi-label examples count under their rarest label.
    """
    _check_fraction(fraction)
    frequency = Counter(label for example in examples for label in example.labels)
    units: dict[str, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        units[f"g:{example.group}" if example.group is not None else f"t:{normalised(example.text)}"].append(number)
    strata: dict[str, list[str]] = defaultdict(list)
    for key, members in units.items():
        labels = [label for number in members for label in examples[number].labels]
        strata[min(labels, key=lambda label: (frequency[label], label)) if labels else ""].append(key)
    chosen: set[int] = set()
    left = frequency.copy()
    for label in sorted(strata):
        keys = sorted(strata[label], key=lambda key: hashlib.sha256(key.encode()).digest())
        random.Random(f"{seed}:{label}").shuffle(keys)
        count = min(max(1, math.floor(fraction * len(keys) + 0.5)), len(keys) - 1)
        for key in keys:
            taken = Counter(label for number in units[key] for label in examples[number].labels)
            if count > 0 and all(left[name] > times for name, times in taken.items()):
                chosen.update(units[key])
                left -= taken
                count -= 1
    rest = [example for number, example in enumerate(examples) if number not in chosen]
    return rest, [examples[number] for number in sorted(chosen)]


def split_grouped(examples: Sequence[Grouped], fraction: float, seed: int = 0) -> tuple[list[Grouped], list[Grouped]]:
    """(rest, part) by whole groups; neither side is empty, and the rest keeps every label unless no group can go.

    Raises HeadwaterError when an example has no group, or all have the same.
    """
    _check_fraction(fraction)
    ungrouped = next((example for example in examples if example.group is None), None)
    if ungrouped is not None:
        raise HeadwaterError(f"{ungrouped.source or ungrouped!r} has no group; name the column that holds it")
    groups = sorted({str(example.group) for example in examples})
    if len(groups) < 2:
        raise HeadwaterError(
            f"all {len(examples)} examples are of one group; a grouped split needs at least two groups"
        )
    random.Random(seed).shuffle(groups)
    count = min(max(1, round(fraction * len(groups))), len(groups) - 1)
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for example in examples:
        labels[str(example.group)].update(example.labels if isinstance(example, TextExample) else ())
    left = sum(labels.values(), Counter[str]())
    part = set[str]()
    for group in groups:
        if len(part) < count and all(left[name] > times for name, times in labels[group].items()):
            part.add(group)
            left -= labels[group]
    part = part or {groups[0]}
    return [e for e in examples if e.group not in part], [e for e in examples if e.group in part]


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise HeadwaterError(f"the fraction of a split must lie between 0 and 1, not {fraction}")
