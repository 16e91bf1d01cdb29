"""The resident worker's turns: nothing that hangs or is broken keeps the next article from being judged."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from finance_monitor import channels, worker
from finance_monitor.tables import articles, outbox
from finance_monitor.worker import Worker, dashboard_address
from headwater.errors import Conflict
from headwater.settings import Settings
from headwater.storage import leases
from headwater.storage.columns import now
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate

BAD = ("loss of power", "recall of valves", "fire in the foundry", "sued by a supplier", "breach of its permit")
Desk = Any  # of this folder's conftest, which cannot be imported by name


@pytest.fixture
def one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    migrate(open_engine(desk.settings, "house"), "house")
    monkeypatch.setattr(worker, "open_gazetteer", lambda settings: desk.gazetteer)
    made = Worker(desk.settings, desk.engine, desk.models)
    yield made
    made.stopping.set()


@contextmanager
def hanging_receiver() -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """Takes a message and says nothing until it is released."""
    asked, released = threading.Event(), threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.set()
            released.wait(20)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", asked, released
    finally:
        released.set()
        server.shutdown()
        server.server_close()


def test_a_receiver_that_hangs_does_not_stop_the_judging(desk: Desk, one: Worker) -> None:
    with hanging_receiver() as (url, asked, released):
        with desk.engine.begin() as connection:
            channels.save(connection, "shop", "inbox", "inbox", {"url": url}, actor="test", moment=now())
        for day in range(1, 15):
            desk.publish(f"b{day}", f"Orwell Air opens route number {day * 37}", at=now() - timedelta(days=day))
        for number, what in enumerate(BAD):
            text = f"{what} {number} " + " ".join(f"word{number}{i}" for i in range(60))
            at = now() - timedelta(hours=6 - number)
            desk.publish(f"s{number}", f"Halden Group: {what}, case {number * 1013}", text, at=at)
        one.turn()
        one.turn()
        assert asked.wait(10), "the surge is told"
        desk.publish(1, "Orwell Air opens a route", at=now())
        began = time.monotonic()
        one.turn()
        assert len(desk.rows(articles)) == 20 and time.monotonic() - began < 5
        assert "sending" in {row["state"] for row in desk.rows(outbox)}
        released.set()
        one._close(wait=True)
    assert {row["state"] for row in desk.rows(outbox)} == {"sent"}


def test_after_another_worker_had_the_lease_memory_is_read_anew(desk: Desk, one: Worker) -> None:
    assert one._hold()
    one.turn()
    first = one._pipeline
    assert one._hold() and one._pipeline is first
    house = open_engine(desk.settings, "house")
    leases.release(house, worker.LEASE, one._holder)
    assert leases.acquire(house, worker.LEASE, "another", 30) is not None
    assert not one._hold() and one._pipeline is None
    with pytest.raises(Conflict, match="worker is running"):
        Worker(desk.settings, desk.engine, desk.models).run_until_idle()
    leases.release(house, worker.LEASE, "another")
    assert one._hold()
    one.turn()
    assert one._pipeline is not None and one._pipeline is not first


def test_a_mistake_in_the_sources_leaves_the_former_ones_at_work(desk: Desk, one: Worker) -> None:
    path = desk.settings.folder("finance") / "sources.yaml"
    path.write_text("sources:\n  - url: http://127.0.0.1:9/feed.xml\n    id: wire\n")
    assert [source.id for source in one._due()] == ["wire"]
    path.write_text("sources:\n  - url: no address\n")
    assert [source.id for source in one._due()] == ["wire"]
    path.unlink()
    assert one._due() == []


def test_messages_link_to_the_dashboard_that_runs(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=None)
    assert dashboard_address(settings) == f"http://127.0.0.1:{settings.finance_dashboard_port}"
    (tmp_path / "run.json").write_text(json.dumps({"dashboards": {"finance": {"url": "http://127.0.0.1:8601"}}}))
    assert dashboard_address(settings) == "http://127.0.0.1:8601"
    (tmp_path / "run.json").write_text("{")
    assert dashboard_address(settings).endswith(str(settings.finance_dashboard_port))
