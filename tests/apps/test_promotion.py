"""A promotion and a rollback while customers ask: a gateway, a scheduler, and nobody is turned away."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from headwater.bundles import open_registry, write_bundle
from headwater.settings import load_settings
from headwater.storage.engine import open_engine

MODEL = "support-intents-en"
QUESTION = "Where is my order NB-20481?"


@pytest.fixture
def admin(shop_home: Path) -> Iterator[httpx.Client]:
    """The admin's client of a gateway that has a scheduler beside it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    environment = {**os.environ, "HEADWATER_HOME": str(shop_home), "HEADWATER_REQUESTS_PER_MINUTE": "0"}
    commands = (("gateway", "--port", str(port)), ("scheduler",))
    with (shop_home / "log").open("wb") as log:
        started = [
            subprocess.Popen([sys.executable, "-m", *words], env=environment, stdout=log, stderr=log)
            for words in commands
        ]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            wait_for(lambda: ready(client))
            client.headers["Authorization"] = f"Bearer {(shop_home / 'admin.token').read_text().strip()}"
            yield client
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(20)


class Customers:
    """Two customers who ask the same question over and over, and what they were told."""

    def __init__(self, address: httpx.URL) -> None:
        self._address = address
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(2)]
        self.replies: list[dict[str, Any]] = []
        self.failures: list[str] = []

    def __enter__(self) -> "Customers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self) -> None:
        with httpx.Client(base_url=self._address, trust_env=False, timeout=60) as client:
            while not self._stopped.is_set():
                try:
                    reply = client.post("/support/v1/chat", json={"message": QUESTION})
                    reply.raise_for_status()
                    self.replies.append(reply.json())
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))


@pytest.mark.models
def test_promotion_and_rollback_under_load_fail_no_request(
    admin: httpx.Client, shop_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_HOME", str(shop_home))
    monkeypatch.delenv("HEADWATER_DATABASE_URL", raising=False)
    first = ask(admin)
    assert first["path"] == "template"
    register_a_cooler_version(shop_home)
    with Customers(admin.base_url) as customers:
        verdict = run_job(admin, f"/v1/registry/{MODEL}/2/promote", {"new_labels": False})
        assert verdict["state"] == "done", verdict
        assert production(admin) == 2
        wait_for(lambda: customers.replies[-1]["confidence"] != first["confidence"])
        second = customers.replies[-1]
        assert run_job(admin, f"/v1/registry/{MODEL}/rollback", {})["state"] == "done"
        assert production(admin) == 1
        wait_for(lambda: customers.replies[-1]["confidence"] == first["confidence"])
    assert customers.failures == []
    assert {reply["answer"] for reply in customers.replies} == {first["answer"]}
    # Every reply is from one of the two versions, none from a mixture.
    assert {reply["confidence"] for reply in customers.replies} == {first["confidence"], second["confidence"]}


def register_a_cooler_version(home: Path) -> None:
    """The same model that is a little surer of all it says, so that its replies can be told apart."""
    settings = load_settings()
    registry = open_registry(settings, open_engine(settings, "house"))
    present = registry.resolve(MODEL)
    manifest = replace(present.manifest, temperature=present.manifest.temperature * 0.98)
    note = home / "note.txt"
    note.write_text("a bundle is known by its files\n")
    files = {name: present.file(name) for name in manifest.files} | {"note.txt": note}
    registry.add(MODEL, write_bundle(home / "again", manifest, files), actor="test")


def ask(client: httpx.Client) -> dict[str, Any]:
    reply: dict[str, Any] = client.post("/support/v1/chat", json={"message": QUESTION}).raise_for_status().json()
    return reply


def production(client: httpx.Client) -> int:
    models = {model["name"]: model for model in client.get("/v1/registry").json()}
    return int(models[MODEL]["production"]["version"])


def run_job(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Submit the job and wait for its end."""
    job = client.post(path, json=body).raise_for_status().json()
    wait_for(lambda: client.get(f"/v1/jobs/{job['id']}").json()["state"] not in ("queued", "running"), seconds=120)
    ended: dict[str, Any] = client.get(f"/v1/jobs/{job['id']}").json()
    return ended


def ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come"
        time.sleep(0.05)
