"""Who makes vectors of passages and questions, now and before, and how vectors are stored."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from headwater.errors import NotFound
from headwater.progress import Progress, Step

_ROWS = 64


class Embedder(Protocol):
    """Texts → unit vectors; `id` changes whenever the vectors would."""

    id: str
    dimension: int

    def encode(self, texts: Sequence[str], kind: str = "plain") -> NDArray[np.float32]: ...


@runtime_checkable
class Embedders(Protocol):
    """The embedders of a group over time: the one for all that is embedded anew, and those from before."""

    def current_id(self) -> str: ...

    def get(self, embedder_id: str) -> Embedder: ...


class Fixed:
    """One embedder for all time."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def current_id(self) -> str:
        return self._embedder.id

    def get(self, embedder_id: str) -> Embedder:
        if embedder_id != self._embedder.id:
            raise NotFound(
                f"the passages are embedded with {embedder_id}, which is not at hand; embed them anew with "
                f"{self._embedder.id} first (reembed)"
            )
        return self._embedder


def embed_passages(embedder: Embedder, rows: Sequence[Mapping[str, Any]], progress: Progress) -> list[bytes]:
    """The vectors of passages as they are stored: half precision."""
    stored: list[bytes] = []
    for start in range(0, len(rows), _ROWS):
        progress(Step(start, len(rows), "embedding"))
        vectors = embedder.encode([passage_text(row) for row in rows[start : start + _ROWS]], "passage")
        stored.extend(vector.tobytes() for vector in vectors.astype(np.float16))
    return stored


def passage_text(row: Mapping[str, Any]) -> str:
    """What is embedded: the passage under its title and section, which often name what the passage leaves unsaid."""
    head = " - ".join(part for part in (row["title"], row["section"]) if part)
    return f"{head}\n{row['text']}" if head else str(row["text"])
