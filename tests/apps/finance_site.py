"""A small news site on loopback addresses that misbehaves on demand."""

import gzip
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What a path answers: a body, or a function that writes to the handler itself."""

    body: bytes = b""
    status: int = 200
    type: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    act: Callable[[Any], None] | None = None


class Site:
    """`pages` by path; every request is kept in `requests` as (path, If-None-Match)."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.pages: dict[str, Answer] = {"/robots.txt": Answer(status=404)}
        self.requests: list[tuple[str, str]] = []
        self.agents: set[str] = set()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.requests.append((self.path, self.headers.get("If-None-Match", "")))
                site.agents.add(self.headers.get("User-Agent", ""))
                answer = site.pages.get(self.path, Answer(b"not here", 404))
                if answer.act is not None:
                    answer.act(self)
                    return
                etag = answer.headers.get("ETag")
                if etag and self.headers.get("If-None-Match") == etag:
                    self.send_response(304)
                    self.send_header("ETag", etag)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(answer.status)
                for name, value in {"Content-Type": answer.type, **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # clients that give up are part of the test

        self._server = Server((host, 0), Handler)
        self.origin = f"http://{host}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, path: str) -> int:
        """How often a path was asked for."""
        return [asked for asked, _ in self.requests].count(path)

    def feed(self, count: int, *, guid: str = "g", path: str = "/feed.xml", etag: str = "", date: str = "") -> None:
        """A feed of `count` entries, and their pages."""
        date = date or "Wed, 04 Mar 2026 09:30:00 GMT"
        items = "".join(
            f"<item><title>Halden opens mill {i}</title><link>{self.origin}/news/{i}</link>"
            f"<guid>{guid}{i}</guid><pubDate>{date}</pubDate></item>"
            for i in range(count)
        )
        text = f"<rss version='2.0'><channel><title>W</title>{items}</channel></rss>"
        self.pages[path] = Answer(text.encode(), type="application/rss+xml", headers={"ETag": etag} if etag else {})
        for i in range(count):
            self.pages[f"/news/{i}"] = Answer(article(i), headers={"ETag": f'"{i}"'})


def article(number: int, word: str = "mill") -> bytes:
    paragraphs = "".join(
        f"<p>Sentence {i} of the report on {word} {number}, which the company opened near Leeds on Monday.</p>"
        for i in range(8)
    )
    return f"<html><body><article><h1>Halden opens {word} {number}</h1>{paragraphs}</article></body></html>".encode()


def hang(handler: Any) -> None:
    time.sleep(30)


def drip(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/xml")
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(300):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def endless(handler: Any) -> None:
    """More bytes than anybody should take, without saying how many."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/xml")
    handler.send_header("Connection", "close")
    handler.end_headers()
    block = b"x" * 65536
    for _ in range(40_000):
        handler.wfile.write(block)


def announced(handler: Any) -> None:
    """Two gigabytes by the header."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/xml")
    handler.send_header("Content-Length", str(2 << 30))
    handler.end_headers()
    handler.wfile.write(b"x" * 1000)
    time.sleep(5)


def cut(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/xml")
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b"<rss>")
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def rss(*items: tuple[str, str], **fields: str) -> Answer:
    """A feed of (title, link), each entry with the same further fields."""
    more = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    body = "".join(f"<item><title>{title}</title><link>{link}</link>{more}</item>" for title, link in items)
    return Answer(f"<rss version='2.0'><channel><title>W</title>{body}</channel></rss>".encode(), type="text/xml")


def listed(*urls: str) -> Answer:
    """A sitemap."""
    body = "".join(f"<url><loc>{url}</loc></url>" for url in urls)
    text = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{body}</urlset>'
    return Answer(text.encode(), type="application/xml")


def slow(body: bytes, seconds: float) -> Answer:
    """The body, after a while."""

    def act(handler: Any) -> None:
        time.sleep(seconds)
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html; charset=utf-8")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return Answer(act=act)


def bomb() -> Answer:
    """Thirty megabytes in thirty kilobytes."""
    packed = gzip.compress(b" " * 30_000_000, 9)
    return Answer(packed, type="text/xml", headers={"Content-Encoding": "gzip"})
