"""Which pages a crawl asks for: those of new entries, and those that may have been corrected since."""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from finance_monitor.crawling.record import YOUNG, Record, Young, entry_digest, entry_of, plain_values
from finance_monitor.domain import FeedEntry, Page, Source
from headwater.storage.columns import now

# Full texts in the feed make the page unnecessary.
_FULL_CONTENT = 1_500
# Of a longer index the first and the last are read: the newest stand at one of the ends.
_SITEMAPS = 50
# Pages are asked for again 1 h after they were first seen, then 4 h, 12 h and 24 h after the visit before.
_INTERVALS = (1, 4, 12, 24)
_PAGELESS_AGAIN = timedelta(minutes=10)
_UPDATED_AGAIN = timedelta(minutes=30)
_OLDEST = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Plan:
    """A page to fetch for an entry; `known`: this state of the entry is kept, only the page may have changed."""

    entry: FeedEntry
    digest: str
    blob: str
    known: bool


class Planner:
    """What is still to be asked for in one crawl, in its order: pages of entries, further sitemaps, pages once more.

    Entries that need no page go to `keep` at once.
    """

    def __init__(self, source: Source, record: Record, keep: Callable[[Plan, Page | None], None]) -> None:
        self.left_over = 0
        self._source = source
        self._record = record
        self._keep = keep
        self._pattern = re.compile(source.include) if source.include else None
        self._budget = source.max_pages
        self._plans: deque[Plan] = deque()
        self._sitemaps: deque[str] = deque()
        self._again: deque[Young] | None = None

    @property
    def left(self) -> int:
        """How much of the work is left for the next crawl."""
        return self.left_over + len(self._plans) + len(self._sitemaps)

    def next(self) -> Plan | str | None:
        """The next page, or the address of the next sitemap; None when there is nothing left to ask for."""
        if self._plans:
            return self._plans.popleft()
        if self._sitemaps:
            return self._sitemaps.popleft()
        if self._again is None:
            self._again = deque(self._due() if self._source.full_text else ())
        while self._again and self._budget > 0:
            plan = self._once_more(self._again.popleft())
            if plan is not None:
                self._budget -= 1
                return plan
        return None

    def add_sitemaps(self, urls: Iterable[str]) -> str:
        """Sitemaps of an index; words where there are too many."""
        own = [url for url in dict.fromkeys(urls) if is_own(self._source, url)]
        half = _SITEMAPS // 2
        self._sitemaps.extend(own if len(own) <= _SITEMAPS else own[:half] + own[-half:])
        return f"{len(own)} sitemaps: the first and last {half} are read" if len(own) > _SITEMAPS else ""

    def add_listed(self, entries: Iterable[FeedEntry], blob: str) -> None:
        """Entries of a sitemap, the newest first; only a feed may lead to other sites."""
        self.add([e for e in sorted(entries, key=_stated, reverse=True) if is_own(self._source, e.url)], blob)

    def add(self, entries: Iterable[FeedEntry], blob: str) -> None:
        """Entries in the order of their document, whose bytes are `blob`."""
        pattern = self._pattern
        wanted = [e for e in entries if pattern is None or not e.url or pattern.search(e.url)]
        by_digest = {entry_digest(entry): entry for entry in wanted}
        known = self._record.known(list(by_digest))
        new = {digest: entry for digest, entry in by_digest.items() if digest not in known}
        urls = list({entry.url for entry in new.values() if entry.url})
        before = {url: (digest, entry) for url, digest, entry in self._record.latest(urls)}
        shared = Counter(entry.url for entry in by_digest.values())
        for digest, entry in new.items():
            last = before.get(entry.url[:2000])
            changed = _changes(last[1], entry) if last is not None else {"all"}
            if last is not None and changed <= {"guid", "updated"}:
                # Not another state of the article: the feed calls it by another name, or says that its page changed.
                if "updated" in changed and self._needs_page(entry) and self._is_rested(entry.url):
                    self._put(Plan(entry, last[0], blob, known=True))
            elif self._needs_page(entry) and shared[entry.url] == 1:
                self._put(Plan(entry, digest, blob, known=False))
            else:
                # Comments of one thread share its address: their text is the feed's, not the page's.
                text = entry.content or (entry.summary if shared[entry.url] > 1 else "")
                page = Page(entry.title, text, method="feed content") if text else None
                self._keep(Plan(entry, digest, blob, known=False), page)

    def _needs_page(self, entry: FeedEntry) -> bool:
        return bool(entry.url) and self._source.full_text and len(entry.content) < _FULL_CONTENT

    def _is_rested(self, url: str) -> bool:
        last = self._record.visited(url)
        return last is None or now() - last >= _UPDATED_AGAIN

    def _put(self, plan: Plan) -> None:
        if self._budget > 0:
            self._budget -= 1
            self._plans.append(plan)
        else:
            self.left_over += 1

    def _due(self) -> list[Young]:
        moment = now()
        return [young for young in self._record.young_pages() if moment - young.last >= revisit_after(young)]

    def _once_more(self, young: Young) -> Plan | None:
        """A page that may have been corrected, or that could not be had before."""
        row = self._record.capture(young.capture_id)
        entry = entry_of(row.entry)
        is_old = now() - _stated(entry, now()) > YOUNG
        if (is_old and young.has_page) or not self._needs_page(entry):
            return None
        return Plan(entry, row.entry_digest, row.feed_blob, known=True)


def is_own(source: Source, url: str) -> bool:
    """Whether an address belongs to the source's site: its host, or one below it."""
    own = (urlsplit(source.url).hostname or "").removeprefix("www.")
    host = (urlsplit(url).hostname or "").removeprefix("www.")
    return host == own or host.endswith(f".{own}")


def _stated(entry: FeedEntry, otherwise: datetime = _OLDEST) -> datetime:
    for date in (entry.updated, entry.published):
        if date is not None and date.moment is not None:
            return date.moment
    return otherwise


def _changes(before: dict[str, Any], entry: FeedEntry) -> set[str]:
    values = plain_values(entry)
    for name in ("published", "updated"):
        values[name], before = (values[name] or {}).get("raw"), {**before, name: (before.get(name) or {}).get("raw")}
    return {name for name, value in values.items() if before.get(name) != value}


def revisit_after(young: Young) -> timedelta:
    """How long after its last visit a page is asked for again."""
    age = young.last - young.first
    if young.method is None:
        return max(_PAGELESS_AGAIN, age)
    if young.has_page:
        passed = timedelta()
        for hours in _INTERVALS:
            if age < passed + timedelta(hours=hours):
                return timedelta(hours=hours)
            passed += timedelta(hours=hours)
    return YOUNG  # read from the feed, refused or unreadable
