"""Each kind of channel against a real server that behaves well, and one that does not."""

import base64
import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from finance_monitor import channels, tables
from finance_monitor.channels import Installation, Message, apprise, dingtalk, email, feishu, slack, webhook, wecom
from finance_monitor.channels.limits import fit, utf8_bytes
from finance_monitor.channels.rendering import alert_message, escape_markdown, safe_url
from headwater.errors import HeadwaterError, NotFound
from headwater.storage.columns import now

PLACE = Installation(allow_private=True)
PUBLIC = Installation()
MESSAGE = Message(
    key="k1",
    subject="[high] Norwick: surge",
    text="Norwick: surge\nA story\nhttps://example.com/a\n",
    html="<p>Norwick: surge</p>",
    markdown="## Norwick: surge\n",
    simple_markdown="## Norwick: surge\n",
    link="https://desk.example.com/?incident=i",
    data={"kind": "alert", "alerts": []},
)
LONG = "海川水泥被起诉，" * 4_000


class Server:
    """An HTTP server that answers each POST as told; `requests` are path, headers, body."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.status, self.body, self.headers = 200, b"ok", dict[str, str]()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook?token=t0ken"

    def answers(self, body: object, status: int = 200, **headers: str) -> None:
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}

    def value(self) -> Any:
        return json.loads(self.requests[-1][2])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    monkeypatch.setenv("HEADWATER_CHANNEL_URL", server.url)
    monkeypatch.setenv("HEADWATER_CHANNEL_SECRET", "s3cret")
    yield server
    server.server.shutdown()
    server.server.server_close()


URL = {"url_env": "HEADWATER_CHANNEL_URL"}
SIGNED = {**URL, "secret_env": "HEADWATER_CHANNEL_SECRET"}


# --- options and secrets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("fax", {}, f"kind: one of {', '.join(channels.KINDS)}, found 'fax'"),
        ("slack", {"url": "https://hooks.example.com/x"}, "options: no field 'url'; the fields: url_env, url_file"),
        ("slack", {}, "options: url_env or url_file is missing; secrets are never stored in options"),
        (
            "slack",
            {"url_env": "HEADWATER_DATABASE_URL"},
            "options: url_env must be a variable named HEADWATER_CHANNEL_…, found 'HEADWATER_DATABASE_URL'",
        ),
        (
            "slack",
            {"url_file": "../house.db"},
            "options: url_file must be a file's name in HEADWATER_HOME/secrets, found '../house.db'",
        ),
        ("slack", {"url_env": "HEADWATER_CHANNEL_A", "url_file": "a"}, "options: give url_env or url_file, not both"),
        ("inbox", {"url": "ftp://127.0.0.1/"}, "the address is no http:// or https:// one"),
        ("inbox", {"url": 3}, "options: url must be a text, found 3"),
        (
            "webhook",
            {"secret_env": "HEADWATER_CHANNEL_A"},
            "options: give url, or url_env or url_file when the address holds a token",
        ),
        (
            "webhook",
            {"url": "https://user:pass@example.com/", "secret_env": "HEADWATER_CHANNEL_A"},
            "example.com: an address with a user name or password in it is refused",
        ),
        ("email", {"host": "mail", "sender": "a@example.com"}, "options: to is missing"),
        (
            "email",
            {"host": "mail", "sender": "a@example.com\r\nBcc: x@example.com", "to": ["b@example.com"]},
            "options: sender has a line break or control character in it",
        ),
        (
            "email",
            {"host": "mail", "sender": "a@example.com", "to": ["b@example.com\nBcc: x@example.com"]},
            "options: to has a line break or control character in it",
        ),
        (
            "email",
            {"host": "mail", "sender": "nobody", "to": ["b@example.com"]},
            "options: 'nobody' is no e-mail address; write name@example.com",
        ),
        (
            "email",
            {"host": "mail", "sender": "a@example.com", "to": ["b@example.com"], "security": "tls"},
            "options: security is one of starttls, ssl, none, found 'tls'",
        ),
        (
            "email",
            {"host": "mail", "sender": "a@example.com", "to": ["b@example.com"], "username": "a"},
            "options: username and password_env (or password_file) go together",
        ),
        (
            "email",
            {
                "host": "mail",
                "sender": "a@example.com",
                "to": ["b@example.com"],
                "username": "a",
                "password_env": "HEADWATER_CHANNEL_P",
                "security": "none",
            },
            "options: a password is sent over starttls or ssl only",
        ),
    ],
)
def test_options_that_cannot_work_are_refused_with_the_reason(kind: str, options: Any, message: str) -> None:
    with pytest.raises(HeadwaterError) as raised:
        channels.channel_kind(kind).check(options)
    assert str(raised.value) == message


def test_secret_is_read_from_a_file_of_the_secrets_folder(tmp_path: Path, server: Server) -> None:
    (tmp_path / "chat").write_text(server.url + "\n")
    place = Installation(allow_private=True, secrets=tmp_path)
    assert slack.send({"url_file": "chat"}, MESSAGE, place).state == "sent"
    outcome = slack.send({"url_file": "other"}, MESSAGE, place)
    assert outcome.state == "failed" and outcome.reason == "secrets/other cannot be read: FileNotFoundError"


@pytest.mark.parametrize("url", ["no address", "http://127.0.0.1:1/t0ken", "https://t0ken@example.com/"])
def test_address_that_is_a_secret_is_not_repeated_in_reasons(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_CHANNEL_URL", url)
    outcome = slack.send(URL, MESSAGE, PLACE)
    assert outcome.state in ("failed", "retry") and "t0ken" not in outcome.reason and "no address" not in outcome.reason


def test_channel_is_stored_with_checked_options_and_kept_while_it_is_used() -> None:
    from finance_monitor.subscriptions import Rule, save

    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    tables.metadata.create_all(engine)
    with engine.begin() as connection:
        for _ in range(2):
            channels.save(connection, "desk", "chat", "slack", URL, actor="t", moment=now())
        with pytest.raises(HeadwaterError, match="no field"):
            channels.save(connection, "desk", "chat", "slack", {"token": "x"}, actor="t", moment=now())
        save(connection, "desk", "mine", Rule(channels=("chat",)), actor="t", moment=now(), subscription_id="s")
        with pytest.raises(HeadwaterError, match="the channel 'chat' is used by mine; change those first"):
            channels.delete(connection, "desk", "chat")
        with pytest.raises(NotFound):
            channels.delete(connection, "elsewhere", "chat")
        row = connection.execute(sa.select(tables.channels)).one()
        assert row.state == "new" and row.options == URL


# --- HTTP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "state", "after"),
    [
        (204, {}, "sent", None),
        (429, {"Retry-After": "7"}, "limited", 7.0),
        (429, {}, "limited", None),
        (503, {"Retry-After": "9"}, "limited", 9.0),
        (503, {}, "retry", None),
        (500, {}, "retry", None),
        (504, {}, "ambiguous", None),
        (302, {"Location": "http://127.0.0.1/"}, "failed", None),
        (404, {}, "failed", None),
    ],
)
def test_status_says_what_to_do(
    server: Server, status: int, headers: dict[str, str], state: str, after: float | None
) -> None:
    server.answers(b"", status, **{name.replace("-", "_"): value for name, value in headers.items()})
    outcome = webhook.send(SIGNED, MESSAGE, PLACE)
    assert (outcome.state, outcome.retry_after) == (state, after)
    assert len(server.requests) == 1


def test_retry_after_may_be_a_date(server: Server) -> None:
    from email.utils import formatdate

    server.answers(b"", 429, Retry_After=formatdate(time.time() + 120, usegmt=True))
    outcome = webhook.send(SIGNED, MESSAGE, PLACE)
    assert outcome.retry_after is not None and 100 < outcome.retry_after <= 120


def test_private_address_is_refused_unless_it_is_allowed(server: Server) -> None:
    outcome = webhook.send(SIGNED, MESSAGE, PUBLIC)
    assert outcome.state == "failed"
    assert outcome.reason.startswith("127.0.0.1 is the private address 127.0.0.1, which is refused")
    assert server.requests == []


def test_inbox_is_on_this_machine_only(server: Server) -> None:
    inbox = channels.channel_kind("inbox")
    assert inbox.send({"url": server.url}, MESSAGE, PUBLIC).state == "sent"
    assert server.value()["html"] == MESSAGE.html and server.requests[0][1]["idempotency-key"] == "k1"
    outcome = inbox.send({"url": "http://192.0.2.1/"}, MESSAGE, PLACE)
    assert outcome.reason == "192.0.2.1 is not this machine; an inbox is at a loopback address"


def drip(port_of: Callable[[int], None], stop: threading.Event) -> None:
    """A server that takes the request and answers one byte at a time, for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port_of(listening.getsockname()[1])
        connection, _ = listening.accept()
        with connection:
            while not stop.wait(0.1):
                try:
                    connection.sendall(b"H")
                except OSError:
                    return


def test_answer_in_drips_ends_at_the_deadline_and_is_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finance_monitor.channels.http.TOTAL_SECONDS", 0.6)
    monkeypatch.setenv("HEADWATER_CHANNEL_SECRET", "s3cret")
    ports: list[int] = []
    stop = threading.Event()
    thread = threading.Thread(target=drip, args=(ports.append, stop))
    thread.start()
    while not ports:
        time.sleep(0.01)
    options = {"url": f"http://127.0.0.1:{ports[0]}/", "secret_env": "HEADWATER_CHANNEL_SECRET"}
    started = time.monotonic()
    outcome = webhook.send(options, MESSAGE, PLACE)
    stop.set()
    thread.join()
    assert outcome.state == "ambiguous" and time.monotonic() - started < 2


def test_webhook_signature_is_verified_within_its_replay_window(server: Server) -> None:
    webhook.send(SIGNED, MESSAGE, PLACE)
    _, headers, body = server.requests[0]
    timestamp, signed = headers["x-headwater-timestamp"], headers["x-headwater-signature"]
    moment = float(timestamp)
    assert webhook.verify("s3cret", timestamp, body, signed, moment + 299)
    assert not webhook.verify("s3cret", timestamp, body, signed, moment + 301)
    assert not webhook.verify("s3cret", timestamp, body + b" ", signed, moment)
    assert not webhook.verify("other", timestamp, body, signed, moment)
    assert not webhook.verify("s3cret", str(int(timestamp) + 1), body, signed, moment)
    expected = hmac.new(b"s3cret", timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert signed == f"sha256={expected}"


# --- messengers -------------------------------------------------------------------------------------------------------


def test_slack_gets_plain_text_in_which_nothing_is_a_mention(server: Server) -> None:
    message = Message("k", "<!channel> & co", "see <http://evil.example|here>", "", "", "", languages=("en",))
    assert slack.send(URL, message, PLACE).state == "sent"
    assert server.value()["text"] == "&lt;!channel&gt; &amp; co\n\nsee &lt;http://evil.example|here&gt;"
    assert server.value()["mrkdwn"] is False
    server.answers(b"invalid_token")
    assert slack.send(URL, message, PLACE).state == "failed"


@pytest.mark.parametrize(
    ("kind", "answer", "state", "reason"),
    [
        ("dingtalk", {"errcode": 0, "errmsg": "ok"}, "sent", ""),
        ("dingtalk", {"errcode": 130101, "errmsg": "send too fast"}, "limited", "errcode 130101: send too fast"),
        ("dingtalk", {"errcode": 310000, "errmsg": "sign not match"}, "failed", "errcode 310000: sign not match"),
        ("dingtalk", {"errcode": -1, "errmsg": "busy"}, "retry", "errcode -1: busy"),
        ("feishu", {"code": 0, "msg": "success"}, "sent", ""),
        ("feishu", {"code": 11232, "msg": "frequency limited"}, "limited", "code 11232: frequency limited"),
        ("feishu", {"code": 19021, "msg": "sign match fail"}, "failed", "code 19021: sign match fail"),
        ("wecom", {"errcode": 0, "errmsg": "ok"}, "sent", ""),
        ("wecom", {"errcode": 45009, "errmsg": "freq out of limit"}, "limited", "errcode 45009: freq out of limit"),
        ("wecom", {"errcode": 93000, "errmsg": "invalid webhook"}, "failed", "errcode 93000: invalid webhook"),
        ("wecom", {"unexpected": 1}, "failed", 'the answer has no errcode: {"unexpected": 1}'),
    ],
)
def test_error_code_inside_a_200_answer_is_honoured(
    server: Server, kind: str, answer: object, state: str, reason: str
) -> None:
    server.answers(answer)
    outcome = channels.channel_kind(kind).send(URL, MESSAGE, PLACE)
    assert (outcome.state, outcome.reason) == (state, reason)


def test_dingtalk_signs_timestamp_and_secret(server: Server) -> None:
    server.answers({"errcode": 0})
    dingtalk.send(SIGNED, MESSAGE, PLACE)
    query = parse_qs(urlsplit(server.requests[0][0]).query)
    timestamp = query["timestamp"][0]
    digest = hmac.new(b"s3cret", f"{timestamp}\ns3cret".encode(), hashlib.sha256).digest()
    assert query["sign"] == [base64.b64encode(digest).decode()] and query["token"] == ["t0ken"]
    assert abs(int(timestamp) / 1000 - time.time()) < 10


def test_feishu_signs_with_timestamp_and_secret_as_key(server: Server) -> None:
    server.answers({"code": 0})
    feishu.send(SIGNED, MESSAGE, PLACE)
    body = server.value()
    key = f"{body['timestamp']}\ns3cret".encode()
    assert body["sign"] == base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()
    content = body["content"]["post"]["en_us"]["content"]
    assert content[-1] == [{"tag": "a", "text": "https://example.com/a", "href": "https://example.com/a"}]


@pytest.mark.parametrize(
    ("kind", "limit"), [("dingtalk", dingtalk.BYTES), ("feishu", feishu.BYTES), ("wecom", wecom.BYTES)]
)
@pytest.mark.parametrize("text", [LONG, "海川被起诉。\n\n" * 4_000, '"\\\n' * 9_000])
def test_long_message_is_cut_to_the_limit_in_bytes_with_a_link(
    server: Server, kind: str, limit: int, text: str
) -> None:
    server.answers({"errcode": 0, "code": 0})
    message = Message("k", "s", text, "", "", text, link=MESSAGE.link, languages=("zh",))
    assert channels.channel_kind(kind).send(URL, message, PLACE).state == "sent"
    body = server.requests[-1][2]
    measured = len(server.value()["markdown"]["content"].encode()) if kind == "wecom" else len(body)
    assert limit * 0.6 < measured <= limit
    assert "内容已截短，全文见" in body.decode() and MESSAGE.link in body.decode()


def test_slack_text_has_at_most_4000_characters_after_escaping() -> None:
    text = slack.text_of(Message("k", "s", "& " * 9_000, "", "", "", link="https://example.com/?a=1&b=2"))
    assert 3_900 < len(text) <= 4_000 and text.endswith("all of it: https://example.com/?a=1&amp;b=2")


@pytest.mark.parametrize("limit", range(40, 60))
def test_text_is_cut_between_characters(limit: int) -> None:
    cut = fit("海" * 100, limit, "…")
    assert utf8_bytes(cut) <= limit and set(cut) <= set("海\n…")


def test_apprise_delivers_by_an_address_of_its_own(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("apprise")
    host = urlsplit(server.url).netloc
    monkeypatch.setenv("HEADWATER_CHANNEL_URL", f"json://{host}/")
    assert apprise.send(URL, MESSAGE, PLACE).state == "sent"
    assert server.value()["title"] == MESSAGE.subject
    server.answers(b"", 500)
    assert apprise.send(URL, MESSAGE, PLACE).state == "ambiguous"
    monkeypatch.setenv("HEADWATER_CHANNEL_URL", "nothing://x")
    assert apprise.send(URL, MESSAGE, PLACE).state == "failed"


# --- e-mail -----------------------------------------------------------------------------------------------------------


class Mailbox:
    """What the SMTP server takes; `codes` are its answers to a recipient, and to the data."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: dict[str, str] = {}
        self.data = "250 OK"
        self.hang: threading.Event | None = None

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        answer = self.recipients.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        if self.data == "drop":
            server.transport.abort()
        return self.data if self.data != "drop" else "250 OK"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that nobody has signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", str(paths[0])]
    subprocess.run([*command, "-keyout", str(paths[1])], check=True, capture_output=True)
    return paths


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def smtp(mailbox: Mailbox) -> Iterator[Callable[..., int]]:
    """`smtp(**arguments)` starts a server and gives its port."""
    running = []

    def start(**arguments: Any) -> int:
        controller = Controller(mailbox, hostname="127.0.0.1", port=0, **arguments)
        # The controller tries its port by connecting to it; 0 must be found out first.
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            controller.port = free.getsockname()[1]
        controller.start()
        running.append(controller)
        return int(controller.port)

    yield start
    for controller in running:
        controller.stop()


def mail_options(port: int, **values: Any) -> dict[str, Any]:
    addresses = {"sender": "alerts@example.com", "to": ["ana@example.com", "bo@example.com"]}
    return {"host": "localhost", "port": port, "security": "none", **addresses, **values}


def test_mail_has_text_and_html_and_a_message_id_of_its_key(smtp: Callable[..., int], mailbox: Mailbox) -> None:
    options = mail_options(smtp())
    message = Message("k1", "【高】海川：激增", "正文\n.点\n", "<p>正文</p>", "", "")
    assert email.send(options, message, PLACE) == channels.SENT
    assert email.send(options, message, PLACE) == channels.SENT
    mail = mailbox.mails[0]
    assert mail["Subject"] == "【高】海川：激增" and mail["To"] == "ana@example.com, bo@example.com"
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None and plain.get_content().splitlines() == ["正文", ".点"]
    assert html is not None and html.get_content().strip() == "<p>正文</p>"
    assert mailbox.mails[1]["Message-ID"] == mail["Message-ID"]


def test_title_cannot_add_a_header(smtp: Callable[..., int], mailbox: Mailbox) -> None:
    message = Message("k", "Norwick\r\nBcc: eve@example.com\u2028X: y", "t", "h", "", "")
    email.send(mail_options(smtp()), message, PLACE)
    mail = mailbox.mails[0]
    assert mail["Bcc"] is None and mail["Subject"] == "Norwick Bcc: eve@example.com X: y"


def test_password_goes_over_starttls_only(
    smtp: Callable[..., int], mailbox: Mailbox, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"desk", b"s3cret")
        return AuthResult(success=good, handled=False)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    port = smtp(tls_context=context, require_starttls=True, auth_required=True, authenticator=authenticate)
    secret = {"username": "desk", "password_env": "HEADWATER_CHANNEL_PASSWORD"}
    options = mail_options(port, security="starttls", ca_file=str(certificate[0]), **secret)
    monkeypatch.setenv("HEADWATER_CHANNEL_PASSWORD", "s3cret")
    assert email.send(options, MESSAGE, PLACE).state == "sent"
    untrusted = email.send({**options, "ca_file": ""}, MESSAGE, PLACE)
    assert untrusted.state == "failed" and "certificate is not trusted" in untrusted.reason
    monkeypatch.setenv("HEADWATER_CHANNEL_PASSWORD", "wrong")
    refused = email.send(options, MESSAGE, PLACE)
    assert refused.state == "failed" and "535" in refused.reason and "wrong" not in refused.reason
    monkeypatch.delenv("HEADWATER_CHANNEL_PASSWORD")
    missing = email.send(options, MESSAGE, PLACE)
    assert missing.reason == "the environment variable HEADWATER_CHANNEL_PASSWORD is not set"
    assert len(mailbox.mails) == 1


def test_server_without_starttls_gets_no_mail(smtp: Callable[..., int], mailbox: Mailbox) -> None:
    outcome = email.send(mail_options(smtp(), security="starttls"), MESSAGE, PLACE)
    assert outcome.state == "failed" and "STARTTLS" in outcome.reason and mailbox.mails == []


@pytest.mark.parametrize(
    ("recipients", "data", "state", "reason"),
    [
        (["550 no such user", "250 OK"], "250 OK", "sent", "not taken for ana@example.com (550)"),
        (["550 no such user", "550 no such user"], "250 OK", "failed", "the mail server answered 550 no such user"),
        (["451 come later", "550 no such user"], "250 OK", "retry", "the mail server answered 451 come later"),
        (["250 OK", "250 OK"], "452 no space", "retry", "the mail server answered 452 no space"),
        (["250 OK", "250 OK"], "554 spam", "failed", "the mail server answered 554 spam"),
    ],
)
def test_smtp_answers_say_what_to_do(
    smtp: Callable[..., int], mailbox: Mailbox, recipients: list[str], data: str, state: str, reason: str
) -> None:
    mailbox.recipients = dict(zip(("ana@example.com", "bo@example.com"), recipients, strict=True))
    mailbox.data = data
    outcome = email.send(mail_options(smtp()), MESSAGE, PLACE)
    assert (outcome.state, outcome.reason) == (state, reason)


def test_connection_lost_after_the_mail_was_handed_over_is_ambiguous(
    smtp: Callable[..., int], mailbox: Mailbox
) -> None:
    mailbox.data = "drop"
    outcome = email.send(mail_options(smtp()), MESSAGE, PLACE)
    assert outcome.state == "ambiguous" and "did not confirm it" in outcome.reason and len(mailbox.mails) == 1


def test_mail_server_that_is_down_is_tried_again() -> None:
    assert email.send(mail_options(9), MESSAGE, PLACE).state == "retry"


# --- texts ------------------------------------------------------------------------------------------------------------


def alert(language: str, **reason: Any) -> dict[str, Any]:
    incident = {"id": "i1", "entity_kind": "company", "entity": "norwick", "state": "open", "severity": "high"}
    incident |= {"revision": 2, "opened": "2026-03-02T10:00:00+00:00", "closed": None}
    story = {
        "id": "s",
        "title": "Norwick <b>sued</b> [x](http://evil.example)",
        "url": "https://news.example.com/a?b=1&c=(2)",
        "source": "Daily*",
        "published": "2026-03-02T09:58:00+00:00",
        "language": "en",
        "label": "negative",
        "probability": 0.941,
        "sentence": "Norwick was sued on Monday.",
        "novelty": 1.0,
    }
    full = {
        "text": {"en": "Seven stories where one is usual.", "zh": "通常一条，现有七条。"},
        "window": {"start": "2026-03-02T09:00:00+00:00", "end": "2026-03-02T10:00:00+00:00", "width_seconds": 3600},
        "observed": 7,
        "expected": 0.83,
        "negative_share": 0.875,
        "baseline": {"mean": 0.8, "days": 28, "dispersion": 1.4},
        "p_value": 0.0000312,
        "threshold": 0.001,
        "score": 4.51,
        "stories": [story],
        "models": {"sentiment": "9f3a", "topics": "77b1"},
        "entity_name": "Norwick",
        "topics": ["litigation"],
        "languages": ["en"],
    }
    return {
        "change": "grew",
        "moment": "2026-03-02T10:00:00+00:00",
        "incident": incident,
        "subscription": {"id": "s", "name": "desk"},
        "language": language,
        "zone": "Asia/Shanghai",
        "reason": full | reason,
    }


def render(language: str, **reason: Any) -> Message:
    content = {"kind": "alert", "languages": [language]}
    return alert_message("k", content, [alert(language, **reason)], "https://desk.example.com")


def test_alert_explains_itself_in_english() -> None:
    message = render("en")
    assert message.subject == "[high] Norwick: surge of negative stories has grown"
    assert message.text.splitlines() == [
        "Norwick: surge of negative stories has grown",
        "=" * 44,
        "Severity high, revision 2, open since 2026-03-02 18:00 UTC+08:00",
        "Seven stories where one is usual.",
        "2026-03-02 17:00 UTC+08:00 to 2026-03-02 18:00 UTC+08:00: 7 negative stories, 0.83 expected",
        "88% of its stories in this time are negative",
        "Baseline: 0.8 a window over 28 days, dispersion 1.4",
        "Test: p = 3.12e-05 against a threshold of 0.001, score 4.51",
        "Topics: Litigation",
        "",
        "Stories that caused it",
        "-" * 22,
        "* Norwick <b>sued</b> [x](http://evil.example) (Daily*, 2026-03-02 17:58 UTC+08:00)",
        "  https://news.example.com/a?b=1&c=(2)",
        "negative 0.94, novelty 1.00",
        "    “Norwick was sued on Monday.”",
        "Models: sentiment 9f3a, topics 77b1",
        "For desk",
        "Open in the dashboard",
        "https://desk.example.com/?incident=i1",
    ]


def test_alert_explains_itself_in_chinese() -> None:
    text = render("zh").text
    assert "Norwick：负面报道继续增多" in text and "通常一条，现有七条。" in text
    assert "负面报道 7 条，预期 0.83 条" in text and "检验：p = 3.12e-05，阈值 0.001，得分 4.51" in text
    assert "主题：诉讼" in text and "负面 0.94，新颖度 1.00" in text


def test_title_is_no_markup_in_any_form() -> None:
    message = render("en")
    assert "<b>" not in message.html and "&lt;b&gt;sued&lt;/b&gt;" in message.html
    assert 'href="https://news.example.com/a?b=1&amp;c=(2)"' in message.html
    assert r"\<b\>sued\</b\> \[x\]\(http\://evil.example\)" in message.markdown
    assert "(https://news.example.com/a?b=1&c=%282%29)" in message.markdown
    assert "＜b＞sued＜/b＞ ［x］（http://evil.example）" in message.simple_markdown


def test_markdown_shows_what_was_written() -> None:
    from markdown_it import MarkdownIt

    for text in (
        "# no heading",
        "1. no list",
        "- no list",
        "*a* _b_ `c` ~d~ |e|",
        "a <i>b</i> &amp; [c](d) ![e](f)",
        "\\",
    ):
        html = MarkdownIt("commonmark").render(escape_markdown(text))
        shown = html.removeprefix("<p>").removesuffix("</p>\n")
        for sign, name in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
            shown = shown.replace(sign, name)
        assert shown == text


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("//example.com/", ""),
        ('https://例え.example/a b"<>', "https://%E4%BE%8B%E3%81%88.example/a%20b%22%3C%3E"),
        ("https://example.com/%E6%B5%B7", "https://example.com/%E6%B5%B7"),
        ("http://[bad", ""),
    ],
)
def test_only_web_addresses_become_links(url: str, safe: str) -> None:
    assert safe_url(url) == safe


def test_alert_with_little_to_say_is_still_a_message() -> None:
    bare: dict[str, Any] = {"text": {}, "window": {}, "baseline": {}, "models": {}, "stories": [], "topics": []}
    message = render("en", **bare, p_value=None, negative_share=None, entity_name=None)
    assert message.text.startswith("norwick: surge of negative stories has grown")
    assert "Stories" not in message.text


def test_two_languages_stand_in_one_message() -> None:
    content = {"kind": "alert", "languages": ["en", "zh"]}
    text = alert_message("k", content, [alert("en"), alert("zh")], "").text
    assert "Severity high" in text and "级别：高" in text and "Held" not in text
