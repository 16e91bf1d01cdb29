"""A crawl of 10,000 pages keeps its memory flat: resident size after warm-up against the end, at most 5 % growth.

One source on a local site; pages of some 100 kB, each different (tests/benchmarks/press.py), read, kept and captured by
the real crawl process. Its size is looked at four times a second.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import press

from finance_monitor.crawling import crawl_source
from finance_monitor.sources import make_source
from headwater.settings import Settings
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate

FULL = 10_000
MOST_GROWTH = 0.05
# The crawl's first fifth, in which libraries are loaded and caches fill.
_WARM = 0.2
_TENTH = 0.1
_SECONDS = 6 * 3600.0
_SITEMAPS, _PART = "http://www.sitemaps.org/schemas/sitemap/0.9", 2_500


@contextmanager
def site(pages: int, seed: int) -> Iterator[str]:
    """Sitemaps of `pages` pages (of one document the monitor takes 5,000 at most); each page is one of 200, with a
    sentence of its own."""
    made = press.pieces(200, seed, datetime.now(UTC))
    by_language = {name: [p.article for p in made if press.language_of(p.article) == name] for name in ("en", "zh")}
    rng = random.Random(seed)
    bodies = [press.page(piece, by_language[press.language_of(piece.article)], rng) for piece in made]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            kind, text, origin = "text/html", "", f"http://{self.headers['Host']}"
            if self.path == "/sitemap.xml":
                parts = "".join(f"<sitemap><loc>{origin}/part-{n}.xml</loc></sitemap>" for n in range(0, pages, _PART))
                kind, text = "application/xml", f"<sitemapindex xmlns='{_SITEMAPS}'>{parts}</sitemapindex>"
            elif self.path.startswith("/part-"):
                first = int(self.path[6:-4])
                numbers = range(first, min(pages, first + _PART))
                urls = "".join(f"<url><loc>{origin}/{number}</loc></url>" for number in numbers)
                kind, text = "application/xml", f"<urlset xmlns='{_SITEMAPS}'>{urls}</urlset>"
            elif self.path[1:].isdigit():
                number = int(self.path[1:])
                text = bodies[number % len(bodies)].replace(
                    "</article>", f"<p>This is story {number}.</p></article>", 1
                )
            body = text.encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def run(pages: int, seed: int, home: Path) -> dict[str, Any]:
    """Crawl, and compare; raises AssertionError with the figures."""
    settings = Settings(home=home, database_url=None, max_document_bytes=50_000_000)
    engine = open_engine(settings, "finance")
    migrate(engine, "finance")
    sizes: list[tuple[int, float]] = []
    reached = [0]
    over = threading.Event()

    def look() -> None:
        own = psutil.Process()
        while not over.wait(0.25):
            for child in own.children():
                try:
                    sizes.append((reached[0], child.memory_info().rss / 1e6))
                except psutil.NoSuchProcess:
                    continue

    def note(figures: dict[str, Any]) -> None:
        reached[0] = int(figures["pages"])

    watching = threading.Thread(target=look)
    watching.start()
    try:
        with site(pages, seed) as origin:
            source = make_source({"url": f"{origin}/sitemap.xml", "delay": 0, "max_pages": pages}, "the soak")
            outcome = crawl_source(settings, source, deadline_seconds=_SECONDS, note=note)
    finally:
        over.set()
        watching.join()
        engine.dispose()
    read = outcome.figures["pages"]
    assert read == pages, f"{read} of {pages} pages were read: {outcome.outcome} {outcome.reason}"
    warm = [size for at, size in sizes if _WARM * pages <= at < (_WARM + _TENTH) * pages]
    last = [size for at, size in sizes if at >= (1 - _TENTH) * pages]
    first, end = statistics.median(warm), statistics.median(last)
    growth = end / first - 1
    found = {"pages": read, "warm_mb": round(first, 1), "end_mb": round(end, 1), "growth": round(growth, 4)}
    assert growth <= MOST_GROWTH, f"the crawl's memory grew by {growth:.1%}: {found}"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=FULL, help="how many pages")
    parser.add_argument("--seed", type=int, default=20_263)
    arguments = parser.parse_args()
    started = time.time()
    with tempfile.TemporaryDirectory() as home:
        counts = run(arguments.steps, arguments.seed, Path(home))
    result = {"steps": arguments.steps, "seed": arguments.seed, "outcome": "memory stays flat", "counts": counts}
    result["seconds"] = round(time.time() - started, 1)
    print(f"crawl memory: {arguments.steps} of {FULL}")
    print(json.dumps(result, indent=1))
    if arguments.steps >= FULL:
        path = Path(__file__).resolve().parents[2] / "docs" / "results" / "soak-crawl-memory.json"
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
