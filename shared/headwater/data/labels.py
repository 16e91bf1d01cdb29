"""The label space: names in a fixed order, compared by name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.data.examples import TextExample
from headwater.errors import HeadwaterError


@dataclass(frozen=True)
class LabelSpace:
    """Label names by index. `multi_label`: any number of them holds at once."""

    names: tuple[str, ...]
    multi_label: bool = False

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise HeadwaterError(f"label names must differ; named twice: {', '.join(twice)}")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_examples(cls, examples: Iterable[TextExample], multi_label: bool | None = None) -> "LabelSpace":
        """All labels that occur, sorted; multi-label when an example has not exactly one, unless said."""
        seen: set[str] = set()
        several = False
        for example in examples:
            seen.update(example.labels)
            several = several or len(example.labels) != 1
        return cls(tuple(sorted(seen)), several if multi_label is None else multi_label)

    def index(self, name: str) -> int:
        """The index of a label. Raises HeadwaterError naming the unknown label."""
        try:
            return self.names.index(name)
        except ValueError:
            known = ", ".join(self.names[:8]) + (" …" if len(self.names) > 8 else "")
            raise HeadwaterError(f"unknown label {name!r}; the label space has {len(self.names)}: {known}") from None

    def encode(self, examples: Sequence[TextExample]) -> NDArray[np.int64] | NDArray[np.float32]:
        """Targets: int64 [n] for multi-class, float32 [n, labels] of 0 and 1 for multi-label.

        Raises HeadwaterError for a label that is not in the space, and in multi-class for a text with none or several.
        """
        position = {name: number for number, name in enumerate(self.names)}
        unknown = {label for example in examples for label in example.labels if label not in position}
        if unknown:
            self.index(min(unknown))
        if not self.multi_label:
            if odd := next((example for example in examples if len(example.labels) != 1), None):
                found = f"several labels ({', '.join(odd.labels)})" if odd.labels else "no label"
                raise HeadwaterError(
                    f"{odd.source or repr(odd.text[:40])} has {found} where every text has one; correct or remove it"
                )
            return np.array([position[example.label] for example in examples], np.int64)
        targets = np.zeros((len(examples), len(self.names)), np.float32)
        for row, example in enumerate(examples):
            targets[row, [position[label] for label in example.labels]] = 1.0
        return targets
