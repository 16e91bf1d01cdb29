"""What the sample world's sources look like: feeds, sitemaps, listings, article pages and PDF reports."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache
from html import escape
from string import Template

from finance_monitor.world_bank import FOLDER, Article, WorldSource

FEED_TYPES = {
    "rss": "application/rss+xml",
    "atom": "application/atom+xml",
    "rdf": "application/rdf+xml",
    "json": "application/feed+json",
    "sitemap": "application/xml",
    "listing": "text/html",
}
# What a source declares, in its header and in its documents; "" declares nothing in the header.
DECLARED = {"gbk": "gb2312", "big5": "big5", "utf-8": "utf-8", "windows-1252": ""}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Document:
    """One answer of the site before its transfer."""

    body: bytes
    type: str
    modified: datetime
    status: int = 200

    @property
    def tag(self) -> str:
        return f'W/"{hashlib.blake2b(self.body, digest_size=9).hexdigest()}"'


def document(source: WorldSource, kind: str, text: str, modified: datetime) -> Document:
    charset = DECLARED[source.encoding]
    body = text.encode(source.encoding, "xmlcharrefreplace")
    return Document(body, f"{kind}; charset={charset}" if charset else kind, modified)


def html_page(text: str, encoding: str, modified: datetime) -> Document:
    charset = DECLARED[encoding] or encoding
    body = text.replace("utf-8", charset, 1).encode(encoding, "xmlcharrefreplace")
    return Document(body, f"text/html; charset={charset}", modified)


def list_page(title: str, rows: Iterable[tuple[str, str, str]]) -> str:
    items = "\n".join(f'<li><a href="{escape(url)}">{escape(name)}</a> {note}</li>' for name, url, note in rows)
    head = f'<!doctype html>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n<h1>{escape(title)}</h1>'
    return f"{head}\n<ul>\n{items}\n</ul>\n"


# ---- feeds


def _rfc822(source: WorldSource, moment: datetime) -> str:
    return format_datetime(moment.astimezone(source.zone).replace(microsecond=0))


def _iso(source: WorldSource, moment: datetime) -> str:
    return moment.astimezone(source.zone).isoformat(timespec="seconds")


def _guid(article: Article, origin: str) -> str:
    return origin + article.guid if article.guid.startswith("/") else article.guid


def _paragraphs(article: Article) -> str:
    return "\n".join(f"<p>{escape(text, quote=False)}</p>" for text in article.paragraphs)


def rss(source: WorldSource, articles: Sequence[Article], origin: str) -> str:
    """RSS 2.0; a forum's items hold their whole text, as comment feeds do."""
    items = []
    for article in articles:
        text = _paragraphs(article) if source.kind == "comment" else article.summary
        items.append(
            f"<item><title>{escape(article.title)}</title><link>{escape(origin + article.path)}</link>"
            f'<guid isPermaLink="false">{escape(_guid(article, origin))}</guid>'
            f"<pubDate>{_rfc822(source, article.published)}</pubDate><dc:creator>{escape(article.author)}</dc:creator>"
            f"<description>{escape(text)}</description></item>"
        )
    charset = DECLARED[source.encoding] or source.encoding
    return (
        f'<?xml version="1.0" encoding="{charset}"?>\n<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<channel><title>{escape(source.name)}</title><link>{origin}/{source.id}/</link>"
        f"<description>{escape(source.name)}</description><language>{source.language.lower()}</language>\n"
        + "\n".join(items)
        + "\n</channel></rss>\n"
    )


def atom(source: WorldSource, articles: Sequence[Article], origin: str) -> str:
    """Atom 1.0 (RFC 4287)."""
    entries = "\n".join(
        f"<entry><id>{escape(_guid(article, origin))}</id><title>{escape(article.title)}</title>"
        f'<link rel="alternate" href="{escape(origin + article.path)}"/>'
        f"<published>{_iso(source, article.published)}</published><updated>{_iso(source, article.shown)}</updated>"
        f"<author><name>{escape(article.author)}</name></author><summary>{escape(article.summary)}</summary></entry>"
        for article in articles
    )
    newest = max((article.shown for article in articles), default=datetime.now(UTC))
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="{source.language}"><title>{escape(source.name)}</title>'
        f"<id>tag:{source.id}.example,2020:feed</id><updated>{_iso(source, newest)}</updated>"
        f'<link rel="self" href="{origin}{source.path}"/>\n{entries}\n</feed>\n'
    )


def rdf(source: WorldSource, articles: Sequence[Article], origin: str) -> str:
    """RSS 1.0, whose dates are Dublin Core."""
    places = "".join(f'<rdf:li rdf:resource="{escape(origin + article.path)}"/>' for article in articles)
    items = "\n".join(
        f'<item rdf:about="{escape(origin + article.path)}"><title>{escape(article.title)}</title>'
        f"<link>{escape(origin + article.path)}</link><description>{escape(article.summary)}</description>"
        f"<dc:date>{_iso(source, article.published)}</dc:date><dc:creator>{escape(article.author)}</dc:creator>"
        f"<dc:identifier>{escape(_guid(article, origin))}</dc:identifier></item>"
        for article in articles
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns="http://purl.org/rss/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/">\n'
        f'<channel rdf:about="{origin}{source.path}"><title>{escape(source.name)}</title>'
        f"<link>{origin}/{source.id}/</link><description>{escape(source.name)}</description><dc:language>{source.language}</dc:language>"
        f"<items><rdf:Seq>{places}</rdf:Seq></items></channel>\n{items}\n</rdf:RDF>\n"
    )


def json_feed(source: WorldSource, articles: Sequence[Article], origin: str) -> str:
    """JSON Feed 1.1."""
    items = [
        {
            "id": _guid(article, origin),
            "url": origin + article.path,
            "title": article.title,
            "summary": article.summary,
            "content_html": _paragraphs(article),
            "date_published": _iso(source, article.published),
            "authors": [{"name": article.author}],
            "tags": list(article.topics),
        }
        | ({"date_modified": _iso(source, article.updated)} if article.updated else {})
        for article in articles
    ]
    feed = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": source.name,
        "home_page_url": f"{origin}/{source.id}/",
        "feed_url": origin + source.path,
        "language": source.language,
        "items": items,
    }
    return json.dumps(feed, ensure_ascii=False)


def sitemap_index(source: WorldSource, articles: Sequence[Article], origin: str) -> str:
    """The index of the sitemaps: the news of two days and an archive a month."""
    newest: dict[str, datetime] = {}
    for article in articles:
        for name in ("news", f"archive-{article.published:%Y-%m}"):
            newest[name] = max(newest.get(name, article.shown), article.shown)
    maps = "\n".join(
        f"<sitemap><loc>{origin}/{source.id}/{name}.xml.gz</loc><lastmod>{_iso(source, moment)}</lastmod></sitemap>"
        for name, moment in newest.items()
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{maps}\n</sitemapindex>\n'
    )


def sitemap(source: WorldSource, articles: Sequence[Article], origin: str, news: bool) -> str:
    """A sitemap with `lastmod`; a news sitemap has titles and publication dates as well."""
    rows = []
    for article in articles:
        told = (
            f"<news:news><news:publication><news:name>{escape(source.name)}</news:name>"
            f"<news:language>{source.language}</news:language></news:publication>"
            f"<news:publication_date>{_iso(source, article.published)}</news:publication_date>"
            f"<news:title>{escape(article.title)}</news:title></news:news>"
            if news
            else ""
        )
        changed = _iso(source, article.shown)
        rows.append(f"<url><loc>{escape(origin + article.path)}</loc><lastmod>{changed}</lastmod>{told}</url>")
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" '
        'xmlns:news="http://www.google.com/schemas/sitemap-news/0.9">\n' + "\n".join(rows) + "\n</urlset>\n"
    )


def listing(source: WorldSource, articles: Sequence[Article], origin: str) -> str:
    """A page of links under headings of days, as sites without a feed have."""
    rows, day = [], ""
    for article in articles:
        local = article.published.astimezone(source.zone)
        if (heading := f"{local:%d %B %Y}".lstrip("0")) != day:
            rows.append(
                f"</ul><h3>{heading}</h3><ul class=stories>" if day else f"<h3>{heading}</h3><ul class=stories>"
            )
            day = heading
        rows.append(
            f'<li><a href="{escape(article.path)}">{escape(article.title)}</a> <small>{local:%H.%M}</small>'
            f"<p>{escape(article.summary[:140])}…</p></li>"
        )
    return _template("quayside-latest").substitute(rows="\n".join(rows))


FEEDS: dict[str, Callable[[WorldSource, Sequence[Article], str], str]] = {
    "rss": rss,
    "atom": atom,
    "rdf": rdf,
    "json": json_feed,
    "sitemap": sitemap_index,
    "listing": listing,
}


# ---- pages


@cache
def _template(name: str) -> Template:
    return Template((FOLDER / "pages" / f"{name}.html").read_text(encoding="utf-8"))


def _spoken(source: WorldSource, moment: datetime) -> str:
    """The date as the source's readers see it."""
    local = moment.astimezone(source.zone)
    if source.language == "zh-CN":
        return f"{local.year}年{local.month:02d}月{local.day:02d}日 {local:%H:%M}"
    if source.language == "zh-TW":
        return f"{local:%Y-%m-%d %H:%M}"
    if source.style == "listing":
        return f"{local.day} {local:%B} {local.year}, {local:%H:%M}"
    if source.region == "US":
        return f"{local:%B} {local.day}, {local.year} at {local.hour % 12 or 12}:{local:%M} {local:%p} {local:%Z}"
    return f"{WEEKDAYS[local.weekday()]} {local.day} {local:%B} {local.year}, {local:%H:%M}"


def article_page(source: WorldSource, article: Article, near: Sequence[Article], origin: str) -> Document:
    """The article on the page of its source, with links to those near it; a filing as a PDF."""
    if source.kind == "filing":
        return Document(
            pdf(article.title, _spoken(source, article.published), article.paragraphs), "application/pdf", article.shown
        )
    links = [f'<li><a href="{escape(other.path)}">{escape(other.title)}</a></li>' for other in near]
    told = {
        "@context": "https://schema.org",
        "@type": "NewsArticle",
        "headline": article.title,
        "datePublished": _iso(source, article.published),
        "dateModified": _iso(source, article.shown),
        "author": {"@type": "Person", "name": article.author},
        "publisher": {"@type": "Organization", "name": source.name},
    }
    posts = "\n".join(f'<div class="post-line"><p>{escape(text, quote=False)}</p></div>' for text in article.paragraphs)
    text = _template(source.id).substitute(
        title=escape(article.title),
        summary=escape(article.summary),
        body=_paragraphs(article),
        posts=posts,
        author=escape(article.author),
        iso=_iso(source, article.published),
        changed=_iso(source, article.shown),
        date=_spoken(source, article.published),
        updated=_spoken(source, article.updated) if article.updated else "",
        url=escape(origin + article.path),
        origin=origin,
        topic=escape(article.topics[0]),
        related="\n".join(links[:4]),
        popular="\n".join(links[4:]),
        jsonld=json.dumps(told, ensure_ascii=False).replace("</", "<\\/"),
    )
    return document(source, "text/html", text, article.shown)


def _wrapped(text: str, width: int = 92) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return [*lines, line]


def pdf(title: str, date: str, paragraphs: Sequence[str]) -> bytes:
    """A PDF 1.4 of Helvetica text on A4 pages, readable by any viewer (ISO 32000-1, 7.5 and 9.4)."""
    lines = [*_wrapped(title, 60), "", date, ""]
    for text in paragraphs:
        lines += [*_wrapped(text), ""]
    pages = [lines[first : first + 46] for first in range(0, len(lines), 46)]
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>"
        % (b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(len(pages))), len(pages)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, page in enumerate(pages):
        shown = []
        for line in page:
            letters = re.sub(rb"([\\()])", rb"\\\1", line.encode("cp1252", "replace"))
            shown.append(b"(%s) Tj T*" % letters)
        stream = b"BT /F1 11 Tf 15 TL 56 780 Td\n%s\nET" % b"\n".join(shown)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (5 + 2 * number)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    made, places = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, content in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return bytes(made) + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (len(objects) + 1, table, len(objects) + 1, len(made))
    )
