"""The finance dashboard in a real browser over a database that the pipeline filled."""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from finance_monitor import channels, subscriptions
from finance_monitor.companies import Gazetteer, write_gazetteer
from finance_monitor.pipeline import Pipeline
from finance_monitor.setup import world_folder
from finance_monitor.sources import put_source, sources_path
from finance_monitor.subscriptions import Rule
from finance_monitor.tables import crawls
from finance_monitor.worker import gazetteer_path
from headwater.data import read_texts
from headwater.settings import Settings, load_settings
from headwater.storage.columns import now
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate

pytestmark = [pytest.mark.browser, pytest.mark.timeout(290)]
ROOT = Path(__file__).parents[2]
PAGES = ("", "timeline", "company", "search", "alerts", "sources", "label")
# What a stranger writes is shown as it stands.
MARKUP = "Halden Group: **loss** <img src=x onerror=alert(1)> [x](javascript:alert(2)) :red[no]"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fill(settings: Settings) -> None:
    """Bad news about Halden in the last hours over two quiet weeks, an alert, a delivery, and a source that fails."""
    path = ROOT / "tests" / "unit" / "finance_monitor" / "conftest.py"
    spec = importlib.util.spec_from_file_location("finance_desk", path)
    assert spec is not None and spec.loader is not None
    desk_module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(desk_module)
    write_gazetteer(gazetteer_path(settings), desk_module.COMPANIES)
    put_source(sources_path(settings), {"id": "wire", "name": "The Wire", "url": "https://wire.example/feed.xml"})
    put_source(sources_path(settings), {"id": "mill", "name": "The Mill", "url": "https://mill.example/feed.xml"})
    engine = open_engine(settings, "finance")
    migrate(engine, "finance")
    moment = now()
    with engine.begin() as connection:
        address = {"url": "http://127.0.0.1:9/inbox"}
        channels.save(connection, settings.site, "inbox", "inbox", address, actor="test", moment=moment)
        subscriptions.save(connection, settings.site, "all", Rule(channels=("inbox",)), actor="test", moment=moment)
        row = {"started": moment, "ended": moment, "figures": {"requests": 1, "errors": 1}}
        done = {"id": "c1", "source_id": "wire", "outcome": "done", "reason": "", "retry_at": None}
        broken = {"id": "c2", "source_id": "mill", "outcome": "failed", "reason": "the host may be down"}
        connection.execute(crawls.insert(), [{**row, **done}, {**row, **broken, "retry_at": moment}])
    pipeline = Pipeline(engine, desk_module.WordModels(), Gazetteer(desk_module.COMPANIES))
    small = desk_module.Desk(settings, engine, pipeline, lambda: pipeline)
    for day in range(1, 15):
        small.publish(f"b{day}", f"Orwell Air opens route number {day * 37}", at=moment - timedelta(days=day))
    for number, what in enumerate(("loss of power", "recall of valves", "fire in a foundry", "sued by a rival")):
        text = f"{what} {number} " + " ".join(f"word{number}{i}" for i in range(60))
        at = moment - timedelta(hours=4 - number)
        small.publish(f"s{number}", f"Halden Group: {what}, case {number * 1013}", text, at=at)
    small.publish("markup", MARKUP, "Halden Group lost much. " + " ".join(f"other{i}" for i in range(60)), at=moment)
    small.run(moment)
    with engine.begin() as connection:
        unsure = {"positive": 0.3, "neutral": 0.36, "negative": 0.34}
        connection.exec_driver_sql(
            "UPDATE mentions SET positive = :positive, neutral = :neutral, negative = :negative "
            "WHERE company_id = 'orwell'",
            unsure,
        )
    engine.dispose()
    world_folder(settings).mkdir(parents=True)
    delivered = {"id": 1, "received": moment.isoformat(), "channel": "/inbox", "headers": {}}
    line = json.dumps({**delivered, "body": {"subject": "Halden surges", "text": "Four stories"}})
    (world_folder(settings) / "inbox.jsonl").write_text(line + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, screen: Any) -> Iterator[Any]:
    """Gateway and dashboard as processes."""
    home = tmp_path_factory.mktemp("finance") / "home"
    home.mkdir()
    settings = load_settings().model_copy(update={"home": home})
    fill(settings)
    ports = free_port(), free_port()
    gateway = f"http://127.0.0.1:{ports[0]}"
    environment = {
        **os.environ,
        "HEADWATER_HOME": str(home),
        "HEADWATER_APPS": '["finance"]',
        "HEADWATER_GATEWAY_URL": gateway,
        "HEADWATER_DEMO": "false",
    }
    options = {
        "server.address": "127.0.0.1",
        "server.port": str(ports[1]),
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "theme.light.primaryColor": "#0f6b5c",
        "theme.dark.primaryColor": "#3fb8a0",
        "theme.baseRadius": "0.6rem",
    }
    app = ROOT / "apps" / "finance_monitor" / "dashboard" / "app.py"
    flags = [part for key, value in options.items() for part in (f"--{key}", value)]
    commands = (
        ["-m", "headwater.cli.main", "serve", "--port", str(ports[0])],
        ["-m", "streamlit", "run", str(app), *flags],
    )
    with (home / "run.log").open("wb") as log:
        processes = [
            subprocess.Popen([sys.executable, *command], env=environment, stdout=log, stderr=log)
            for command in commands
        ]
    try:
        for address in (f"{gateway}/readyz", f"http://127.0.0.1:{ports[1]}/_stcore/health"):
            wait_for(address, home / "run.log")
        yield screen(f"http://127.0.0.1:{ports[1]}", "finance")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def wait_for(address: str, log: Path) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            if httpx.get(address, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-3_000:]
        time.sleep(0.2)


def test_the_incident_is_explained_and_acknowledged_with_a_reason(page: Any, desk: Any) -> None:
    desk.visit(page)
    page.get_by_text(re.compile(r"Halden Group: \d negative stories in")).first.wait_for()
    page.get_by_text("Stories behind it").first.click()
    link = page.get_by_role("link", name="Halden Group: fire in a foundry").first
    link.wait_for()
    assert link.get_attribute("href") == "https://wire.example/news/s2"
    desk.keep(page, "now")
    page.get_by_role("button", name="Acknowledge").first.click()
    page.get_by_label("Reason").fill("I am on the telephone with them")
    page.get_by_test_id("stPopoverBody").get_by_role("button", name="Acknowledge").click()
    page.get_by_text("I am on the telephone with them").first.wait_for()
    desk.visit(page)
    assert page.get_by_text("admin takes care since", exact=False).count() >= 1


def test_what_a_stranger_wrote_is_shown_and_never_interpreted(page: Any, desk: Any) -> None:
    desk.visit(page, "search")
    page.get_by_label("Words of the title").fill("onerror")
    page.get_by_label("Words of the title").press("Enter")
    found = page.get_by_role("link", name=MARKUP)
    found.wait_for()
    assert page.get_by_test_id("stMain").locator("img").count() == 0
    assert found.locator("strong").count() == 0
    assert page.locator('a[href^="javascript"]').count() == 0


def test_search_finds_by_words_and_goes_on_page_by_page(page: Any, desk: Any) -> None:
    desk.visit(page, "search")
    page.get_by_text("That is all: 19.").wait_for()
    page.get_by_label("Words of the title").fill("route 518")
    page.get_by_label("Words of the title").press("Enter")
    page.get_by_text("That is all: 1.").wait_for()
    assert page.get_by_role("link", name="Orwell Air opens route number 518").count() == 1
    with page.expect_download() as download:
        page.get_by_role("button", name="Articles (Excel)").click()
    assert Path(download.value.path()).read_bytes()[:2] == b"PK"
    assert download.value.suggested_filename == "articles.xlsx"
    desk.keep(page, "search")


def test_a_company_has_its_timeline_and_articles(page: Any, desk: Any) -> None:
    desk.visit(page, "company", "?company=halden")
    page.get_by_text("LSE:HLD").wait_for()
    page.locator(".js-plotly-plot").first.wait_for()
    assert page.get_by_role("link", name="Halden Group: fire in a foundry").count() >= 1
    desk.keep(page, "company")
    desk.visit(page, "timeline", "?company=halden")
    page.locator(".js-plotly-plot").first.wait_for()
    # Two kinds of bars, a point for each negative story, and the incident's shade.
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot .scatterlayer .point').length === 5")
    assert page.locator(".js-plotly-plot .layer-below path, .js-plotly-plot .shapelayer path").count() >= 1
    desk.keep(page, "timeline")


def test_a_rule_is_tried_on_the_past_and_saved(page: Any, desk: Any) -> None:
    desk.visit(page, "alerts")
    page.get_by_text("sent at once").first.wait_for()
    desk.keep(page, "alerts")
    page.get_by_role("tab", name="Rules").click()
    page.get_by_label("Name").first.fill("Everything")
    page.get_by_role("button", name="Try it on the last 30 days").click()
    fired = page.get_by_text("This rule would have fired", exact=False)
    fired.wait_for()
    assert "in the last 30 days" in fired.inner_text() and " 0 times" not in fired.inner_text()
    desk.settle(page)
    desk.keep(page, "rules")
    page.get_by_role("button", name="Save the rule").click()
    page.get_by_text("Everything").first.wait_for()
    page.get_by_role("tab", name="Inbox").click()
    page.get_by_text("Halden surges").first.wait_for()


def test_a_channel_is_tested_and_says_why_it_fails(page: Any, desk: Any) -> None:
    desk.visit(page, "alerts")
    page.get_by_role("tab", name="Channels").click()
    page.get_by_role("button", name="Test", exact=True).click()
    page.get_by_test_id("stAlertContentError").first.wait_for()
    desk.keep(page, "channels")


def test_sources_show_what_failed_and_one_is_added_by_its_address_alone(page: Any, desk: Any) -> None:
    desk.visit(page, "sources")
    page.get_by_text("the host may be down", exact=False).wait_for()
    page.get_by_label("Address of a feed", exact=False).fill("ftp://three.example/feed.xml")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_test_id("stAlertContentError").get_by_text("http", exact=False).first.wait_for()
    page.get_by_label("Address of a feed", exact=False).fill("https://three.example/feed.xml")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("Added; it is crawled", exact=False).wait_for()
    page.get_by_role("button", name="Crawl now").click()
    page.get_by_text("The crawl is queued.").wait_for()
    desk.settle(page)
    desk.keep(page, "sources")


def test_a_label_is_kept_asked_for_no_more_and_read_by_a_tuning(page: Any, desk: Any, tmp_path: Path) -> None:
    desk.visit(page, "label")
    buttons = page.get_by_role("button", name="Neutral · 36%")
    buttons.first.wait_for()
    desk.keep(page, "label")
    before = page.get_by_text("Orwell Air opens route number", exact=False).count()
    buttons.first.click()
    page.get_by_text("Kept.").first.wait_for()
    desk.settle(page)
    page.get_by_role("tab", name="Corrected").click()
    page.get_by_text("headwater tune classify", exact=False).wait_for()
    assert before >= 1
    # What was chosen is a row of the file that a tuning reads.
    path = tmp_path / "sentiment.csv"
    with page.expect_download() as download:
        page.get_by_role("button", name="Sentiment (CSV)").click()
    download.value.save_as(path)
    read = read_texts(path, text_column="text", label_column="label")
    assert not read.problems and {example.label for example in read.examples} == {"neutral"}
    assert all("opens route number" in example.text and "Orwell" not in example.text for example in read.examples)


def test_every_page_speaks_chinese(page: Any, desk: Any) -> None:
    titles = ("当前", "时间线", "公司", "搜索", "警报", "来源", "标注")
    for name, title in zip(PAGES, titles, strict=True):
        desk.visit(page, name, "?lang=zh")
        page.get_by_role("heading", level=1, name=title).wait_for()
        assert page.get_by_test_id("stException").count() == 0
        desk.keep(page, f"zh-{name or 'now'}")


def test_on_a_telephone_the_page_is_seen_and_not_the_sidebar(telephone: Any, desk: Any) -> None:
    for name in PAGES:
        desk.visit(telephone, name)
        desk.keep(telephone, f"telephone-{name or 'now'}")
        assert desk.fits(telephone), name
