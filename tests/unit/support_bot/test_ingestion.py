"""Sources become documents with ids of their own; what is missing, unreadable or of a taken id is named."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from headwater.cli.main import cli
from headwater.retrieval import Index
from headwater.retrieval.lexical import tokenise
from headwater.settings import Settings
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate
from support_bot.ingestion import Ingested, ingest


class HashedWords:
    """Texts that share words are near."""

    id, dimension = "hashed words", 64

    def encode(self, texts: Sequence[str], kind: str = "plain") -> NDArray[np.float32]:
        rows = np.full((len(texts), self.dimension), 1e-3, np.float32)
        for number, text in enumerate(texts):
            for term in tokenise(text):
                rows[number, int(hashlib.md5(term.encode()).hexdigest(), 16) % self.dimension] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def index(settings: Settings) -> Index:
    engine = open_engine(settings, "support")
    migrate(engine, "support")
    return Index(engine, "shop", {"*": HashedWords()})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command stands in, with pages of one name in two folders."""
    made = tmp_path / "here"
    for name, text in (("a", "Tents come back within 45 days."), ("b", "Boots come back within 30 days.")):
        (made / "pages" / name).mkdir(parents=True)
        (made / "pages" / name / "returns.md").write_text(f"# Returns\n\n{text}\n")
    monkeypatch.chdir(made)
    return made


def run(index: Index, settings: Settings, *sources: str) -> Ingested:
    return ingest(index, sources, settings, actor="test")


def texts(index: Index) -> dict[str, str]:
    return {str(row["id"]): index.document(str(row["id"])).text for row in index.documents()}


@pytest.mark.parametrize(
    "sources",
    [
        ["pages"],
        ["pages/"],
        ["./pages/a", "pages/b"],
        ["pages/a/returns.md", "pages/b/../b/returns.md"],
        ["pages", "pages/a/returns.md"],
    ],
)
def test_files_of_one_name_in_two_folders_are_two_documents_however_they_are_named(
    index: Index, settings: Settings, folder: Path, sources: list[str]
) -> None:
    done = run(index, settings, *sources)

    assert done.failures == ()
    assert texts(index) == {
        "pages/a/returns": "Tents come back within 45 days.",
        "pages/b/returns": "Boots come back within 30 days.",
    }


def test_a_file_replaces_what_came_from_its_folder(index: Index, settings: Settings, folder: Path) -> None:
    run(index, settings, "pages")
    (folder / "pages" / "a" / "returns.md").write_text("# Returns\n\nTents come back within 90 days.\n")
    run(index, settings, str(folder / "pages" / "a" / "returns.md"))

    assert texts(index)["pages/a/returns"] == "Tents come back within 90 days."
    assert len(texts(index)) == 2


def test_the_ids_of_what_lies_elsewhere_begin_at_the_folder_that_was_named(
    index: Index, settings: Settings, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (tmp_path / "zips.md").write_text("# Zips\n\nWe repair zips.\n")

    done = run(index, settings, str(folder / "pages"), "../zips.md")

    assert set(done.documents) == {"a/returns", "b/returns", "zips"}


def test_a_document_whose_id_is_taken_is_named_with_the_other_and_does_not_replace_it(
    index: Index, settings: Settings, folder: Path
) -> None:
    (folder / "pages" / "a" / "returns.txt").write_text("Stoves never come back.\n")

    done = run(index, settings, "pages")

    ((name, reason),) = done.failures
    assert name == "pages/a/returns.txt"
    assert "'pages/a/returns', which pages/a/returns.md has" in reason
    assert texts(index)["pages/a/returns"] == "Tents come back within 45 days."
    assert done.documents == ("pages/a/returns", "pages/b/returns")


def test_a_missing_source_and_an_empty_folder_are_named_and_the_rest_is_imported(
    index: Index, settings: Settings, folder: Path
) -> None:
    (folder / "empty").mkdir()

    done = run(index, settings, "nope.md", "pages/a", "empty", "n" * 300 + ".md")

    assert done.documents == ("pages/a/returns",)
    assert [name for name, _ in done.failures] == ["nope.md", "empty", "n" * 40 + "…"]
    assert done.failures[0][1] == "neither a file, a folder, nor an http(s) address"
    assert "holds no file that is read" in done.failures[1][1]


def test_a_name_that_is_not_unicode_gets_an_id_without_what_is_broken(
    index: Index, settings: Settings, folder: Path
) -> None:
    path = folder / "pages" / "caf\udce9.md"
    path.write_text("# Coffee\n\nWe serve coffee.\n")

    assert "pages/caf" in run(index, settings, "pages").documents


@pytest.fixture
def shop_ingest(shop_home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setenv("HEADWATER_HOME", str(shop_home))
    monkeypatch.delenv("HEADWATER_DATABASE_URL", raising=False)
    (folder / "acme.md").write_text("# Acme\n\nAcme repairs zips for 18 pounds.\n")
    return CliRunner().invoke(cli, ["support", "ingest", "acme.md", "nope.md", "--site", "acme"])


@pytest.mark.models
def test_the_command_names_the_missing_file_imports_the_other_and_fails(shop_ingest: Result) -> None:
    assert shop_ingest.exit_code == 1
    assert "1 document ingested" in shop_ingest.stdout
    assert "not read: nope.md: neither a file" in shop_ingest.stderr
