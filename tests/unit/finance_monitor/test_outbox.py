"""Delivery over real sockets: what is sent, when it is tried again, and what nobody can know."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from finance_monitor import channels, outbox, queueing, tables
from finance_monitor.alerting import route
from finance_monitor.channels import Installation, Outcome
from finance_monitor.domain import Incident
from finance_monitor.outbox import MAX_ATTEMPTS, SCHEDULE, SENDING_LIMIT, after_attempt, deliver
from finance_monitor.subscriptions import Rule, save
from headwater.errors import NotFound
from headwater.settings import Settings
from headwater.storage.columns import now
from headwater.storage.engine import open_engine

SITE = "desk"
PLACE = Installation(allow_private=True)
SECOND = timedelta(seconds=1)


@dataclass
class Receiver:
    """A real HTTP server; `answer` decides on each request. Every body that arrived whole is in `taken`."""

    port: int = 0
    taken: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    answer: Callable[[BaseHTTPRequestHandler, int], None] = lambda handler, count: respond(handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def keys(self) -> list[str]:
        return [headers.get("idempotency-key", "") for headers, _ in self.taken]


def respond(handler: BaseHTTPRequestHandler, status: int = 200, body: bytes = b"{}", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def reset(handler: BaseHTTPRequestHandler) -> None:
    """End the connection after the body was read, without an answer."""
    handler.connection.shutdown(2)
    handler.close_connection = True


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    """`receive(answer)` starts a receiver."""
    servers = []

    def start(answer: Callable[[BaseHTTPRequestHandler, int], None] | None = None) -> Receiver:
        receiver = Receiver()
        if answer is not None:
            receiver.answer = answer

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.taken.append((headers, json.loads(body)))
                receiver.answer(self, len(receiver.taken))

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        receiver.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return receiver

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def engine(database_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    """The finance tables on either kind of database."""
    engine = open_engine(database_settings, "finance")
    tables.metadata.create_all(engine)
    monkeypatch.setenv("HEADWATER_CHANNEL_SECRET", "s3cret")
    yield engine
    engine.dispose()


@pytest.fixture
def quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    """The finance tables in a SQLite file, for what does not depend on the kind of database."""
    engine = open_engine(settings, "finance")
    tables.metadata.create_all(engine)
    monkeypatch.setenv("HEADWATER_CHANNEL_SECRET", "s3cret")
    yield engine
    engine.dispose()


def add_channel(engine: sa.Engine, name: str, url: str, kind: str = "webhook", **options: Any) -> None:
    if kind == "webhook":
        options = {"url": url, "secret_env": "HEADWATER_CHANNEL_SECRET", **options}
    elif kind == "inbox":
        options = {"url": url}
    with engine.begin() as connection:
        channels.save(connection, SITE, name, kind, options, actor="t", moment=now())


def fire(engine: sa.Engine, *names: str, count: int = 1, moment: datetime | None = None) -> datetime:
    """`count` incidents that go to the channels at once; the moment at which they are due."""
    moment = moment or now()
    with engine.begin() as connection:
        save(connection, SITE, "all", Rule(channels=names), actor="t", moment=moment, subscription_id="all")
        for number in range(count):
            name = f"company-{number}"
            reason = {"entity_name": name, "stories": [{"title": f"{name} sued", "url": "https://example.com/a"}]}
            route(
                connection,
                Incident(name, "company", name, "open", "high", 1, moment, moment, None, reason, ()),
                "opened",
                moment,
            )
    return moment


def rows(engine: sa.Engine, channel: str | None = None) -> list[Any]:
    with engine.connect() as connection:
        found = connection.execute(sa.select(tables.outbox).order_by("incident_id", "channel")).all()
    return [row for row in found if channel in (None, row.channel)]


def state(engine: sa.Engine, channel: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(sa.select(tables.channels).where(tables.channels.c.name == channel)).one()


# --- sent -------------------------------------------------------------------------------------------------------------


def test_due_message_is_sent_once(engine: sa.Engine, receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    add_channel(engine, "hook", receiver.url)
    moment = fire(engine, "hook", count=3)
    assert deliver(engine, PLACE, moment - SECOND).counts == {}
    assert deliver(engine, PLACE, moment).counts == {"sent": 3}
    assert deliver(engine, PLACE, moment + 60 * SECOND).counts == {}
    assert [row.state for row in rows(engine)] == ["sent"] * 3
    assert len(set(receiver.keys)) == 3
    assert state(engine, "hook").state == "ok"


def test_webhook_is_signed_and_tells_the_whole_alert(quick: sa.Engine, receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    add_channel(quick, "hook", receiver.url)
    deliver(quick, Installation(True, dashboard="https://desk.example.com"), fire(quick, "hook"))
    headers, body = receiver.taken[0]
    assert body["subject"] == "[high] company-0: surge of negative stories"
    assert body["link"] == "https://desk.example.com/?incident=company-0"
    assert body["alerts"][0]["reason"]["stories"][0]["title"] == "company-0 sued"
    assert headers["x-headwater-signature"].startswith("sha256=")
    assert headers["idempotency-key"] == rows(quick)[0].key


def test_two_workers_at_once_send_each_row_once(engine: sa.Engine, receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    add_channel(engine, "hook", receiver.url)
    moment = fire(engine, "hook", count=12)
    threads = [threading.Thread(target=deliver, args=(engine, PLACE, moment)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(receiver.keys) == sorted(row.key for row in rows(engine))
    assert {row.state for row in rows(engine)} == {"sent"}


# --- tried again ------------------------------------------------------------------------------------------------------


def test_failing_receiver_is_tried_on_schedule_until_the_row_has_failed(
    quick: sa.Engine, receive: Callable[..., Receiver]
) -> None:
    receiver = receive(lambda handler, count: respond(handler, 500, b"out of order"))
    add_channel(quick, "hook", receiver.url)
    moment = fire(quick, "hook")
    pauses = []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        deliver(quick, PLACE, moment)
        row = rows(quick)[0]
        assert row.attempts == attempt and row.reason == "answered 500: out of order"
        if row.state == "pending":
            pauses.append(round((row.due - moment).total_seconds()))
            assert state(quick, "hook").retry_at == row.due
            moment = row.due
    # Counted from when the attempt ended, which takes a moment on a busy machine.
    assert len(pauses) == len(SCHEDULE)
    assert all(0 <= pause - planned <= 10 for pause, planned in zip(pauses, SCHEDULE, strict=True))
    assert row.state == "failed" and state(quick, "hook").state == "failing"
    assert len(receiver.taken) == MAX_ATTEMPTS and len(set(receiver.keys)) == 1
    assert after_attempt(MAX_ATTEMPTS) is None


def test_failing_channel_waits_and_burns_no_attempt_of_its_other_rows(
    engine: sa.Engine, receive: Callable[..., Receiver]
) -> None:
    receiver = receive(lambda handler, count: respond(handler, 500 if count == 1 else 200))
    add_channel(engine, "hook", receiver.url)
    moment = fire(engine, "hook", count=3)
    assert deliver(engine, PLACE, moment).counts == {"pending": 1}
    assert sorted(row.attempts for row in rows(engine)) == [0, 0, 1]
    assert deliver(engine, PLACE, moment + 10 * SECOND).counts == {}
    assert deliver(engine, PLACE, moment + 31 * SECOND).counts == {"sent": 3}


def test_receiver_that_asks_to_wait_is_left_alone_for_as_long(
    engine: sa.Engine, receive: Callable[..., Receiver]
) -> None:
    receiver = receive(lambda handler, count: respond(handler, 429 if count == 1 else 200, Retry_After="90"))
    add_channel(engine, "hook", receiver.url)
    moment = fire(engine, "hook", count=2)
    deliver(engine, PLACE, moment)
    assert state(engine, "hook").state == "limited"
    assert 89 < (state(engine, "hook").retry_at - moment).total_seconds() < 95
    assert [row.attempts for row in rows(engine)] == [0, 0]
    deliver(engine, PLACE, moment + 80 * SECOND)
    assert len(receiver.taken) == 1
    deliver(engine, PLACE, moment + 100 * SECOND)
    assert [row.state for row in rows(engine)] == ["sent", "sent"]


def test_refused_message_has_failed_and_the_next_one_goes_on(
    quick: sa.Engine, receive: Callable[..., Receiver]
) -> None:
    receiver = receive(lambda handler, count: respond(handler, 400 if count == 1 else 200, b"bad"))
    add_channel(quick, "hook", receiver.url)
    assert deliver(quick, PLACE, fire(quick, "hook", count=2)).counts == {"failed": 1, "sent": 1}


def test_receiver_that_is_down_is_tried_again(quick: sa.Engine) -> None:
    add_channel(quick, "hook", "http://127.0.0.1:9/")
    assert deliver(quick, PLACE, fire(quick, "hook")).counts == {"pending": 1}
    assert "127.0.0.1 cannot be reached" in rows(quick)[0].reason


def test_channel_that_hangs_delays_no_other(
    quick: sa.Engine, receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finance_monitor.channels.http.PAUSE_SECONDS", 1.5)
    released = threading.Event()
    hanging = receive(lambda handler, count: released.wait(5) and None)
    arrived: list[float] = []

    def take(handler: BaseHTTPRequestHandler, count: int) -> None:
        arrived.append(time.monotonic())
        respond(handler)

    healthy = receive(take)
    add_channel(quick, "a-hangs", hanging.url, kind="inbox")
    add_channel(quick, "b-works", healthy.url)
    started = time.monotonic()
    deliver(quick, PLACE, fire(quick, "a-hangs", "b-works", count=2))
    released.set()
    assert len(arrived) == 2 and max(arrived) - started < 1.2
    assert {row.state for row in rows(quick, "b-works")} == {"sent"}
    assert "ambiguous" in {row.state for row in rows(quick, "a-hangs")}


# --- nobody knows -----------------------------------------------------------------------------------------------------


def test_answer_that_never_came_is_ambiguous_and_tried_again_under_the_same_key(
    engine: sa.Engine, receive: Callable[..., Receiver]
) -> None:
    receiver = receive(lambda handler, count: reset(handler) if count == 1 else respond(handler))
    add_channel(engine, "hook", receiver.url)
    moment = fire(engine, "hook")
    assert deliver(engine, PLACE, moment).counts == {"ambiguous": 1}
    assert "ended the exchange before it answered" in rows(engine)[0].reason
    assert deliver(engine, PLACE, moment + 40 * SECOND).counts == {"sent": 1}
    assert len(receiver.keys) == 2 and len(set(receiver.keys)) == 1


def test_ambiguous_message_is_not_sent_again_where_a_second_copy_would_show(
    engine: sa.Engine, receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = receive(lambda handler, count: reset(handler) if count == 1 else respond(handler, body=b"ok"))
    monkeypatch.setenv("HEADWATER_CHANNEL_URL", receiver.url)
    add_channel(engine, "chat", "", kind="slack", url_env="HEADWATER_CHANNEL_URL")
    moment = fire(engine, "chat")
    assert deliver(engine, PLACE, moment).counts == {"ambiguous": 1}
    assert deliver(engine, PLACE, moment + timedelta(hours=9)).counts == {}
    assert len(receiver.taken) == 1
    with engine.begin() as connection:
        outbox.retry(connection, SITE, rows(engine)[0].key, moment + 60 * SECOND)
        with pytest.raises(NotFound):
            outbox.retry(connection, SITE, rows(engine)[0].key, moment)
    assert deliver(engine, PLACE, moment + timedelta(hours=9)).counts == {"sent": 1}


def test_defect_of_a_channel_is_ambiguous_and_stops_no_other(
    quick: sa.Engine, receive: Callable[..., Receiver]
) -> None:
    class Broken:
        IDEMPOTENT = False
        PER_MINUTE = 0

        @staticmethod
        def send(*args: object) -> Outcome:
            raise ZeroDivisionError("oops")

    receiver = receive()
    add_channel(quick, "bad", receiver.url, kind="inbox")
    add_channel(quick, "good", receiver.url)

    def kinds(kind: str) -> Any:
        return Broken if kind == "inbox" else channels.channel_kind(kind)

    deliver(quick, PLACE, fire(quick, "bad", "good"), kinds=kinds)
    assert [(row.channel, row.state) for row in rows(quick)] == [("bad", "ambiguous"), ("good", "sent")]


WORKER = """
import sys
from finance_monitor.channels import Installation
from finance_monitor.outbox import deliver
from headwater.settings import Settings
from headwater.storage.engine import open_engine
deliver(open_engine(Settings(), "finance"), Installation(allow_private=True))
"""


@pytest.mark.parametrize(("kind", "copies"), [("webhook", 2), ("slack", 1)])
def test_worker_killed_between_sending_and_recording_leaves_an_ambiguous_row(
    engine: sa.Engine, receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch, kind: str, copies: int
) -> None:
    arrived, killed = threading.Event(), threading.Event()

    def answer(handler: BaseHTTPRequestHandler, count: int) -> None:
        arrived.set()
        if count == 1:
            killed.wait(20)
        else:
            respond(handler, body=b"ok")

    receiver = receive(answer)
    monkeypatch.setenv("HEADWATER_CHANNEL_URL", receiver.url)
    add_channel(
        engine, "hook", receiver.url, kind, **({} if kind == "webhook" else {"url_env": "HEADWATER_CHANNEL_URL"})
    )
    fire(engine, "hook", moment=now() - SECOND)
    process = subprocess.Popen([sys.executable, "-c", WORKER], env={**os.environ, "PYTHONPATH": "apps:shared"})
    assert arrived.wait(20)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    killed.set()
    assert rows(engine)[0].state == "sending"
    assert deliver(engine, PLACE).counts == {}
    later = now() + SENDING_LIMIT + 60 * SECOND
    deliver(engine, PLACE, later)
    row = rows(engine)[0]
    assert row.state == ("sent" if kind == "webhook" else "ambiguous")
    if kind == "slack":
        assert row.reason == "its worker ended between sending and recording"
    assert len(receiver.taken) == copies and len(set(receiver.keys)) == 1


def test_result_that_comes_late_replaces_ambiguous(quick: sa.Engine, receive: Callable[..., Receiver]) -> None:
    def settle_meanwhile(handler: BaseHTTPRequestHandler, count: int) -> None:
        outbox._settle(quick, now() + SENDING_LIMIT + 60 * SECOND)
        assert rows(quick)[0].state == "ambiguous"
        respond(handler)

    receiver = receive(settle_meanwhile)
    add_channel(quick, "hook", receiver.url)
    deliver(quick, PLACE, fire(quick, "hook"))
    assert rows(quick)[0].state == "sent"


# --- limits and leftovers ---------------------------------------------------------------------------------------------


def test_messengers_limit_a_minute_is_kept(
    engine: sa.Engine, receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = receive(lambda handler, count: respond(handler, body=b'{"errcode": 0}'))
    monkeypatch.setenv("HEADWATER_CHANNEL_URL", receiver.url)
    add_channel(engine, "robot", "", kind="dingtalk", url_env="HEADWATER_CHANNEL_URL")
    moment = fire(engine, "robot", count=25)
    assert deliver(engine, PLACE, moment).counts == {"sent": 20}
    found = state(engine, "robot")
    assert found.state == "limited" and "20 messages a minute" in found.reason
    assert deliver(engine, PLACE, moment + 30 * SECOND).counts == {}
    assert deliver(engine, PLACE, moment + 70 * SECOND).counts == {"sent": 5}


def test_row_of_a_removed_or_long_disabled_channel_fails(quick: sa.Engine, receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    for name in ("gone", "off"):
        add_channel(quick, name, receiver.url)
    moment = fire(quick, "gone", "off")
    with quick.begin() as connection:
        connection.execute(tables.channels.delete().where(tables.channels.c.name == "gone"))
        connection.execute(tables.channels.update().values(enabled=False))
    deliver(quick, PLACE, moment + SECOND)
    assert [(row.channel, row.state) for row in rows(quick)] == [("gone", "failed"), ("off", "pending")]
    deliver(quick, PLACE, moment + timedelta(days=4))
    assert [row.reason for row in rows(quick)] == ["its channel does not exist any more", "not sent within 3 days: "]
    assert receiver.taken == []


def test_held_revisions_are_told_in_one_message(quick: sa.Engine, receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    add_channel(quick, "hook", receiver.url)
    moment = now()
    with quick.begin() as connection:
        rule = Rule(channels=("hook",), group_minutes=5, language="zh")
        save(connection, SITE, "s", rule, actor="t", moment=moment, subscription_id="s")
        for revision, change in ((1, "opened"), (2, "grew")):
            one = Incident(
                "i", "company", "c", "open", "low", revision, moment, moment, None, {"entity_name": "海川"}, ()
            )
            route(connection, one, change, moment + revision * SECOND)
    deliver(quick, PLACE, moment + timedelta(minutes=6))
    body = receiver.taken[0][1]
    assert len(receiver.taken) == 1 and len(body["alerts"]) == 1
    assert body["alerts"][0]["incident"]["revision"] == 2
    assert "此前暂缓发送：负面报道激增" in body["text"]


def test_escalation_says_that_nobody_answered(quick: sa.Engine, receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    add_channel(quick, "hook", receiver.url)
    moment = fire(quick, "hook")
    with quick.begin() as connection:
        values = {"key": "k", "site_id": SITE, "incident_id": "company-0", "channel": "hook", "revision": 1}
        ids = list(connection.execute(sa.select(tables.alerts.c.id)).scalars())
        content = {"kind": "escalation", "step": 1, "after_minutes": 30, "languages": ["en"]}
        values |= {"subscription_id": "all", "group_key": "", "alert_ids": ids, "content": content, "created": moment}
        queueing.insert(connection, values, moment)
    deliver(quick, PLACE, moment)
    subjects = [body["subject"] for _, body in receiver.taken]
    assert "Not acknowledged for 30 minutes: [high] company-0: surge of negative stories" in subjects


def test_channel_can_be_tried_out(quick: sa.Engine, receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    add_channel(quick, "hook", receiver.url)
    with quick.connect() as connection:
        assert outbox.try_out(connection, SITE, "hook", PLACE).state == "sent"
        with pytest.raises(NotFound):
            outbox.try_out(connection, SITE, "none", PLACE)
    assert receiver.taken[0][1]["kind"] == "test"


def test_installation_is_made_of_the_settings(settings: Settings) -> None:
    place = outbox.installation(settings, "http://127.0.0.1:8502")
    assert place == Installation(False, Path(settings.home) / "secrets", "http://127.0.0.1:8502")
