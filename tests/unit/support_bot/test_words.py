"""Slots, templates and the bot's own sentences."""

import json
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from headwater.errors import HeadwaterError
from support_bot.ingestion import MANIFEST
from support_bot.reading import read_document
from support_bot.slots import Vocabulary, find_slots
from support_bot.templates import Template, read_templates
from support_bot.wording import dashboard_words, say

SAMPLE = Path(str(files("support_bot") / "sample_data"))
STARTER = Path(str(files("support_bot") / "starter"))


def test_slots_are_found_in_both_languages() -> None:
    vocabulary = Vocabulary({"product": {"Tarn 2": "Tarn 2", "帐篷": "帐篷"}, "country": {"China": "China"}})

    assert find_slots("Where is nb-20481? Mail a@example.com", vocabulary) == {
        "order_number": "NB-20481",
        "email": "a@example.com",
    }
    assert find_slots("我的帐篷坏了，订单NB-30001，43码", vocabulary)["product"] == "帐篷"
    assert find_slots("我的帐篷坏了，订单NB-30001，43码", vocabulary)["size"] == "43码"
    assert "country" not in find_slots("Chinatown is nice", vocabulary)


def test_optional_parts_appear_only_with_their_slots() -> None:
    template = Template("track", "en", "We send a link.[[ For {order_number} see My orders.]]", "d", "q")

    assert template.fill({}) == "We send a link."
    assert template.fill({"order_number": "NB-1"}) == "We send a link. For NB-1 see My orders."


def test_an_intent_without_a_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "intents.toml"
    path.write_text('[refund]\ndescription = "x"\n[refund.answer.en]\ndocument = "d"\n')

    with pytest.raises(HeadwaterError, match="intent refund, language en needs a text"):
        read_templates(path)


def test_both_languages_say_the_same_things() -> None:
    tables = [
        tomllib.loads((files("support_bot") / "texts" / f"{name}.toml").read_text("utf-8")) for name in ("en", "zh")
    ]

    assert tables[0].keys() == tables[1].keys()
    assert dashboard_words("en").keys() == dashboard_words("zh").keys()
    assert say("refused", "fr") == say("refused", "en")


@pytest.fixture(scope="module")
def documents() -> dict[str, str]:
    root = SAMPLE / "help_centre"
    rows = [json.loads(line) for line in (root / MANIFEST).read_text("utf-8").splitlines()]
    return {row["id"]: read_document(Path(row["file"]).name, (root / row["file"]).read_bytes()).text for row in rows}


def test_the_sample_shop_has_the_size_and_kinds_it_promises(documents: dict[str, str]) -> None:
    kinds = {path.suffix for path in (SAMPLE / "help_centre").rglob("*") if path.is_file()}

    assert len(documents) >= 40
    assert sum(name.startswith("zh-") for name in documents) >= 10
    assert kinds >= {".md", ".html", ".txt", ".pdf", ".docx", ".csv"}


def test_every_template_quotes_its_document_word_for_word(documents: dict[str, str]) -> None:
    templates = read_templates(SAMPLE / "intents.toml")

    assert len({intent for intent, _ in templates}) >= 27
    assert all((intent, other) in templates for intent, _ in templates for other in ("en", "zh"))
    for template in templates.values():
        if template.document_id:
            assert template.quote in documents[template.document_id], template


def test_every_question_names_a_sentence_of_its_document(documents: dict[str, str]) -> None:
    seen: set[str] = set()
    for name in ("questions.jsonl", "questions_fit.jsonl"):
        for line in (SAMPLE / name).read_text("utf-8").splitlines():
            row = json.loads(line)
            assert row["question"].casefold() not in seen
            seen.add(row["question"].casefold())
            assert row["sentence"] in documents.get(row["document"], ""), row


def test_training_and_gate_share_no_text_and_know_the_same_labels() -> None:
    parts = {}
    for name in ("train", "valid", "gate"):
        rows = [json.loads(line) for line in (STARTER / f"{name}.jsonl").read_text("utf-8").splitlines()]
        parts[name] = rows
    texts = {name: {row["text"].casefold() for row in rows} for name, rows in parts.items()}
    labels = {name: {(row["label"], row["language"]) for row in rows} for name, rows in parts.items()}
    intents = {intent for intent, _ in read_templates(SAMPLE / "intents.toml")}

    assert len(parts["gate"]) >= 300
    assert not texts["train"] & texts["gate"]
    assert not texts["train"] & texts["valid"]
    assert not texts["valid"] & texts["gate"]
    assert labels["train"] == labels["valid"] == labels["gate"]
    assert {label for label, _ in labels["train"]} == intents | {"out_of_scope"}


def test_past_dialogues_are_many_and_varied() -> None:
    rows = [json.loads(line) for line in (SAMPLE / "dialogues.jsonl").read_text("utf-8").splitlines()]
    asked = [row["text"] for row in rows if row["role"] == "customer"]

    assert len(rows) >= 1000
    assert len(set(asked)) / len(asked) > 0.85
    assert {row["language"] for row in rows} == {"en", "zh"}
