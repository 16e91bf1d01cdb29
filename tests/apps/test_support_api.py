"""The support bot through a real gateway on the sample shop: answers, documents, conversations, bad input, roles."""

import io
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest


@pytest.fixture(scope="module")
def base(shop_home: Path) -> Iterator[httpx.Client]:
    """A gateway of the sample shop, without a token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "HEADWATER_HOME": str(shop_home), "HEADWATER_REQUESTS_PER_MINUTE": "0"}
    environment |= {"HEADWATER_MAX_DOCUMENT_BYTES": "3000000"}
    with (shop_home / "gateway.log").open("wb") as log:
        command = [sys.executable, "-m", "gateway", "--port", str(port)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
        deadline = time.monotonic() + 90
        while not _ready(client):
            assert process.poll() is None and time.monotonic() < deadline, (shop_home / "gateway.log").read_text()
            time.sleep(0.1)
        yield client
    process.terminate()
    process.wait(20)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def admin(base: httpx.Client, shop_home: Path) -> Iterator[httpx.Client]:
    token = (shop_home / "admin.token").read_text().strip()
    with httpx.Client(
        base_url=base.base_url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60
    ) as client:
        yield client


def ask(client: httpx.Client, message: str, **more: Any) -> dict[str, Any]:
    response = client.post("/support/v1/chat", json={"message": message, **more})
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    return reply


def put(client: httpx.Client, name: str, data: bytes, **fields: str) -> httpx.Response:
    return client.post("/support/v1/documents", files={"file": (name, data)}, data=fields)


@pytest.mark.parametrize(
    ("question", "document", "words"),
    [
        ("How long does a refund take?", "refunds", "5 working days"),
        ("退款多久能到账？", "zh-refunds", "5个工作日"),
        ("What is the hydrostatic head of the floor of the Tarn?", "tents", "5,000 mm"),
        ("换拉链要多少钱", "zh-repairs", "18英镑"),
    ],
)
def test_questions_are_answered_with_a_source_that_stands_where_it_says(
    base: httpx.Client, admin: httpx.Client, question: str, document: str, words: str
) -> None:
    reply = ask(base, question)

    assert reply["path"] in ("template", "extracted")
    assert words in reply["answer"]
    cited = [c for c in reply["citations"] if c["document_id"] == document]
    assert cited
    text = admin.get(f"/support/v1/documents/{document}").json()["text"]
    assert all(text[c["start"] : c["end"]] == c["quote"] for c in cited)
    keys = {"conversation_id", "path", "answer", "confidence", "language", "citations", "timings"}
    assert keys <= reply.keys()
    assert {"document_id", "title", "section", "url", "start", "end", "quote"} == cited[0].keys()


@pytest.mark.parametrize("question", ["Who won the football yesterday?", "昨天的足球比赛谁赢了？"])
def test_what_the_help_centre_does_not_hold_is_declined(base: httpx.Client, question: str) -> None:
    reply = ask(base, question)

    assert reply["path"] == "refused"
    assert reply["citations"] == []


@pytest.mark.parametrize(
    "question",
    [
        "Wie lange dauert eine Rückerstattung?",
        "Wo ist meine Bestellung NB-20481?",
        "Passwort vergessen",
        "Combien de temps prend un remboursement ?",
        "Où est ma commande ?",
        "¿Cuánto tarda un reembolso?",
        "¿Puedo devolver la chaqueta?",
        "Quanto tempo ci vuole per il rimborso?",
        "返金はいつですか？",
        "每个订单只能使用一个优惠码ですか？",
        "환불은 얼마나 걸리나요?",
    ],
)
def test_a_question_in_a_language_without_pages_is_declined_in_english_with_the_offer_of_a_person(
    base: httpx.Client, question: str
) -> None:
    reply = ask(base, question)

    assert reply["path"] == "refused"
    assert reply["citations"] == []
    assert "hand you over to a colleague?" in reply["answer"]
    assert ask(base, "yes please", conversation_id=reply["conversation_id"])["path"] == "handoff"


def test_a_question_in_a_further_language_is_answered_from_the_pages_in_that_language_alone(
    base: httpx.Client, bakery: str
) -> None:
    german = ask(base, "Wie lange ruht euer Sauerteig vor dem Backen?", site=bakery)

    assert german["path"] == "extracted"
    assert "ruht drei Tage" in german["answer"]
    assert {citation["document_id"] for citation in german["citations"]} == {"brot"}
    assert ask(base, "Combien de temps repose le levain ?", site=bakery)["path"] == "refused"
    assert ask(base, "酸面团要放多久？", site=bakery)["path"] == "refused"


@pytest.mark.parametrize(
    ("question", "yes", "offer"),
    [
        ("does your shop have a toilet", "yes please", "would you like me to hand you over to a colleague?"),
        ("店里有厕所吗", "好的", "需要我为您转接人工客服吗？"),
    ],
)
def test_a_template_that_no_page_supports_is_given_in_doubt_with_the_offer_of_a_person(
    base: httpx.Client, question: str, yes: str, offer: str
) -> None:
    reply = ask(base, question)

    assert reply["path"] == "clarify"
    assert offer in reply["answer"]
    assert ask(base, yes, conversation_id=reply["conversation_id"])["path"] == "handoff"


def test_a_request_for_a_person_is_handed_over(base: httpx.Client) -> None:
    assert ask(base, "I want to talk to a human")["path"] == "handoff"
    assert ask(base, "转人工")["path"] == "handoff"


@pytest.mark.parametrize(
    ("message", "document"),
    [
        ("I want to cancel my order NB-20481", "order-changes"),
        ("Where is my order NB-20481?", "tracking"),
        ("How do I return order NB-20481?", "returns"),
        ("我的订单NB-20481到哪了？", "zh-tracking"),
        ("怎么退订单NB-20481的货？", "zh-returns"),
    ],
)
def test_an_order_number_is_taken_up_by_the_template(base: httpx.Client, message: str, document: str) -> None:
    reply = ask(base, message)

    assert reply["path"] == "template"
    assert "NB-20481" in reply["answer"]
    assert [citation["document_id"] for citation in reply["citations"]] == [document]


def test_an_address_does_not_change_the_language_of_a_message(base: httpx.Client) -> None:
    assert ask(base, "退订ann.margaret.quill@example.com")["language"] == "zh"


@pytest.mark.parametrize(
    ("question", "yes", "no", "colleague"),
    [
        ("Who won the football yesterday?", "yes please", "no thanks", "colleague"),
        ("昨天的足球比赛谁赢了？", "好的", "不用了，谢谢", "人工客服"),
    ],
)
def test_the_offer_of_a_person_is_accepted_or_declined(
    base: httpx.Client, question: str, yes: str, no: str, colleague: str
) -> None:
    refused = ask(base, question)
    accepted = ask(base, yes, conversation_id=refused["conversation_id"])
    again = ask(base, question, conversation_id=refused["conversation_id"])
    declined = ask(base, no, conversation_id=refused["conversation_id"])

    assert refused["path"] == again["path"] == "refused"
    assert accepted["path"] == "handoff"
    assert colleague in accepted["answer"]
    assert declined["path"] == "template"
    assert declined["answer"] not in (accepted["answer"], refused["answer"])
    assert colleague not in declined["answer"]
    assert {reply["language"] for reply in (refused, accepted, declined)} == {refused["language"]}


def test_a_yes_without_an_offer_hands_nobody_over(base: httpx.Client) -> None:
    answered = ask(base, "How long does a refund take?")

    assert ask(base, "yes please", conversation_id=answered["conversation_id"])["path"] != "handoff"
    assert ask(base, "yes please")["path"] != "handoff"


@pytest.fixture(scope="module")
def bakery(base: httpx.Client, shop_home: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A site of another trade beside the sample shop, with one template and one product of its own."""
    own = shop_home / "sites" / "bakery"
    own.mkdir(parents=True)
    (own / "intents.toml").write_text(
        """[delivery_time.answer.en]
text = "We bring bread before 8 o'clock.[[ Your {product} comes still warm.]]"
document = "bread"
quote = "We bring bread to your door before 8 o'clock."
"""
    )
    (own / "vocabulary.json").write_text('{"product": {"rye loaf": "rye loaf"}}')
    page = tmp_path_factory.mktemp("bakery") / "bread.md"
    page.write_text("# Bread\n\nWe bring bread to your door before 8 o'clock.\n\nOur sourdough rests for two days.\n")
    german = page.with_name("brot.md")
    german.write_text("# Unser Brot\n\nUnser Sauerteig ruht drei Tage lang, bevor er in den Ofen kommt.\n")
    command = [sys.executable, "-m", "headwater.cli.main", "support", "ingest", "--site", "bakery"]
    command += [str(page), str(german)]
    subprocess.run(command, env={**os.environ, "HEADWATER_HOME": str(shop_home)}, check=True, timeout=120)
    return "bakery"


@pytest.mark.parametrize(
    ("message", "path"),
    [("hi", "template"), ("thank you", "template"), ("I want to talk to a human", "handoff"), ("转人工", "handoff")],
)
def test_another_site_greets_and_hands_over_without_naming_the_sample_shop(
    base: httpx.Client, bakery: str, message: str, path: str
) -> None:
    reply = ask(base, message, site=bakery)

    assert reply["path"] == path
    assert reply["citations"] == []
    assert "Northbeck" not in reply["answer"]
    assert "northbeck" not in reply["answer"]


def test_another_site_answers_by_its_own_pages_templates_and_names(base: httpx.Client, bakery: str) -> None:
    assert "two days" in ask(base, "How long does the sourdough rest?", site=bakery)["answer"]
    delivered = ask(base, "When will my rye loaf be delivered?", site=bakery)
    assert "We bring bread before 8 o'clock. Your rye loaf comes still warm." in delivered["answer"]
    assert [citation["document_id"] for citation in delivered["citations"]] == ["bread"]


def test_a_person_is_brought_in_though_the_page_with_the_hours_is_gone(base: httpx.Client, admin: httpx.Client) -> None:
    page = admin.get("/support/v1/documents/contact").json()
    hours = "8:00 to 18:00"
    assert hours in ask(base, "I want to talk to a human")["answer"]

    admin.delete("/support/v1/documents/contact")
    without = ask(base, "I want to talk to a human")
    put(admin, "contact.txt", page["text"].encode(), title=page["title"], url=page["url"])

    assert without["path"] == "handoff"
    assert hours not in without["answer"]
    assert without["citations"] == []


def test_events_carry_the_sentences_the_citations_and_the_whole(base: httpx.Client) -> None:
    with base.stream(
        "POST",
        "/support/v1/chat",
        json={"message": "How long does a refund take?"},
        headers={"Accept": "text/event-stream"},
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = _events(response.read().decode())

    kinds = [kind for kind, _ in events]
    assert kinds[-1] == "done"
    assert kinds[0] == "sentence"
    assert "citation" in kinds
    sentences = [value["text"] for kind, value in events if kind == "sentence"]
    assert all(sentence in events[-1][1]["answer"] for sentence in sentences)


def _events(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_a_conversation_goes_on_and_an_unknown_one_is_refused(base: httpx.Client, admin: httpx.Client) -> None:
    first = ask(base, "How much is delivery?")
    second = ask(base, "and abroad?", conversation_id=first["conversation_id"])

    assert (first["turn"], second["turn"]) == (1, 2)
    stored = admin.get(f"/support/v1/conversations/{first['conversation_id']}").json()
    assert [turn["question"] for turn in stored["turns"]] == ["How much is delivery?", "and abroad?"]
    missing = base.post("/support/v1/chat", json={"message": "hi", "conversation_id": "nothing"})
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"
    assert "nothing" in missing.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"message": ""}, 400),
        ({"message": "\x00\u200b \x07"}, 400),
        ({"message": "x" * 10_000}, 413),
        ({"text": "no message"}, 422),
        ({"message": 5}, 422),
        ({"message": "hi", "language": "English"}, 422),
        ({"message": "hi", "site": "another"}, 404),
        ([1, 2], 422),
    ],
)
def test_a_bad_question_gets_a_problem_document(base: httpx.Client, body: Any, status: int) -> None:
    response = base.post("/support/v1/chat", json=body)

    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"null"])
def test_a_body_that_is_no_json_is_refused(base: httpx.Client, content: bytes) -> None:
    response = base.post("/support/v1/chat", content=content, headers={"Content-Type": "application/json"})

    assert 400 <= response.status_code < 500
    assert response.headers["content-type"] == "application/problem+json"


def test_control_characters_do_not_change_the_answer(base: httpx.Client) -> None:
    assert ask(base, "How long does a \u202erefund\u0007 take?")["path"] in ("template", "extracted")


def test_a_document_is_answered_from_at_once_replaced_and_forgotten(base: httpx.Client, admin: httpx.Client) -> None:
    question = "Which colour does the zeppelin tent have?"
    assert ask(base, question)["path"] == "refused"

    assert put(admin, "zeppelin.md", b"# Zeppelin\n\nThe zeppelin tent has the colour crimson.\n").status_code == 201
    assert "crimson" in ask(base, question)["answer"]
    assert put(admin, "zeppelin.md", b"# Zeppelin\n\nThe zeppelin tent has the colour turquoise.\n").status_code == 201
    changed = ask(base, question)
    assert "turquoise" in changed["answer"]
    assert "crimson" not in changed["answer"]
    assert admin.delete("/support/v1/documents/zeppelin").status_code == 200
    assert ask(base, question)["path"] == "refused"
    assert admin.delete("/support/v1/documents/zeppelin").status_code == 404


def test_a_template_is_silent_once_its_source_is_gone(base: httpx.Client, admin: httpx.Client, shop_home: Path) -> None:
    question = "Do you price match?"
    page = admin.get("/support/v1/documents/price-match").json()
    assert "price-match" in [c["document_id"] for c in ask(base, question)["citations"]]

    admin.delete("/support/v1/documents/price-match")
    without = ask(base, question)
    put(admin, "price-match.txt", page["text"].encode(), title=page["title"], url=page["url"])

    assert without["path"] != "template"
    assert "price-match" not in [c["document_id"] for c in without["citations"]]


def zip_bomb() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * 250_000_000)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "status"),
    [
        ("empty.md", b"", 400),
        ("huge.txt", b"word " * 700_000, 413),
        ("binary.txt", bytes(range(256)) * 40, 415),
        ("photo.png", b"\x89PNG\r\n", 415),
        ("broken.pdf", b"%PDF-1.4 x", 400),
        ("broken.docx", b"PK\x03\x04 x", 400),
    ],
)
def test_a_bad_document_is_named_and_changes_nothing(
    base: httpx.Client, admin: httpx.Client, name: str, data: bytes, status: int
) -> None:
    before = admin.get("/support/v1/documents", params={"limit": 500}).json()

    response = put(admin, name, data)

    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert status == 413 or name in response.json()["detail"]
    assert admin.get("/support/v1/documents", params={"limit": 500}).json() == before


def test_a_zip_bomb_is_refused_while_others_are_answered(base: httpx.Client, admin: httpx.Client) -> None:
    bomb = zip_bomb()
    with ThreadPoolExecutor(5) as pool:
        refused = pool.submit(put, admin, "bomb.docx", bomb)
        answers = [pool.submit(ask, base, "How long does a refund take?") for _ in range(8)]

        assert 400 <= refused.result().status_code < 500
        assert all("5 working days" in answer.result()["answer"] for answer in answers)


def test_the_same_document_from_eight_clients_is_there_once_and_whole(base: httpx.Client, admin: httpx.Client) -> None:
    texts = [f"# Glider\n\nThe glider tent weighs {n} stones.\n" for n in range(101, 109)]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda text: put(admin, "glider.md", text.encode()).status_code, texts))
        asked = list(pool.map(lambda _: ask(base, "How long does a refund take?")["path"], range(8)))

    assert done == [201] * 8
    assert set(asked) <= {"template", "extracted"}
    kept = admin.get("/support/v1/documents/glider").json()["text"]
    assert kept in {text.removeprefix("# Glider").strip() for text in texts}
    assert [d["id"] for d in admin.get("/support/v1/documents", params={"search": "glider"}).json()] == ["glider"]
    weight = kept.split()[-2]
    assert weight in ask(base, "How much does the glider tent weigh?")["answer"]
    admin.delete("/support/v1/documents/glider")


def test_private_addresses_are_not_imported(admin: httpx.Client) -> None:
    for url in ("http://127.0.0.1:9/", "http://169.254.169.254/latest", "file:///etc/passwd"):
        response = admin.post("/support/v1/pages", json={"url": url})
        assert response.status_code == 400, response.text


def test_reading_needs_a_viewer_and_writing_an_editor(base: httpx.Client, admin: httpx.Client) -> None:
    token = admin.post("/v1/users", json={"name": "vera", "role": "viewer"}).json()["token"]
    vera = {"Authorization": f"Bearer {token}"}

    assert base.get("/support/v1/documents").status_code == 401
    assert base.get("/support/v1/conversations").status_code == 401
    assert base.get("/support/v1/documents", headers=vera).status_code == 200
    uploaded = base.post("/support/v1/documents", files={"file": ("a.md", b"# A\n\nText.")}, headers=vera)
    assert uploaded.status_code == 403
    assert base.delete("/support/v1/documents/refunds", headers=vera).status_code == 403
    assert base.get("/support/v1/subjects/c-1", headers=vera).status_code == 403
    debug = base.post("/support/v1/chat", json={"message": "refund?", "debug": True})
    assert debug.status_code in (400, 401)
    allowed = base.post("/support/v1/chat", json={"message": "refund?", "debug": True}, headers=vera).json()
    assert allowed["understanding"]["probabilities"]


def test_the_document_page_marks_the_citation_and_escapes_everything(base: httpx.Client, admin: httpx.Client) -> None:
    hostile = b"# <img src=x onerror=alert(1)>\n\nThe <script>alert(2)</script> pole costs five pounds & more.\n"
    made = put(admin, "hostile.md", hostile, title="<b>Hostile</b>").json()
    text = admin.get(f"/support/v1/documents/{made['id']}").json()["text"]
    start = text.index("pole")

    response = base.get(f"/support/v1/documents/{made['id']}/view", params={"start": start, "end": start + 4})

    assert '<mark id="cited">pole</mark>' in response.text
    for dangerous in ("<script", "<img", "<b>"):
        assert dangerous not in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert base.get("/support/v1/documents/unknown/view").status_code == 404
    admin.delete(f"/support/v1/documents/{made['id']}")


def test_nothing_personal_reaches_the_database_or_the_log(base: httpx.Client, shop_home: Path) -> None:
    ask(base, "My card 4111 1111 1111 1111 and mail zoe.quill@example.com, where is my refund?")

    for path in [*(shop_home / "db").glob("support.db*"), shop_home / "gateway.log"]:
        data = path.read_bytes()
        assert b"zoe.quill" not in data, path
        assert b"4111 1111" not in data, path
    with sqlite3.connect(shop_home / "db" / "support.db") as connection:
        newest = connection.execute("select question from turns order by asked desc limit 1").fetchone()[0]
    assert newest == "My card [CARD] and mail [EMAIL], where is my refund?"


def test_thumbs_are_kept(base: httpx.Client, admin: httpx.Client) -> None:
    reply = ask(base, "How much is delivery?")
    address = f"/support/v1/conversations/{reply['conversation_id']}/turns/{reply['turn']}/feedback"

    assert base.post(address, json={"value": 1}).status_code == 204
    assert base.post(address, json={"value": 3}).status_code == 400
    stored = admin.get(f"/support/v1/conversations/{reply['conversation_id']}").json()
    assert stored["turns"][0]["feedback"] == 1


def test_the_models_in_use_show_their_cards_and_reports(admin: httpx.Client) -> None:
    cards = {card["name"]: card for card in admin.get("/support/v1/models").json()}

    assert set(cards) == {
        "support-encoder-en",
        "support-encoder-multilingual",
        "support-intents-en",
        "support-intents-zh",
    }
    for language in ("en", "zh"):
        card = cards[f"support-intents-{language}"]
        assert card["production"] == 1
        assert card["report"]["scores"]["test"]["report"]["per_class"]
        assert card["manifest"]["licence"] == "Apache-2.0"
        assert card["versions"][0]["verdict"]["accepted"]


def test_the_gateway_answers_without_torch(base: httpx.Client) -> None:
    import psutil

    port = base.base_url.port
    process = next(
        c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.status == "LISTEN"
    )
    mapped = {Path(m.path).name for m in psutil.Process(process).memory_maps()}

    assert not any("torch" in name for name in mapped)
