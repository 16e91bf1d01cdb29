"""fetch-to-alert: from the moment a site has served an article to the alert that it causes, at a real receiver.

The real worker process (`headwater finance work`) under the real scheduler crawls a local site; a webhook receiver on
loopback notes when each alert arrives. Both clocks are this process's own: it serves the pages and takes the alerts. An
alert names its stories; the one that was served last has caused it. The history of 1,000 articles comes first, and what
the processes hold after it is a row as well.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from harness import QUICK, Benchmark, Row
from newsroom import environment, finance_home, settings_of, tree_megabytes
from shop import stop

from finance_monitor import channels, subscriptions, tables
from finance_monitor.subscriptions import Rule
from finance_monitor.world import build_world
from finance_monitor.world_bank import Article
from headwater.storage.engine import open_engine

HISTORY = 100 if QUICK else 1_000
# Companies that come into bad news, a few each time that the site is crawled, each with this many stories.
ALERTS = 4 if QUICK else 36
A_ROUND = 3
STORIES = 5
EVERY = 30
SEED = 20_262
_HISTORY_SECONDS = 1_500
_ROUND_SECONDS = 90


@dataclass
class Desk:
    """The site and the receiver: pages and feed by path, when each was served, when each alert came."""

    origin: str = ""
    articles: dict[str, Article] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)
    served: dict[str, float] = field(default_factory=dict)
    alerts: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def publish(self, articles: Sequence[Article]) -> list[str]:
        """Put articles on the site and in its feed; their paths."""
        with self.lock:
            paths = []
            for article in articles:
                path = f"/story-{len(self.articles)}"
                self.articles[path] = article
                self.listed.append(path)
                self.published[path] = time.monotonic()
                paths.append(path)
            del self.listed[: -max(HISTORY, 60)]
            return paths

    def feed(self) -> str:
        with self.lock:
            items = "".join(self._item(path) for path in reversed(self.listed))
        return f'<?xml version="1.0"?><rss version="2.0"><channel><title>desk</title>{items}</channel></rss>'

    def _item(self, path: str) -> str:
        article = self.articles[path]
        return (
            f"<item><title>{escape(article.title)}</title><link>{self.origin}{path}</link><guid>{path}</guid>"
            f"<pubDate>{format_datetime(article.published)}</pubDate></item>"
        )

    def page(self, path: str) -> str:
        article = self.articles[path]
        text = "".join(f"<p>{escape(one)}</p>" for one in article.paragraphs)
        head = f"<title>{escape(article.title)}</title>"
        return (
            f'<!doctype html><html lang="{article.language}"><head><meta charset="utf-8">{head}</head><body><article>'
            f"<h1>{escape(article.title)}</h1>{text}</article></body></html>"
        )


@contextmanager
def open_desk() -> Iterator[Desk]:
    desk = Desk()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/feed.xml":
                self._answer(200, desk.feed(), "application/rss+xml")
            elif self.path in desk.articles:
                self._answer(200, desk.page(self.path), "text/html")
                desk.served.setdefault(self.path, time.monotonic())
            else:
                self._answer(404, "not here", "text/plain")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            desk.alerts.append((time.monotonic(), body))
            self._answer(200, "{}", "application/json")

        def _answer(self, status: int, text: str, kind: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    desk.origin = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield desk
    finally:
        server.shutdown()
        server.server_close()


def prepare(home: Path, desk: Desk) -> sa.Engine:
    """One source with the shortest schedule, a signed webhook, and a rule that takes every company's incidents."""
    keys = ["id: desk", f"url: {desk.origin}/feed.xml", f"every: {EVERY}s", "delay: 0", "max_pages: 5000"]
    (home / "finance" / "sources.yaml").write_text("sources:\n  - " + "\n    ".join(keys) + "\n")
    (home / "secrets").mkdir(exist_ok=True)
    (home / "secrets" / "sign").write_text("s3cret")
    engine = open_engine(settings_of(home), "finance")
    moment = datetime.now(UTC)
    with engine.begin() as connection:
        options = {"url": f"{desk.origin}/hook", "secret_file": "sign"}
        channels.save(connection, "shop", "hook", "webhook", options, actor="bench", moment=moment)
        rule = Rule(channels=("hook",), changes=("opened", "grew"))
        subscriptions.save(connection, "shop", "all", rule, actor="bench", moment=moment)
    return engine


def applied(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(tables.articles)).scalar() or 0)


def wait_for(what: str, seconds: float, done: Any) -> None:
    ends = time.monotonic() + seconds
    while not done():
        if time.monotonic() > ends:
            raise TimeoutError(f"{what} took longer than {seconds:g} s")
        time.sleep(0.2)


def history() -> list[Article]:
    """What the companies' own past is made of: news before the last day."""
    world = build_world(datetime.now(UTC) - timedelta(days=1), seed=SEED)
    plain = [a for a in world.articles if a.kind == "news" and not a.revision_of and not a.reprint_of and not a.surge]
    return plain[-HISTORY:]


def bad_news(now: datetime) -> Iterator[list[Article]]:
    """Company by company, distinct bad stories about it, from worlds that were not the history."""
    told: dict[str, list[Article]] = {}
    for number in range(1, 9):
        for article in build_world(now, seed=SEED + number).articles:
            main = next(iter(article.polarity), "")
            if article.kind == "news" and article.polarity.get(main) == "negative" and not article.reprint_of:
                told.setdefault(main, []).append(article)
    for company in sorted(told):
        titles = list({article.title: article for article in told[company]}.values())
        if len(titles) >= STORIES:
            yield titles[:STORIES]


def delays(desk: Desk, seen: set[str]) -> tuple[list[float], list[float]]:
    """Seconds from the page that caused each alert, since it was served and since it was published."""
    since_served, since_published = [], []
    for came, body in desk.alerts:
        paths = [path for path in seen if path in desk.served and _names(body, f"{desk.origin}{path}")]
        if paths:
            cause = max(paths, key=lambda path: desk.served[path])
            since_served.append(came - desk.served[cause])
            since_published.append(came - desk.published[cause])
    return since_served, since_published


def _names(value: Any, url: str) -> bool:
    """Whether a payload names exactly this address somewhere."""
    if isinstance(value, dict):
        return any(_names(one, url) for one in value.values())
    if isinstance(value, list):
        return any(_names(one, url) for one in value)
    return bool(value == url)


def main() -> None:
    load, started = os.getloadavg()[0], time.time()
    with finance_home() as home, open_desk() as desk:
        engine = prepare(home, desk)
        desk.publish(history())
        with (home / "worker.log").open("wb") as log:
            command = [sys.executable, "-m", "scheduler"]
            own = {**environment(home), "HEADWATER_ALLOW_PRIVATE_URLS": "true"}
            process = subprocess.Popen(command, env=own, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                wait_for("the history", _HISTORY_SECONDS, lambda: applied(engine) >= 0.97 * len(desk.listed))
                time.sleep(3)
                held = tree_megabytes(process.pid)
                old = len(desk.alerts)
                seen = rounds(desk)
                peak = tree_megabytes(process.pid)
            except TimeoutError:
                print((home / "worker.log").read_text()[-3000:])
                raise
            finally:
                stop(process)
        served, published = delays(desk, seen)
        report(Figures(served, published, held, peak, applied(engine), old), load, started)


def rounds(desk: Desk) -> set[str]:
    """Publish bad news of a few companies at a time until there were enough alerts; the paths of what was published."""
    seen: set[str] = set()
    companies = bad_news(datetime.now(UTC))
    before = len(desk.alerts)
    while len(desk.alerts) - before < ALERTS:
        batch = [stories for stories, _ in zip(companies, range(A_ROUND), strict=False)]
        if not batch:
            break
        now = datetime.now(UTC).replace(microsecond=0)
        paths = desk.publish([_at(article, now) for stories in batch for article in stories])
        seen.update(paths)
        wait_for("a round", _ROUND_SECONDS + 10 * len(paths), lambda paths=paths: all(p in desk.served for p in paths))
        time.sleep(6)
        print(f"  {len(desk.alerts) - before} alerts", flush=True)
    return seen


def _at(article: Article, now: datetime) -> Article:
    return replace(article, published=now, updated=None)


@dataclass(frozen=True)
class Figures:
    """Seconds of each alert by both clocks, MB by process after the history and after the alerts, articles, and how
    many alerts the history itself gave."""

    served: list[float]
    published: list[float]
    held: dict[str, float]
    peak: dict[str, float]
    articles: int
    old: int


def report(found: Figures, load: float, started: float) -> None:
    served, published = found.served, found.published
    protocol = (
        f"scheduler and worker as processes with their models, one source every {EVERY} s, "
        f"{found.articles} articles of history and news, {STORIES} bad stories about each of "
        f"{A_ROUND} companies a round; the clock starts when the "
        "site has sent the page that caused the alert, and ends when the receiver of the signed webhook has it; "
        f"{len(served)} alerts ({found.old} before, of the history, do not count); "
        f"load of the machine before: {load:.1f}"
    )
    bench = Benchmark("fetch-to-alert", protocol, f"seed {SEED}", [SEED], started=started)
    bench.add(Row("alerts measured", len(served), "", must=None if QUICK else 30))
    if served:
        bench.add(Row("page served to alert, p50", float(np.quantile(served, 0.5)), "s", "lower"))
        bench.add(Row("page served to alert, p95", float(np.quantile(served, 0.95)), "s", "lower", must=5))
        bench.add(Row("page served to alert, longest", max(served), "s", "lower"))
        name = f"published to alert, p95, crawled every {EVERY} s"
        bench.add(Row(name, float(np.quantile(published, 0.95)), "s", "lower"))
    bench.add(
        Row("scheduler and worker after the history, resident", sum(found.held.values()), "MB", "lower", must=900)
    )
    bench.add(Row("the same after the alerts", sum(found.peak.values()), "MB", "lower", must=900))
    for name, size in found.held.items():
        print(f"  {size:.0f} MB {name}")
    bench.write()


if __name__ == "__main__":
    main()
