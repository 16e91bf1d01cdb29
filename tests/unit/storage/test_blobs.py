"""Blobs: named by content, verified when read."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import HeadwaterError, NotFound
from headwater.settings import Settings
from headwater.storage.blobs import Blobs, open_blobs


@given(st.binary(max_size=2000))
def test_content_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    blobs = Blobs(tmp_path_factory.getbasetemp() / "raw")
    assert blobs.get(blobs.put(content)) == content


def test_same_content_is_one_compressed_file_with_no_partial_left(settings: Settings) -> None:
    blobs = open_blobs(settings)
    content = b"the same words " * 1000
    assert blobs.put(content) == blobs.put(content)
    (file,) = [path for path in (settings.home / "raw").rglob("*") if path.is_file()]
    assert file.stat().st_size < len(content) / 10


def test_deleted_blob_is_not_found(settings: Settings) -> None:
    blobs = open_blobs(settings)
    digest = blobs.put(b"x")
    blobs.delete(digest)
    assert not blobs.exists(digest)
    with pytest.raises(NotFound, match=digest):
        blobs.get(digest)


def test_altered_or_damaged_file_is_refused_with_its_path(settings: Settings) -> None:
    blobs = open_blobs(settings)
    first, second = blobs.put(b"first"), blobs.put(b"second" * 100)
    path_of(settings.home, first).write_bytes(path_of(settings.home, second).read_bytes())
    with pytest.raises(HeadwaterError, match="does not hold"):
        blobs.get(first)
    damaged = path_of(settings.home, second)
    damaged.write_bytes(damaged.read_bytes()[:-12])
    with pytest.raises(HeadwaterError, match="damaged"):
        blobs.get(second)


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, ""])
def test_name_that_is_no_digest_is_refused(settings: Settings, name: str) -> None:
    with pytest.raises(HeadwaterError, match="no blob name"):
        open_blobs(settings).get(name)


def path_of(home: Path, digest: str) -> Path:
    return home / "raw" / digest[:2] / f"{digest[2:]}.gz"
