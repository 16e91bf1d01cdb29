"""The whole monitor on the sample world, with the starter's models: crawl → incidents → delivered alerts → replay."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from finance_monitor.tables import alerts, articles, captures, incidents, outbox
from headwater.settings import load_settings
from headwater.storage.engine import open_engine

ROOT = Path(__file__).parents[2]
SURGES = {"marrowby", "hengcen", "quillhaven"}
pytestmark = [pytest.mark.models, pytest.mark.timeout(1200)]  # the first of them prepares and crawls


def headwater(*words: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headwater.cli.main", *words],
        env={**os.environ, "HEADWATER_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class World:
    """A home whose monitor has crawled and judged the sample world; `seconds` from the crawl's start to the alerts."""

    home: Path
    port: int
    seconds: float
    said: str

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        settings = load_settings().model_copy(update={"home": self.home})
        engine = open_engine(settings, "finance")
        with engine.connect() as connection:
            found = [dict(row._mapping) for row in connection.execute(sa.select(table))]
        engine.dispose()
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Prepared by the command that run-app calls (models kept under build/), then crawled by the worker."""
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "apps/finance_monitor/starter").iterdir(), *(ROOT / "shared").rglob("*.py")]):
        digest.update(path.read_bytes())
    kept = ROOT / "build" / "finance-home" / digest.hexdigest()[:16]
    home = tmp_path_factory.mktemp("world") / "home"
    port = free_port()
    own = {"HEADWATER_FINANCE_WORLD_PORT": str(port)}
    if kept.is_dir():
        shutil.copytree(kept, home, symlinks=True)
    else:
        home.mkdir()
        (home / "models").symlink_to(load_settings().folder("models"))
        done = headwater("finance", "prepare", home=home, HEADWATER_DEMO="false")
        assert done.returncode == 0, done.stderr
        partial = kept.with_name(f"{kept.name}.{os.getpid()}")
        partial.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(home, partial, symlinks=True)
        if not kept.exists():
            partial.rename(kept)
    done = headwater("finance", "prepare", home=home, **own)
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "finance_monitor.world_site", "--port", str(port), "--home"]
    site = subprocess.Popen([*command, str(home / "finance" / "world")])
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                httpx.get(f"http://127.0.0.1:{port}/robots.txt")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        began = time.monotonic()
        worked = headwater("finance", "work", "--until-idle", home=home, **own)
        seconds = time.monotonic() - began
        assert worked.returncode == 0, worked.stderr[-3000:]
        yield World(home, port, seconds, worked.stdout + worked.stderr)
    finally:
        site.terminate()
        site.wait()


def test_the_three_surges_of_the_world_become_incidents(world: World) -> None:
    found = [row for row in world.rows(incidents) if row["entity_kind"] == "company"]
    assert {row["entity"] for row in found} >= SURGES
    severe = {row["entity"] for row in found if row["severity"] in ("high", "critical")}
    assert severe >= SURGES, [(row["entity"], row["severity"]) for row in found]
    # Ordinary bad weeks of the other sixty companies are no incidents, or small ones.
    assert len({row["entity"] for row in found} - SURGES) <= 6, [(r["entity"], r["severity"]) for r in found]
    assert len(severe - SURGES) <= 1


def test_every_capture_became_an_article_or_a_known_one(world: World) -> None:
    assert len(world.rows(captures)) > 1_400
    assert len(world.rows(articles)) > 1_300


def test_alerts_are_delivered_to_the_local_inbox_and_explain_themselves(world: World) -> None:
    assert {row["state"] for row in world.rows(outbox)} == {"sent"}
    inbox = httpx.get(f"http://127.0.0.1:{world.port}/inbox.json").json()
    assert len(inbox) == len(world.rows(outbox))
    text = json.dumps(inbox, ensure_ascii=False)
    for name in ("Quillhaven", "negative stories"):
        assert name in text
    (one, *_) = [row for row in world.rows(alerts) if "Quillhaven" in json.dumps(row["content"])]
    assert "finance-sentiment-en" in json.dumps(one["content"])


def test_the_commands_show_and_score(world: World, tmp_path: Path) -> None:
    shown = headwater("finance", "alerts", "--limit", "5", "--json", home=world.home)
    assert shown.returncode == 0 and len(json.loads(shown.stdout)) == 5
    assert headwater("finance", "alerts", "--limit", "5", home=world.home).stdout.count("\n") == 5
    news = tmp_path / "news.csv"
    news.write_text(
        "title\nHalden Group closes two plants and cuts 400 jobs\n恒岑科技被证监会立案调查\n", encoding="utf-8"
    )
    scored = headwater("finance", "score", "--file", str(news), "--text-column", "title", "--json", home=world.home)
    assert scored.returncode == 0, scored.stderr
    english, chinese = json.loads(scored.stdout)
    assert english["companies"][0]["name"] == "Halden Group"
    assert english["companies"][0]["sentiment"]["label"] == "negative"
    assert {topic["topic"] for topic in english["topics"]} >= {"restructuring"}
    assert chinese["language"] == "zh" and chinese["companies"][0]["sentiment"]["label"] == "negative"
    crawled = headwater("finance", "crawl", "--json", home=world.home, HEADWATER_FINANCE_WORLD_PORT=str(world.port))
    assert crawled.returncode == 0, crawled.stderr
    assert {outcome["outcome"] for outcome in json.loads(crawled.stdout)} <= {"unchanged", "done", "partial"}


def test_a_replay_from_the_raw_bytes_gives_the_same_alerts(world: World, tmp_path: Path) -> None:
    from finance_monitor.replay import alert_lines

    output = tmp_path / "alerts.jsonl"
    done = headwater("finance", "replay", "--output", str(output), home=world.home)
    assert done.returncode == 0, done.stderr
    engine = open_engine(load_settings().model_copy(update={"home": world.home}), "finance")
    live = alert_lines(engine)
    engine.dispose()
    assert len(live) > 3 and tuple(output.read_text(encoding="utf-8").splitlines()) == live
