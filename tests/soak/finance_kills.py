"""Property of the finance monitor: after `kill -9` at random moments of crawl, scoring and alerting, no article is lost
or doubled, no alert is lost, and none is sent twice where the outcome is known.

A worker process crawls a local site whose feed grows round by round, takes up what came, applies it and sends its
alerts to receivers in this process; it, its crawl, or both are killed at random and started again. A second worker goes
through the same rounds in peace, and in the end both must hold the same. `python tests/soak/finance_kills.py` runs the
full size and keeps docs/results/soak-finance-kills.json.
"""

import argparse
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.request import urlopen

import numpy as np
import psutil
import sqlalchemy as sa
from numpy.typing import NDArray

from finance_monitor import channels, outbox, subscriptions, tables
from finance_monitor.channels import Installation
from finance_monitor.companies import Company, Gazetteer
from finance_monitor.crawling import crawl_source
from finance_monitor.domain import Mention, Sentiment, Source
from finance_monitor.journaling import take_up
from finance_monitor.models import Models, Reading
from finance_monitor.pipeline import Pipeline, pending
from finance_monitor.replay import alert_lines
from finance_monitor.subscriptions import Rule
from headwater.settings import Settings
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate

FULL = 200
BEGIN = datetime(2024, 3, 4, 12, tzinfo=UTC)
_PAUSE = timedelta(hours=3)
# Without news, long enough for every incident to close and every held message to go out.
_QUIET = (timedelta(hours=30), timedelta(hours=30))
_LEAST_ROUNDS = 3
_FEED = 40
# Enough of them that bad news of each stays unusual over a long run.
COMPANIES = [
    Company(name.split()[0].lower(), name, "", "LSE")
    for name in (
        "Halden Group", "Orwell Air", "Tamsin Foods", "Verrick Bank", "Corvane Steel", "Pellworth Mills",
        "Drayhurst Rail", "Quillan Pharma", "Saltmere Shipping", "Ostrel Glass", "Wexcombe Energy", "Lorring Paper",
    )
]  # fmt: skip
_BAD = ("loss of power", "recall of valves", "fire in the foundry", "sued by a supplier", "breach of its permit")
_GOOD = ("opens a depot", "hires engineers", "moves its office", "buys lorries", "paints its hangar")
# What is killed in turn, and after how many seconds at most from the beginning of that stage.
_STAGES = ("crawl", "apply", "deliver", "crawl", "apply", "deliver", "up")
_LONGEST = {"up": 0.1, "crawl": 0.7, "apply": 0.12, "deliver": 0.2}
# Idempotent ones may get a second copy after a kill, and drop it by its key; the last must never get one.
_IDEMPOTENT = ("inbox", "hook")
_CHANNELS = (*_IDEMPOTENT, "chat")


# --- the news ---------------------------------------------------------------------------------------------------------


@dataclass
class Item:
    """One article; `titles` is what it was called from which round on."""

    number: str
    titles: dict[int, str]
    text: str
    published: datetime

    def title(self, round_number: int) -> str:
        return next(title for since, title in reversed(self.titles.items()) if since <= round_number)


class News:
    """Items by round, made from the seed as they are wanted: quiet ones, late ones, surges, reprints, corrections."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.items: list[tuple[int, Item]] = []
        self._made = -1

    def until(self, round_number: int, moment: datetime) -> None:
        """Make the rounds up to this one, whose moment is given."""
        while self._made < round_number:
            self._made += 1
            self._round(self._made, moment, random.Random(f"{self._seed}-{self._made}"))

    def feed(self, round_number: int, origin: str) -> bytes:
        there = [item for since, item in self.items if since <= round_number]
        entries = "".join(
            f"<item><title>{item.title(round_number)}</title><link>{origin}/news/{item.number}</link>"
            f"<guid isPermaLink='false'>guid-{item.number}</guid>"
            f"<pubDate>{format_datetime(item.published)}</pubDate></item>"
            for item in reversed(there[-_FEED:])
        )
        return f"<rss version='2.0'><channel><title>W</title>{entries}</channel></rss>".encode()

    def page(self, number: str) -> bytes | None:
        item = next((item for _, item in self.items if item.number == number), None)
        if item is None:
            return None
        title = next(iter(item.titles.values()))
        return f"<html><body><article><h1>{title}</h1><p>{item.text}</p></article></body></html>".encode()

    def titles(self) -> Counter[tuple[str, str]]:
        """(number, title) of every state of every article that must be found, once each."""
        return Counter((item.number, title) for _, item in self.items for title in item.titles.values())

    def _round(self, number: int, moment: datetime, generator: random.Random) -> None:
        earlier = [item for _, item in self.items[-20:]]

        def add(what: str, company: Company, before: timedelta, text: str = "") -> None:
            serial = f"{number}-{len(self.items)}"
            title = f"{company.name}: {what}, case {generator.randrange(10_000, 99_999)}"
            words = " ".join(f"{generator.choice('bdfgklmnprst')}{generator.randrange(5000)}" for _ in range(60))
            text = text or f"{title}. On {serial} it was said: {words}."
            self.items.append((number, Item(serial, {number: title}, text, moment - before)))

        if number == 0:
            for day in range(14, 0, -1):
                add(generator.choice(_GOOD), generator.choice(COMPANIES), timedelta(days=day))
        for _ in range(3):
            add(generator.choice(_GOOD), generator.choice(COMPANIES), timedelta(minutes=generator.randrange(1, 170)))
        # What a feed brings late moves counts of windows that are over, or is older than what stories are sought in.
        add(generator.choice(_GOOD), generator.choice(COMPANIES), timedelta(hours=generator.randrange(5, 40)))
        add(generator.choice(_GOOD), generator.choice(COMPANIES), timedelta(days=generator.randrange(5, 30)))
        if number:
            company = COMPANIES[number % len(COMPANIES)]
            for place, what in enumerate(_BAD):
                add(what, company, timedelta(minutes=150 - 30 * place))
        if earlier and generator.random() < 0.7:
            source = generator.choice(earlier)
            again = next(c for c in COMPANIES if c.name in source.text)
            add("as was said before", again, timedelta(minutes=1), source.text[:330])
        if earlier and generator.random() < 0.5:
            item = generator.choice(earlier)
            what = generator.choice(("loss of power", "nothing of it is true"))
            item.titles[number] = f"{item.title(number).split(':')[0]}: {what}, corrected in round {number}"


class WordModels:
    """Judges by words, and puts texts of the same words at the same place: a restart costs no model."""

    def vector(self, title: str, text: str, language: str) -> NDArray[np.float32]:
        total = sum((_direction(word) for word in sorted(set(f"{title} {text}".lower().split()))), np.zeros(384))
        return (total / max(1e-6, float(np.linalg.norm(total)))).astype(np.float32)

    def read(self, title: str, text: str, mentions: Sequence[Mention], language: str) -> Reading:
        bad = any(what in title for what in _BAD)
        judged = Sentiment("negative", 0.02, 0.08, 0.9, title) if bad else Sentiment("neutral", 0.1, 0.8, 0.1, title)
        topics = (("recall-safety", 0.9),) if "recall" in title else ()
        return Reading(judged, tuple((mention, judged) for mention in mentions), topics, self.ids())

    def ids(self) -> dict[str, str]:
        return {"sentiment": "words-1"}


@cache
def _direction(word: str) -> NDArray[np.float64]:
    return np.random.default_rng(int(hashlib.sha256(word.encode()).hexdigest()[:8], 16)).standard_normal(384)


# --- the site and the receivers, in this process ----------------------------------------------------------------------


@dataclass
class Round:
    moment: datetime
    news: bool


@dataclass
class Desk:
    """Serves both runs, named in the path: feed and pages, which round comes next, and the channels' receivers.

    The run that is killed decides how many rounds there are; the calm one follows.
    """

    news: News
    wants_more: Callable[[int], bool]
    rounds: list[Round] = field(default_factory=list)
    over: bool = False
    origin: str = ""
    shown: dict[str, int] = field(default_factory=dict)
    received: list[tuple[str, str, str, str]] = field(default_factory=list)  # run, channel, key, body
    lock: threading.Lock = field(default_factory=threading.Lock)
    # Set when the run that is killed asks for its feed.
    reading: threading.Event = field(default_factory=threading.Event)

    def start(self) -> ThreadingHTTPServer:
        desk = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.strip("/").split("/")
                if path[0] == "news":
                    time.sleep(0.1)  # or a crawl would be over before it could be killed
                body, etag = desk.answer(path)
                known = etag and self.headers.get("If-None-Match") == etag
                self.respond(304 if known else 404 if body is None else 200, b"" if known else body or b"", etag)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                run, channel = self.path.strip("/").split("/")
                with desk.lock:
                    desk.received.append((run, channel, self.headers.get("Idempotency-Key", ""), body))
                # Long enough for a kill to come between sending and recording.
                time.sleep(0.03)
                self.respond(200, b"ok")

            def respond(self, status: int, body: bytes, etag: str = "") -> None:
                self.send_response(status)
                if etag:
                    self.send_header("ETag", etag)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # those who asked were killed

        server = Server(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def answer(self, path: list[str]) -> tuple[bytes | None, str]:
        """Body and ETag of a page; None for one that is not there."""
        with self.lock:
            if path[0] == "news":
                return self.news.page(path[1]), f'"{path[1]}"'
            if path[1:2] == ["round"]:
                return json.dumps(self._round(path[0], int(path[2]))).encode(), ""
            if path[1:] == ["feed.xml"]:
                shown = self.shown[path[0]]
                if path[0] == "killed":
                    self.reading.set()
                return self.news.feed(shown, self.origin), f'"feed {shown}"'
            return None, ""

    def _round(self, run: str, number: int) -> dict[str, Any]:
        if number == len(self.rounds) and not self.over and run == "killed":
            self._next(number)
        if number >= len(self.rounds):
            return {"state": "over" if self.over else "wait"}
        self.shown[run] = max(number, self.shown.get(run, 0))
        found = self.rounds[number]
        return {"state": "ready", "moment": found.moment.isoformat(), "news": found.news}

    def _next(self, number: int) -> None:
        quiet = sum(not one.news for one in self.rounds)
        last = self.rounds[-1].moment if self.rounds else BEGIN - _PAUSE
        if not quiet and self.wants_more(number):
            self.rounds.append(Round(last + _PAUSE, True))
            self.news.until(number, last + _PAUSE)
        elif quiet < len(_QUIET):
            self.rounds.append(Round(last + _QUIET[quiet], False))
        else:
            self.over = True


# --- the worker, in a process of its own ------------------------------------------------------------------------------


def work(home: Path, origin: str, run: str) -> None:
    """Go on from where the last one was killed, until the rounds are over and every message is sent."""
    settings = Settings(home=home)
    engine = open_engine(settings, "finance")
    pipeline = Pipeline(engine, cast(Models, WordModels()), Gazetteer(COMPANIES), alert_age=timedelta(days=30))
    place = Installation(True, home / "secrets", "http://desk.example")
    crawler = ThreadPoolExecutor(1)
    crawl: Future[datetime | None] | None = None
    _say("up")
    while True:
        taken, moment = _taken(engine)
        crawl = crawl or crawler.submit(_crawl, settings, origin, run, taken)
        while entries := pending(engine, 3):
            _say("apply")
            for entry in entries:
                pipeline.apply(entry)
        if moment is not None:
            _deliver(engine, place, moment)
        if not crawl.done():
            time.sleep(0.02)
            continue
        following = crawl.result()
        if following is None:
            break
        take_up(engine, following)
        crawl = None
    for _ in range(200):
        if moment is None or not _unsent(engine):
            return
        moment += timedelta(minutes=10)
        _deliver(engine, place, moment)
    raise AssertionError(f"not sent after {timedelta(minutes=2000)}: {_unsent(engine)}")


def _crawl(settings: Settings, origin: str, run: str, number: int) -> datetime | None:
    """Everything that the round brought is captured; its moment, or None when the rounds are over."""
    while True:
        with urlopen(f"{origin}/{run}/round/{number}") as response:
            answer = json.load(response)
        if answer["state"] == "over":
            return None
        if answer["state"] == "ready":
            break
        time.sleep(0.05)
    source = Source("wire", "The Wire", f"{origin}/{run}/feed.xml", delay=0.0)
    while answer["news"]:
        _say("crawl")
        outcome = crawl_source(settings, source)
        if outcome.outcome in ("done", "unchanged"):
            break
        time.sleep(0.05)  # its process was killed, or that of a worker that was killed is still there
    return datetime.fromisoformat(answer["moment"])


def _taken(engine: sa.Engine) -> tuple[int, datetime | None]:
    """How many rounds the journal has, each with one tick of the clock, and the moment of the last."""
    journal = tables.journal
    query = sa.select(sa.func.count(), sa.func.max(journal.c.sequence)).where(journal.c.capture_id.is_(None))
    with engine.connect() as connection:
        count, last = connection.execute(query).one()
        moment = connection.execute(sa.select(journal.c.moment).where(journal.c.sequence == last)).scalar()
    return int(count), moment


def _deliver(engine: sa.Engine, place: Installation, moment: datetime) -> None:
    row = tables.outbox.c
    ready = (row.state == "pending") | (row.state == "ambiguous") & row.channel.in_(_IDEMPOTENT)
    with engine.connect() as connection:
        if connection.execute(sa.select(row.key).where(ready, row.due <= moment).limit(1)).first() is not None:
            _say("deliver")
    outbox.deliver(engine, place, moment)


def _unsent(engine: sa.Engine) -> list[str]:
    """Rows that will still change."""
    row = tables.outbox.c
    again = (row.state == "ambiguous") & row.channel.in_(_IDEMPOTENT)
    with engine.connect() as connection:
        return list(connection.scalars(sa.select(row.key).where(row.state.in_(("pending", "sending")) | again)))


def _say(stage: str) -> None:
    # One write: two threads speak.
    sys.stdout.write(f"{stage}\n")
    sys.stdout.flush()


# --- the run ----------------------------------------------------------------------------------------------------------


class Worker:
    """The worker's process, and the kills that it has suffered."""

    def __init__(self, home: Path, desk: Desk, run: str, generator: random.Random) -> None:
        self._home, self._desk, self._run = home, desk, run
        self._generator = generator
        self.kills: Counter[str] = Counter()
        self.left = 0
        self._targets = list(_STAGES)
        self._waited = 0
        self._process: subprocess.Popen[str] | None = None

    def work(self) -> None:
        """Until the rounds are over; raises AssertionError with its last words when it fails by itself."""
        while not self._live():
            pass

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _live(self) -> bool:
        """One life of the process; whether it came to its end."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
        environment |= {"HEADWATER_HOME": str(self._home), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "child", str(self._home), self._desk.origin, self._run]
        with (self._home / "stderr").open("w+") as errors:
            process = self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, start_new_session=True
            )
            assert process.stdout
            killed = False
            with process.stdout as stages:
                for line in stages:
                    killed = self._strike(process, line.strip()) or killed
                    if killed:
                        break
            status = process.wait()
            errors.seek(0)
            assert killed or status == 0, f"{self._run}: the worker ended with {status}: {errors.read()[-2000:]}"
        return not killed

    def _strike(self, process: "subprocess.Popen[str]", stage: str) -> bool:
        """Perhaps kill now that a stage begins; whether the worker is dead."""
        # Each stage as often as it stands there, then all again, or when one does not come for long.
        self._waited += stage == "crawl"
        if not self._targets or self._waited > 4:
            self._targets, self._waited = list(_STAGES), 0
        if not self.left or stage not in self._targets or self._generator.random() < 0.3:
            return False
        self._targets.remove(stage)
        self._waited = 0
        if stage == "crawl" and self._generator.random() < 0.8:
            # Not while its process only starts.
            self._desk.reading.clear()
            self._desk.reading.wait(5.0)
        time.sleep(self._generator.uniform(0.0, _LONGEST[stage]))
        victim = self._generator.choice(("worker", "both", "crawl")) if stage == "crawl" else "worker"
        if victim == "crawl":
            crawls = psutil.Process(process.pid).children()
            for one in crawls:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            if not crawls:
                return False
        elif victim == "both":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        self.left -= 1
        self.kills[f"{stage}: {victim}"] += 1
        return victim != "crawl"


def prepare(home: Path, origin: str, run: str) -> sa.Engine:
    """A database with channels and rules, which also writes down each state that a message goes through."""
    (home / "secrets").mkdir(parents=True)
    (home / "secrets" / "chat").write_text(f"{origin}/{run}/chat")
    (home / "secrets" / "sign").write_text("s3cret")
    engine = open_engine(Settings(home=home, database_url=None), "finance")
    migrate(engine, "finance")
    options: dict[str, tuple[str, dict[str, Any]]] = {
        "inbox": ("inbox", {"url": f"{origin}/{run}/inbox"}),
        "hook": ("webhook", {"url": f"{origin}/{run}/hook", "secret_file": "sign"}),
        "chat": ("slack", {"url_file": "chat"}),
    }
    rules = {"all": Rule(channels=("inbox", "chat")), "grouped": Rule(channels=("hook",), group_minutes=240)}
    with engine.begin() as connection:
        for name in _CHANNELS:
            channels.save(connection, "shop", name, *options[name], actor="soak", moment=BEGIN)
        for name, rule in rules.items():
            subscriptions.save(connection, "shop", name, rule, actor="soak", moment=BEGIN, subscription_id=name)
        connection.exec_driver_sql("CREATE TABLE passed (number INTEGER PRIMARY KEY, message TEXT, state TEXT)")
        for event in ("INSERT", "UPDATE OF state"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER passed_{event[:6].lower()} AFTER {event} ON outbox BEGIN"
                " INSERT INTO passed (message, state) VALUES (new.key, new.state); END"
            )
    return engine


def run(kills: int, seed: int, home: Path) -> dict[str, Any]:
    """Both runs and all checks; raises AssertionError naming what is lost, doubled or different."""
    generator = random.Random(seed)
    desk = Desk(News(seed), lambda number: number < _LEAST_ROUNDS or worker.left > 0)
    server = desk.start()
    engines = {name: prepare(home / name, desk.origin, name) for name in ("killed", "calm")}
    worker, calm = (Worker(home / name, desk, name, generator) for name in ("killed", "calm"))
    worker.left = kills
    try:
        with ThreadPoolExecutor(1) as beside:
            peace = beside.submit(calm.work)
            try:
                worker.work()
            except BaseException:
                calm.stop()
                raise
            peace.result()
        found = {"kills": dict(sorted(worker.kills.items())), "rounds": len(desk.rounds)}
        found |= check_articles(engines["killed"], desk.news)
        found |= check_alike(engines["killed"], engines["calm"])
        return found | check_messages(engines["killed"], [one[1:] for one in desk.received if one[0] == "killed"])
    finally:
        worker.stop()
        calm.stop()
        server.shutdown()
        server.server_close()
        for engine in engines.values():
            engine.dispose()


# --- what must hold ---------------------------------------------------------------------------------------------------


def rows(engine: sa.Engine, table: sa.Table) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(sa.select(table))]


def check_articles(engine: sa.Engine, news: News) -> dict[str, Any]:
    """Each state of each article once, against what was published."""
    addresses = {row["id"]: row["url"].rsplit("/", 1)[1] for row in rows(engine, tables.articles)}
    assert len(addresses) == len(set(addresses.values())), "an article is there twice under two ids"
    found = Counter((addresses[row["article_id"]], row["title"]) for row in rows(engine, tables.revisions))
    wanted = news.titles()
    assert found == wanted, f"lost: {list((wanted - found).elements())[:3]}, doubled: {list(found - wanted)[:3]}"
    taken = Counter(row["capture_id"] for row in rows(engine, tables.journal) if row["capture_id"] is not None)
    captured = {row["id"] for row in rows(engine, tables.captures)}
    assert captured == set(taken), f"captures that were never taken up: {sorted(captured - set(taken))[:5]}"
    return {"articles": len(addresses), "revisions": found.total()}


def check_alike(killed: sa.Engine, calm: sa.Engine) -> dict[str, Any]:
    """Everything derived is the same as without a kill, alerts to the byte."""
    for table, keys in _DERIVED.items():
        one, other = (_by_key(engine, table, keys) for engine in (killed, calm))
        differ = [key for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)]
        for key in differ[:1]:
            after, without = one.get(key, {}), other.get(key, {})
            names = [name for name in after | without if after.get(name) != without.get(name)]
            said = "; ".join(f"{name}: {after.get(name)!r}, without kills {without.get(name)!r}" for name in names)
            raise AssertionError(f"{table.name}: {len(differ)} of {len(other)} rows differ, first {key}: {said}")
    lines = alert_lines(killed)
    assert lines == alert_lines(calm), "the alerts differ"
    counts = {table.name: len(rows(killed, table)) for table in (tables.windows, tables.incidents)}
    assert counts["incidents"] and lines, "no alert was raised, so nothing was checked"
    return {**counts, "alerts": len(lines)}


# Columns that may differ: ids of captures, and what delivery writes.
_DERIVED: dict[sa.Table, tuple[str, ...]] = {
    tables.articles: ("id",),
    tables.revisions: ("article_id", "number"),
    tables.article_keys: ("key",),
    tables.stories: ("id",),
    tables.contributions: ("story_id", "entity_kind", "entity"),
    tables.windows: ("entity_kind", "entity", "width", "start", "source_kind"),
    tables.incidents: ("id",),
    tables.incident_changes: ("incident_id", "revision"),
    tables.outbox: ("key",),
}
_OWN = {"capture_id", "state", "attempts", "due", "worker", "reason", "updated"}


def _by_key(engine: sa.Engine, table: sa.Table, keys: tuple[str, ...]) -> dict[tuple[str, ...], dict[str, Any]]:
    own = _OWN if table in (tables.outbox, tables.revisions) else set()
    return {
        tuple(str(row[key]) for key in keys): {name: value for name, value in row.items() if name not in own}
        for row in rows(engine, table)
    }


def check_messages(engine: sa.Engine, received: list[tuple[str, str, str]]) -> dict[str, Any]:
    """Every alert was sent, and nothing twice unless it was ambiguous."""
    passed: dict[str, list[str]] = {}
    with engine.connect() as connection:
        for key, state in connection.exec_driver_sql("SELECT message, state FROM passed ORDER BY number"):
            passed.setdefault(key, []).append(state)
    copies = Counter(key for _, key, _ in received if key)
    result = {"messages": 0, "sent": 0, "ambiguous": 0, "received": len(received), "dropped": 0}
    result["dropped"] = sum(copies.values()) - len(copies)
    told: dict[str, set[str]] = {}
    chats = {"sent": 0, "ambiguous": 0}
    for row in rows(engine, tables.outbox):
        if row["state"] == "merged":
            continue
        key, path, name = row["key"], passed[row["key"]], f"message {row['key'][:12]} on {row['channel']}"
        assert row["state"] in ("sent", "ambiguous"), f"{name} ended as {row['state']}: {row['reason']}"
        assert "sent" not in path[:-1], f"{name} was touched after it was sent: {path}"
        for before, after in itertools.pairwise(path):
            assert after != "sending" or before in ("pending", "ambiguous"), f"{name} went {path}"
        result["messages"] += 1
        result[row["state"]] += 1
        told.setdefault(row["subscription_id"] + row["channel"], set()).update(row["alert_ids"])
        if row["channel"] not in _IDEMPOTENT:
            assert path.count("sending") == 1, f"{name} was sent again, and nobody can tell its copies: {path}"
            chats[row["state"]] += 1
            continue
        assert row["state"] == "sent", f"{name} was never sent again: {path}"
        assert 1 <= copies[key] <= path.count("sending"), f"{name} was received {copies[key]} times: {path}"
        if "ambiguous" not in path:
            assert copies[key] == 1, f"{name} was received {copies[key]} times, its outcome known: {path}"
    unknown = copies.keys() - passed.keys()
    assert not unknown, f"received, but in no outbox: {sorted(unknown)[:3]}"
    said = Counter(body for channel, _, body in received if channel not in _IDEMPOTENT)
    assert max(said.values(), default=1) == 1, f"told twice: {said.most_common(1)}"
    assert chats["sent"] <= said.total() <= chats["sent"] + chats["ambiguous"], f"{said.total()} posts for {chats}"
    for row in rows(engine, tables.alerts):
        for channel in ("inbox", "chat") if row["subscription_id"] == "all" else ("hook",):
            assert row["id"] in told[row["subscription_id"] + channel], f"alert {row['id']} is in no {channel} message"
    return result


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        work(Path(sys.argv[2]), *sys.argv[3:5])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=FULL, help="how many kills")
    parser.add_argument("--seed", type=int, default=20261125)
    arguments = parser.parse_args()
    started = time.time()
    with tempfile.TemporaryDirectory() as home:
        counts = run(arguments.steps, arguments.seed, Path(home))
    result = {"steps": arguments.steps, "seed": arguments.seed, "outcome": "nothing lost, nothing doubled"}
    result |= {"counts": counts, "seconds": round(time.time() - started, 1)}
    print(f"finance kills: {arguments.steps} of {FULL}")
    print(json.dumps(result, indent=1))
    if arguments.steps >= FULL:
        path = Path(__file__).resolve().parents[2] / "docs" / "results" / "soak-finance-kills.json"
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
