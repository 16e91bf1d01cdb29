"""Slots, templates and the bot's own sentences."""

import json
import re
import tomllib
import unicodedata
from importlib.resources import files
from pathlib import Path

import pytest

from headwater.errors import HeadwaterError
from headwater.settings import Settings
from support_bot.follow_up import read_reply
from support_bot.ingestion import MANIFEST
from support_bot.reading import read_document
from support_bot.site import open_templates, read_vocabulary
from support_bot.slots import Vocabulary, find_slots, takes_up, without_personal
from support_bot.templates import Template, read_templates
from support_bot.wording import dashboard_words, follow_up_words, say

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


@pytest.mark.parametrize(
    ("text", "slot", "value"),
    [
        ("Do you have size 43 of it?", "size", "size 43"),
        ("XL fits me", "size", "XL"),
        ("有L码吗", "size", "L码"),
        ("I paid £1,200.50 twice", "amount", "£1,200.50"),
        ("扣了300元两次", "amount", "300元"),
        ("We need 30 jackets", "quantity", "30"),
        ("要30件冲锋衣", "quantity", "30"),
        ("I need it by next Monday", "date", "next Monday"),
        ("for 24 December please", "date", "24 December"),
        ("12月24日前要", "date", "12月24日"),
        ("the code WELCOME10 is refused", "discount_code", "WELCOME10"),
        ("优惠码SUMMER20用不了", "discount_code", "SUMMER20"),
        ("Do you ship to the Netherlands?", "country", "the Netherlands"),
        ("能寄到德国吗", "country", "德国"),
        ("Can I pay by apple pay", "payment_method", "Apple Pay"),
        ("可以用支付宝吗", "payment_method", "支付宝"),
        ("is the edinburgh store open", "store", "Edinburgh"),
        ("爱丁堡店几点开", "store", "爱丁堡"),
        ("my hiking boots leak", "product", "hiking boots"),
        ("登山鞋开胶了", "product", "登山鞋"),
    ],
)
def test_the_sample_shops_slots_are_recognised(text: str, slot: str, value: str) -> None:
    assert find_slots(text, read_vocabulary(SAMPLE / "vocabulary.json")).get(slot) == value


@pytest.mark.parametrize(
    "text", ["tell us 2 days ahead", "my code does not work", "within 3个工作日", "a new size", "尺码太大"]
)
def test_ordinary_words_are_no_slots(text: str) -> None:
    assert find_slots(text, read_vocabulary(SAMPLE / "vocabulary.json")) == {}


@pytest.mark.parametrize(
    ("message", "language", "general"),
    [
        ("Where is my order NB-20481?", "en", "Where is my order?"),
        ("How do I return order number NB-1234?", "en", "How do I return my order?"),
        ("track nb-20481", "en", "track my order"),
        ("Unsubscribe ann@example.com please", "en", "Unsubscribe my e-mail address please"),
        ("订单号NB-20481到哪了", "zh", "我的订单到哪了"),
        ("退订ann@example.com", "zh", "退订我的邮箱"),
        ("Wo ist #20481?", "de", "Wo ist ?"),
        ("ann@example.com", "de", "ann@example.com"),
        ("How heavy is the Tarn 2?", "en", "How heavy is the Tarn 2?"),
    ],
)
def test_what_names_one_customers_order_is_searched_in_general_words(message: str, language: str, general: str) -> None:
    assert without_personal(message, language) == general


def test_an_answer_speaks_of_the_customers_order_unless_it_leaves_out_what_was_asked_of() -> None:
    order = {"order_number": "NB-20481"}

    assert takes_up({"order_number"}, order)
    assert takes_up({"order_number"}, {**order, "date": "Monday"})
    assert not takes_up({"order_number"}, {**order, "product": "rope"})
    assert not takes_up({"product"}, order)
    assert not takes_up({"product"}, {"product": "rope"})


@pytest.mark.parametrize(
    ("message", "offered", "reply"),
    [
        ("Yes please!", "en", (True, "en")),
        ("ok", "zh", (True, "zh")),
        ("ok", "en", (True, "en")),
        ("I would, thanks", "en", (True, "en")),
        ("好的", "zh", (True, "zh")),
        ("好的，麻烦您了", "zh", (True, "zh")),
        ("好的", "en", (True, "zh")),
        ("No, thank you.", "en", (False, "en")),
        ("no need", "en", (False, "en")),
        ("不用了，谢谢", "zh", (False, "zh")),
        ("thanks", "en", None),
        ("谢谢", "zh", None),
        ("yes, but how long does a refund take", "en", None),
        ("nothing arrived", "en", None),
        ("好的，退款多久到账", "zh", None),
    ],
)
def test_a_bare_yes_or_no_is_told_from_a_question(message: str, offered: str, reply: tuple[bool, str] | None) -> None:
    assert read_reply(message, offered) == reply


def test_a_long_row_of_yeses_is_read_at_once() -> None:
    assert read_reply("好的" * 1000 + "x", "zh") is None


def test_optional_parts_appear_only_with_their_slots() -> None:
    template = Template("track", "en", "We send a link.[[ For {order_number} see My orders.]]", "d", "q")

    assert template.fill({}) == "We send a link."
    assert template.fill({"order_number": "NB-1"}) == "We send a link. For NB-1 see My orders."


def test_a_site_has_its_own_templates_else_the_samples_on_the_demo_site_else_the_general_ones(tmp_path: Path) -> None:
    demo, empty = Settings(home=tmp_path, site="shop", demo=True), Settings(home=tmp_path, site="shop", demo=False)
    general, names = open_templates(empty, "shop")
    everything = "".join(template.text for template in general.values())

    assert {intent for intent, _ in general} == {"contact_person", "complaint", "greeting", "thanks_goodbye"}
    assert names is None
    assert "Northbeck" not in everything
    assert not any(template.document_id for template in general.values())
    assert ("rental", "en") in open_templates(demo, "shop")[0]
    assert open_templates(demo, "bakery") == (general, None)

    own = tmp_path / "sites" / "bakery"
    own.mkdir(parents=True)
    (own / "intents.toml").write_text('[greeting.answer.en]\ntext = "Welcome to Crumb & Co!"\n')
    (own / "vocabulary.json").write_text('{"product": {"rolls": "rolls"}}')
    templates, vocabulary = open_templates(demo, "bakery")

    assert templates["greeting", "en"].text == "Welcome to Crumb & Co!"
    assert templates["greeting", "zh"] == general["greeting", "zh"]
    assert ("rental", "en") not in templates
    assert vocabulary == Vocabulary({"product": {"rolls": "rolls"}})


@pytest.mark.parametrize("text", ["[]", "{", '{"product": ["tent"]}', '{"product": {"tent": 2}}'])
def test_a_malformed_vocabulary_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(text)

    with pytest.raises(HeadwaterError, match=r"vocabulary\.json must hold"):
        read_vocabulary(path)


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
    assert follow_up_words("en").keys() == follow_up_words("zh").keys()
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


# One value of each slot, as `find_slots` gives it.
SLOTS = {
    "en": "order_number=NB-20481 email=ann@example.com size=XL amount=£30 quantity=30 date=Monday "
    "discount_code=WELCOME10 product=tent country=Germany store=Keswick payment_method=PayPal",
    "zh": "order_number=NB-20481 email=ann@example.com size=43码 amount=300元 quantity=30 date=周一 "
    "discount_code=WELCOME10 product=帐篷 country=德国 store=凯西克 payment_method=支付宝",
}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_at_least_27_templates_take_up_slots_and_read_well_with_and_without_them(language: str) -> None:
    sample = read_templates(SAMPLE / "intents.toml")
    general = read_templates(Path(str(files("support_bot") / "texts" / "intents.toml")))
    values = dict(pair.split("=") for pair in SLOTS[language].split())

    assert sum(bool(t.slots) for t in sample.values() if t.language == language) >= 27
    for template in [*sample.values(), *general.values()]:
        if template.language != language:
            continue
        assert template.slots <= values.keys(), template
        for known in [(), values, *((slot,) for slot in template.slots)]:
            text = template.fill({slot: values[slot] for slot in known})
            for slot in template.slots & set(known):
                assert len(template.slots) > 1 or values[slot] in text, template
            assert not re.search(r"[{}\[\]]|  |\(\s*\)|（\s*）| [,.;:?!)]|[,;，；、。.]{2}|\( |^\W", text), text
            assert text.endswith((".", "?", "!", "。", "？", "！")), text
        assert template.fill(values) != template.fill({}) or not template.slots


def normalised(text: str) -> str:
    """The words alone: texts that differ in case, width, spaces and marks are one text."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def test_every_question_names_a_sentence_of_its_document_and_is_asked_in_one_file_alone(
    documents: dict[str, str],
) -> None:
    seen: set[str] = set()
    for path in sorted(SAMPLE.glob("questions*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            assert normalised(row["question"]) not in seen, row
            seen.add(normalised(row["question"]))
            assert row["sentence"] in documents.get(row["document"], ""), row


def test_training_and_gate_share_no_text_and_know_the_same_labels() -> None:
    parts = {}
    for name in ("train", "valid", "gate"):
        rows = [json.loads(line) for line in (STARTER / f"{name}.jsonl").read_text("utf-8").splitlines()]
        parts[name] = rows
    texts = {name: {row["text"].casefold() for row in rows} for name, rows in parts.items()}
    labels = {name: {(row["label"], row["language"]) for row in rows} for name, rows in parts.items()}
    intents = {intent for intent, _ in open_templates(Settings(), Settings().site)[0]}

    assert len(parts["gate"]) >= 300
    assert not texts["train"] & texts["gate"]
    assert not texts["train"] & texts["valid"]
    assert not texts["valid"] & texts["gate"]
    assert labels["train"] == labels["valid"] == labels["gate"]
    assert {label for label, _ in labels["train"]} == intents | {"out_of_scope"}


def test_no_question_that_answers_are_judged_by_was_trained_on() -> None:
    def texts(path: Path, key: str) -> set[str]:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return {normalised(row[key]) for row in rows}

    judged = texts(STARTER / "gate.jsonl", "text")
    for path in SAMPLE.glob("questions*.jsonl"):
        judged |= texts(path, "question")
    for name in ("train.jsonl", "valid.jsonl"):
        assert not texts(STARTER / name, "text") & judged


def test_past_dialogues_are_many_and_varied() -> None:
    rows = [json.loads(line) for line in (SAMPLE / "dialogues.jsonl").read_text("utf-8").splitlines()]
    asked = [row["text"] for row in rows if row["role"] == "customer"]

    assert len(rows) >= 1000
    assert len(set(asked)) / len(asked) > 0.85
    assert {row["language"] for row in rows} == {"en", "zh"}
