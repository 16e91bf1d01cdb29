"""Feeds, sitemaps and listing pages → entries. Bytes in, plain data out: no network, no clock."""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from finance_monitor.dates import read_date
from finance_monitor.decoding import decode
from finance_monitor.domain import DateFound, FeedEntry

_UNPACKED = 50_000_000
_ENTRIES = 5_000
_TAG = re.compile(r"<[^<>]{0,2000}>")
_BLOCK = re.compile(r"</?(?:p|div|br|li|h[1-6]|tr|blockquote)\b[^<>]{0,500}>", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\r\f\v\u00a0\u3000]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LIMITS = {"title": 500, "summary": 5_000, "content": 200_000}
_SKIPPED = ("nav", "footer", "header", "aside", "form")
_DATE_IN_PATH = re.compile(r"/(?:19|20)\d{2}[/-]?\d{2}|\d{5,}|\.s?html?$|/[a-z0-9]+(?:-[a-z0-9]+){3,}", re.IGNORECASE)


@dataclass(frozen=True)
class Feed:
    """Entries in the feed's own order; `problem` says what was wrong with it, "" when nothing was."""

    entries: list[FeedEntry]
    title: str = ""
    kind: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Sitemap:
    """Pages of a urlset, or the addresses of further sitemaps (`children`)."""

    entries: list[FeedEntry]
    children: list[str] = field(default_factory=list)
    problem: str = ""


def looks_like(data: bytes, content_type: str) -> str:
    """What the bytes are, by their beginning: feed, sitemap, listing, or "" (unknown)."""
    head = unpack(data[:200_000] if data[:2] != b"\x1f\x8b" else data)[:4096].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if b"<urlset" in head or b"<sitemapindex" in head:
        return "sitemap"
    if b"<rss" in head or b"<feed" in head or b"<rdf:rdf" in head or b"<channel" in head:
        return "feed"
    if head.startswith(b"{") and b"jsonfeed" in head:
        return "feed"
    if b"<html" in head or b"<!doctype html" in head or "html" in content_type.lower():
        return "listing"
    return ""


def parse_feed(data: bytes, content_type: str, url: str, now: datetime, *, region: str = "") -> Feed:
    """RSS, RDF, Atom and JSON Feed; judged by the entries that can be read and not by well-formedness."""
    if data.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"{":
        return _json_feed(data, content_type, url, now, region)
    import feedparser

    try:
        parsed = feedparser.parse(
            io.BytesIO(data), response_headers={"content-type": content_type, "content-location": url}
        )
    except Exception as error:  # noqa: BLE001 - feeds are hostile input, and feedparser's parsers raise what they like
        return Feed([], problem=f"the feed cannot be read: {type(error).__name__}: {error}"[:300])
    language = str(parsed.feed.get("language") or "")
    entries = [_entry(item, url, language, now, region) for item in parsed.entries[:_ENTRIES]]
    problem = ""
    if not entries:
        problem = "the feed has no entries"
        if parsed.get("bozo_exception") is not None:
            problem += f" ({parsed.bozo_exception})"[:300]
    found = [entry for entry in entries if entry.url or entry.guid or entry.title]
    return Feed(found, plain(str(parsed.feed.get("title") or ""))[:500], parsed.get("version") or "", problem)


def _entry(item: Any, base: str, language: str, now: datetime, region: str) -> FeedEntry:
    link = str(item.get("link") or "")
    guid = str(item.get("id") or "")
    if not link and guid.startswith(("http://", "https://")):
        link = guid
    own = str(item.get("language") or language)
    content = max((str(part.get("value") or "") for part in item.get("content") or []), key=len, default="")
    return FeedEntry(
        url=_absolute(base, link),
        guid=guid[:2000],
        title=plain(str(item.get("title") or ""))[: _LIMITS["title"]],
        summary=plain(str(item.get("summary") or ""))[: _LIMITS["summary"]],
        author=plain(str(item.get("author") or ""))[:300],
        published=_date(_raw(item, "published") or _raw(item, "created"), "feed published", now, own, region),
        updated=_date(_raw(item, "updated"), "feed updated", now, own, region),
        language=own[:16],
        content=plain(content)[: _LIMITS["content"]],
    )


def _json_feed(data: bytes, content_type: str, url: str, now: datetime, region: str) -> Feed:
    text, _ = decode(data, content_type)
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Feed([], problem=f"the JSON feed cannot be read: {error}"[:300])
    items = parsed.get("items") if isinstance(parsed, dict) else None
    if not isinstance(items, list):
        return Feed([], problem="the JSON document has no list `items`; it is no JSON Feed")
    language = _text(parsed.get("language"))
    entries = []
    for item in items[:_ENTRIES]:
        if not isinstance(item, dict):
            continue
        authors = item.get("authors") if isinstance(item.get("authors"), list) else [item.get("author")]
        names = [_text(author.get("name")) for author in authors or [] if isinstance(author, dict)]
        own = _text(item.get("language")) or language
        entries.append(
            FeedEntry(
                url=_absolute(url, _text(item.get("url")) or _text(item.get("external_url"))),
                guid=_text(item.get("id"))[:2000],
                title=plain(_text(item.get("title")))[: _LIMITS["title"]],
                summary=plain(_text(item.get("summary")))[: _LIMITS["summary"]],
                author=", ".join(filter(None, names))[:300],
                published=_date(item.get("date_published"), "feed published", now, own, region),
                updated=_date(item.get("date_modified"), "feed updated", now, own, region),
                language=own[:16],
                content=plain(_text(item.get("content_html")) or _text(item.get("content_text")))[: _LIMITS["content"]],
            )
        )
    problem = "" if entries else "the feed has no entries"
    return Feed([e for e in entries if e.url or e.guid or e.title], plain(_text(parsed.get("title"))), "json", problem)


def parse_sitemap(data: bytes, content_type: str, url: str, now: datetime, *, region: str = "") -> Sitemap:
    """A urlset, a news sitemap or an index, gzipped or not; what can be read of a broken one is used."""
    from lxml import etree

    content = unpack(data)
    parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        return Sitemap([], problem=f"the sitemap cannot be read: {error}"[:300])
    if root is None:
        return Sitemap([], problem="the sitemap is empty")
    entries: list[FeedEntry] = []
    children: list[str] = []
    for element in root.iter():
        name = _local(element)
        if name == "sitemap":
            children.append(_absolute(url, _child(element, "loc")))
        elif name == "url" and len(entries) < _ENTRIES:
            language = _child(element, "language")
            published = _child(element, "publication_date")
            entries.append(
                FeedEntry(
                    url=_absolute(url, _child(element, "loc")),
                    title=plain(_child(element, "title"))[: _LIMITS["title"]],
                    published=_date(published, "sitemap published", now, language, region),
                    updated=_date(_child(element, "lastmod"), "sitemap lastmod", now, language, region),
                    language=language[:16],
                )
            )
    entries = [entry for entry in entries if entry.url]
    children = [child for child in children if child]
    problem = "" if entries or children else "the sitemap names no page"
    return Sitemap(entries, children, problem)


def parse_listing(data: bytes, content_type: str, url: str, include: str = "") -> Feed:
    """Article links of an HTML page, in reading order. `include`: a pattern that the address must hold; without one
    links in navigation, header and footer are left out, and what remains must look like an article's address."""
    from lxml import html

    text, _ = decode(data, content_type)
    text = re.sub(r"\A\s*<\?xml[^>]*\?>", "", text)
    try:
        page = html.fromstring(text) if text.strip() else None
    except (ValueError, html.etree.ParserError):
        page = None
    if page is None:
        return Feed([], problem="the page is empty")
    host = urlsplit(url).hostname
    pattern = re.compile(include) if include else None
    found: dict[str, FeedEntry] = {}
    for link in page.iter("a"):
        address = _absolute(url, link.get("href") or "").partition("#")[0]
        title = plain(" ".join(link.itertext()))[: _LIMITS["title"]]
        if not address or urlsplit(address).hostname != host or address == url or not title:
            continue
        if pattern is not None:
            wanted = bool(pattern.search(address))
        else:
            skipped = any(parent.tag in _SKIPPED for parent in link.iterancestors())
            wanted = not skipped and len(title) >= 8 and bool(_DATE_IN_PATH.search(urlsplit(address).path))
        # Of picture and headline with one address the longer text is the title.
        if wanted and len(title) > len(found[address].title if address in found else ""):
            found[address] = FeedEntry(url=address, title=title)
    heading = page.findtext(".//title") or ""
    problem = "" if found else "no article links were found; name a pattern of their addresses: include: /news/"
    return Feed(list(found.values())[:_ENTRIES], plain(heading), "listing", problem)


def feed_link(data: bytes, content_type: str, url: str) -> str:
    """The feed that an HTML page announces (<link rel="alternate">); "" when it announces none."""
    text, _ = decode(data[:500_000], content_type)
    for tag in re.findall(r"<link\b[^<>]{0,1000}>", text, re.IGNORECASE):
        if re.search(r"application/(?:rss\+xml|atom\+xml|feed\+json)", tag, re.IGNORECASE):
            match = re.search(r"""href\s*=\s*["']?([^"'\s>]+)""", tag, re.IGNORECASE)
            if match:
                return _absolute(url, match.group(1))
    return ""


def unpack(data: bytes) -> bytes:
    """Gunzip what is gzipped, up to 50 MB; anything else, and what is broken, as it is."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.open(io.BytesIO(data)) as file:
            return file.read(_UNPACKED)
    except (OSError, EOFError, zlib.error):
        return data


def plain(markup: str) -> str:
    """Text of an HTML fragment: blocks become lines, entities characters, no control characters."""
    import html

    text = markup
    if "<" in text:
        text = re.sub(r"(?is)<(script|style)\b.*?(</\1\s*>|\Z)", " ", text[:400_000])
        text = _TAG.sub("", _BLOCK.sub("\n", text))
    text = html.unescape(text)
    if "<" in text and re.search(r"<(?:p|b|i|a|br|img|div|em|strong)\b", text, re.IGNORECASE):
        text = _TAG.sub("", _BLOCK.sub("\n", text))  # escaped twice
    text = _CONTROL.sub("", text)
    return "\n".join(line for raw in text.split("\n") if (line := _SPACE.sub(" ", raw).strip()))


def _raw(item: Any, key: str) -> Any:
    """The item's own value; feedparser's get() gives `updated` for a missing `published`."""
    return dict.get(item, key)


def _date(raw: Any, method: str, now: datetime, language: str, region: str) -> DateFound | None:
    text = _text(raw)
    return read_date(text, method, now, language, region=region) if text.strip() else None


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _absolute(base: str, link: str) -> str:
    try:
        address = urljoin(base, link.strip()) if link.strip() else ""
        parts = urlsplit(address)
        return address[:2000] if parts.scheme in ("http", "https") and parts.hostname else ""
    except ValueError:
        return ""


def _local(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _child(element: Any, name: str) -> str:
    for child in _descendants(element):
        if _local(child) == name:
            return (child.text or "").strip()
    return ""


def _descendants(element: Any) -> Iterator[Any]:
    children = element.iter()
    next(children)
    yield from children
