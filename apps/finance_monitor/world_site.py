"""The local site that serves the sample world: `python -m finance_monitor.world_site --port N --home DIR`.

The world is anchored at the first start (kept in DIR/world.json, so that a restart serves the same) and goes on after
it: a page appears when its time has come. POST /inbox takes what the demo's alerts deliver; GET /inbox.json lists it.
"""

import argparse
import gzip
import json
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from finance_monitor.world import articles_after, build_world
from finance_monitor.world_bank import Article, World, WorldSource
from finance_monitor.world_pages import (
    FEED_TYPES,
    FEEDS,
    Document,
    article_page,
    document,
    html_page,
    list_page,
    sitemap,
)

SEED, DAYS = 7, 60
INBOX_KEPT, INBOX_DROPPED = 5000, 500
BODY_LIMIT = 1 << 20
# A gzipped answer under this size would not be smaller.
WORTH_ZIPPING = 600
ROBOTS = (
    "User-agent: *\nDisallow: /harbour-wire/members/\nAllow: /\n\nSitemap: {origin}/daily-plain/sitemap-index.xml\n"
)


class Site:
    """The world as it can be read at the moment that `clock` tells."""

    def __init__(self, world: World, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.world, self.clock = world, clock
        self.sources = {source.id: source for source in world.sources}
        self.by_feed = {source.path: source for source in world.sources}
        self.by_path: dict[str, Article] = {}
        self.listed: dict[str, list[Article]] = {source.id: [] for source in world.sources}
        self._lock = threading.Lock()
        self._due = deque(sorted((*world.articles, *world.later), key=lambda article: article.shown))
        self._hours = 0
        self._feeds: dict[tuple[str, str], Document] = {}

    def advance(self) -> None:
        """Show everything that is due by now."""
        now = self.clock()
        with self._lock:
            while self.world.anchor + timedelta(hours=self._hours) <= now:
                written = articles_after(self.world.anchor, self.world.seed, self._hours)
                self._due = deque(sorted((*self._due, *written), key=lambda article: article.shown))
                self._hours += 1
            while self._due and self._due[0].shown <= now:
                self._show(self._due.popleft())

    def _show(self, article: Article) -> None:
        listed = self.listed[article.source]
        before = self.by_path.get(article.path)
        if before is not None:
            listed[listed.index(before)] = article
        else:
            listed.append(article)
        self.by_path[article.path] = article
        for key in [key for key in self._feeds if key[0].split("/")[1] == article.source]:
            del self._feeds[key]

    def answer(self, target: str, origin: str) -> Document:
        """The document at a request's target, for readers who know the site as `origin`."""
        self.advance()
        parts = urlsplit(target)
        path = parts.path + (f"?{parts.query}" if parts.path.endswith(".php") else "")
        with self._lock:
            article = self.by_path.get(path)
            if article is not None:
                return article_page(self.sources[article.source], article, self._near(article, 7), origin)
            kept = self._feeds.get((path, origin))
            if kept is None:
                kept = self._front(path, origin)
                if kept.status == HTTPStatus.OK and path.count("/") > 1:
                    self._feeds[path, origin] = kept
            return kept

    def _front(self, path: str, origin: str) -> Document:
        if path == "/robots.txt":
            return Document(ROBOTS.format(origin=origin).encode(), "text/plain; charset=utf-8", self.world.anchor)
        if path == "/":
            rows = [(source.name, origin + source.path, "") for source in self.world.sources]
            return html_page(list_page("Sources of the sample world", rows), "utf-8", self.world.anchor)
        source = self.by_feed.get(path) or self.sources.get(path.split("/")[1])
        if source is None:
            return _missing(path)
        articles = self.listed[source.id][::-1]
        modified = max((article.shown for article in articles), default=self.world.anchor)
        if path == source.path:
            return document(source, FEED_TYPES[source.style], FEEDS[source.style](source, articles, origin), modified)
        if path == f"/{source.id}/":
            rows = [(article.title, origin + article.path, "") for article in articles[:30]]
            return html_page(list_page(source.name, rows), source.encoding, modified)
        if path == "/harbour-wire/members/":
            return html_page(list_page("Members", []), "utf-8", self.world.anchor)
        if source.style == "sitemap" and path.endswith(".xml.gz"):
            return self._sitemap(source, path, articles, origin)
        return _missing(path)

    def _sitemap(self, source: WorldSource, path: str, articles: Sequence[Article], origin: str) -> Document:
        name = path.rsplit("/", 1)[-1].removesuffix(".xml.gz")
        newest = self.clock() - timedelta(hours=48)
        if name == "news":
            chosen = [article for article in articles if article.published > newest]
        else:
            chosen = [article for article in articles if f"archive-{article.published:%Y-%m}" == name]
            if not chosen:
                return _missing(path)
        modified = max((article.shown for article in chosen), default=self.world.anchor)
        text = sitemap(source, chosen, origin, news=name == "news")
        return Document(gzip.compress(text.encode(), mtime=0), "application/gzip", modified)

    def _near(self, article: Article, count: int) -> list[Article]:
        """The articles that the source had shown before this one, so that a page stays as it is once it is out."""
        listed = self.listed[article.source]
        place = listed.index(article)
        return listed[max(0, place - count) : place][::-1]


def _missing(path: str) -> Document:
    text = f"<!doctype html><title>Not found</title><p>There is no page at {escape(path)}."
    return Document(text.encode(), "text/html; charset=utf-8", datetime.now(UTC), HTTPStatus.NOT_FOUND)


# ---- inbox and server


class Inbox:
    """What was delivered, in DIR/inbox.jsonl; the oldest go when there are more than INBOX_KEPT."""

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.lines = deque(lines[-INBOX_KEPT:])
        self.number = json.loads(self.lines[-1])["id"] if self.lines else 0

    def put(self, channel: str, headers: dict[str, str], body: bytes, received: datetime) -> int:
        """Keep one delivery; gives its id."""
        text = body.decode("utf-8", "replace")
        try:
            content = json.loads(text)
        except ValueError:
            content = text
        with self._lock:
            self.number += 1
            entry = {
                "id": self.number, "received": received.isoformat(timespec="milliseconds"), "channel": channel,
                "headers": headers, "body": content,
            }  # fmt: skip
            line = json.dumps(entry, ensure_ascii=False)
            self.lines.append(line)
            if len(self.lines) > INBOX_KEPT:
                for _ in range(INBOX_DROPPED):
                    self.lines.popleft()
                beside = self.path.with_suffix(".part")
                beside.write_text("\n".join(self.lines) + "\n", encoding="utf-8")
                beside.replace(self.path)
            else:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
            return self.number

    def newest(self, limit: int) -> str:
        """The newest entries first, as a JSON array."""
        with self._lock:
            return "[" + ",\n".join(list(self.lines)[: -limit - 1 : -1]) + "]"


class WorldServer(ThreadingHTTPServer):
    """The site on a loopback port; port 0 takes a free one."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, home: Path, port: int, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.site, self.inbox = Site(open_world(home, clock()), clock), Inbox(home / "inbox.jsonl")
        self.site.advance()
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


def open_world(home: Path, now: datetime) -> World:
    """The world of the state folder, anchored now when it has none yet."""
    home.mkdir(parents=True, exist_ok=True)
    kept = home / "world.json"
    if not kept.exists():
        beside = kept.with_suffix(".part")
        beside.write_text(json.dumps({"anchor": now.replace(microsecond=0).isoformat(), "seed": SEED, "days": DAYS}))
        beside.replace(kept)
    said = json.loads(kept.read_text())
    return build_world(datetime.fromisoformat(said["anchor"]), said["seed"], said["days"])


HOST = re.compile(r"[\w.-]{1,80}(:\d{1,5})?|\[[0-9a-fA-F:]{2,40}\](:\d{1,5})?")


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD of the site, POST to the inbox."""

    protocol_version = "HTTP/1.1"
    server_version = "SampleWorld"
    sys_version = ""
    timeout = 60
    # Headers and body leave in one packet: two would wait for the reader's delayed acknowledgement.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    server: WorldServer

    def do_GET(self) -> None:
        path = urlsplit(self.path)
        if path.path == "/inbox.json":
            limit = parse_qs(path.query).get("limit", ["5000"])[0]
            body = self.server.inbox.newest(int(limit) if limit.isdecimal() and int(limit) else INBOX_KEPT)
            self._send(Document(body.encode(), "application/json; charset=utf-8", self.server.site.clock()), fresh=True)
            return
        host = self.headers.get("Host", "")
        origin = f"http://{host}" if HOST.fullmatch(host) else self.server.origin
        self._send(self.server.site.answer(self.path, origin))

    do_HEAD = do_GET

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        channel = urlsplit(self.path).path
        if not length.isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "say how long the body is in Content-Length")
        elif int(length) > BODY_LIMIT:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has {length} bytes, at most {BODY_LIMIT} are taken"
            )
        else:
            body = self.rfile.read(int(length))
            if channel != "/inbox" and not channel.startswith("/inbox/"):
                self._refuse(HTTPStatus.NOT_FOUND, f"deliveries go to /inbox, not to {channel[:100]}")
                return
            number = self.server.inbox.put(channel, dict(self.headers.items()), body, self.server.site.clock())
            answer = json.dumps({"ok": True, "id": number}).encode()
            self._send(Document(answer, "application/json", self.server.site.clock()), fresh=True)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True
        self._send(
            Document(
                json.dumps({"ok": False, "error": why}).encode(), "application/json", self.server.site.clock(), status
            )
        )

    def _unchanged(self, document: Document) -> bool:
        """RFC 9110, 13.2.2: If-Modified-Since counts only where there is no If-None-Match."""
        asked = self.headers.get("If-None-Match")
        if asked is not None:
            plain = document.tag.removeprefix("W/")
            return asked.strip() == "*" or plain in [tag.strip().removeprefix("W/") for tag in asked.split(",")]
        since = self.headers.get("If-Modified-Since")
        if since is None:
            return False
        try:
            return document.modified.replace(microsecond=0) <= parsedate_to_datetime(since)
        except (TypeError, ValueError):
            return False

    def _send(self, document: Document, fresh: bool = False) -> None:
        body, status = document.body, document.status
        unchanged = (
            status == HTTPStatus.OK and not fresh and self.command in ("GET", "HEAD") and self._unchanged(document)
        )
        self.send_response(HTTPStatus.NOT_MODIFIED if unchanged else status)
        if status == HTTPStatus.OK and not fresh:
            self.send_header("ETag", document.tag)
            self.send_header("Last-Modified", format_datetime(document.modified.astimezone(UTC), usegmt=True))
            self.send_header("Cache-Control", "max-age=0, must-revalidate")
            self.send_header("Vary", "Accept-Encoding")
        if self.close_connection:
            self.send_header("Connection", "close")
        if unchanged:
            self.end_headers()
            return
        self.send_header("Content-Type", document.type)
        zipped = "gzip" in self.headers.get("Accept-Encoding", "") and len(body) > WORTH_ZIPPING
        if zipped and document.type not in ("application/gzip", "application/pdf"):
            body = gzip.compress(body, 5, mtime=0)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the crawler keeps its own log."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m finance_monitor.world_site", description=__doc__)
    parser.add_argument("--port", type=int, default=8510, help="loopback port; 0 takes a free one")
    parser.add_argument("--home", type=Path, required=True, help="folder for world.json and inbox.jsonl")
    asked = parser.parse_args(arguments)
    with WorldServer(asked.home, asked.port) as server:
        print(f"the sample world is served at {server.origin}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
