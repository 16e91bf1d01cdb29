"""Real Scrapy crawls, each in its own process, of sites that misbehave on demand."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from scrapy import Request
from scrapy.http import Response
from scrapy.settings import Settings as ScrapySettings

from finance_monitor.crawling import CrawlOutcome, crawl_all, crawl_source
from finance_monitor.crawling.addresses import is_private
from finance_monitor.crawling.etiquette import Etiquette, PrivateAddress
from finance_monitor.crawling.planning import revisit_after
from finance_monitor.crawling.reasons import explain_status
from finance_monitor.crawling.record import Young
from finance_monitor.domain import Source
from finance_monitor.sources import due_sources
from finance_monitor.tables import captures, crawls, validators
from headwater.progress import Step
from headwater.settings import Settings
from headwater.storage.blobs import open_blobs
from headwater.storage.columns import now
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate

_spec = importlib.util.spec_from_file_location("finance_site", Path(__file__).with_name("finance_site.py"))
assert _spec is not None and _spec.loader is not None
finance_site = importlib.util.module_from_spec(_spec)
sys.modules["finance_site"] = finance_site
_spec.loader.exec_module(finance_site)
Answer, Site, article, rss = finance_site.Answer, finance_site.Site, finance_site.article, finance_site.rss


@pytest.fixture
def site() -> Iterator[Any]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    engine = open_engine(settings, "finance")
    migrate(engine, "finance")
    yield engine
    engine.dispose()


def source(site: Any, path: str = "/feed.xml", **values: Any) -> Source:
    return Source(**{"id": "wire", "name": "The Wire", "url": site.origin + path, "delay": 0.0, **values})


def crawl(settings: Settings, wanted: Source, **limits: Any) -> CrawlOutcome:
    return crawl_source(settings, wanted, **{"timeout_seconds": 2.0, "deadline_seconds": 30.0, **limits})


def rows(engine: sa.Engine, table: sa.Table = captures) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(sa.select(table))]


def let_pass(engine: sa.Engine, **time_passed: float) -> None:
    """As if everything had happened that much earlier."""
    earlier = timedelta(**time_passed)
    with engine.begin() as connection:
        for table in (validators, captures):
            key = next(iter(table.primary_key.columns))
            for row in connection.execute(sa.select(key, table.c.fetched_at)).all():
                connection.execute(table.update().where(key == row[0]).values(fetched_at=row.fetched_at - earlier))


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_a_feed_and_its_pages_are_kept_with_their_bytes(database_settings: Settings, site: Any) -> None:
    settings, engine = database_settings, open_engine(database_settings, "finance")
    migrate(engine, "finance")
    site.feed(3, etag='"f1"')
    outcome = crawl(settings, source(site))
    assert (outcome.outcome, outcome.reason, outcome.retry_at) == ("done", "", None)
    assert outcome.figures["new"] == 3 and outcome.figures["robots"] == "missing"
    assert outcome.figures["requests"] == 5 and outcome.figures["bytes"] > 2_000
    kept = sorted(rows(engine), key=lambda row: row["url"])
    assert [row["entry"]["title"] for row in kept] == [f"Halden opens mill {i}" for i in range(3)]
    blobs = open_blobs(settings)
    assert blobs.get(kept[1]["page_blob"]) == article(1) and b"<rss" in blobs.get(kept[1]["feed_blob"])
    assert "Sentence 7" in kept[1]["page"]["text"] and kept[1]["source"]["name"] == "The Wire"
    assert kept[1]["entry"]["published"]["moment"] == "2026-03-04T09:30:00+00:00"
    assert all(agent.startswith("Headwater/") for agent in site.agents)
    # The same again: a conditional request, and nothing else.
    site.requests.clear()
    again = crawl(settings, source(site))
    assert (again.outcome, again.figures["not_modified"]) == ("unchanged", 1)
    assert site.requests == [("/robots.txt", ""), ("/feed.xml", '"f1"')] and len(rows(engine)) == 3
    # An hour later the pages as well.
    let_pass(engine, minutes=61)
    site.feed(3, date=format_datetime(now(), usegmt=True))
    assert crawl(settings, source(site)).figures["not_modified"] == 3
    engine.dispose()


def test_two_sources_of_one_address_hide_nothing_from_each_other(
    settings: Settings, engine: sa.Engine, site: Any
) -> None:
    site.feed(2, etag='"f"')
    crawl(settings, source(site))
    assert crawl(settings, source(site, id="other")).figures["new"] == 2
    # Read with another pattern, the document is wanted whole again.
    assert crawl(settings, source(site, include="news/1")).figures["not_modified"] == 0


def test_changed_guids_double_nothing(settings: Settings, engine: sa.Engine, site: Any) -> None:
    site.feed(2, guid="old")
    crawl(settings, source(site))
    site.requests.clear()
    site.feed(2, guid="new")
    outcome = crawl(settings, source(site))
    assert outcome.outcome == "unchanged" and len(rows(engine)) == 2
    assert [path for path, _ in site.requests] == ["/robots.txt", "/feed.xml"]


def test_a_corrected_headline_keeps_the_page_that_did_not_change(
    settings: Settings, engine: sa.Engine, site: Any
) -> None:
    site.feed(1)
    crawl(settings, source(site))
    site.pages["/feed.xml"] = rss(("Halden opens its first mill", f"{site.origin}/news/0"))
    outcome = crawl(settings, source(site))
    assert (outcome.figures["new"], outcome.figures["not_modified"]) == (1, 1)
    first, second = rows(engine)
    assert second["entry"]["title"] == "Halden opens its first mill"
    assert (second["page"], second["page_blob"]) == (first["page"], first["page_blob"])


def test_a_corrected_page_is_seen_when_it_is_asked_for_again(settings: Settings, engine: sa.Engine, site: Any) -> None:
    site.feed(1, date=format_datetime(now() - timedelta(minutes=5)), etag='"f"')
    crawl(settings, source(site))
    let_pass(engine, minutes=70)
    outcome = crawl(settings, source(site))
    assert (outcome.outcome, outcome.figures["not_modified"]) == ("unchanged", 2)
    site.pages["/news/0"] = Answer(article(0, "foundry"), headers={"ETag": '"changed"'})
    let_pass(engine, hours=5)
    assert crawl(settings, source(site)).outcome == "done"
    assert ["foundry" in row["page"]["text"] for row in rows(engine)] == [False, True]
    let_pass(engine, hours=49)
    site.requests.clear()
    crawl(settings, source(site))
    assert site.asked("/news/0") == 0


@pytest.mark.parametrize(
    ("method", "has_page", "visits"),
    [
        ("trafilatura", True, [60, 300, 1020, 2460]),  # 1, 4, 12 and 24 hours after the visit before
        (None, False, [10, 20, 40, 80, 160, 320, 640, 1280, 2560]),  # no page could be had
        ("feed content", False, []),
        ("refused", False, []),
    ],
)
def test_pages_are_asked_for_again_at_growing_intervals(method: str | None, has_page: bool, visits: list[int]) -> None:
    first = now()
    last, asked = first, []
    for minute in range(0, 48 * 60, 10):
        moment = first + timedelta(minutes=minute)
        if moment - last >= revisit_after(Young(1, first, last, method, has_page)):
            last = moment
            asked.append(minute)
    assert asked == visits


def test_without_full_text_the_entry_alone_is_kept(settings: Settings, engine: sa.Engine, site: Any) -> None:
    site.feed(2)
    assert crawl(settings, source(site, full_text=False)).figures["new"] == 2
    assert [(row["page"], row["page_blob"]) for row in rows(engine)] == [(None, "")] * 2 and site.asked("/news/0") == 0


def test_the_rest_of_a_crawl_follows_with_the_next(settings: Settings, engine: sa.Engine, site: Any) -> None:
    site.feed(6, etag='"f"')
    first = crawl(settings, source(site, max_pages=4))
    assert (first.outcome, first.figures["left"]) == ("partial", 2) and "max_pages: 4" in first.reason
    second = crawl(settings, source(site, max_pages=4))
    assert second.outcome == "done" and len(rows(engine)) == 6


@pytest.mark.parametrize("path", ["/", "/list.html"])
def test_an_address_alone_is_enough(settings: Settings, engine: sa.Engine, site: Any, path: str) -> None:
    site.feed(2, path="/rss")
    announced = '<link rel="alternate" type="application/rss+xml" href="/rss">' if path == "/" else ""
    links = "".join(f'<a href="/news/{i}?id=12345">Halden opens a mill {i}</a>' for i in range(2))
    site.pages[path] = Answer(f"<html><head>{announced}</head><body><main>{links}</main></body></html>".encode())
    for i in range(2):
        site.pages[f"/news/{i}?id=12345"] = site.pages[f"/news/{i}"]
    outcome = crawl(settings, source(site, path, include="" if path == "/" else "/news/"))
    assert outcome.figures["new"] == 2 and outcome.figures["format"] == ("feed" if path == "/" else "listing")


def test_a_web_page_in_the_place_of_a_feed_is_no_listing(settings: Settings, engine: sa.Engine, site: Any) -> None:
    site.feed(1)
    assert crawl(settings, source(site)).figures["format"] == "feed"
    link = '<a href="/2026/03/consent-to-cookies.html">Accept all our cookies</a>'
    site.pages["/feed.xml"] = Answer(f"<html><body><main>{link}</main></body></html>".encode())
    for _ in range(2):
        outcome = crawl(settings, source(site))
        assert outcome.outcome == "failed" and "it is a web page now" in outcome.reason
    assert len(rows(engine)) == 1


def test_comments_that_share_an_address_keep_their_own_texts(settings: Settings, engine: sa.Engine, site: Any) -> None:
    thread = f"{site.origin}/thread/7"
    site.pages["/thread/7"] = Answer(article(7))
    site.pages["/feed.xml"] = rss(("Re: mills", thread), ("Re: mills, again", thread), description="I sold mine.")
    assert crawl(settings, source(site, kind="comment")).outcome == "done"
    assert [row["page"]["text"] for row in rows(engine)] == ["I sold mine."] * 2 and site.asked("/thread/7") == 0


def test_sitemaps_stay_on_their_site_and_feeds_may_leave_it(settings: Settings, engine: sa.Engine, site: Any) -> None:
    site.feed(3)
    other = Site("127.0.0.2")
    other.feed(2)
    try:
        site.pages["/map-a.xml"] = finance_site.listed(f"{site.origin}/news/0", f"{other.origin}/news/0")
        site.pages["/map-b.xml"] = finance_site.listed(f"{site.origin}/news/1", f"{site.origin}/about")
        maps = "".join(f"<sitemap><loc>{site.origin}/map-{name}.xml</loc></sitemap>" for name in "ab")
        index = f"<sitemapindex xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>{maps}</sitemapindex>"
        site.pages["/index.xml"] = Answer(index.encode(), type="application/xml")
        outcome = crawl(settings, source(site, "/index.xml", include="/news/"))
        assert outcome.figures["format"] == "sitemap" and outcome.figures["new"] == 2 and not other.requests
        # A feed that links elsewhere is followed there, by that site's own rules.
        other.pages["/robots.txt"] = Answer(b"User-agent: *\nDisallow: /news/1\n", type="text/plain")
        links = [("One", f"{other.origin}/news/0"), ("Two", f"{other.origin}/news/1"), ("Off", "http://127.0.0.4:9/3")]
        site.pages["/links.xml"] = rss(*links)
        outcome = crawl(settings, source(site, "/links.xml", id="links"))
        assert (outcome.figures["new"], outcome.figures["forbidden"], outcome.figures["errors"]) == (3, 1, 1)
        assert "robots.txt of 127.0.0.4:9 cannot be fetched: the connection was refused" in outcome.reason
        assert other.asked("/news/0") == 1 and other.asked("/news/1") == 0 and other.asked("/robots.txt") == 1
        kept = {row["url"] for row in rows(engine) if row["page_blob"]}
        assert kept == {f"{site.origin}/news/0", f"{site.origin}/news/1", f"{other.origin}/news/0"}
    finally:
        other.close()


# --- what a site does wrong -------------------------------------------------------------------------------------------

_WRONG = {
    "hang": (Answer(act=finance_site.hang), "no complete answer within 2 s"),
    "drip": (Answer(act=finance_site.drip), "no complete answer within 2 s"),
    "endless": (Answer(act=finance_site.endless), "larger than HEADWATER_MAX_DOCUMENT_BYTES"),
    "2gb": (Answer(act=finance_site.announced), "larger than HEADWATER_MAX_DOCUMENT_BYTES"),
    "bomb": (finance_site.bomb(), "larger than HEADWATER_MAX_DOCUMENT_BYTES"),
    "cut": (Answer(act=finance_site.cut), "cut in the middle"),
    "500": (Answer(b"oops", 500), "answered 500: the site has a fault"),
    "loop": (Answer(b"", 302, headers={"Location": "/loop"}), "redirect"),
    "broken": (Answer(b"<rss><chan", type="text/xml"), "the feed has no entries ("),
    "429": (Answer(b"", 429, headers={"Retry-After": "1800"}), "it is asked again from"),
}


def test_what_sites_do_wrong_is_a_state_with_reason_and_retry_and_stops_no_other_source(
    settings: Settings, engine: sa.Engine
) -> None:
    small = settings.model_copy(update={"max_document_bytes": 2_000_000})
    sites = {host: Site(host) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3")}
    for name, (answer, _) in _WRONG.items():
        sites["127.0.0.1"].pages[f"/{name}"] = answer
    for good in sites.values():
        good.feed(2)
    sites["127.0.0.2"].pages["/robots.txt"] = Answer(b"User-agent: *\nDisallow: /feed", type="text/plain")
    sites["127.0.0.3"].pages["/robots.txt"] = Answer(b"", 503)
    wanted = [source(sites["127.0.0.1"], f"/{name}", id=name, format="feed") for name in _WRONG]
    wanted += [source(site, id=host) for host, site in sites.items()]
    wanted.append(Source("closed", "Closed", "http://127.0.0.4:9/feed.xml", delay=0.0))
    seen: list[Step] = []
    try:
        found = crawl_all(small, wanted, seen.append, parallel=6, timeout_seconds=2, deadline_seconds=30)
    finally:
        for site in sites.values():
            site.close()
    outcomes = {outcome.source_id: outcome for outcome in found}
    assert (
        list(outcomes) == [each.id for each in wanted] and seen[-1].done == len(wanted) and "pages" in seen[-1].message
    )
    for name, (_, reason) in _WRONG.items():
        outcome = outcomes[name]
        assert outcome.outcome == "failed" and reason in outcome.reason, outcome
        assert outcome.retry_at is not None and outcome.retry_at > now() + timedelta(minutes=5), outcome
    # The good one among them.
    assert outcomes["127.0.0.1"].outcome == "done" and len(rows(engine)) == 2
    assert all(row["ended"] is not None and row["outcome"] != "running" for row in rows(engine, crawls))
    # robots.txt is asked first, and obeyed.
    for host, state, reason in (
        ("127.0.0.2", "disallowed", "robots.txt forbids"),
        ("127.0.0.3", "unreachable", "answered 503: the site is left alone"),
    ):
        outcome = outcomes[host]
        assert (outcome.outcome, outcome.figures["robots"]) == ("blocked", state) and reason in outcome.reason
        assert [path for path, _ in sites[host].requests] == ["/robots.txt"] and outcome.retry_at is not None
    assert outcomes["closed"].outcome == "failed" and "the connection was refused" in outcomes["closed"].reason
    # The bytes of a feed that cannot be read are kept, and a wish to be left alone is granted.
    assert open_blobs(settings).get(outcomes["broken"].figures["raw"]) == b"<rss><chan"
    assert outcomes["429"].retry_at is not None
    assert timedelta(minutes=28) < outcomes["429"].retry_at - now() < timedelta(minutes=31)


def test_each_failure_waits_longer_than_the_one_before(settings: Settings, engine: sa.Engine, site: Any) -> None:
    site.pages["/feed.xml"] = Answer(b"oops", 500)
    waits = []
    for _ in range(3):
        outcome = crawl(settings, source(site))
        assert outcome.retry_at is not None
        waits.append(round((outcome.retry_at - now()).total_seconds() / 600))
    assert waits == [1, 2, 4]
    assert due_sources(engine, [source(site)], now() + timedelta(minutes=39)) == []
    assert due_sources(engine, [source(site)], now() + timedelta(minutes=41)) == [source(site)]


def test_an_empty_feed_is_sound(settings: Settings, engine: sa.Engine, site: Any) -> None:
    site.pages["/feed.xml"] = rss()
    outcome = crawl(settings, source(site))
    assert (outcome.outcome, outcome.retry_at) == ("unchanged", None) and "the feed has no entries" in outcome.reason


def test_bad_pages_cost_their_text_and_nothing_else(settings: Settings, engine: sa.Engine, site: Any) -> None:
    site.feed(7, etag='"f"')
    site.pages["/news/0"] = Answer(act=finance_site.hang)
    site.pages["/news/1"] = Answer(b"oops", 500)
    site.pages["/news/2"] = Answer(act=finance_site.announced)
    site.pages["/news/3"] = Answer(act=finance_site.cut)
    site.pages["/news/4"] = Answer("错误的编码".encode("gb18030") * 40, type="text/html; charset=utf-8")
    site.pages["/news/5"] = Answer(bytes(range(256)) * 50)
    outcome = crawl(settings, source(site))
    assert (outcome.outcome, outcome.figures["errors"], outcome.figures["new"]) == ("partial", 4, 7)
    for reason in ("no complete answer within 2 s", "answered 500", "HEADWATER_MAX_DOCUMENT_BYTES", "cut"):
        assert reason in outcome.reason
    kept = {row["url"][-1]: row for row in rows(engine)}
    assert [bool(kept[str(i)]["page_blob"]) for i in range(7)] == [False] * 4 + [True] * 3
    # What may have been a passing fault is tried again soon; what is too large is not.
    site.feed(7, etag='"f"')
    let_pass(engine, minutes=11)
    site.requests.clear()
    again = crawl(settings, source(site))
    assert (again.outcome, again.figures["new"]) == ("done", 3)
    assert sorted(path for path, _ in site.requests if "news" in path) == ["/news/0", "/news/1", "/news/3"]


def test_a_host_that_asks_for_a_pause_gets_it_at_once(settings: Settings, engine: sa.Engine, site: Any) -> None:
    site.feed(30)
    date = format_datetime(now() + timedelta(hours=2), usegmt=True)
    for i in range(30):
        site.pages[f"/news/{i}"] = Answer(b"", 503, headers={"Retry-After": date})
    outcome = crawl(settings, source(site))
    assert outcome.outcome == "partial" and outcome.figures["new"] == 30  # what the feed says of them
    assert outcome.retry_at is not None and timedelta(minutes=119) < outcome.retry_at - now() < timedelta(minutes=121)
    assert outcome.figures["requests"] <= 12


def test_redirects_are_followed_permanent_ones_noted_and_dates_of_the_future_kept_as_they_stood(
    settings: Settings, engine: sa.Engine, site: Any
) -> None:
    site.feed(2, date="Wed, 04 Mar 2099 09:30:00 GMT")
    site.pages["/old.xml"] = Answer(b"", 301, headers={"Location": "/feed.xml"})
    site.pages["/news/0"] = Answer(b"", 302, headers={"Location": "/news/1"})
    outcome = crawl(settings, source(site, "/old.xml"))
    assert outcome.outcome == "done" and outcome.figures["moved"] == f"{site.origin}/feed.xml"
    assert "moved for good" in outcome.reason and all(row["page_blob"] for row in rows(engine))
    assert rows(engine)[0]["entry"]["published"]["raw"] == "Wed, 04 Mar 2099 09:30:00 GMT"


def test_a_wish_for_slowness_is_granted(settings: Settings, engine: sa.Engine, site: Any) -> None:
    site.feed(3)
    site.pages["/robots.txt"] = Answer(b"User-agent: *\nCrawl-delay: 0.4\n", type="text/plain")
    outcome = crawl(settings, source(site))
    assert outcome.figures["new"] == 3 and outcome.figures["seconds"]["total"] > 4 * 0.4 * 0.5


def test_what_was_read_before_the_deadline_is_kept(settings: Settings, engine: sa.Engine, site: Any) -> None:
    site.feed(30, etag='"f"')
    for i in range(30):
        site.pages[f"/news/{i}"] = finance_site.slow(article(i), 0.7)
    outcome = crawl(settings, source(site), deadline_seconds=2)
    assert outcome.outcome == "partial" and "the crawl's time was over" in outcome.reason
    kept = len(rows(engine))
    assert 0 < kept < 30 and kept + outcome.figures["left"] <= 30
    site.feed(30, etag='"f"')
    assert crawl(settings, source(site)).outcome == "done" and len(rows(engine)) == 30


# --- what happens to a crawl ------------------------------------------------------------------------------------------


def test_killed_crawls_lose_and_double_nothing(settings: Settings, engine: sa.Engine, site: Any) -> None:
    site.feed(24, etag='"f"')
    for i in range(24):
        site.pages[f"/news/{i}"] = finance_site.slow(article(i), 0.05)
    for kill_at in (2, 11, 19):
        crawling = threading.Thread(target=crawl, args=(settings, source(site)))
        crawling.start()
        while crawling.is_alive():
            running = [row for row in rows(engine, crawls) if row["outcome"] == "running"]
            if running and len(rows(engine)) >= kill_at:
                os.kill(running[0]["figures"]["pid"], signal.SIGKILL)
                break
            time.sleep(0.01)
        crawling.join()
    assert [row["outcome"] for row in rows(engine, crawls)] == ["failed"] * 3
    assert crawl(settings, source(site)).outcome == "done"
    assert sorted(row["url"] for row in rows(engine)) == sorted(f"{site.origin}/news/{i}" for i in range(24))
    assert all(row["page"]["text"] for row in rows(engine))


def test_a_crawl_ends_with_its_parent_and_the_next_goes_on(settings: Settings, engine: sa.Engine, site: Any) -> None:
    site.feed(3)
    for i in range(3):
        site.pages[f"/news/{i}"] = finance_site.slow(article(i), 0.7)
    script = (
        "from finance_monitor.crawling import crawl_source; from finance_monitor.domain import Source; "
        "from headwater.settings import load_settings; "
        f"crawl_source(load_settings(), Source('wire', 'Wire', '{site.origin}/feed.xml', delay=0.5))"
    )
    parent = subprocess.Popen([sys.executable, "-c", script])
    try:
        while not site.asked("/news/0"):
            time.sleep(0.02)
        # A second crawl of the same source meanwhile does nothing.
        assert crawl(settings, source(site)).outcome == "skipped"
    finally:
        parent.kill()
        parent.wait()
    (row,) = rows(engine, crawls)
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{row['figures']['pid']}") and time.monotonic() < deadline:  # noqa: PTH110
        time.sleep(0.05)
    (row,) = rows(engine, crawls)
    assert row["outcome"] == "partial" and "interrupted" in row["reason"]
    assert crawl(settings, source(site)).outcome in ("done", "unchanged") and len(rows(engine)) == 3


def test_the_row_of_a_crawl_that_died_with_its_parent_is_closed_by_the_next(
    settings: Settings, engine: sa.Engine, site: Any
) -> None:
    site.feed(1)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with engine.begin() as connection:
        figures = {"pid": dead.pid, "born": 0.0, "deadline": 600}
        values = {"id": "dead", "source_id": "wire", "started": now(), "outcome": "running", "reason": ""}
        connection.execute(crawls.insert().values(**values, figures=figures))
    assert crawl(settings, source(site)).outcome == "done"
    row = next(row for row in rows(engine, crawls) if row["id"] == "dead")
    assert row["outcome"] == "failed" and "died" in row["reason"] and isinstance(row["ended"], datetime)


_FAULTY_READER = """
import ctypes, time
import finance_monitor.pages as pages
read = pages.read_page
def read_page(data, content_type, url, now, **languages):
    if url.endswith("/0"):
        ctypes.string_at(0)  # a parser that crashes
    if url.endswith("/1"):
        time.sleep(60)
    if url.endswith("/2"):
        raise RecursionError("too deep")
    return read(data, content_type, url, now, **languages)
pages.read_page = read_page
"""


def test_a_page_that_no_parser_survives_is_gone_around(
    settings: Settings, engine: sa.Engine, site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_FAULTY_READER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    quick = settings.model_copy(update={"max_reading_seconds": 1})
    site.feed(5, etag='"f"')
    first = crawl(quick, source(site))
    assert first.outcome == "failed" and first.figures["fatal_page"] == f"{site.origin}/news/0"
    second = crawl(quick, source(site))
    assert second.outcome == "partial" and "crashed over this page" in second.reason
    kept = sorted(rows(engine), key=lambda row: row["url"])
    assert [row["page"]["method"] for row in kept[:3]] == [
        "unreadable (crash)",
        "unreadable (time)",
        "unreadable (RecursionError)",
    ]
    assert all(row["page_blob"] for row in kept) and all(row["page"]["text"] for row in kept[3:])
    assert crawl(quick, source(site)).outcome == "unchanged"


def test_sources_of_one_host_are_crawled_one_after_the_other(settings: Settings, engine: sa.Engine, site: Any) -> None:
    other = Site("127.0.0.2")
    for each in (site, other):
        each.feed(1)
        each.pages["/news/0"] = finance_site.slow(article(0), 0.3)
    try:
        wanted = [source(site, id="a", delay=0.05), source(site, id="b", delay=0.05), source(other, id="c", delay=0.05)]
        assert [outcome.outcome for outcome in crawl_all(settings, wanted, timeout_seconds=5)] == ["done"] * 3
    finally:
        other.close()
    times = {row["source_id"]: (row["started"], row["ended"]) for row in rows(engine, crawls)}
    assert times["a"][1] <= times["b"][0] and times["c"][0] < times["a"][1]


def test_a_public_source_leads_into_no_private_network(
    settings: Settings, engine: sa.Engine, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment stands in for the internet; what it is not asked for would be fetched directly."""
    inside = Site("127.0.0.2")
    inside.feed(1)
    links = rss(("A report from inside", f"{inside.origin}/news/0"), ("Moved", "http://wire.invalid/moved"))
    site.pages["http://wire.invalid/feed.xml"] = links
    site.pages["http://wire.invalid/moved"] = Answer(b"", 302, headers={"Location": f"{inside.origin}/news/0"})
    site.pages["http://other.invalid/feed.xml"] = Answer(b"", 302, headers={"Location": f"{inside.origin}/feed.xml"})
    monkeypatch.setenv("http_proxy", site.origin)
    monkeypatch.setenv("no_proxy", "127.0.0.2")
    try:
        outcome = crawl(settings, source(site, id="wire", url="http://wire.invalid/feed.xml"))
        assert (outcome.outcome, outcome.figures["errors"], outcome.figures["new"]) == ("partial", 2, 2)
        assert outcome.reason.count("127.0.0.2 is a private address, and the source is a public one") == 2
        outcome = crawl(settings, source(site, id="other", url="http://other.invalid/feed.xml"))
        assert outcome.outcome == "failed" and "private address" in outcome.reason
        assert inside.requests == []
    finally:
        inside.close()


def test_a_name_that_comes_to_mean_a_private_address_is_caught_by_the_connection() -> None:
    crawler = SimpleNamespace(settings=ScrapySettings(), spider=SimpleNamespace())
    etiquette = Etiquette(crawler)
    request = Request("http://wire.example/news/1")
    there = Response(request.url, ip_address=ip_address("93.184.216.34"))
    assert etiquette.process_response(request, there) is there
    with pytest.raises(PrivateAddress, match=r"wire.example led to the private address 10.0.0.7"):
        etiquette.process_response(request, Response(request.url, ip_address=ip_address("10.0.0.7")))


@pytest.mark.parametrize(
    ("status", "words"), [(404, "check it"), (403, "no visit"), (410, "for good"), (502, "fault"), (418, "418")]
)
def test_answers_are_explained(status: int, words: str) -> None:
    assert words in explain_status("https://wire.example/feed", status)


def test_private_addresses_are_known() -> None:
    for address in (
        "127.0.0.1",
        "10.1.2.3",
        "::1",
        "169.254.169.254",
        "64:ff9b::a00:1",
        "::ffff:10.0.0.1",
        "224.0.0.1",
    ):
        assert is_private(address), address
    assert not is_private("93.184.216.34") and not is_private("2606:2800:220:1::1")
