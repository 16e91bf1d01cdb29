"""A new encoder: searched with the former one until all passages are embedded anew, then whole with the new one."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from headwater.errors import HeadwaterError
from headwater.retrieval import Document, Index, Upsert, Weights
from headwater.retrieval.embedding import passage_text
from headwater.retrieval.tables import add_encoders
from headwater.settings import Settings
from headwater.storage.engine import open_engine

PAGES = [Document(f"page{n}", f"Article {n} tells of boots{n} and ropes{n}.") for n in range(200)]
VECTORS_ALONE = {"*": Weights(0.0)}


@pytest.fixture
def open_index(engine: sa.Engine, versions: Any) -> Callable[[], Index]:
    """Each call is another process; ranked by vectors alone, so that a mixture of encoders finds the wrong page."""
    return lambda: Index(engine, "shop", {"*": versions}, VECTORS_ALONE)


def assert_answers(index: Index, encoder: str, pages: Sequence[Document] = PAGES) -> None:
    for page in pages[::9]:
        found = index.look_up(page.text, 3, "en")
        assert found.embedder.id == encoder
        assert found.hits[0].chunk.document_id == page.id
        assert found.hits[0].cosine > 0.99


def test_promoted_encoder_answers_only_once_all_passages_are_embedded_with_it(
    open_index: Callable[[], Index], versions: Any
) -> None:
    reader = open_index()
    open_index().apply([Upsert(page) for page in PAGES], actor="test")
    assert_answers(reader, "first")
    versions.production = "second"
    late = Document("late", "Crampons are sharpened in October.")
    open_index().apply([Upsert(late)], actor="test")
    for process in (reader, open_index()):
        assert_answers(process, "first", [*PAGES, late])
    assert len(reader.outdated()) == 201
    assert open_index().reembed() == 201
    for process in (reader, open_index()):
        assert_answers(process, "second", [*PAGES, late])
    assert reader.outdated() == []
    embedded = versions.embedders["second"].embedded
    assert open_index().reembed() == 0
    assert versions.embedders["second"].embedded == embedded
    versions.production = "first"
    assert open_index().reembed() == 201
    assert_answers(reader, "first", [*PAGES, late])


def test_questions_asked_while_the_encoder_changes_are_compared_with_vectors_of_their_own_encoder(
    open_index: Callable[[], Index], versions: Any
) -> None:
    reader = open_index()
    reader.apply([Upsert(page) for page in PAGES], actor="test")
    failures: list[object] = []
    seen: set[str] = set()
    stop = threading.Event()

    def ask(number: int) -> None:
        while not stop.is_set():
            page = PAGES[number]
            try:
                found = reader.look_up(page.text, 3, "en")
                texts = [passage_text(vars(hit.chunk)) for hit in found.hits]
                cosines = found.embedder.encode(texts, "passage") @ found.vector
                assert found.hits[0].chunk.document_id == page.id
                np.testing.assert_allclose([hit.cosine for hit in found.hits], cosines, atol=2e-3)
                seen.add(found.embedder.id)
            except Exception as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=ask, args=(number,)) for number in (3, 50, 120)]
    for thread in threads:
        thread.start()
    for name in ("second", "third", "first"):
        versions.production = name
        assert open_index().reembed() == len(PAGES)
        reader.search("boots")
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert seen == {"first", "second", "third"}


def during_encoding(embedder: Any, act: Callable[[], object]) -> None:
    """Call `act` once, when `embedder` has embedded its next passages."""
    encode = embedder.encode

    def once(texts: Sequence[str], kind: str = "plain") -> Any:
        vectors = encode(texts, kind)
        if kind == "passage":
            embedder.encode = encode
            act()
        return vectors

    embedder.encode = once


def test_document_whose_encoder_was_replaced_while_it_was_embedded_gets_the_new_one(
    open_index: Callable[[], Index], versions: Any
) -> None:
    open_index().apply([Upsert(page) for page in PAGES], actor="test")
    versions.production = "second"
    during_encoding(versions.embedders["first"], lambda: open_index().reembed())
    late = Document("late", "Crampons are sharpened in October.")
    open_index().apply([Upsert(late)], actor="test")
    assert open_index().outdated() == []
    assert_answers(open_index(), "second", [*PAGES, late])


def test_documents_that_come_and_go_during_re_embedding_are_in_it(
    open_index: Callable[[], Index], versions: Any
) -> None:
    open_index().apply([Upsert(page) for page in PAGES], actor="test")
    versions.production = "second"
    changed = [Document("page0", "Page nought speaks of lanterns now."), Document("late", "Crampons are sharp.")]
    during_encoding(
        versions.embedders["second"], lambda: open_index().apply([Upsert(page) for page in changed], actor="test")
    )
    assert open_index().reembed() == 201
    assert open_index().outdated() == []
    assert_answers(open_index(), "second", [*PAGES[1:], *changed])


def test_promotion_during_re_embedding_ends_at_the_latest_encoder(
    open_index: Callable[[], Index], versions: Any
) -> None:
    open_index().apply([Upsert(page) for page in PAGES], actor="test")
    versions.production = "second"
    during_encoding(versions.embedders["second"], lambda: setattr(versions, "production", "third"))
    open_index().reembed()
    assert_answers(open_index(), "third")


def test_re_embedding_that_is_cut_off_changes_nothing(open_index: Callable[[], Index], versions: Any) -> None:
    reader = open_index()
    reader.apply([Upsert(page) for page in PAGES], actor="test")
    versions.production = "second"

    def fail() -> None:
        raise HeadwaterError("cut off")

    during_encoding(versions.embedders["second"], fail)
    with pytest.raises(HeadwaterError, match="cut off"):
        open_index().reembed()
    for process in (reader, open_index()):
        assert_answers(process, "first")


def test_each_group_of_languages_follows_its_own_encoder(engine: sa.Engine, versions: Any) -> None:
    others = type(versions)("many", "more")
    index = Index(engine, "shop", {"en": versions, "*": others}, VECTORS_ALONE)
    pages = [Document("boots", "Boots are waxed.", language="en"), Document("退款", "退款需要五天。", language="zh")]
    index.apply([Upsert(page) for page in pages], actor="test")
    others.production = "more"
    assert index.outdated() == ["退款"]
    assert index.reembed() == 1
    assert index.look_up("boots", 1, "en").embedder.id == "first"
    found = index.look_up("退款需要五天", 1, "zh")
    assert (found.embedder.id, found.hits[0].chunk.document_id) == ("more", "退款")


def test_database_from_before_encoders_were_recorded_goes_on_with_the_commonest(
    engine: sa.Engine, versions: Any, open_index: Callable[[], Index], settings: Settings
) -> None:
    open_index().apply([Upsert(page) for page in PAGES], actor="test")
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE index_generations DROP COLUMN encoders"))
        connection.execute(sa.text("UPDATE chunks SET encoder = 'second' WHERE document_id = 'page7'"))
    versions.production = "second"
    with engine.begin() as connection:
        add_encoders(Operations(MigrationContext.configure(connection)), ("en",))
    engine = open_engine(settings, "support")
    with engine.connect() as connection:
        stored = connection.execute(sa.text("SELECT encoders FROM index_generations")).scalar_one()
    assert stored == '{"en": "first"}'
    index = Index(engine, "shop", {"en": versions, "*": versions}, {"en": Weights(0.0)})
    assert_answers(index, "first")
    assert index.reembed() == 199
    assert_answers(index, "second", PAGES[8:])
