"""The resident worker: crawls what is due, takes up what came, judges it, and sends what was raised."""

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from finance_monitor import digests, outbox
from finance_monitor.companies import Gazetteer, read_gazetteer
from finance_monitor.crawling import CrawlOutcome, crawl_all
from finance_monitor.domain import Source
from finance_monitor.journaling import take_up
from finance_monitor.models import Models
from finance_monitor.pipeline import Applied, Pipeline, pending
from finance_monitor.sources import due_sources, load_sources, sources_path
from finance_monitor.tables import crawls
from headwater.errors import Conflict, HeadwaterError, NotFound
from headwater.settings import Settings
from headwater.storage import leases
from headwater.storage.columns import now
from headwater.storage.engine import open_engine

LEASE = "finance-work"
_LEASE_SECONDS = 30.0
_IDLE_SECONDS = 0.5
_LOOK_SECONDS = 5.0
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
        self._crawls: dict[str, Future[list[CrawlOutcome]]] = {}
        self._first: set[str] = set()
        self._began = time.monotonic()
        self._crawler = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="crawl")
        self._looked = 0.0

    def run(self, note: Callable[[str], None] = _log.info) -> None:
        """Work until `stopping` is set."""
        note("waiting for the lease")
        while not self.stopping.is_set():
            try:
                if leases.acquire(self._house, LEASE, self._holder, _LEASE_SECONDS) is None:
                    self._pipeline = None
                    self.stopping.wait(_LEASE_SECONDS / 6)
                    continue
                busy = self.turn(note)
            except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
                _log.error("database unavailable, trying again: %s", error)
                busy = False
            if not busy:
                self.stopping.wait(_IDLE_SECONDS)
        leases.release(self._house, LEASE, self._holder)
        self._crawler.shutdown(wait=False, cancel_futures=True)

    def run_until_idle(self, note: Callable[[str], None] = _log.info) -> None:
        """Work until nothing is left: every crawl that is due has ended, and all that came is judged and sent."""
        if leases.acquire(self._house, LEASE, self._holder, _LEASE_SECONDS) is None:
            require_lease(self._house)
        try:
            while not self.stopping.is_set():
                leases.acquire(self._house, LEASE, self._holder, _LEASE_SECONDS)
                if not self.turn(note) and not self._crawls and not self._due():
                    return
                if self._crawls:
                    self.stopping.wait(0.1)
        finally:
            leases.release(self._house, LEASE, self._holder)
            self._crawler.shutdown(wait=True, cancel_futures=True)

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
        sent = outbox.deliver(self.engine, outbox.installation(self.settings, self._dashboard()))
        return bool(took or applied or sent.counts)

    def _open_pipeline(self) -> Pipeline:
        path = gazetteer_path(self.settings)
        stamp = path.stat().st_mtime if path.is_file() else 0.0
        if self._pipeline is None or stamp != self._gazetteer_stamp:
            self._gazetteer_stamp = stamp
            gazetteer = open_gazetteer(self.settings)
            self._pipeline = Pipeline(self.engine, self._models, gazetteer, alert_age=alert_age(self.settings))
        return self._pipeline

    def _start_crawls(self, note: Callable[[str], None]) -> None:
        for source_id, crawl in list(self._crawls.items()):
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

        def said(outcome: CrawlOutcome) -> None:
            pages = f"{outcome.figures.get('new', 0)} new"
            note(f"{outcome.source_id}: {outcome.outcome}, {pages}{', ' if outcome.reason else ''}{outcome.reason}")

        for source in due:
            if source.id not in known:
                self._first.add(source.id)
            self._crawls[source.id] = self._crawler.submit(crawl_all, self.settings, [source], parallel=1, done=said)

    def _crawled(self, ids: list[str]) -> set[str]:
        """Those that were crawled before."""
        query = sa.select(crawls.c.source_id).where(crawls.c.source_id.in_(ids), crawls.c.ended.is_not(None))
        with self.engine.connect() as connection:
            return set(connection.scalars(query.distinct()))

    def _due(self) -> list[Source]:
        try:
            sources = load_sources(sources_path(self.settings))
        except NotFound:
            return []
        except HeadwaterError as error:
            _log.error("the sources cannot be read: %s", error)
            return []
        return due_sources(self.engine, sources, now())

    def _dashboard(self) -> str:
        return f"http://{self.settings.host}:{self.settings.finance_dashboard_port}"


def apply_pending(engine: sa.Engine, pipeline: Pipeline, limit: int) -> list[Applied]:
    """Apply up to `limit` journal entries in order."""
    return [pipeline.apply(entry) for entry in pending(engine, limit)]


def require_lease(engine: sa.Engine) -> None:
    """Raises Conflict while a worker is active, for what must not run beside it."""
    if leases.holder_of(engine, LEASE) is not None:
        raise Conflict("the monitor's worker is running; stop it first (ctrl-C in the terminal of `make run-app`)")
