"""Crawls: one subprocess each, since a Twisted reactor cannot be started twice, and a page may bring a parser down."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from finance_monitor.crawling.record import Record, new_crawl_id
from finance_monitor.domain import Source
from headwater.progress import Progress, Step, silent
from headwater.settings import Settings
from headwater.storage.engine import open_engine

DEADLINE_SECONDS = 600.0
TIMEOUT_SECONDS = 30.0
# What a child needs beyond its deadline for the requests that stand in line already (a site may want 30 s between them)
# and for its last rows.
_GRACE_SECONDS = 120.0
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


@dataclass(frozen=True)
class CrawlOutcome:
    """How a crawl ended: done, unchanged, partial, blocked or failed (skipped: another crawl of the source runs), with
    the reason in words, its figures, and the moment before which the source asks to be left alone."""

    source_id: str
    crawl_id: str
    outcome: str
    reason: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    retry_at: datetime | None = None


def crawl_source(
    settings: Settings,
    source: Source,
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    timeout_seconds: float = TIMEOUT_SECONDS,
    note: Callable[[dict[str, Any]], None] = lambda figures: None,
) -> CrawlOutcome:
    """Crawl one source now. A child that dies or hangs is closed as failed; what it kept stays.

    `note` receives the child's figures as they grow. Raises nothing for what a site does.
    """
    crawl_id = new_crawl_id()
    order = {
        "settings": settings.model_dump(mode="json"),
        "source": asdict(source),
        "crawl_id": crawl_id,
        "deadline_seconds": deadline_seconds,
        "timeout_seconds": timeout_seconds,
    }
    child = _Child(order, deadline_seconds + timeout_seconds + _GRACE_SECONDS, settings.max_reading_seconds + 10.0)
    status = child.run(note)
    engine = open_engine(settings, "finance")
    try:
        record = Record(engine, source, crawl_id)
        reason = child.killed_for or f"the crawl's process ended with status {status}"
        tail = f": {child.complaints[-1][:300]}" if child.complaints else ""
        said = f"{reason}{tail}; what it kept stays, and it is tried again"
        # The next crawl goes around a page that no process survives. A SIGKILL says nothing of the page.
        fatal = child.reading if child.stood_still or -status in _CRASHES else ""
        record.close_if_open(said, fatal_page=fatal)
        return CrawlOutcome(source.id, crawl_id, *record.outcome())
    finally:
        engine.dispose()


class _Child:
    """A crawl's process, watched: it is killed when it outlives its time, or stands still over one page."""

    def __init__(self, order: dict[str, Any], seconds: float, reading_seconds: float) -> None:
        self.killed_for = ""
        self.stood_still = False
        self.reading = ""
        self.complaints: list[str] = []
        self._order = json.dumps(order)
        self._ends = time.monotonic() + seconds
        self._reading_seconds = reading_seconds
        self._reading_since = 0.0
        self._done = threading.Event()

    def run(self, note: Callable[[dict[str, Any]], None]) -> int:
        """Run to the end; its exit status. A KeyboardInterrupt ends it."""
        process = subprocess.Popen(
            [sys.executable, "-m", "finance_monitor.crawling"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        threads = [threading.Thread(target=run, args=(process,), daemon=True) for run in (self._listen, self._watch)]
        for thread in threads:
            thread.start()
        try:
            self._talk(process, note)
            return process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            self._done.set()
            for thread in threads:
                thread.join(2.0)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def _talk(self, process: "subprocess.Popen[str]", note: Callable[[dict[str, Any]], None]) -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the crawl's process has no pipes")
        try:
            process.stdin.write(f"{self._order}\n")
            process.stdin.flush()
        except BrokenPipeError:
            return  # it died at its start; its status says so
        for line in process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                continue  # a library printed something
            if isinstance(said, dict) and "reading" in said:
                self._reading_since = time.monotonic()
                self.reading = str(said["reading"])
            elif isinstance(said, dict) and "figures" in said:
                note(said["figures"])

    def _watch(self, process: "subprocess.Popen[str]") -> None:
        while not self._done.wait(0.5):
            moment = time.monotonic()
            if moment > self._ends:
                self.killed_for = "the crawl did not end in its time"
            elif self.reading and moment - self._reading_since > self._reading_seconds:
                self.killed_for = f"the crawl stood still over {self.reading}"
                self.stood_still = True
            if self.killed_for:
                process.kill()
                return

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        if process.stderr is not None:
            for line in process.stderr:
                if line.strip():
                    self.complaints.append(line.strip())
                    del self.complaints[:-5]


def crawl_all(
    settings: Settings,
    sources: Sequence[Source],
    progress: Progress = silent,
    *,
    parallel: int = 4,
    deadline_seconds: float = DEADLINE_SECONDS,
    timeout_seconds: float = TIMEOUT_SECONDS,
    done: Callable[[CrawlOutcome], None] = lambda outcome: None,
) -> list[CrawlOutcome]:
    """Crawl several sources, `parallel` at once and one at a time for each host, except where a source says that its
    host needs no sparing (delay: 0). The outcomes come in the order of `sources`."""
    waiting = list(enumerate(sources))
    running: dict[Future[CrawlOutcome], tuple[int, str]] = {}
    outcomes: dict[int, CrawlOutcome] = {}
    pages: dict[str, int] = {}

    def tell(message: str) -> None:
        progress(Step(len(outcomes), len(sources), f"{sum(pages.values())} pages, {message}"))

    def run(source: Source) -> CrawlOutcome:
        def note(figures: dict[str, Any]) -> None:
            pages[source.id] = int(figures["pages"])
            tell(source.name)

        return crawl_source(
            settings, source, deadline_seconds=deadline_seconds, timeout_seconds=timeout_seconds, note=note
        )

    with ThreadPoolExecutor(parallel) as pool:
        while waiting or running:
            busy = {host for _, host in running.values()}
            for place, source in list(waiting):
                host = urlsplit(source.url).hostname or ""
                if len(running) < parallel and (host not in busy or source.delay == 0):
                    busy.add(host)
                    waiting.remove((place, source))
                    running[pool.submit(run, source)] = (place, host)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                place, _ = running.pop(future)
                outcomes[place] = outcome = future.result()
                tell(f"{sources[place].name} {outcome.outcome}")
                done(outcome)
    return [outcomes[place] for place in range(len(sources))]
