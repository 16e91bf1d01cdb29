"""A deterministic embedder and an index on a database of its own."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from headwater.retrieval import Index
from headwater.retrieval.lexical import tokenise
from headwater.retrieval.tables import metadata
from headwater.settings import Settings
from headwater.storage.engine import open_engine


class HashingEmbedder:
    """Bag of hashed terms: texts that share words are near, in a space of its name's own. Counts what it embeds."""

    dimension = 64

    def __init__(self, name: str = "hashing") -> None:
        self.id = name
        self.embedded = 0

    def encode(self, texts: Sequence[str], kind: str = "plain") -> NDArray[np.float32]:
        self.embedded += len(texts) if kind == "passage" else 0
        rows = np.full((len(texts), self.dimension), 1e-3, np.float32)
        for number, text in enumerate(texts):
            for term in tokenise(text):
                rows[number, int(hashlib.md5(f"{self.id} {term}".encode()).hexdigest(), 16) % self.dimension] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Versions:
    """Embedders by name, one of them in production."""

    def __init__(self, *names: str) -> None:
        self.production = names[0]
        self.embedders = {name: HashingEmbedder(name) for name in names}

    def current_id(self) -> str:
        return self.production

    def get(self, embedder_id: str) -> HashingEmbedder:
        return self.embedders[embedder_id]


@pytest.fixture
def versions() -> Versions:
    return Versions("first", "second", "third")


@pytest.fixture
def engine(settings: Settings) -> sa.Engine:
    made = open_engine(settings, "support")
    metadata.create_all(made)
    return made


@pytest.fixture
def embedder() -> HashingEmbedder:
    return HashingEmbedder()


@pytest.fixture
def make_index(engine: sa.Engine, embedder: HashingEmbedder) -> Callable[[], Index]:
    """Each call is another process's view of the same index."""
    return lambda: Index(engine, "shop", {"*": embedder})
