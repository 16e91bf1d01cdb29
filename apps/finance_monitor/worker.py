"""The resident worker: crawls what is due, takes up what came, judges it, and sends what was raised."""

import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa

from finance_monitor import digests, outbox
from finance_monitor.companies import Gazetteer, read_gazetteer
from finance_monitor.crawling import CrawlOutcome, crawl_source
from finance_monitor.domain import Source
from finance_monitor.journaling import take_up
from finance_monitor.models import Models
from finance_monitor.outbox import Delivered
from finance_monitor.pipeline import Applied, Pipeline, pending
from finance_monitor.sources import due_sources, load_sources, sources_path
from finance_monitor.tables import crawls, judged
from headwater.errors import Conflict, HeadwaterError, NotFound, Unavailable
from headwater.settings import Settings
from headwater.storage import leases
from headwater.storage.columns import now
from headwater.storage.engine import open_engine

LEASE = "finance-work"
_LEASE_SECONDS = 30.0
_IDLE_SECONDS = 0.5
_LOOK_SECONDS = 5.0
_TROUBLE_SECONDS = 2.0
_BATCH = 50
_PARALLEL = 2
# A source that hangs must not keep the others' news back.
_HOLD_SECONDS = 120.0
_log = logging.getLogger("headwater.finance")


def gazetteer_path(settings: Settings) -> Path:
    """The installation's own list of companies."""
    return settings.folder("finance") / "gazetteer.csv"


def open_gazetteer(settings: Settings) -> Gazetteer:
    """The companies to watch; none before a list was imported."""
    path = gazetteer_path(settings)
    return Gazetteer(read_gazetteer(path) if path.is_file() else [])


def alert_age(settings: Settings) -> timedelta:
    """How old an incident may be when it becomes known, and still be told. The sample world tells its whole history."""
    return timedelta(days=90 if (settings.folder("finance") / "world").is_dir() else settings.finance_alert_age_days)


class Worker:
    """One an installation, held by a lease; a second one waits until the first is silent for 30 s."""

    def __init__(self, settings: Settings, engine: sa.Engine, models: Models) -> None:
        self.settings = settings
        self.engine = engine
        self.stopping = threading.Event()
        self._house = open_engine(settings, "house")
        self._holder = f"{os.getpid()}:{secrets.token_hex(4)}"
        self._models = models
        self._pipeline: Pipeline | None = None
        self._gazetteer_stamp = 0.0
        self._term = 0
        self._sources: list[Source] = []
        self._crawls: dict[str, tuple[str, Future[CrawlOutcome]]] = {}  # source → its host, its crawl
        self._first: set[str] = set()
        self._began = time.monotonic()
        self._crawler = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="crawl")
        # A receiver that hangs must not keep the next article from being judged.
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="send")
        self._sending: Future[Delivered] | None = None
        self._looked = 0.0

    def run(self, note: Callable[[str], None] = _log.info) -> None:
        """Work until `stopping` is set."""
        note("waiting for the lease")
        while not self.stopping.is_set():
            try:
                if not self._hold():
                    self.stopping.wait(_LEASE_SECONDS / 6)
                    continue
                busy = self.turn(note)
            except (sa.exc.OperationalError, sa.exc.InterfaceError, OSError, Conflict, Unavailable) as error:
                _log.error("%s; trying again", f"{type(error).__name__}: {error}".splitlines()[0])
                self.stopping.wait(_TROUBLE_SECONDS)
                busy = False
            if not busy:
                self.stopping.wait(_IDLE_SECONDS)
        self._close(wait=False)

    def run_until_idle(self, note: Callable[[str], None] = _log.info) -> None:
        """Work until nothing is left: every crawl that is due has ended, and all that came is judged and sent."""
        try:
            while not self.stopping.is_set():
                if not self._hold():
                    require_lease(self._house)
                if not self.turn(note) and not self._crawls and not self._due() and not self._sent(wait=True):
                    return
                if self._crawls:
                    self.stopping.wait(0.1)
        finally:
            self._close(wait=True)

    def _hold(self) -> bool:
        """Take or renew the lease. After a gap another worker may have judged: memory is read anew then."""
        lease = leases.acquire(self._house, LEASE, self._holder, _LEASE_SECONDS)
        term = lease.term if lease is not None else 0
        if term != self._term:
            self._close_pipeline()
        self._term = term
        return lease is not None

    def _close_pipeline(self) -> None:
        if self._pipeline is not None:
            self._pipeline.close()
        self._pipeline = None

    def _close(self, *, wait: bool) -> None:
        self._close_pipeline()
        # What is being sent is waited for: broken off, nobody would know whether it had arrived.
        self._sender.shutdown(wait=True)
        leases.release(self._house, LEASE, self._holder)
        self._crawler.shutdown(wait=wait, cancel_futures=True)

    def turn(self, note: Callable[[str], None] = _log.info) -> bool:
        """One turn: whether anything was done."""
        self._start_crawls(note)
        if self._first and time.monotonic() - self._began < _HOLD_SECONDS:
            # At a first start the history of all sources is taken up in the order of its dates, once it is there.
            return False
        pipeline = self._open_pipeline()
        took = take_up(self.engine, now())
        applied = apply_pending(self.engine, pipeline, _BATCH)
        for done in applied:
            for incident, change in done.changes:
                note(f"incident {incident} {change}")
        with self.engine.begin() as connection:
            digests.queue_due(connection, now())
        sent = self._sent()
        return bool(took or applied or sent)

    def _sent(self, *, wait: bool = False) -> bool:
        """Whether a delivery has ended and sent something; the next one is under way then."""
        if self._sending is not None:
            if not self._sending.done() and not wait:
                return False
            counts, self._sending = self._sending.result().counts, None
            if counts:
                return True
        place = outbox.installation(self.settings, dashboard_address(self.settings))
        self._sending = self._sender.submit(outbox.deliver, self.engine, place)
        return False

    def _open_pipeline(self) -> Pipeline:
        path = gazetteer_path(self.settings)
        stamp = path.stat().st_mtime if path.is_file() else 0.0
        if self._pipeline is None or stamp != self._gazetteer_stamp:
            self._gazetteer_stamp = stamp
            self._close_pipeline()
            gazetteer = open_gazetteer(self.settings)
            self._pipeline = Pipeline(
                self.engine, self._models, gazetteer, alert_age=alert_age(self.settings), readers=readers(self.settings)
            )
        return self._pipeline

    def _start_crawls(self, note: Callable[[str], None]) -> None:
        for source_id, (_, crawl) in list(self._crawls.items()):
            if crawl.done():
                del self._crawls[source_id]
                self._first.discard(source_id)
                if error := crawl.exception():
                    _log.error("the crawl of %s could not be run: %s", source_id, error)
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        due = [source for source in self._due() if source.id not in self._crawls]
        known = self._crawled([source.id for source in due])

        def crawl(source: Source) -> CrawlOutcome:
            outcome = crawl_source(self.settings, source)
            pages = f"{outcome.figures.get('new', 0)} new"
            note(f"{outcome.source_id}: {outcome.outcome}, {pages}{', ' if outcome.reason else ''}{outcome.reason}")
            return outcome

        self._first |= {source.id for source in due if source.id not in known}
        for source in due:
            host = urlsplit(source.url).hostname or ""
            # One crawl at a time for each host, except where the source says that it needs no sparing.
            if source.delay == 0 or all(host != other for other, _ in self._crawls.values()):
                self._crawls[source.id] = (host, self._crawler.submit(crawl, source))

    def _crawled(self, ids: list[str]) -> set[str]:
        """Those that were crawled before."""
        query = sa.select(crawls.c.source_id).where(crawls.c.source_id.in_(ids), crawls.c.ended.is_not(None))
        with self.engine.connect() as connection:
            return set(connection.scalars(query.distinct()))

    def _due(self) -> list[Source]:
        """The sources whose time has come. While their file has a mistake in it, the former ones go on."""
        try:
            self._sources = load_sources(sources_path(self.settings))
        except NotFound:
            self._sources = []
        except HeadwaterError as error:
            _log.error("the sources cannot be read, the former ones go on: %s", error)
        return due_sources(self.engine, self._sources, now())


def dashboard_address(settings: Settings) -> str:
    """Where the dashboard is: the running one's address, else that of the settings."""
    try:
        running = json.loads((settings.home / "run.json").read_text(encoding="utf-8"))
        return str(running["dashboards"]["finance"]["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"http://{settings.host}:{settings.finance_dashboard_port}"


def apply_pending(engine: sa.Engine, pipeline: Pipeline, limit: int) -> list[Applied]:
    """Apply up to `limit` journal entries in order, and note when each was judged. One that changed an incident is the
    last of its call, so that it is told at once."""
    applied: list[Applied] = []
    times = []
    entries = pending(engine, limit)
    for place, entry in enumerate(entries):
        pipeline.read_ahead(entries[place:])
        applied.append(pipeline.advance(entry))
        if applied[-1].article_id and applied[-1].state != "known":
            times.append({"sequence": entry["sequence"], "moment": now()})
        if applied[-1].changes:
            break
    if times:
        with engine.begin() as connection:
            connection.execute(judged.insert(), times)
    return applied


def readers(settings: Settings) -> int:
    """Articles that are read at once, each by one thread: two threads on one text wait for each other half the time."""
    return settings.threads or os.cpu_count() or 1


def require_lease(engine: sa.Engine) -> None:
    """Raises Conflict while a worker is active, for what must not run beside it."""
    if leases.holder_of(engine, LEASE) is not None:
        raise Conflict("the monitor's worker is running; stop it first (ctrl-C in the terminal of `make run-app`)")
