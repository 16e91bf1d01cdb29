"""The Scrapy spider: robots.txt, the feed, then the pages of what is new or may have been corrected."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import scrapy
import sqlalchemy as sa
from scrapy import signals
from scrapy.http import Response

from finance_monitor.crawling.etiquette import (
    WAITING,
    Etiquette,
    Forbidden,
    PrivateAddress,
    Resting,
    header,
    retry_after,
)
from finance_monitor.crawling.planning import Plan, Planner, is_own
from finance_monitor.crawling.reasons import explain, explain_status, is_too_large
from finance_monitor.crawling.record import Record
from finance_monitor.domain import Page, Source
from finance_monitor.feeds import Feed, feed_link, looks_like, parse_feed, parse_listing, parse_sitemap
from finance_monitor.pages import read_page
from headwater.storage.blobs import Blobs
from headwater.storage.columns import now

_log = logging.getLogger(__name__)
# Requests that wait in Scrapy's queue; the rest stay plans, which are small.
_AHEAD = 8
_TELL_SECONDS = 0.5


class SourceSpider(scrapy.Spider):
    """One crawl of one source."""

    name = "headwater"
    etiquette: Etiquette

    def __init__(
        self,
        source: Source,
        record: Record,
        blobs: Blobs,
        *,
        timeout: float,
        deadline: float,
        reading: float,
        **kw: Any,
    ) -> None:
        super().__init__(**kw)
        self.source = source
        self.record = record
        self.blobs = blobs
        self.timeout = timeout
        self.reading_seconds = reading
        self.stuck = False
        self.figures: dict[str, Any] = {
            "requests": 0, "pages": 0, "new": 0, "not_modified": 0, "errors": 0, "bytes": 0, "left": 0, "forbidden": 0,
            "robots": "", "format": "", "raw": "",
            "seconds": {"fetch": 0.0, "extract": 0.0, "cpu": 0.0, "total": 0.0},
        }  # fmt: skip
        self.failure = ""
        self.blocked = ""
        self.notes: list[str] = []
        self.retry_at: datetime | None = None
        self._began = time.monotonic()
        self._ends = self._began + deadline
        self._told = 0.0
        self._errors: list[str] = []
        self._documents: list[tuple[str, str, str, str]] = []
        self.planner = Planner(source, record, self._keep)
        self._asked = 0
        self._reader = ThreadPoolExecutor(1)
        self._turn = asyncio.Lock()
        last = record.last_figures()
        self._fatal = last.get("fatal_page", "")
        self._format_before = self.figures["format"] = "" if "feed" in last else last.get("format", "")

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **kwargs: Any) -> "SourceSpider":
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.count_request, signals.request_reached_downloader)
        crawler.signals.connect(spider.note_headers, signals.headers_received)
        crawler.signals.connect(spider.count_response, signals.response_downloaded)
        crawler.signals.connect(spider.note_defect, signals.spider_error)
        return spider

    # --- what is measured ---------------------------------------------------------------------------------------------

    def count_request(self, request: scrapy.Request) -> None:
        self.figures["requests"] += 1

    def note_headers(self, request: scrapy.Request) -> None:
        request.meta["headers_at"] = time.monotonic()

    def count_response(self, response: Response, request: scrapy.Request) -> None:
        body = time.monotonic() - request.meta.get("headers_at", time.monotonic())
        self.figures["seconds"]["fetch"] += request.meta.get("download_latency", 0.0) + body
        self.figures["bytes"] += len(response.body)

    def note_defect(self, failure: Any) -> None:
        self._defect(failure.value)

    # --- robots.txt and the source's document -------------------------------------------------------------------------

    async def start(self) -> AsyncIterator[Any]:
        robots = await self.etiquette.robots(self.source.url)
        self.figures["robots"] = "missing" if robots.state == "missing" else "allowed"
        if robots.state == "unreachable":
            self.figures["robots"] = "unreachable"
            self.retry_at = robots.retry_at
            if robots.status:
                self.blocked = robots.reason
            else:
                self.failure = robots.reason
        elif not robots.allows(self.source.url):
            self.figures["robots"] = "disallowed"
            self.blocked = f"robots.txt forbids {self.source.url}; ask the publisher, or take another address"
        else:
            yield self._document(self.source.url, "source")

    def _document(self, url: str, role: str) -> scrapy.Request:
        return self._request(url, self.read_document, self.lost_document, document=True, priority=50, role=role)

    def _request(
        self,
        url: str,
        callback: Any,
        errback: Any,
        *,
        document: bool = False,
        fresh: bool = False,
        priority: int = 0,
        **kw: Any,
    ) -> scrapy.Request:
        headers = {} if fresh else self.record.validators(url, document=document)
        left = max(1.0, self._ends - time.monotonic())
        meta = {"download_timeout": min(self.timeout, left), "asked": url, "conditional": bool(headers), **kw}
        return scrapy.Request(
            url,
            callback,
            errback=errback,
            headers=headers,
            priority=priority,
            dont_filter=True,
            meta=meta,
            cb_kwargs=kw,
        )

    async def read_document(self, response: Response, role: str) -> AsyncIterator[Any]:
        if role == "child":
            self._asked -= 1
        if response.status == 304:
            self.figures["not_modified"] += 1
            self.record.note_visit(response.meta["asked"], document=True)
        elif self._usable(response, role):
            self._note_move(response, role)
            # Parsed in this thread: over a document that it stands still at, the process is ended from outside.
            _say({"reading": response.url})
            found = [request async for request in self._read_document(response, role)]
            _say({"reading": ""})
            for request in found:
                yield request
        for request in self._more():
            yield request

    async def _read_document(self, response: Response, role: str) -> AsyncIterator[Any]:
        data, content_type = response.body, header(response, "Content-Type")
        blob = self.figures["raw"] = await asyncio.to_thread(self.blobs.put, data)
        kind = self._kind(looks_like(data, content_type), role)
        if kind == "listing" and not self.source.format and role == "source":
            address = feed_link(data, content_type, response.url)
            if address:
                self.figures["feed"] = address
                yield self._document(address, "found")
                return
        self.figures["format"] = kind
        if kind == "sitemap":
            sitemap = parse_sitemap(data, content_type, response.url, now(), region=self.source.region)
            if sitemap.problem:
                self._fail(f"{response.url}: {sitemap.problem}", role)
                return
            if role != "child":  # an index within an index is against the protocol
                self.notes.append(self.planner.add_sitemaps(sitemap.children))
            self.planner.add_listed(sitemap.entries, blob)
        else:
            feed = self._parse_feed(data, content_type, response.url, kind)
            if not feed.entries:
                self._note_empty(feed, response, role)
            self.planner.add(feed.entries, blob)
        tags = (header(response, "ETag"), header(response, "Last-Modified"))
        self._documents.append((response.meta["asked"], *tags, blob))

    def _kind(self, found: str, role: str) -> str:
        """What a document is read as. A web page in the place of a feed is no listing: the site is in repair, or wants
        a consent, and its links are not articles."""
        given = "feed" if role == "found" else self.source.format if role == "source" else ""
        if given:
            return "sitemap" if given == "feed" and found == "sitemap" else given
        if found == "listing" and role == "source" and self._format_before in ("feed", "sitemap"):
            return self._format_before
        return found or "feed"

    def _parse_feed(self, data: bytes, content_type: str, url: str, kind: str) -> Feed:
        if kind == "listing":
            return parse_listing(data, content_type, url, self.source.include)
        return parse_feed(data, content_type, url, now(), region=self.source.region)

    def _note_empty(self, feed: Feed, response: Response, role: str) -> None:
        """A sound feed may be empty for a while; one that cannot be read is a failure."""
        if feed.kind and feed.problem == "the feed has no entries":
            self.notes.append(f"{response.url}: {feed.problem}")
        else:
            hint = ""
            if (
                looks_like(response.body, header(response, "Content-Type")) == "listing"
                and self.figures["format"] == "feed"
            ):
                hint = "; it is a web page now: open it and see what the site wants, or give format: listing"
            if self.figures.get("feed") == response.meta["asked"]:
                hint = f"; it is what {self.source.url} announces: give the feed's own address, or format: listing"
            self._fail(f"{response.url}: {feed.problem or 'no entries'}{hint}", role)

    def lost_document(self, failure: Any) -> Iterator[Any]:
        role = failure.request.meta["role"]
        reason = f"{failure.request.meta['asked']}: {explain(failure.value, self.timeout)}"
        if failure.check(Forbidden) and role != "child":
            self.figures["robots"] = "disallowed"
            self.blocked = f"{reason}; ask the publisher, or take another address"
        else:
            self._fail(reason, role)
        if role == "child":
            self._asked -= 1
            yield from self._more()

    def _fail(self, reason: str, role: str) -> None:
        if role == "child":
            self._error(reason)
            self.planner.left_over += 1
        else:
            self.failure = reason

    def _usable(self, response: Response, role: str) -> bool:
        if 200 <= response.status < 300 and response.status != 204:
            return True
        reason = explain_status(response.url, response.status)
        if response.status in WAITING:
            self._rest(response)
            if self.retry_at is not None:
                reason += f"; it is asked again from {self.retry_at:%Y-%m-%d %H:%M:%S} UTC"
        self._fail(reason, role)
        return False

    def _rest(self, response: Response) -> None:
        """What a site says of its own pause counts for the source; other hosts rest for this crawl."""
        if is_own(self.source, response.url):
            self.retry_at = retry_after(response) or self.retry_at

    def _note_move(self, response: Response, role: str) -> None:
        reasons = response.meta.get("redirect_reasons") or []
        if role == "source" and reasons and all(reason in (301, 308) for reason in reasons):
            self.figures["moved"] = response.url
            self.notes.append(f"{self.source.url} moved for good to {response.url}; give that address as its url")

    def _more(self) -> Iterator[scrapy.Request]:
        """The next requests, few at a time, so that the memory of a long crawl stays flat."""
        while self._asked < _AHEAD and not self.failure and not self.blocked:
            request = self._next()
            if request is None:
                return
            self._asked += 1
            yield request

    def _next(self) -> scrapy.Request | None:
        while (wanted := self.planner.next()) is not None:
            if isinstance(wanted, str):
                return self._document(wanted, "child")
            try:
                return self._article(wanted)
            except ValueError as error:
                self._error(f"{wanted.entry.url[:200]} is no address that can be asked: {error}")
                self._without_page(wanted, Page("", "", method="refused"))
        return None

    def _article(self, plan: Plan, *, fresh: bool = False) -> scrapy.Request:
        return self._request(plan.entry.url, self.read_article, self.lost_article, fresh=fresh, plan=plan)

    # --- the pages ----------------------------------------------------------------------------------------------------

    async def read_article(self, response: Response, plan: Plan) -> AsyncIterator[Any]:
        self._asked -= 1
        again = None
        if response.status == 304:
            again = self._unchanged(plan)
        elif 200 <= response.status < 300 and response.status != 204:
            await self._read_article(response, plan)
        else:
            self._error(explain_status(response.url, response.status))
            if response.status in WAITING:
                self._rest(response)
            self._without_page(plan)
        self._tell()
        if again is not None:
            self._asked += 1
            yield again
        for request in self._more():
            yield request

    def _unchanged(self, plan: Plan) -> scrapy.Request | None:
        self.figures["not_modified"] += 1
        if plan.known:
            self.record.note_visit(plan.entry.url)
            return None
        last = self.record.last_page(plan.entry.url)
        if last is None:
            return self._article(plan, fresh=True)
        page, blob, content_type = last
        kept = self.record.keep(
            plan.entry, plan.digest, page, feed_blob=plan.blob, page_blob=blob, content_type=content_type
        )
        self.figures["new"] += kept
        self.record.note_visit(plan.entry.url)
        return None

    async def _read_article(self, response: Response, plan: Plan) -> None:
        content_type = header(response, "Content-Type")
        page: Page | None = None
        async with self._turn:
            began = time.perf_counter()
            _say({"reading": response.url})
            if response.url == self._fatal:
                self._error(
                    f"{response.url}: the last crawl's process crashed over this page; it is kept without its text"
                )
                page = Page("", "", method="unreadable (crash)")
            else:
                page = await self._extract(response, content_type)
            self.figures["seconds"]["extract"] += time.perf_counter() - began
            tags = (plan.entry.url, header(response, "ETag"), header(response, "Last-Modified"))
            kept = await asyncio.to_thread(self._store, plan, page, response.body, content_type, tags)
            _say({"reading": ""})
        self.figures["pages"] += 1
        self.figures["new"] += kept

    async def _extract(self, response: Response, content_type: str) -> Page:
        """The page, or an empty one whose method says why it could not be read."""
        language, region = self.source.language, self.source.region
        read = partial(read_page, response.body, content_type, response.url, now(), language=language, region=region)
        reading = asyncio.get_running_loop().run_in_executor(self._reader, read)
        try:
            return await asyncio.wait_for(reading, self.reading_seconds)
        except TimeoutError:
            # The thread cannot be ended; the process goes without it, and does not wait for it at its end.
            self.stuck = True
            self._reader = ThreadPoolExecutor(1)
            self._error(
                f"{response.url} could not be read within {self.reading_seconds:g} s; it is kept without its text"
            )
            return Page("", "", method="unreadable (time)")
        except Exception as error:  # noqa: BLE001 - a page is hostile input, and parsers raise what they like
            self._error(f"{response.url} cannot be read: {type(error).__name__}: {error}")
            return Page("", "", method=f"unreadable ({type(error).__name__})")

    def lost_article(self, failure: Any) -> Iterator[Any]:
        self._asked -= 1
        plan: Plan = failure.request.meta["plan"]
        page = None
        if failure.check(Forbidden):
            self.figures["forbidden"] += 1
        elif failure.check(PrivateAddress) or is_too_large(failure.value):
            self._error(f"{plan.entry.url}: {explain(failure.value, self.timeout)}")
            page = Page("", "", method="refused")
        elif failure.check(Resting):
            self.figures["errors"] += 1
        else:
            self._error(f"{plan.entry.url}: {explain(failure.value, self.timeout)}")
        self._without_page(plan, page)
        yield from self._more()

    def _without_page(self, plan: Plan, page: Page | None = None) -> None:
        """What the feed says is kept now; the page is asked for again later."""
        if not plan.known:
            self._keep(plan, page)
        self.record.note_visit(plan.entry.url)

    def _keep(self, plan: Plan, page: Page | None) -> None:
        self.figures["new"] += self._store(plan, page)

    def _store(
        self,
        plan: Plan,
        page: Page | None,
        body: bytes = b"",
        content_type: str = "",
        visited: tuple[str, str, str] | None = None,
    ) -> bool:
        """Whether this is a new state; the bytes of one that is there already are not kept again."""
        is_there = self.record.has_state(self.record.state(plan.digest, page))
        return self.record.keep(
            plan.entry,
            plan.digest,
            page,
            feed_blob=plan.blob,
            page_blob=self.blobs.put(body) if body and not is_there else "",
            content_type=content_type,
            visited=visited,
        )

    # --- how it went --------------------------------------------------------------------------------------------------

    def _error(self, reason: str) -> None:
        self.figures["errors"] += 1
        if len(self._errors) < 5:
            self._errors.append(reason[:300])

    def _defect(self, error: BaseException) -> None:
        """Nothing can be kept, or the crawl itself is wrong: it ends here, and what was not confirmed comes again."""
        _log.error("the crawl of %s ends", self.source.id, exc_info=error)
        where = "the database" if isinstance(error, sa.exc.SQLAlchemyError) else "the crawl"
        first = str(error).splitlines()[0] if str(error) else ""
        self.failure = f"{where} failed: {type(error).__name__}: {first}"[:300]

    def _tell(self) -> None:
        moment = time.monotonic()
        if moment - self._told > _TELL_SECONDS:
            self._told = moment
            _say({"figures": self.figures})

    def closed(self, reason: str) -> None:
        figures = self.figures
        figures["left"] = self.planner.left
        spent = figures["seconds"]
        spent.update(total=time.monotonic() - self._began, cpu=time.process_time())
        figures["seconds"] = {stage: round(seconds, 3) for stage, seconds in spent.items()}
        if reason == "finished" and not figures["left"] and not self.failure:
            for row in self._documents:
                self.record.keep_document(*row)
        outcome, why = self._outcome(reason)
        self.record.close(outcome, "; ".join(filter(None, [why, *self.notes])), figures, self.retry_at)
        _say({"figures": figures})

    def _outcome(self, reason: str) -> tuple[str, str]:
        figures = self.figures
        if self.blocked:
            return "blocked", self.blocked
        if self.failure:
            return ("partial" if figures["new"] else "failed"), self.failure
        if reason == "closespider_timeout":
            return "partial", "the crawl's time was over; the rest follows with the next one"
        if reason != "finished":
            return "partial", "the crawl was interrupted; the rest follows with the next one"
        if figures["errors"]:
            more = figures["errors"] - len(self._errors)
            return "partial", "; ".join(self._errors) + (f"; and {more} more" if more else "")
        if figures["left"]:
            return (
                "partial",
                f"{figures['left']} pages are left for the next crawl (max_pages: {self.source.max_pages})",
            )
        return ("done" if figures["new"] else "unchanged"), ""


def _say(words: dict[str, Any]) -> None:
    """To the parent; without one this crawl is about to end anyway."""
    with suppress(BrokenPipeError):
        print(json.dumps(words), flush=True)
