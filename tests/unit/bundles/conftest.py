"""Small real bundles, and a registry on a migrated database of either kind."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from headwater.bundles import Bundle, Manifest, Registry, open_registry, write_bundle
from headwater.settings import Settings
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate

MakeBundle = Callable[..., Bundle]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """`make_bundle(name, weights=…, **manifest fields)` writes a bundle of two files."""

    def make(name: str = "bundle", weights: bytes = b"weights", **fields: object) -> Bundle:
        sources = tmp_path / "sources" / name
        sources.mkdir(parents=True, exist_ok=True)
        (sources / "model.onnx").write_bytes(weights)
        (sources / "tokenizer.json").write_text("{}")
        values = {"kind": "classifier", "model": "model.onnx", "base": "minilm", "labels": ("a", "b"), **fields}
        files = {"model.onnx": sources / "model.onnx", "torch/tokenizer.json": sources / "tokenizer.json"}
        return write_bundle(tmp_path / "made" / name, Manifest(**values), files)

    return make


@pytest.fixture
def house(database_settings: Settings) -> sa.Engine:
    engine = open_engine(database_settings, "house")
    migrate(engine, "house")
    yield engine
    engine.dispose()


@pytest.fixture
def registry(database_settings: Settings, house: sa.Engine) -> Registry:
    return open_registry(database_settings, house)
