"""The dead man's switch: asked for while all is well, never in the way, never anywhere else than told."""

import http.server
import logging
import threading
import time
from collections.abc import Iterator

import pytest

from headwater.errors import HeadwaterError
from headwater.settings import Settings, load_settings
from headwater.storage import leases
from headwater.storage.schedules import ScheduledJob
from scheduler import main
from scheduler.heartbeat import Heartbeat
from scheduler.main import Scheduler


class Switch(http.server.ThreadingHTTPServer):
    asked: list[str]
    status = 200
    seconds = 0.0


@pytest.fixture
def switch() -> Iterator[Switch]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            time.sleep(server.seconds)
            self.send_response(server.status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            return

    server = Switch(("127.0.0.1", 0), Answer)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def wait_for_end(heartbeat: Heartbeat) -> None:
    assert heartbeat._thread is not None
    heartbeat._thread.join(30)


def test_address_is_asked_once_a_minute_without_waiting_for_the_answer(switch: Switch) -> None:
    switch.seconds = 2.0
    heartbeat = Heartbeat(f"http://127.0.0.1:{switch.server_port}/ping/key")
    assert heartbeat.is_due()
    began = time.monotonic()
    heartbeat.send()
    assert time.monotonic() - began < 1
    assert not heartbeat.is_due()
    wait_for_end(heartbeat)
    assert switch.asked == ["/ping/key"]
    heartbeat._next = 0.0  # a minute later
    assert heartbeat.is_due()


@pytest.mark.parametrize("status", [302, 500])
def test_refusal_is_logged_without_the_secret_address_and_no_redirect_is_followed(
    switch: Switch, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    switch.status = status
    heartbeat = Heartbeat(f"http://127.0.0.1:{switch.server_port}/ping/key")
    with caplog.at_level(logging.WARNING):
        heartbeat.send()
        wait_for_end(heartbeat)
    assert f"answered {status}" in caplog.text
    assert "key" not in caplog.text
    assert switch.asked == ["/ping/key"]


def test_address_that_nobody_listens_on_is_logged(switch: Switch, caplog: pytest.LogCaptureFixture) -> None:
    heartbeat = Heartbeat("http://127.0.0.1:9/ping/key")
    with caplog.at_level(logging.WARNING):
        heartbeat.send()
        wait_for_end(heartbeat)
    assert "cannot be reached" in caplog.text
    assert "key" not in caplog.text


def test_active_scheduler_asks_and_stops_asking_when_a_resident_worker_is_silent(
    settings: Settings, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = ScheduledJob("quiet", "house", ("doctor",), 3600, deadline_seconds=None, resident=True)
    monkeypatch.setattr(main, "declared_jobs", lambda settings: ([worker], {}))
    monkeypatch.setattr(main.jobs, "claim", lambda *words, **values: None)
    address = f"http://127.0.0.1:{switch.server_port}/ping"
    scheduler = Scheduler(settings.model_copy(update={"heartbeat_url": address}), lease_seconds=60)
    main.migrate(scheduler.engine, "house")
    scheduler._tick()
    wait_for_end(scheduler._heartbeat)
    assert switch.asked == ["/ping"]
    monkeypatch.setattr("headwater.storage.alarms.RESIDENT_SECONDS", 0.0)
    time.sleep(0.01)
    scheduler._heartbeat._next = scheduler._next_beat = 0.0
    scheduler._tick()
    assert scheduler._heartbeat.is_due()
    leases.acquire(scheduler.engine, "quiet", "w", 30)
    monkeypatch.undo()
    scheduler._next_beat = 0.0
    monkeypatch.setattr(main.jobs, "claim", lambda *words, **values: None)
    scheduler._tick()
    wait_for_end(scheduler._heartbeat)
    assert switch.asked == ["/ping", "/ping"]
    scheduler._stop()


@pytest.mark.parametrize("url", ["http://example.com/x", "ftp://127.0.0.1/x", "hc-ping.com/key", "https://"])
def test_address_that_is_neither_https_nor_this_machine_is_refused_by_name(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_HEARTBEAT_URL", url)
    with pytest.raises(HeadwaterError, match=r"HEADWATER_HEARTBEAT_URL.*give an https:// address.*headwater.toml"):
        load_settings()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('{"tidy": {"crom": "0 3 * * *"}}', r"schedules\['tidy'\]\['crom'\] \(HEADWATER_SCHEDULES\)"),
        ('{"tidy": {"missed": "never"}}', "'coalesce', 'each' or 'report'"),
        ('{"tidy": {"deadline_seconds": 0}}', "greater than or equal to 1"),
        ('{"tidy": ', "schedules"),
    ],
)
def test_wrong_schedule_setting_is_named(value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_SCHEDULES", value)
    with pytest.raises(HeadwaterError, match=said):
        load_settings()
