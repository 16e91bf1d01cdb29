"""Pages and sitemaps from the web, without a way into the own network.

Every address is resolved first and refused when it is not public; the connection goes to the address that was checked
(so that a second DNS answer cannot redirect it), and every redirect is checked again.
"""

import asyncio
import gzip
import re
import socket
import zlib
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit
from xml.etree.ElementTree import Element  # only the type; parsing is defused

import httpx

from headwater.addresses import is_public
from headwater.errors import HeadwaterError, TooLarge, Unavailable, Unsupported

_REDIRECTS = 5
# The longest pause of a server, and the longest time until the last byte of an answer that comes in drips.
_SECONDS = 20.0
_TOTAL_SECONDS = 60.0
_SITEMAPS = 50
_SITEMAP_PAGES = 2_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# What httpx unpacks bit by bit, so that the limit on bytes holds for what comes out.
_ENCODINGS = ("", "identity", "gzip", "deflate")
_TYPES = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "application/pdf": ".pdf",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
}


@dataclass(frozen=True)
class Fetched:
    """A fetched page: its final address, its bytes, and the suffix of its type."""

    url: str
    data: bytes
    suffix: str


def fetch_page(url: str, *, max_bytes: int, allow_private: bool = False) -> Fetched:
    """Fetch one document. Raises HeadwaterError for a refused address, Unavailable, TooLarge or Unsupported type."""
    final, data, content_type = _get(url, max_bytes, allow_private)
    kind = content_type.split(";")[0].strip().lower()
    suffix = _TYPES.get(kind)
    if suffix is None:
        raise Unsupported(f"{url} is {kind or 'of unknown type'}; what can be read: {', '.join(sorted(_TYPES))}")
    return Fetched(final, data, suffix)


def read_sitemap(url: str, *, max_bytes: int, allow_private: bool = False) -> list[str]:
    """Page addresses of a sitemap or sitemap index (also gzipped), on the sitemap's own host, at most 2,000.

    Raises what `fetch_page` raises, TooLarge above 50 sitemaps, HeadwaterError when there is no page.
    """
    host = split_address(url).hostname
    pages: list[str] = []
    waiting, seen = [url], set[str]()
    while waiting and len(pages) < _SITEMAP_PAGES:
        current = waiting.pop(0)
        if current in seen:
            continue
        if len(seen) >= _SITEMAPS:
            raise TooLarge(f"{url} leads to more than {_SITEMAPS} sitemaps; import those that you need one by one")
        seen.add(current)
        root = _parse_sitemap(current, _get(current, max_bytes, allow_private)[1], max_bytes)
        locations = [(node.text or "").strip() for node in root.iter() if node.tag.rsplit("}", 1)[-1] == "loc"]
        own = [location for location in locations if _host(location) == host]
        if root.tag.rsplit("}", 1)[-1] == "sitemapindex":
            waiting += own
        else:
            pages += own
    if not pages:
        raise HeadwaterError(
            f"{url} names no page of {host}; give the address of a sitemap, or of the pages themselves"
        )
    return list(dict.fromkeys(pages))[:_SITEMAP_PAGES]


def _host(location: str) -> str | None:
    try:
        return split_address(location).hostname
    except HeadwaterError:
        return None


def _parse_sitemap(url: str, data: bytes, max_bytes: int) -> Element:
    from defusedxml import DefusedXmlException, ElementTree

    if data[:2] == b"\x1f\x8b":
        try:
            data = zlib.decompressobj(wbits=31).decompress(data, max_bytes)
        except (zlib.error, gzip.BadGzipFile) as error:
            raise HeadwaterError(f"{url} is not gzip: {error}") from error
    try:
        root: Element = ElementTree.fromstring(data)
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise HeadwaterError(f"{url} is not a sitemap: {error}") from error
    return root


def _get(url: str, max_bytes: int, allow_private: bool) -> tuple[str, bytes, str]:
    url = url.strip()
    for _ in range(_REDIRECTS + 1):
        address = check_address(url, allow_private)
        status, headers, data = _request(url, address, max_bytes)
        if status in (301, 302, 303, 307, 308):
            url = _redirected(url, headers.get("location", ""))
            continue
        if status != 200:
            raise Unavailable(f"{url} answered {status}")
        return url, data, headers.get("content-type", "")
    raise HeadwaterError(f"{url}: more than {_REDIRECTS} redirects")


def _redirected(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise Unavailable(f"{url} leads to {location!r}, which is no address: {error}") from error


def split_address(url: str) -> SplitResult:
    """The parts of an http(s) address. Raises HeadwaterError for anything else, and for one with a user name in it."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:
        raise HeadwaterError(f"{url!r} is no http or https address: {error}") from error
    if not valid or _CONTROL.search(url):
        raise HeadwaterError(f"{url!r} is no http or https address")
    if "@" in parts.netloc:
        raise HeadwaterError(f"{parts.hostname}: addresses with a user name or password are refused")
    return parts


def check_address(url: str, allow_private: bool = False) -> str:
    """The address that `url` resolves to. Raises HeadwaterError unless it is http(s) and public."""
    parts = split_address(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = [str(info[4][0]) for info in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)]
    except (OSError, ValueError) as error:
        raise Unavailable(f"{parts.hostname} cannot be resolved: {error}") from error
    for address in found:
        if not allow_private and not is_public(address):
            raise HeadwaterError(
                f"{parts.hostname} is the private address {address}, which is refused; "
                "for an intranet of your own set HEADWATER_ALLOW_PRIVATE_URLS=true"
            )
    return found[0]  # the system sorts them by what it can reach


def _request(url: str, address: str, max_bytes: int) -> tuple[int, dict[str, str], bytes]:
    try:
        return asyncio.run(_answer(url, address, max_bytes))
    except TimeoutError as error:
        raise Unavailable(f"{url} did not arrive within {_TOTAL_SECONDS:g} seconds") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"{url} cannot be fetched: {type(error).__name__} {error}") from error


async def _answer(url: str, address: str, max_bytes: int) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body; the connection goes to `address`. Asynchronous, for a deadline over all of it."""
    named = httpx.URL(url)
    pinned = named.copy_with(host=address, fragment=None)
    headers = {"Host": named.netloc.decode("ascii"), "Accept-Encoding": "identity"}
    headers["User-Agent"] = "Headwater/0.1 (+help centre import)"
    extensions = {"sni_hostname": named.raw_host.decode("ascii")} if named.scheme == "https" else {}
    async with (
        asyncio.timeout(_TOTAL_SECONDS),
        httpx.AsyncClient(timeout=_SECONDS, trust_env=False, follow_redirects=False) as client,
        client.stream("GET", pinned, headers=headers, extensions=extensions) as response,
    ):
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in _ENCODINGS:
            raise Unsupported(f"{url} is packed as {encoding}, though it was asked for as it is")
        data = bytearray()
        async for block in response.aiter_bytes(1 << 16):
            data += block
            if len(data) > max_bytes:
                raise TooLarge(f"{url} is larger than {max_bytes:,} bytes (HEADWATER_MAX_DOCUMENT_BYTES)")
        return response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(data)
