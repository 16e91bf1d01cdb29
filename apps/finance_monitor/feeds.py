"""Feeds, sitemaps and listing pages → entries. Bytes in, plain data out: no network, no clock."""

import io
import json
import re
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any
from urllib.parse import urljoin, urlsplit

from finance_monitor.dates import read_date
from finance_monitor.decoding import cleaned, decode, for_lxml
from finance_monitor.domain import DateFound, FeedEntry

_UNPACKED = 50_000_000
_ENTRIES = 5_000
_CHILDREN = 50_000
# What takes feedparser, lxml and the memory beyond any real document: the rest is left out.
_CHARACTERS = 20_000_000
_LISTING = 3_000_000
_MARKS = 200_000
_SITEMAP_TAGS = 2_000_000
_PIECE = 16_384
_ATTRIBUTES = 200
_BASES = 500
_BASE = re.compile(r"\b(?:xml:)?base\s*=", re.IGNORECASE)
# feedparser looks for an address in who wrote it, at each place of a run of letters anew.
_LONG_AUTHOR = re.compile(
    r"(<(?:[\w-]+:)?(?:author|creator|contributor|owner|publisher|name|email|managingeditor|webmaster)\b[^<>]{0,400}>"
    r"(?:<!\[CDATA\[)?[^<&\]]{1000})[^<&\]]+",
    re.IGNORECASE,
)
_LONG_TAG = re.compile(r"<[^<>]{800,}>?")
_TAG = re.compile(r"<[^<>]{0,2000}>|<[a-zA-Z/!][^<>]{2000,}>")
_BLOCK = re.compile(r"</?(?:p|div|br|li|h[1-6]|tr|blockquote)\b[^<>]{0,500}>", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\r\f\v\u00a0\u3000]+")
_DECLARATION = re.compile(r"\A<\?xml[^>]*\?>")
_MARGIN = "\ufeff \r\n\t"
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
    head = decode(unpack(data, 4096)[:4096], content_type)[0].lstrip(_MARGIN).lower()
    if "<urlset" in head or "<sitemapindex" in head:
        return "sitemap"
    if "<rss" in head or "<feed" in head or "<rdf:rdf" in head or "<channel" in head:
        return "feed"
    if head.startswith("{") and "jsonfeed" in head:
        return "feed"
    if "<html" in head or "<!doctype html" in head or "html" in content_type.lower():
        return "listing"
    return ""


def parse_feed(data: bytes, content_type: str, url: str, now: datetime, *, region: str = "") -> Feed:
    """RSS, RDF, Atom and JSON Feed; judged by the entries that can be read and not by well-formedness."""
    text = cleaned(decode(unpack(data), content_type)[0]).lstrip(_MARGIN)
    if text.startswith("{"):
        return _json_feed(text, url, now, region)
    import feedparser

    # decode() knows more of encodings than feedparser does, and plain() takes the markup away anyway.
    parsable = io.BytesIO(_tamed(text).encode())
    headers = {"content-type": "application/xml; charset=utf-8", "content-location": url}
    try:
        parsed = feedparser.parse(parsable, response_headers=headers, resolve_relative_uris=False, sanitize_html=False)
    except Exception as error:  # noqa: BLE001 - feeds are hostile input, and feedparser's parsers raise what they like
        return Feed([], problem=_problem(f"the feed cannot be read: {type(error).__name__}: {error}"))
    language = _line(parsed.feed.get("language"), 16)
    entries = [_entry(item, url, language, now, region) for item in parsed.entries[:_ENTRIES]]
    found = [entry for entry in entries if entry.url or entry.guid or entry.title]
    problem = ""
    if not found:
        problem = "the feed has no entries"
        if parsed.get("bozo_exception") is not None:
            problem = _problem(f"{problem} ({parsed.bozo_exception})")
    title = plain(_text(parsed.feed.get("title")))[: _LIMITS["title"]]
    return Feed(found, title, parsed.get("version") or "", problem)


def _tamed(text: str) -> str:
    """The feed without its declaration and without what costs feedparser the square of its size."""
    text = _DECLARATION.sub("", text[:_CHARACTERS])
    if text.count("<") + text.count("&") > _MARKS:
        text = text[: next(islice(re.finditer("[<&]", text), _MARKS, None)).start()]
    text = _LONG_AUTHOR.sub(r"\1", _LONG_TAG.sub(_without_attributes, text))
    return _BASE.sub("x=", text) if text.count("base") > _BASES else text


def _without_attributes(tag: re.Match[str]) -> str:
    if tag.group().count("=") <= _ATTRIBUTES:
        return tag.group()
    name = re.match(r"<[^\s<>/]*", tag.group())
    return f"{name.group() if name else '<'}{'/>' if tag.group().endswith('/>') else '>'}"


def _entry(item: Any, base: str, language: str, now: datetime, region: str) -> FeedEntry:
    link = _text(item.get("link"))
    guid = _line(item.get("id"), 2000)
    if not link and guid.startswith(("http://", "https://")):
        link = guid
    own = _line(item.get("language"), 16) or language
    content = max((_text(part.get("value")) for part in item.get("content") or []), key=len, default="")
    return FeedEntry(
        url=absolute(base, link),
        guid=guid,
        title=plain(_text(item.get("title")))[: _LIMITS["title"]],
        summary=plain(_text(item.get("summary")))[: _LIMITS["summary"]],
        author=plain(_text(item.get("author")))[:300],
        published=_date(_raw(item, "published") or _raw(item, "created"), "feed published", now, own, region),
        updated=_date(_raw(item, "updated"), "feed updated", now, own, region),
        language=own,
        content=plain(content)[: _LIMITS["content"]],
    )


def _json_feed(text: str, url: str, now: datetime, region: str) -> Feed:
    try:
        parsed = json.loads(text[:_CHARACTERS])
    except (ValueError, RecursionError) as error:
        return Feed([], problem=_problem(f"the JSON feed cannot be read: {error}"))
    items = parsed.get("items") if isinstance(parsed, dict) else None
    if not isinstance(items, list):
        return Feed([], problem="the JSON document has no list `items`; it is no JSON Feed")
    language = _line(parsed.get("language"), 16)
    entries = [_json_entry(item, url, language, now, region) for item in items[:_ENTRIES] if isinstance(item, dict)]
    found = [entry for entry in entries if entry.url or entry.guid or entry.title]
    title = plain(_text(parsed.get("title")))[: _LIMITS["title"]]
    return Feed(found, title, "json", "" if found else "the feed has no entries")


def _json_entry(item: dict[str, Any], base: str, language: str, now: datetime, region: str) -> FeedEntry:
    authors = item.get("authors") if isinstance(item.get("authors"), list) else [item.get("author")]
    names = [plain(_text(author.get("name"))) for author in authors or [] if isinstance(author, dict)]
    own = _line(item.get("language"), 16) or language
    return FeedEntry(
        url=absolute(base, _text(item.get("url")) or _text(item.get("external_url"))),
        guid=_line(item.get("id"), 2000),
        title=plain(_text(item.get("title")))[: _LIMITS["title"]],
        summary=plain(_text(item.get("summary")))[: _LIMITS["summary"]],
        author=", ".join(filter(None, names))[:300],
        published=_date(item.get("date_published"), "feed published", now, own, region),
        updated=_date(item.get("date_modified"), "feed updated", now, own, region),
        language=own,
        content=plain(_text(item.get("content_html")) or _text(item.get("content_text")))[: _LIMITS["content"]],
    )


def parse_sitemap(data: bytes, content_type: str, url: str, now: datetime, *, region: str = "") -> Sitemap:
    """A urlset, a news sitemap or an index, gzipped or not; what can be read of a broken one is used.

    Of more than 5,000 pages the first and the last are taken: the newest stand at one of the ends.
    """
    from lxml import etree

    text = for_lxml(decode(unpack(data), content_type)[0]).lstrip(_MARGIN)
    if text.count("<") > _SITEMAP_TAGS:
        return Sitemap(
            [], problem=f"the sitemap holds more than {_SITEMAP_TAGS} tags, and a sitemap 50,000 pages at most"
        )
    parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(_DECLARATION.sub("", text).encode(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        return Sitemap([], problem=_problem(f"the sitemap cannot be read: {error}"))
    if root is None:
        return Sitemap([], problem="the sitemap is empty")
    children = [absolute(url, _parts(element).get("loc", "")) for element in root.iter("{*}sitemap", "sitemap")]
    pages = list(root.iter("{*}url", "url"))
    if len(pages) > _ENTRIES:
        pages = pages[: _ENTRIES // 2] + pages[-_ENTRIES // 2 :]
    entries = [_listed(element, url, now, region) for element in pages]
    entries = [entry for entry in entries if entry.url]
    children = [child for child in children if child][:_CHILDREN]
    problem = "" if entries or children else "the sitemap names no page"
    return Sitemap(entries, children, problem)


def _listed(element: Any, base: str, now: datetime, region: str) -> FeedEntry:
    parts = _parts(element)
    language = _line(parts.get("language"), 16)
    return FeedEntry(
        url=absolute(base, parts.get("loc", "")),
        title=plain(parts.get("title", ""))[: _LIMITS["title"]],
        published=_date(parts.get("publication_date"), "sitemap published", now, language, region),
        updated=_date(parts.get("lastmod"), "sitemap lastmod", now, language, region),
        language=language,
    )


def _parts(element: Any) -> dict[str, str]:
    """Local name → text of the first element of that name below."""
    found: dict[str, str] = {}
    for child in islice(element.iterdescendants(), 1000):
        if isinstance(child.tag, str):
            found.setdefault(child.tag.rpartition("}")[2], (child.text or "").strip())
    return found


def parse_listing(data: bytes, content_type: str, url: str, include: str = "") -> Feed:
    """Article links of an HTML page, in reading order. `include`: a pattern that the address must hold; without one
    links in navigation, header and footer are left out, and what remains must look like an article's address."""
    from lxml import html

    text = for_lxml(decode(unpack(data), content_type)[0][:_LISTING]).lstrip(_MARGIN)
    text = _DECLARATION.sub("", text)
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
        address = absolute(url, link.get("href") or "").partition("#")[0]
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
    title = plain(heading)[: _LIMITS["title"]]
    return Feed(list(found.values())[:_ENTRIES], title, "listing", problem)


def feed_link(data: bytes, content_type: str, url: str) -> str:
    """The feed that an HTML page announces (<link rel="alternate">); "" when it announces none."""
    text, _ = decode(unpack(data, 500_000)[:500_000], content_type)
    for tag in re.findall(r"<link\b[^<>]{0,1000}>", text, re.IGNORECASE):
        if re.search(r"application/(?:rss\+xml|atom\+xml|feed\+json)", tag, re.IGNORECASE):
            match = re.search(r"""href\s*=\s*["']?([^"'\s>]+)""", tag, re.IGNORECASE)
            if match:
                return absolute(url, match.group(1))
    return ""


def unpack(data: bytes, limit: int = _UNPACKED) -> bytes:
    """Gunzip what is gzipped, up to 50 MB and as far as it is sound; anything else as it is."""
    if data[:2] != b"\x1f\x8b":
        return data
    found, rest = bytearray(), data
    try:
        while rest[:2] == b"\x1f\x8b" and len(found) < limit:  # members may follow one another
            member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            for start in range(0, len(rest), _PIECE):
                found += member.decompress(rest[start : start + _PIECE], limit - len(found))
                if member.eof or len(found) >= limit:
                    break
            rest = member.unused_data + rest[start + _PIECE :]
    except zlib.error:
        return bytes(found) or data
    return bytes(found)


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
    text = cleaned(text)
    return "\n".join(line for raw in text.split("\n") if (line := _SPACE.sub(" ", raw).strip()))


def _raw(item: Any, key: str) -> Any:
    """The item's own value; feedparser's get() gives `updated` for a missing `published`."""
    return dict.get(item, key)


def _date(raw: Any, method: str, now: datetime, language: str, region: str) -> DateFound | None:
    text = _text(raw)
    return read_date(text, method, now, language, region=region) if text.strip() else None


def _text(value: Any) -> str:
    return cleaned(str(value)) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _line(value: Any, limit: int) -> str:
    return " ".join(_text(value).split())[:limit]


def _problem(text: str) -> str:
    return _line(text, 300)


def absolute(base: str, link: str) -> str:
    """The address without what no address holds; "" where it is none of the web's."""
    try:
        address = urljoin(base, cleaned(link).strip()) if link.strip() else ""
        parts = urlsplit(address)
        # Reading the port is what finds out a wrong one.
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return ""
    return "".join(address.split())[:2000] if is_web else ""
