"""A page's bytes → title, text, date, author: HTML by trafilatura with a fallback, PDF reports by pypdf."""

import io
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

from finance_monitor.dates import read_date
from finance_monitor.decoding import decode, for_lxml
from finance_monitor.domain import DateFound, Page
from finance_monitor.feeds import absolute, plain, unpack

# Pages above this are read up to here: no article is longer, and parsing takes about 25 ms per 100 kB.
_HTML_CHARACTERS = 3_000_000
_PDF_PAGES = 60
_TEXT = 200_000
# An extract shorter than this, and than half of what the paragraphs hold, has missed the article.
_SHORT = 250
_LONGER = 1.4
# Beyond it trafilatura, which compares elements with each other, takes minutes; news pages have some thousands.
_MOST_ELEMENTS = 40_000
_ASIDE = re.compile(r"comment|reply|related|promo|sidebar|footer|newsletter|caption", re.IGNORECASE)
_META_DATES = (
    "article:published_time", "og:published_time", "article:published", "datepublished", "date", "pubdate",
    "publishdate",
    "publish-date", "publish_date", "dc.date", "dc.date.issued", "dcterms.created", "dcterms.date", "parsely-pub-date",
    "sailthru.date", "article.published", "published_time", "og:pubdate", "weibo:article:create_at", "apub:time",
)  # fmt: skip
_PDF_DATE = re.compile(
    r"^D:(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2}))?(?:\d{2})?(?:([Z+-])(?:(\d{2})'?(\d{2})?)?)?.*", re.DOTALL
)
_TIME_TAG = re.compile(r"<time\b[^<>]{0,400}>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*("[^"]{0,2000}"|'[^']{0,2000}'|[^\s"'>]+)""")
_META_TAG = re.compile(r"<meta\b[^<>]{0,4000}>", re.IGNORECASE)
_SCRIPT = re.compile(r"<script\b([^<>]{0,600})>", re.IGNORECASE)
_SCRIPT_END = re.compile(r"</script", re.IGNORECASE)
_VISIBLE = re.compile(
    r"(?<![0-9A-Za-z])(?:\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:?\d{2})?"
    r"|\d{4}年\d{1,2}月\d{1,2}日(?:\s*\d{1,2}[:：]\d{2})?"
    r"|(?:\d{1,2}\s+)?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?\s+(?:\d{1,2},?\s+)?\d{4}"
    r"(?:,?\s+(?:at\s+)?\d{1,2}[:.]\d{2}\s*(?:[ap]\.?m\.?)?(?:\s*[A-Z]{2,4})?)?|\d{4}-\d{2}-\d{2})",
    re.IGNORECASE,
)
_MORE = re.compile(
    r"^(read more|read also|see also|related( stories| articles)?|advertisement|share this|sign up|subscribe|follow us|"
    r"more from|recommended|most read|click here|photo|image|copyright|"
    r"责任编辑|相关阅读|延伸阅读|更多精彩|扫码|点击查看)\b.{0,80}$",
    re.IGNORECASE,
)
for _name in ("trafilatura", "htmldate", "pypdf"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def read_page(data: bytes, content_type: str, url: str, now: datetime, *, language: str = "", region: str = "") -> Page:
    """Read one page. Empty text where there is none to be found; never raises for the content of a page.

    `now` is what "3 hours ago" counts from. It is kept with the page, so that reading it again gives the same.
    """
    data = unpack(data)
    if data[:1024].lstrip()[:5] == b"%PDF-":
        page = _read_pdf(data, now, language, region)
    else:
        text = for_lxml(decode(data, content_type)[0][:_HTML_CHARACTERS])
        page = _read_html(text, url, now, language, region)
    return replace(page, read=now)


def _read_html(markup: str, url: str, now: datetime, language: str, region: str) -> Page:
    from lxml import html

    markup = re.sub(r"\A[\ufeff\s]*<\?xml[^>]*\?>", "", markup)
    metas = _metas(markup)
    linked = _json_ld(markup)
    try:
        tree = html.fromstring(markup) if markup.strip() else None
    except (ValueError, html.etree.ParserError):
        tree = None
    if tree is None:
        return Page("", "", method="empty")
    method, body = _body(tree, url, _string(linked.get("articleBody")))
    title = _title(tree, metas, linked)
    found = _published(markup, metas, linked, title, now, language, region)
    if found is None and body:
        found = _htmldate(markup, now)
    author = _first(_names(linked.get("author")), metas.get("author"), metas.get("article:author"))
    stated = tree.get("lang") or tree.get("{http://www.w3.org/XML/1998/namespace}lang") or metas.get("og:locale", "")
    links = (link for link in tree.iter("link") if (link.get("rel") or "").lower() == "canonical")
    canonical = next((link.get("href") or "" for link in links), "")
    return Page(
        plain(title)[:500],
        body[:_TEXT],
        found,
        plain(author)[:300] if not author.startswith("http") else "",
        re.split("[_-]", plain(stated))[0].lower()[:8],
        absolute("", canonical),
        method,
    )


def _body(tree: Any, url: str, stated_body: str) -> tuple[str, str]:
    """The article's text by trafilatura; where that misses it, the block with most words in paragraphs."""
    if sum(1 for _ in tree.iter()) > _MOST_ELEMENTS:
        return "paragraphs", _tidy(_densest(tree))
    text = _trafilatura(tree, url, fast=True)
    # Its second and third opinions take a third of the time, and are worth it only where the first finds nothing.
    if len(text) < _SHORT:
        text = _trafilatura(tree, url, fast=False)
    densest = _tidy(_densest(tree))
    stated = _tidy(stated_body) if stated_body.count(".") + stated_body.count("。") > 3 else ""
    # What the publisher itself calls the article's body, unless it is cut short.
    if len(stated) >= _SHORT and 0.8 * len(text) <= len(stated):
        return "json-ld", stated
    if len(densest) > _LONGER * len(text) or (len(text) < _SHORT and len(densest) > len(text)):
        return "paragraphs", densest
    return "trafilatura", text


def _trafilatura(tree: Any, url: str, *, fast: bool) -> str:
    """What trafilatura takes for the article; it works on a copy of the tree, which is 256 elements deep at most."""
    import trafilatura

    try:
        found = trafilatura.extract(
            tree, url=url or None, include_comments=False, include_tables=True, favor_precision=True, fast=fast
        )
        return _tidy(found or "")
    except (ValueError, RecursionError, AttributeError, TypeError, IndexError):
        return ""


def _densest(tree: Any) -> str:
    """Paragraphs of the elements of one kind (tag and class) that directly hold most of their text."""
    weights: dict[tuple[str, str], int] = {}
    paragraphs: dict[tuple[str, str], list[str]] = {}
    for paragraph in tree.iter("p"):
        text = " ".join(" ".join(paragraph.itertext()).split())
        parent = paragraph.getparent()
        if len(text) < 20 or parent is None or _ASIDE.search(f"{parent.get('class')} {parent.get('id')}"):
            continue
        kind = (str(parent.tag), parent.get("class") or "")
        weights[kind] = weights.get(kind, 0) + len(text)
        paragraphs.setdefault(kind, []).append(text)
    if not weights:
        return ""
    return "\n".join(paragraphs[max(weights, key=lambda kind: weights[kind])])


def _tidy(text: str) -> str:
    """Without lines that only lead elsewhere and without repeated paragraphs."""
    seen: set[str] = set()
    lines = []
    for line in plain(text).split("\n"):
        if _MORE.match(line) or (len(line) > 40 and line in seen):
            continue
        seen.add(line)
        lines.append(line)
    return "\n".join(lines) if any(map(str.isalnum, text)) else ""


def _title(tree: Any, metas: dict[str, str], linked: dict[str, Any]) -> str:
    headings = [" ".join(" ".join(h.itertext()).split()) for h in tree.iter("h1")]
    heading = headings[0] if len(headings) == 1 else ""
    whole = " ".join((tree.findtext(".//title") or "").split())
    return _first(_string(linked.get("headline")), metas.get("og:title"), heading, *headings, whole)


def _published(
    markup: str, metas: dict[str, str], linked: dict[str, Any], title: str, now: datetime, language: str, region: str
) -> DateFound | None:
    candidates = [(_string(linked.get("datePublished")), "json-ld")]
    candidates += [(metas[name], f"meta {name}") for name in _META_DATES if name in metas]
    for tag in _TIME_TAG.findall(markup[:500_000])[:5]:
        candidates.append((_attributes(tag).get("datetime", ""), "time element"))
    first: DateFound | None = None
    for raw, method in candidates:
        if raw.strip():
            found = read_date(raw, method, now, language, region=region)
            if found.moment is not None:
                return found
            first = first or found
    body = re.sub(r"(?is)<(script|style)\b.*?(</\1\s*>|\Z)", " ", markup[:500_000])
    at = body.find(title[:40], max(0, body.lower().find("<body"))) if title else -1
    visible = plain(body[max(0, at - 1500) : at + 4000]) if at >= 0 else ""
    if match := _VISIBLE.search(visible):
        found = read_date(match.group(), "visible text", now, language, region=region)
        if found.moment is not None:
            return found
    return first


def _htmldate(markup: str, now: datetime) -> DateFound | None:
    """htmldate takes about 40 ms a page, so it comes last."""
    from htmldate import find_date

    try:
        raw = find_date(markup, original_date=True, extensive_search=False, max_date=now.date().isoformat())
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return read_date(raw, "htmldate", now) if raw else None


def _metas(markup: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag in _META_TAG.findall(markup[:500_000]):
        values = _attributes(tag)
        name = (values.get("property") or values.get("name") or values.get("itemprop") or "").lower()
        if name and values.get("content"):
            found.setdefault(name, plain(values["content"]))
    return found


def _attributes(tag: str) -> dict[str, str]:
    return {name.lower(): value.strip("\"'") for name, value in _ATTRIBUTE.findall(tag)}


def _json_ld(markup: str) -> dict[str, Any]:
    """The first JSON-LD object that is an article (schema.org)."""
    for block in islice(_linked_data(markup[:2_000_000]), 10):
        try:
            parsed = json.loads(block)
        except (ValueError, RecursionError):
            continue
        items = parsed if isinstance(parsed, list) else [parsed]
        for item in items:
            if isinstance(item, dict) and isinstance(item.get("@graph"), list):
                items = [*items, *item["@graph"]]
        for item in items:
            if isinstance(item, dict) and ("headline" in item or "datePublished" in item):
                return item
    return {}


def _linked_data(markup: str) -> Iterator[str]:
    at = 0
    while (begin := _SCRIPT.search(markup, at)) and (end := _SCRIPT_END.search(markup, begin.end())):
        if "application/ld+json" in begin.group(1).lower():
            yield markup[begin.end() : end.start()]
        at = end.end()


def _names(author: Any) -> str:
    authors = author if isinstance(author, list) else [author]
    return ", ".join(_string(a.get("name")) if isinstance(a, dict) else _string(a) for a in authors if a)


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _first(*values: str | None) -> str:
    return next((value for value in values if value and value.strip()), "")


def _pdf_date(match: re.Match[str]) -> str:
    """D:20260304093000+08'00' → 2026-03-04 09:30+08:00 (ISO 32000-1, 7.9.4)."""
    year, month, day, hour, minute, zone, hours, minutes = match.groups()
    clock = f" {hour}:{minute}" if minute else ""
    offset = f"{zone}{hours}:{minutes or '00'}" if clock and hours else "Z" if clock and zone == "Z" else ""
    return f"{year}-{month}-{day}{clock}{offset}"


def _read_pdf(data: bytes, now: datetime, language: str, region: str) -> Page:
    from pypdf import PdfReader

    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            return Page("", "", method="pdf (encrypted)")
        info = reader.metadata or {}
        pages = [reader.pages[i].extract_text() or "" for i in range(min(_PDF_PAGES, len(reader.pages)))]
        text = "\n".join(plain(page) for page in pages)
        title = str(info.get("/Title") or "").strip() or next((line for line in text.split("\n") if len(line) > 3), "")
        raw = _PDF_DATE.sub(_pdf_date, str(info.get("/CreationDate") or ""))
    except Exception as error:  # noqa: BLE001 - a PDF is hostile input; pypdf raises errors of many kinds
        return Page("", "", method=f"pdf ({type(error).__name__})")
    found = read_date(raw, "pdf creation date", now, language, region=region) if raw else None
    return Page(plain(title)[:500], text[:_TEXT], found, method="pdf")
