"""Extracted answers are sentences of the documents, cited at their exact place."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headwater.retrieval import Document, Hit, split_document
from headwater.retrieval.documents import Section
from headwater.retrieval.lexical import tokenise
from support_bot.extraction import Calibration, Evidence, Extract, Extractor, fit_calibration


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    rows = np.full((len(texts), 256), 1e-3, np.float32)
    for number, text in enumerate(texts):
        for term in tokenise(text):
            rows[number, int(hashlib.md5(term.encode()).hexdigest(), 16) % 256] += 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def extract(
    question: str, *documents: Document, preferred: dict[str, float] | None = None, word_weight: float = 0.0
) -> Extract | None:
    vector = encode([question])[0]
    chunks = [chunk for document in documents for chunk in split_document(document)]
    cosines = encode([chunk.text for chunk in chunks]) @ vector
    hits = [Hit(chunk, float(c), float(c), 0.0) for chunk, c in zip(chunks, cosines, strict=True)]
    hits.sort(key=lambda hit: -hit.score)
    return Extractor().extract(question, vector, hits, encode, "test", preferred, word_weight)


REFUNDS = Document(
    "refunds",
    "How long\nA refund takes five working days. Your bank may need longer.\n\nWhere\nThe money goes to your card.",
    "Refunds",
    sections=(Section(0, "How long"), Section(68, "Where")),
)
TENTS = Document("tents", "The tent weighs two kilograms. It sleeps two people.", "Tents")


def test_the_answering_sentence_is_chosen_and_quoted_at_its_place() -> None:
    found = extract("how many working days until a refund", REFUNDS, TENTS)

    assert found is not None
    assert found.text.startswith("A refund takes five working days.")
    for citation in found.citations:
        assert REFUNDS.text[citation.start : citation.end] == citation.quote
        assert citation.document_id == "refunds"


def test_headings_and_questions_are_never_the_answer() -> None:
    sheet = Document("faq", "Do you repair zips?\nYes, for eighteen pounds.", "FAQ")

    found = extract("do you repair zips", sheet)

    assert found is not None
    assert found.citations[0].quote == "Yes, for eighteen pounds."


def test_a_sentence_is_preferred_to_a_row_of_a_table() -> None:
    page = Document("tents", "Weight | two kg | three kg\nThe weight of the tent is two kg.", "Tents")

    found = extract("weight of the tent in kg", page)

    assert found is not None
    assert "The weight of the tent is two kg." in found.text


def test_the_intent_tips_the_scale_between_like_sentences() -> None:
    one = Document("pickup", "We keep a parcel seven days.", "Pick-up")
    two = Document("collect", "We keep an order seven days.", "Collect")
    plain = extract("keep seven days", one, two)
    assert plain is not None
    other = "collect" if plain.citations[0].document_id == "pickup" else "pickup"

    tipped = extract("keep seven days", one, two, preferred={other: 0.3})

    assert tipped is not None
    assert tipped.citations[0].document_id == other


def test_a_sentence_with_the_questions_rarer_words_is_preferred() -> None:
    text = "A rental, a rental.\nThe rental begins early.\nYou cancel free of charge until the day before at noon."
    page = Document("rental", text, "Hire")

    plain = extract("cancel rental", page)
    worded = extract("cancel rental", page, word_weight=2.0)

    assert plain is not None
    assert plain.text == "A rental, a rental."
    assert worded is not None
    assert worded.text == "You cancel free of charge until the day before at noon."


def test_nothing_is_extracted_from_no_passages() -> None:
    assert Extractor().extract("x", encode(["x"])[0], [], encode, "test") is None


def test_the_fitted_threshold_separates_what_was_answered_from_what_was_not() -> None:
    generator = np.random.default_rng(0)
    good = [Evidence(0.7 + 0.1 * generator.random(), 0.7, 0.8) for _ in range(40)]
    bad = [Evidence(0.3 + 0.1 * generator.random(), 0.4, 0.2) for _ in range(40)]

    fitted = fit_calibration(good + bad, [True] * 40 + [False] * 40)

    assert all(fitted.confidence(e) >= fitted.threshold for e in good)
    assert all(fitted.confidence(e) < fitted.threshold for e in bad)


def test_confidence_rises_with_the_evidence() -> None:
    calibration = Calibration(-5.0, 4.0, 3.0, 3.0)

    assert calibration.confidence(Evidence(0.9, 0.8, 1.0)) > calibration.confidence(Evidence(0.4, 0.4, 0.2))
