"""Typed examples, and what a reader returns."""

from dataclasses import dataclass
from typing import Generic, TypeVar

Example = TypeVar("Example")


@dataclass(frozen=True, slots=True)
class TextExample:
    """A text with its labels (none: unlabelled, several: multi-label). `group` keeps related texts in one split."""

    text: str
    labels: tuple[str, ...] = ()
    group: str | None = None
    source: str | None = None

    @property
    def label(self) -> str:
        """The one label of a multi-class example. Raises ValueError when there is none or more than one."""
        if len(self.labels) != 1:
            raise ValueError(f"{self.source or self.text[:40]!r} has {len(self.labels)} labels where one was expected")
        return self.labels[0]


@dataclass(frozen=True, slots=True)
class PairExample:
    """A query, a passage that answers it, and hard negatives that do not. `group` keeps related pairs in one split."""

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    source: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A row that was not used: where it is and why."""

    file: str
    row: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.row}: {self.reason}"


@dataclass(frozen=True)
class ReadResult(Generic[Example]):
    """The examples of a file and every row that could not become one."""

    examples: list[Example]
    problems: list[RowProblem]
