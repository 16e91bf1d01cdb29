"""Pages and sitemaps from the web, without a way into the own network.

Every address is resolved first and refused when it is not public; the connection goes to the address that was checked
(so that a second DNS answer cannot redirect it), and every redirect is checked again.
"""

import gzip
import ipaddress
import socket
import zlib
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit
from xml.etree.ElementTree import Element  # only the type; parsing is defused

import httpx

from headwater.errors import HeadwaterError, TooLarge, Unavailable, Unsupported

_REDIRECTS = 5
_SECONDS = 20.0
_SITEMAP_PAGES = 2_000
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
    """Page addresses of a sitemap or sitemap index (also gzipped), on the sitemap's own host, at most 2,000."""
    host = urlsplit(url).hostname
    pages: list[str] = []
    waiting, seen = [url], set[str]()
    while waiting and len(pages) < _SITEMAP_PAGES:
        current = waiting.pop(0)
        if current in seen or len(seen) > 50:
            continue
        seen.add(current)
        root = _parse_sitemap(current, _get(current, max_bytes, allow_private)[1], max_bytes)
        locations = [(node.text or "").strip() for node in root.iter() if node.tag.rsplit("}", 1)[-1] == "loc"]
        own = [location for location in locations if urlsplit(location).hostname == host]
        if root.tag.rsplit("}", 1)[-1] == "sitemapindex":
            waiting += own
        else:
            pages += own
    return list(dict.fromkeys(pages))[:_SITEMAP_PAGES]


def _parse_sitemap(url: str, data: bytes, max_bytes: int) -> Element:
    from defusedxml import DefusedXmlException, ElementTree

    if data[:2] == b"\x1f\x8b":
        try:
            data = zlib.decompressobj(wbits=31).decompress(data, max_bytes)
        except (zlib.error, gzip.BadGzipFile) as error:
            raise HeadwaterError(f"{url} is not gzip: {error}") from error
    try:
        root: Element = ElementTree.fromstring(data)
    except (ElementTree.ParseError, DefusedXmlException) as error:
        raise HeadwaterError(f"{url} is not a sitemap: {error}") from error
    return root


def _get(url: str, max_bytes: int, allow_private: bool) -> tuple[str, bytes, str]:
    for _ in range(_REDIRECTS + 1):
        address = check_address(url, allow_private)
        status, headers, data = _request(url, address, max_bytes)
        if status in (301, 302, 303, 307, 308):
            url = urljoin(url, headers.get("location", ""))
            continue
        if status != 200:
            raise Unavailable(f"{url} answered {status}")
        return url, data, headers.get("content-type", "")
    raise HeadwaterError(f"{url}: more than {_REDIRECTS} redirects")


def check_address(url: str, allow_private: bool = False) -> str:
    """The address that `url` resolves to. Raises HeadwaterError unless it is http(s) and public."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HeadwaterError(f"{url!r} is no http or https address")
    if parts.username or parts.password:
        raise HeadwaterError(f"{parts.hostname}: addresses with a user name or password are refused")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = {str(info[4][0]) for info in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)}
    except (OSError, ValueError) as error:
        raise Unavailable(f"{parts.hostname} cannot be resolved: {error}") from error
    for address in found:
        if not allow_private and not _is_public(address):
            raise HeadwaterError(
                f"{parts.hostname} is the private address {address}, which is refused; "
                "for an intranet of your own set HEADWATER_ALLOW_PRIVATE_URLS=true"
            )
    return min(found)


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.split("%")[0])
    mapped = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1] if ip.version == 6 else None
    return (mapped or ip).is_global and not (mapped or ip).is_multicast


def _request(url: str, address: str, max_bytes: int) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(url)
    host = f"[{address}]" if ":" in address else address
    port = f":{parts.port}" if parts.port else ""
    pinned = parts._replace(netloc=f"{host}{port}", fragment="").geturl()
    headers = {"Host": parts.netloc, "User-Agent": "Headwater/0.1 (+help centre import)", "Accept-Encoding": "identity"}
    extensions = {"sni_hostname": parts.hostname} if parts.scheme == "https" else {}
    try:
        with (
            httpx.Client(timeout=_SECONDS, trust_env=False, follow_redirects=False) as client,
            client.stream("GET", pinned, headers=headers, extensions=extensions) as response,
        ):
            data = bytearray()
            for block in response.iter_bytes(1 << 16):
                data += block
                if len(data) > max_bytes:
                    raise TooLarge(f"{url} is larger than {max_bytes:,} bytes (HEADWATER_MAX_DOCUMENT_BYTES)")
            return response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(data)
    except httpx.HTTPError as error:
        raise Unavailable(f"{url} cannot be fetched: {type(error).__name__} {error}") from error
