"""What a crawl owes the sites it visits: robots.txt (RFC 9309), pauses when asked for, no way into private networks."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import scrapy
from protego import Protego
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK

from finance_monitor.crawling.addresses import is_private
from finance_monitor.crawling.reasons import explain
from headwater.addresses import is_public
from headwater.storage.columns import now

AGENT = "headwater"
LONGEST_WAIT = timedelta(days=1)
WAITING = (429, 503)
# A Crawl-delay above this would turn a source into a standing crawl.
_LONGEST_DELAY = 30.0
# RFC 9309 asks for at least 500 KiB to be read.
_ROBOTS_BYTES = 512_000
_ROBOTS_KEPT = 64
_ROBOTS_SECONDS = 15.0


class Forbidden(IgnoreRequest):
    """robots.txt forbids the address."""


class Unreachable(IgnoreRequest):
    """robots.txt cannot be read for now, which counts as much as forbidding all (RFC 9309, 2.3.1.4)."""


class PrivateAddress(IgnoreRequest):
    """A public source led to an address of a private network."""


class Resting(IgnoreRequest):
    """The host answered 429 or 503 in this crawl and is left alone for the rest of it."""


@dataclass(frozen=True)
class Robots:
    """A host's robots.txt: `state` is read, missing or unreachable; what follows `rules` belongs to the last."""

    state: str
    rules: Protego | None = None
    reason: str = ""
    status: int = 0
    retry_at: datetime | None = None

    def allows(self, url: str) -> bool:
        if self.state == "unreachable":
            return False
        return self.rules is None or bool(self.rules.can_fetch(url, AGENT))


class Etiquette:
    """A downloader middleware; the spider reaches it as `spider.etiquette`."""

    def __init__(self, crawler: Any) -> None:
        self._crawler = crawler
        self._timeout = min(_ROBOTS_SECONDS, crawler.settings.getfloat("DOWNLOAD_TIMEOUT"))
        self._allow_private = crawler.settings.getbool("HEADWATER_ALLOW_PRIVATE")
        self._private: dict[str, bool] = {}
        self._resting: set[str] = set()
        self._robots: OrderedDict[str, asyncio.Task[Robots]] = OrderedDict()
        crawler.spider.etiquette = self

    @classmethod
    def from_crawler(cls, crawler: Any) -> "Etiquette":
        return cls(crawler)

    async def process_request(self, request: scrapy.Request) -> None:
        host = urlsplit(request.url).hostname or ""
        if not self._allow_private and await self._leads_inside(host):
            raise PrivateAddress(f"{host} is a private address, and the source is a public one")
        if request.meta.get("robots"):
            return
        if host in self._resting:
            raise Resting(f"{host} asked for a pause")
        robots = await self.robots(request.url)
        if robots.state == "unreachable":
            raise Unreachable(robots.reason)
        if not robots.allows(request.url):
            raise Forbidden(f"robots.txt of {host} forbids it")
        self._slow_down(request, robots)

    def process_response(self, request: scrapy.Request, response: Response) -> Response:
        # The name may have been given another address since it was looked up; a proxy's own address says nothing.
        reached = str(response.ip_address) if response.ip_address else ""
        if reached and not self._allow_private and not request.meta.get("proxy") and not is_public(reached):
            raise PrivateAddress(f"{urlsplit(request.url).hostname} led to the private address {reached}")
        if response.status in WAITING and not request.meta.get("robots"):
            self._resting.add(urlsplit(response.url).hostname or "")
        return response

    async def robots(self, url: str) -> Robots:
        """The robots.txt of the address's host, fetched once a crawl."""
        parts = urlsplit(url)
        key = f"{parts.scheme}://{parts.netloc}"
        task = self._robots.get(key)
        if task is None:
            task = self._robots[key] = asyncio.ensure_future(self._read_robots(key))
            if len(self._robots) > _ROBOTS_KEPT:
                self._robots.popitem(last=False)
        return await asyncio.shield(task)

    async def _leads_inside(self, host: str) -> bool:
        if host not in self._private:
            if len(self._private) > 1000:
                self._private.clear()
            self._private[host] = await asyncio.get_running_loop().run_in_executor(None, is_private, host)
        return self._private[host]

    async def _read_robots(self, site: str) -> Robots:
        scheme, _, netloc = site.partition("://")
        request = scrapy.Request(
            urlunsplit((scheme, netloc, "/robots.txt", "", "")),
            callback=NO_CALLBACK,
            priority=1000,
            meta={"robots": True, "download_timeout": self._timeout},
        )
        try:
            response = await self._crawler.engine.download_async(request)
        except PrivateAddress as error:
            return Robots("unreachable", reason=f"robots.txt of {netloc} cannot be read: {error}")
        except IgnoreRequest:
            return Robots("missing")  # redirects without end (RFC 9309, 2.3.1.2)
        except Exception as error:  # noqa: BLE001 - whatever the network did, the answer is the same: not now
            reason = f"robots.txt of {netloc} cannot be fetched: {explain(error, self._timeout)}"
            return Robots("unreachable", reason=reason)
        if response.status >= 500 or response.status == 429:
            reason = f"robots.txt of {netloc} answered {response.status}: the site is left alone until it can be read"
            return Robots("unreachable", reason=reason, status=response.status, retry_at=retry_after(response))
        if response.status != 200:
            return Robots("missing")
        return Robots("read", Protego.parse(response.body[:_ROBOTS_BYTES].decode("utf-8", "replace")))

    def _slow_down(self, request: scrapy.Request, robots: Robots) -> None:
        wish = robots.rules.crawl_delay(AGENT) if robots.rules is not None else None
        if not wish:
            return
        downloader = self._crawler.engine.downloader
        host = urlsplit(request.url).hostname or ""
        delay = min(_LONGEST_DELAY, max(float(wish), self._crawler.settings.getfloat("DOWNLOAD_DELAY")))
        # For a slot that is made later, and for the one that robots.txt itself was fetched through.
        downloader.per_slot_settings[host] = {"delay": delay, "concurrency": 1}
        slot = downloader.slots.get(host)
        if slot is not None:
            slot.delay, slot.concurrency = delay, 1


def header(response: Response, name: str) -> str:
    value = response.headers.get(name)
    return value.decode("latin-1") if value else ""


def retry_after(response: Response) -> datetime | None:
    """The moment of a Retry-After header (seconds or a date), at most a day away; None without a readable one."""
    raw = header(response, "Retry-After").strip()
    try:
        if raw.isdigit():
            return now() + min(LONGEST_WAIT, timedelta(seconds=int(raw[:9])))
        moment = parsedate_to_datetime(raw)
        return min(moment, now() + LONGEST_WAIT) if moment.tzinfo else None
    except (ValueError, TypeError, OverflowError):
        return None
