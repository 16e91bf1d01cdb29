"""What the index promises: every change is visible to the next query, everywhere, whole or not at all."""

from collections.abc import Callable

import pytest

from headwater.errors import NotFound
from headwater.retrieval import Delete, Document, Index, Upsert

MakeIndex = Callable[[], Index]

REFUND = Document("refunds", "Refunds take five working days. Shipping costs are not refunded.", "Refunds")
TENTS = Document("tents", "Our tents are waterproof. Pitch them on flat ground.", "Tents")


def ids(index: Index, query: str) -> list[str]:
    return [hit.chunk.document_id for hit in index.search(query)]


def test_added_document_is_found_by_the_next_query_of_another_process(make_index: MakeIndex) -> None:
    writer, reader = make_index(), make_index()
    assert ids(reader, "waterproof tents") == []
    writer.apply([Upsert(TENTS), Upsert(REFUND)], actor="test")
    assert ids(reader, "waterproof tents")[0] == "tents"
    assert ids(reader, "how long do refunds take")[0] == "refunds"


def test_deleted_document_is_not_found_by_the_next_query_of_another_process(make_index: MakeIndex) -> None:
    writer, reader = make_index(), make_index()
    writer.apply([Upsert(TENTS), Upsert(REFUND)], actor="test")
    assert "tents" in ids(reader, "waterproof tents")
    writer.apply([Delete("tents")], actor="test")
    assert "tents" not in ids(reader, "waterproof tents")
    with pytest.raises(NotFound, match="tents"):
        reader.document("tents")


def test_replaced_document_is_found_by_its_new_text_only(make_index: MakeIndex) -> None:
    index = make_index()
    index.apply([Upsert(REFUND)], actor="test")
    index.apply([Upsert(Document("refunds", "Refunds take nine working days.", "Refunds"))], actor="test")
    texts = [hit.chunk.text for hit in index.search("how long do refunds take")]
    assert texts == ["Refunds take nine working days."]


def test_failing_change_leaves_everything_as_it_was(make_index: MakeIndex) -> None:
    index = make_index()
    index.apply([Upsert(REFUND)], actor="test")
    before = index.generation()
    with pytest.raises(NotFound, match="nowhere"):
        index.apply([Upsert(TENTS), Delete("nowhere")], actor="test")
    assert index.generation() == before
    assert "tents" not in ids(index, "waterproof tents")


def test_unchanged_passages_are_not_embedded_again(make_index: MakeIndex, embedder) -> None:
    index = make_index()
    index.apply([Upsert(REFUND)], actor="test")
    first = embedder.embedded
    index.apply([Upsert(REFUND)], actor="test")
    assert embedder.embedded == first
    longer = Document("refunds", REFUND.text + "\n" + "Gift cards are refunded as gift cards. " * 40, "Refunds")
    index.apply([Upsert(longer)], actor="test")
    again = embedder.embedded
    index.apply([Upsert(Document("refunds", longer.text + "\nOne more line. " * 60, "Refunds"))], actor="test")
    assert embedder.embedded - again < again


def test_every_hit_is_the_document_s_text_at_its_offsets(make_index: MakeIndex) -> None:
    index = make_index()
    text = "退款需要五个工作日。运费不退。\n\n" * 30 + "Refunds take five days. " * 50
    index.apply([Upsert(Document("mixed", text, "Mixed"))], actor="test")
    hits = index.search("退款需要多久", 20) + index.search("refunds", 20)
    assert hits
    for hit in hits:
        assert text[hit.chunk.start : hit.chunk.end] == hit.chunk.text


def test_chinese_question_finds_its_page_by_words_alone(make_index: MakeIndex) -> None:
    index = make_index()
    pages = [Document("退款", "退款将在五个工作日内退回原支付账户。"), Document("配送", "标准配送需要三到五天。")]
    index.apply([Upsert(page) for page in pages], actor="test")
    hits = index.search("退款多久到账", language="zh")
    assert hits[0].chunk.document_id == "退款"
    assert hits[0].bm25 > 0


def test_documents_of_another_site_are_never_found(engine, embedder) -> None:
    shop, other = Index(engine, "shop", {"*": embedder}), Index(engine, "other", {"*": embedder})
    shop.apply([Upsert(TENTS)], actor="test")
    assert ids(other, "waterproof tents") == []
    with pytest.raises(NotFound):
        other.apply([Delete("tents")], actor="test")


def test_passages_of_an_encoder_that_is_not_at_hand_are_named_with_the_way_out(engine, embedder) -> None:
    Index(engine, "shop", {"*": embedder}).apply([Upsert(TENTS)], actor="test")
    newer = Index(engine, "shop", {"*": type(embedder)("newer")})
    assert newer.outdated() == ["tents"]
    with pytest.raises(NotFound, match="embedded with hashing, which is not at hand; embed them anew with newer"):
        newer.search("waterproof tents")
    assert newer.reembed() == 1
    assert newer.outdated() == []
    assert ids(newer, "waterproof tents") == ["tents"]
