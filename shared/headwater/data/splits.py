"""Splits that keep duplicates and groups on one side; deterministic by seed."""

import hashlib
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from headwater.data.examples import TextExample
from headwater.errors import HeadwaterError

_SPACES = re.compile(r"\s+")


def normalised(text: str) -> str:
    """The key under which two texts count as the same: case and spaces ignored."""
    return _SPACES.sub(" ", text.casefold()).strip()


def split_stratified(
    examples: Sequence[TextExample], fraction: float, seed: int = 0
) -> tuple[list[TextExample], list[TextExample]]:
    """(rest, part) with about `fraction` of each class in the part; a class with one text stays in the rest.

    Equal texts, and examples of one group, are never torn apart. Multi-label examples count under their rarest label.
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
    for label in sorted(strata):
        keys = sorted(strata[label], key=lambda key: hashlib.sha256(key.encode()).digest())
        random.Random(f"{seed}:{label}").shuffle(keys)
        count = min(math.floor(fraction * len(keys) + 0.5), len(keys) - 1)
        for key in keys[:count]:
            chosen.update(units[key])
    rest = [example for number, example in enumerate(examples) if number not in chosen]
    return rest, [examples[number] for number in sorted(chosen)]


def split_grouped(
    examples: Sequence[TextExample], fraction: float, seed: int = 0
) -> tuple[list[TextExample], list[TextExample]]:
    """(rest, part) by whole groups, regardless of labels; neither side is empty.

    Raises HeadwaterError when an example has no group, or all have the same.
    """
    _check_fraction(fraction)
    ungrouped = next((example for example in examples if example.group is None), None)
    if ungrouped is not None:
        raise HeadwaterError(f"{ungrouped.source or ungrouped.text[:40]!r} has no group; name the column that holds it")
    groups = sorted({str(example.group) for example in examples})
    if len(groups) < 2:
        raise HeadwaterError(
            f"all {len(examples)} examples are of one group; a grouped split needs at least two groups"
        )
    random.Random(seed).shuffle(groups)
    part = set(groups[: min(max(1, round(fraction * len(groups))), len(groups) - 1)])
    return [e for e in examples if e.group not in part], [e for e in examples if e.group in part]


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise HeadwaterError(f"the fraction of a split must lie between 0 and 1, not {fraction}")
