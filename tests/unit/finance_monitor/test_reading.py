"""Raw bytes of feeds, sitemaps, listings and pages → entries and articles."""

import gzip
import json
import random
import time
from datetime import UTC, datetime

import pytest

from finance_monitor.dates import read_date
from finance_monitor.decoding import decode
from finance_monitor.feeds import feed_link, looks_like, parse_feed, parse_listing, parse_sitemap, plain
from finance_monitor.pages import read_page

NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)
URL = "https://wire.example/feed"
CHINESE = "恒岑科技公告称，公司被立案调查，股价跌停。" * 3
TRADITIONAL = "瑞岡航空發布新一代沿海快線，預訂量已超過計劃。" * 3


# --- encodings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "encoding", "header", "meta"),
    [
        (CHINESE, "gb18030", "text/html; charset=gb2312", ""),
        (CHINESE, "gb18030", "text/html", '<meta charset="gbk">'),
        (TRADITIONAL, "big5", "text/html; charset=Big5", ""),
        ("株価が急落し、取引所は売買を停止した。" * 3, "cp932", "text/html; charset=Shift_JIS", ""),
        ("Umsätze fielen um 5 % – „schlechter“ als erwartet, 3 €", "cp1252", "text/html; charset=iso-8859-1", ""),
        ("Прибыль компании упала вдвое за квартал", "cp1251", "text/html; charset=windows-1251", ""),
        ("Kârları düştü, şirket açıkladı", "cp1254", "", '<?xml version="1.0" encoding="iso-8859-9"?>'),
        (CHINESE, "utf-8", "text/html; charset=iso-8859-1", '<meta charset="utf-8">'),  # the header lies
        (CHINESE, "utf-16", "", ""),
    ],
)
def test_pages_are_read_in_the_encoding_that_fits(text: str, encoding: str, header: str, meta: str) -> None:
    data = (meta + text).encode(encoding)
    assert decode(data, header)[0] == meta + text


def test_a_declared_encoding_that_does_not_fit_is_overruled() -> None:
    assert decode(CHINESE.encode("gb18030"), "text/html; charset=utf-8")[0] == CHINESE
    assert decode(CHINESE.encode(), "text/html; charset=gb2312")[0] == CHINESE


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", bytes(range(256)) * 10, b"\xe6\x81", "é".encode() + b"\xe9"])
def test_decoding_never_raises(data: bytes) -> None:
    text, encoding = decode(data, "text/html; charset=no-such-thing")
    assert isinstance(text, str) and encoding


# --- dates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Wed, 04 Mar 2026 09:30:00 GMT", "2026-03-04T09:30"),
        ("Wed, 04 Mar 2026 09:30:00 EST", "2026-03-04T14:30"),
        ("04 Mar 2026 09:30 +0100 (CET)", "2026-03-04T08:30"),
        ("2026-03-04T09:30:00+08:00", "2026-03-04T01:30"),
        ("2026-03-04T09:30:00.123Z", "2026-03-04T09:30"),
        ("2026-03-04", "2026-03-04T00:00"),
        ("1772616600", "2026-03-04T09:30"),
        ("1772616600000", "2026-03-04T09:30"),
        ("March 4, 2026 at 9:30 am", "2026-03-04T09:30"),
        ("2026年3月4日 14:05", "2026-03-04T14:05"),
        ("2026年3月4日下午2:05", "2026-03-04T14:05"),
        ("今天 09:30", "2026-03-04T09:30"),
        ("昨天 09:30", "2026-03-03T09:30"),
        ("3小时前", "2026-03-04T12:30"),
        ("25 minutes ago", "2026-03-04T15:05"),
    ],
)
def test_dates_are_read(raw: str, expected: str) -> None:
    found = read_date(raw, "test", NOW)
    assert found.moment is not None and found.moment.strftime("%Y-%m-%dT%H:%M") == expected
    assert found.raw == raw and found.method == "test"


def test_day_and_month_follow_language_and_region() -> None:
    assert read_date("04/03/2026", "t", NOW, "en", region="GB").moment == datetime(2026, 3, 4, tzinfo=UTC)
    assert read_date("03/04/2026", "t", NOW, "en", region="US").moment == datetime(2026, 3, 4, tzinfo=UTC)


def test_the_sources_zone_counts_where_none_is_given() -> None:
    assert read_date("2026-03-04 09:30", "t", NOW, zone="Asia/Shanghai").moment == datetime(
        2026, 3, 4, 1, 30, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "raw", ["2031-01-01", "1971-01-01", "soon", "", "0000-00-00", "99999999999999999", "32/13/2026x"]
)
def test_implausible_dates_keep_their_raw_text_alone(raw: str) -> None:
    found = read_date(raw, "t", NOW)
    assert found.moment is None and found.raw == raw


# --- feeds ------------------------------------------------------------------------------------------------------------

ITEM = "<title>Halden &amp; Co &lt;b&gt;falls&lt;/b&gt;</title><link>/a</link><guid>g1</guid>"
RSS = (
    f"<rss version='2.0'><channel><title>W</title><language>en</language><item>{ITEM}"
    "<pubDate>Wed, 04 Mar 2026 09:30:00 GMT</pubDate>"
    "<description>&lt;p&gt;One.&lt;/p&gt;&lt;p&gt;Two.&lt;/p&gt;</description></item></channel></rss>"
)
ATOM = (
    "<feed xmlns='http://www.w3.org/2005/Atom'><title>W</title><entry><id>g1</id><title>Halden &amp; Co falls</title>"
    "<link href='https://wire.example/a'/><published>2026-03-04T09:30:00Z</published>"
    "<content type='html'>&lt;p&gt;All of it&lt;/p&gt;</content></entry></feed>"
)
RDF = (
    "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns='http://purl.org/rss/1.0/' "
    "xmlns:dc='http://purl.org/dc/elements/1.1/'><channel rdf:about='x'><title>W</title></channel>"
    "<item rdf:about='https://wire.example/a'><title>Halden &amp; Co falls</title>"
    "<link>https://wire.example/a</link><dc:date>2026-03-04T09:30:00Z</dc:date></item></rdf:RDF>"
)
JSON = json.dumps(
    {
        "version": "https://jsonfeed.org/version/1.1",
        "title": "W",
        "items": [
            {"id": "g1", "url": "/a", "title": "Halden & Co falls", "date_published": "2026-03-04T09:30:00Z"},
            "no object",
        ],
    }
)


@pytest.mark.parametrize("text", [RSS, ATOM, RDF, JSON], ids=["rss", "atom", "rdf", "json"])
def test_every_kind_of_feed_gives_the_same_entry(text: str) -> None:
    feed = parse_feed(text.encode(), "", URL, NOW)
    assert feed.problem == "" and feed.title == "W"
    (entry,) = feed.entries
    assert (entry.url, entry.title) == ("https://wire.example/a", "Halden & Co falls")
    found = entry.published or entry.updated
    assert found is not None and found.moment == datetime(2026, 3, 4, 9, 30, tzinfo=UTC)


def test_markup_in_summaries_becomes_lines() -> None:
    assert parse_feed(RSS.encode(), "", URL, NOW).entries[0].summary == "One.\nTwo."
    assert parse_feed(ATOM.encode(), "", URL, NOW).entries[0].content == "All of it"


def test_a_broken_feed_is_judged_by_its_entries() -> None:
    cut = RSS[: RSS.index("</item>")] + "</item><item><title>cut off"
    feed = parse_feed(cut.encode(), "", URL, NOW)
    assert feed.entries and feed.problem == ""
    assert "no entries" in parse_feed(b"<rss><channel></channel></rss>", "", URL, NOW).problem
    assert parse_feed(b"", "", URL, NOW).problem and parse_feed(b"{", "", URL, NOW).problem


def test_entity_bombs_do_not_grow() -> None:
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    bomb = f'<!DOCTYPE r [<!ENTITY a0 "ha">{entities}]><rss><channel><item><title>&a9;</title></item></channel></rss>'
    began = time.monotonic()
    feed = parse_feed(bomb.encode(), "", URL, NOW)
    parse_sitemap(bomb.replace("rss", "urlset").encode(), "", URL, NOW)
    assert time.monotonic() - began < 2 and all(len(entry.title) <= 500 for entry in feed.entries)


def test_sitemaps_index_news_and_gzip() -> None:
    index = b"<sitemapindex><sitemap><loc>https://wire.example/s1.xml.gz</loc></sitemap></sitemapindex>"
    assert parse_sitemap(index, "", URL, NOW).children == ["https://wire.example/s1.xml.gz"]
    news = (
        "<urlset xmlns:news='http://www.google.com/schemas/sitemap-news/0.9'><url><loc>/a</loc><news:news>"
        "<news:publication><news:name>W</news:name><news:language>en</news:language></news:publication>"
        "<news:publication_date>2026-03-04</news:publication_date><news:title>Halden falls</news:title>"
        "</news:news></url></urlset>"
    )
    (entry,) = parse_sitemap(gzip.compress(news.encode()), "", URL, NOW).entries
    assert (entry.url, entry.title, entry.language) == ("https://wire.example/a", "Halden falls", "en")
    assert parse_sitemap(b"no xml at all", "", URL, NOW).problem


LISTING = """<html><head><link rel="alternate" type="application/rss+xml" href="/rss.xml"></head><body><nav>
<a href="/news/2026/03/navigation-link-here">Navigation link here</a></nav><main>
<a href="/news/2026/03/halden-falls">Halden falls in London</a>
<a href="/news/2026/03/halden-falls"><img></a><a href="https://elsewhere.example/news/2026/1">Somebody else's page</a>
<a href="/about">About this site</a></main>
<footer><a href="/imprint-2026-01.html">Imprint of the site</a></footer></body></html>"""


def test_listing_pages_give_article_links_alone() -> None:
    feed = parse_listing(LISTING.encode(), "text/html", "https://wire.example/")
    assert [(e.url, e.title) for e in feed.entries] == [
        ("https://wire.example/news/2026/03/halden-falls", "Halden falls in London")
    ]
    chosen = parse_listing(LISTING.encode(), "text/html", "https://wire.example/", include="/about")
    assert [e.title for e in chosen.entries] == ["About this site"]
    assert feed_link(LISTING.encode(), "", "https://wire.example/") == "https://wire.example/rss.xml"


@pytest.mark.parametrize(
    ("data", "kind"),
    [(RSS, "feed"), (ATOM, "feed"), (JSON, "feed"), ("<urlset>", "sitemap"), (LISTING, "listing"), ("plain", "")],
)
def test_formats_are_found_out(data: str, kind: str) -> None:
    assert looks_like(data.encode(), "") == kind


def test_mutated_feeds_never_raise() -> None:
    rng = random.Random(5)
    seeds = [RSS.encode(), ATOM.encode(), RDF.encode(), JSON.encode(), LISTING.encode(), CHINESE.encode("gb18030")]
    for _ in range(300):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 8)):
            at = rng.randrange(len(data))
            action = rng.random()
            if action < 0.4:
                data[at] = rng.randrange(256)
            elif action < 0.7:
                del data[at : at + rng.randint(1, 40)]
            else:
                data[at:at] = data[max(0, at - 30) : at]
            data = data or bytearray(b"<")
        content = bytes(data)
        for text in (content, gzip.compress(content)[: len(content)]):
            parse_feed(text, "text/xml", URL, NOW)
            parse_sitemap(text, "", URL, NOW)
            parse_listing(text, "", URL)
            read_page(text, "text/html", URL, NOW)


def test_plain_removes_scripts_control_and_direction_characters() -> None:
    assert plain("a\u202eb<script>x()</script>\x00 &amp;lt; <br> c") == "ab &lt;\nc"


# --- pages ------------------------------------------------------------------------------------------------------------

BODY = "".join(
    f"<p>Halden Group said in sentence {i} that its mill near Leeds is closed after the fire of Monday.</p>"
    for i in range(8)
)
PAGE = (
    '<html lang="en-GB"><head><title>Fire | The Wire</title><link rel="canonical" href="https://wire.example/a">{head}</head>'
    "<body><nav><a href='/'>Home</a> <a href='/x'>Markets</a></nav><article><h1>Fire at Halden mill</h1>{top}"
    + BODY
    + "</article><footer>Copyright The Wire</footer></body></html>"
)


@pytest.mark.parametrize(
    ("head", "top", "method"),
    [
        ('<script type="application/ld+json">{"@type":"NewsArticle","headline":"Fire at Halden mill",'
         '"datePublished":"2026-03-03T08:00:00Z","author":{"name":"Ann Poole"}}</script>', "", "json-ld"),
        ('<meta property="article:published_time" content="2026-03-03T08:00:00Z">'
         '<meta name="author" content="Ann Poole">',
         "", "meta article:published_time"),
        ("", '<time datetime="2026-03-03T08:00:00Z">yesterday</time>', "time element"),
        ("", "<p>3 March 2026, 08:00 UTC</p>", "visible text"),
    ],
)  # fmt: skip
def test_pages_give_title_text_date_and_where_the_date_was(head: str, top: str, method: str) -> None:
    page = read_page(PAGE.format(head=head, top=top).replace("{{", "{").encode(), "text/html", URL, NOW)
    assert page.title == "Fire at Halden mill" and page.language == "en" and page.canonical == "https://wire.example/a"
    assert "sentence 7" in page.text and "Copyright" not in page.text and "Markets" not in page.text
    assert page.published is not None and page.published.method == method
    assert page.published.moment == datetime(2026, 3, 3, 8, tzinfo=UTC)
    if "Poole" in head:
        assert page.author == "Ann Poole"


def test_deep_and_huge_pages_are_read_in_bounded_time() -> None:
    began = time.monotonic()
    read_page(b"<div>" * 100_000 + b"text", "text/html", URL, NOW)
    read_page(b"<p>" + b"word " * 2_500_000, "text/html", URL, NOW)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("data", [b"", b"\x00\x01", b"%PDF-1.7 broken", b"<html></html>", b"%PDF-"])
def test_pages_without_content_give_empty_text(data: bytes) -> None:
    assert read_page(data, "", URL, NOW).text == ""
