"""Hostile and broken input through a real gateway: a problem each, nothing half-written, nobody else disturbed."""

import io
import json
import os
import signal
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

REFUND = "How long does a refund take?"


class Gateway:
    """A gateway process of its own on a state folder."""

    def __init__(self, home: Path, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.environment = {**os.environ, "HEADWATER_HOME": str(home), "HEADWATER_REQUESTS_PER_MINUTE": "0", **settings}
        self.log = home / "gateway.log"
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "gateway", "--port", str(port)]
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.port = port
        self.customer = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60)
        self._wait()
        token = (home / "admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        self.admin = httpx.Client(base_url=self.customer.base_url, headers=headers, trust_env=False, timeout=60)

    def _wait(self) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self.customer.get("/readyz").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise TimeoutError(self.log.read_text())

    def put(self, name: str, data: bytes, **fields: str) -> httpx.Response:
        return self.admin.post("/support/v1/documents", files={"file": (name, data)}, data=fields)

    def ask(self, message: str) -> dict[str, Any]:
        response = self.customer.post("/support/v1/chat", json={"message": message})
        assert response.status_code == 200, response.text
        reply: dict[str, Any] = response.json()
        return reply

    def documents(self) -> Any:
        return self.admin.get("/support/v1/documents", params={"limit": 500}).json()

    def stop(self) -> None:
        self.customer.close()
        self.admin.close()
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def gateway(shop_home: Path) -> Iterator[Gateway]:
    limits = {"HEADWATER_MAX_DOCUMENT_BYTES": "3000000", "HEADWATER_MAX_READING_SECONDS": "6"}
    made = Gateway(shop_home, **limits)
    yield made
    made.stop()


def assert_problem(response: httpx.Response, status: int, *words: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in response.text
    for word in words:
        assert word in response.json()["detail"]


def docx(body: str, before: str = "", padding: int = 0) -> bytes:
    from docx import Document as Word

    whole, made = io.BytesIO(), io.BytesIO()
    Word().save(whole)
    namespace = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    text = f"{before}<w:document {namespace}><w:body>{body}</w:body></w:document>"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            archive.writestr(name, text if name == "word/document.xml" else source.read(name))
        archive.writestr("word/media/noise.bin", os.urandom(padding))
    return made.getvalue()


def entity_bomb() -> bytes:
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
    return docx("<w:p><w:r><w:t>&e9;</w:t></w:r></w:p>", f'<!DOCTYPE x [<!ENTITY e0 "ha">{entities}]>')


def damaged() -> bytes:
    whole = bytearray(docx("<w:p/>"))
    place = whole.find(b"word/document.xml") + 20
    whole[place : place + 20] = b"\xff" * 20
    return bytes(whole)


@pytest.mark.parametrize(
    ("name", "data", "status"),
    [
        ("mark.csv", b"\xef\xbb\xbf", 400),
        ("short.csv", b"question,answer\rReturns?\r", 400),
        ("binary.md", bytes(n for n in range(1, 256)) * 40, 415),
        ("mixed.md", b"# Returns\n\n" + "Größe\n".encode() * 9 + b"caf\xe9\n", 415),
        ("entities.docx", entity_bomb(), 400),
        ("damaged.docx", damaged(), 400),
        ("sheet.docx", docx("</w:body>"), 400),
        ("locked.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 500, 415),
        (".md", b"text", 415),
        ("...md", b"text", 400),
        ("n" * 300 + ".md", b"text", 400),
    ],
)
def test_a_broken_document_is_refused_by_name_and_changes_nothing(
    gateway: Gateway, name: str, data: bytes, status: int
) -> None:
    before = gateway.documents()

    response = gateway.put(name, data)

    assert_problem(response, status, name[:40])
    assert gateway.documents() == before


def test_a_document_that_would_never_end_is_refused_while_others_are_answered(gateway: Gateway) -> None:
    before = gateway.documents()
    cell = '<w:tcPr><w:gridSpan w:val="300000000"/></w:tcPr><w:p><w:r><w:t>Wide</w:t></w:r></w:p>'
    with ThreadPoolExecutor(6) as pool:
        endless = pool.submit(gateway.put, "endless.docx", docx("<w:p/>" * 2_500_000, padding=100_000))
        answers = [pool.submit(gateway.ask, REFUND) for _ in range(10)]
        slowest = max(answer.result()["timings"]["total"] for answer in answers)
        assert all("5 working days" in answer.result()["answer"] for answer in answers)
        assert_problem(endless.result(), 413, "endless.docx", "6 s", "HEADWATER_MAX_READING_SECONDS")
    assert slowest < 3_000
    assert gateway.documents() == before
    wide = gateway.put("wide.docx", docx(f"<w:tbl><w:tr><w:tc>{cell}</w:tc></w:tr></w:tbl>"))
    assert (wide.status_code, wide.json()["characters"]) == (201, 4)
    gateway.admin.delete("/support/v1/documents/wide")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"url": "javascript:alert(1)"}, 400),
        ({"url": "https://a.example/ onclick=x"}, 400),
        ({"document_id": ".."}, 400),
        ({"document_id": " "}, 400),
        ({"document_id": "a\0b"}, 400),
        ({"site": "a\0b"}, 422),
        ({"title": "x" * 301}, 422),
    ],
)
def test_what_is_said_of_a_document_is_checked(gateway: Gateway, fields: dict[str, str], status: int) -> None:
    assert_problem(gateway.put("field.md", b"# Field\n\nText.", **fields), status)
    assert not gateway.admin.get("/support/v1/documents", params={"search": "field"}).json()


def test_titles_carry_no_control_characters_and_no_whole_document(gateway: Gateway) -> None:
    made = gateway.put(
        "title.html", b"<h1>\x1b[31mRed \xe2\x80\xae" + b"word " * 9_000 + b"</h1><p>Text of the page.</p>"
    ).json()

    assert made["title"].startswith("[31mRed word")
    assert len(made["title"]) <= 300
    gateway.admin.delete("/support/v1/documents/title")


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_lone_surrogate_in_a_question_is_left_out(gateway: Gateway, accept: str) -> None:
    body = b'{"message": "How long does a \\ud800refund take?"}'
    headers = {"Content-Type": "application/json", "Accept": accept}

    response = gateway.customer.post("/support/v1/chat", content=body, headers=headers)

    assert response.status_code == 200
    assert "5 working days" in response.text


@pytest.mark.parametrize(
    "body",
    [
        b'{"message": "hi", "conversation_id": "\\ud800"}',
        b'{"message": "hi", "subject": "a\\u0000b"}',
        b'{"message": "hi", "site": "a\\u0000b"}',
        b'{"message": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"message": ' + b"9" * 6_000 + b"}",
        '{"message": "退款"}'.encode("gbk"),
    ],
)
def test_a_body_that_no_database_takes_is_refused(gateway: Gateway, body: bytes) -> None:
    response = gateway.customer.post("/support/v1/chat", content=body, headers={"Content-Type": "application/json"})

    assert_problem(response, 400 if response.status_code == 400 else 422)


@pytest.mark.parametrize(
    "path",
    [
        "/support/v1/conversations?offset=99999999999999999999",
        "/support/v1/documents?offset=99999999999999999999",
        f"/support/v1/conversations?text={'a' * 50_000}",
        "/support/v1/conversations?text=%00",
        "/support/v1/documents/%00",
        "/support/v1/conversations?site=a%00",
    ],
)
def test_numbers_and_texts_beyond_the_database_are_refused(gateway: Gateway, path: str) -> None:
    response = gateway.admin.get(path)

    assert_problem(response, 400 if "%00" in path else 422)


def test_feedback_for_a_turn_beyond_all_numbers_is_refused(gateway: Gateway) -> None:
    conversation = gateway.ask(REFUND)["conversation_id"]
    path = f"/support/v1/conversations/{conversation}/turns/99999999999999999999/feedback"

    assert_problem(gateway.customer.post(path, json={"value": 1}), 422)


@pytest.mark.parametrize(
    "url", ["http://[", "http://u:p@1.1.1.1/", "http://[::127.0.0.1]/", "http://2130706433/", "http://a\x01b/"]
)
def test_an_address_that_is_none_or_hides_a_private_one_is_refused(gateway: Gateway, url: str) -> None:
    assert_problem(gateway.admin.post("/support/v1/pages", json={"url": url}), 400)


def test_hidden_personal_data_reaches_neither_database_nor_log(gateway: Gateway, shop_home: Path) -> None:
    conversation = gateway.ask(
        "卡号4111 1111 1111 1111 12/26，账号DE89370400440532013000，手机１３９００１３９０００，"
        "zoe\u200b.quill@example.com"
    )["conversation_id"]

    with sqlite3.connect(shop_home / "db" / "support.db") as connection:
        query = "select question from turns where conversation_id = ?"
        kept = connection.execute(query, (conversation,)).fetchone()[0]
    assert kept == "卡号[CARD] 12/26，账号[IBAN]，手机[PHONE]，[EMAIL]"
    metrics = gateway.customer.get("/metrics").content
    for place in (*(p.read_bytes() for p in (shop_home / "db").glob("support.db*")), gateway.log.read_bytes(), metrics):
        for secret in (b"4111 1111", b"DE893704", "１３９００".encode(), b"quill"):
            assert secret not in place


def test_clients_that_hang_up_leave_no_request_behind(gateway: Gateway) -> None:
    body = json.dumps({"message": REFUND}).encode()
    head = (
        b"POST /support/v1/chat HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n"
    )
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    deadline = time.monotonic() + 10
    while "headwater_requests_active 1.0" not in gateway.customer.get("/metrics").text:
        assert time.monotonic() < deadline
    assert "5 working days" in gateway.ask(REFUND)["answer"]


def test_the_command_and_the_api_may_write_the_same_document_at_once(gateway: Gateway, tmp_path: Path) -> None:
    source = tmp_path / "glider.md"
    source.write_text("# Glider\n\nThe glider tent weighs 200 stones.\n")
    command = [sys.executable, "-m", "headwater.cli.main", "support", "ingest", str(source)]
    with ThreadPoolExecutor(3) as pool:
        told = pool.submit(subprocess.run, command, env=gateway.environment, capture_output=True, timeout=60)
        texts = [f"# Glider\n\nThe glider tent weighs {n} stones.\n".encode() for n in (101, 102)]
        sent = [pool.submit(gateway.put, "glider.md", text) for text in texts]
        assert [response.result().status_code for response in sent] == [201, 201]
        assert told.result().returncode == 0, told.result().stderr

    text = gateway.admin.get("/support/v1/documents/glider").json()["text"]
    assert text in {f"The glider tent weighs {n} stones." for n in (101, 102, 200)}
    assert text.split()[-2] in gateway.ask("How much does the glider tent weigh?")["answer"]
    gateway.admin.delete("/support/v1/documents/glider")


def test_the_command_names_each_source_that_it_could_not_read(gateway: Gateway, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.4 nothing")
    command = [sys.executable, "-m", "headwater.cli.main", "support", "ingest", str(broken), "http://["]

    done = subprocess.run(command, env=gateway.environment, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert "not read: broken.pdf: broken.pdf is not a readable PDF" in done.stderr
    assert "not read: http://[: 'http://[' is no http or https address" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_gateway_killed_while_it_takes_a_document_in_keeps_the_old_state(gateway: Gateway, shop_home: Path) -> None:
    """The last test: the gateway is gone afterwards, and a new one answers from the same folder."""
    before = gateway.documents()
    text = "# Long\n\n" + " ".join(f"Sentence {n} of a long text about nothing." for n in range(40_000))
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(gateway.put, "long.md", text.encode())
        time.sleep(2.5)
        gateway.process.send_signal(signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            sent.result()

    again = Gateway(shop_home)
    try:
        assert again.documents() == before
        assert "5 working days" in again.ask(REFUND)["answer"]
    finally:
        again.stop()
