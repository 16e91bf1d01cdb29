"""Raw bytes of feeds, sitemaps, listings and pages → entries and articles."""

import gzip
import importlib.util
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from finance_monitor.crawling.record import plain_values
from finance_monitor.dates import read_date
from finance_monitor.decoding import decode
from finance_monitor.domain import FeedEntry
from finance_monitor.feeds import Feed, feed_link, looks_like, parse_feed, parse_listing, parse_sitemap, plain, unpack
from finance_monitor.pages import read_page

NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)
URL = "https://wire.example/feed"
MUTANTS = 400
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


JAPANESE = "株価が急落し、取引所は売買を停止した。ハルデン社は減配を発表した。"
CIRCLED = JAPANESE + "㈱ハルデンは①減配②希望退職を発表した。"
KOREAN = "할덴 그룹은 분기 순이익이 절반으로 줄었다고 밝혔으며 주가는 급락했다."
RUSSIAN = "Прибыль компании упала вдвое за квартал, сообщил совет директоров."
POLISH = "Zysk spółki spadł o połowę – poinformował zarząd; kurs akcji tąpnął po sesji."
TURKISH = "Kârları düştü, şirket açıkladı; hisseler İstanbul'da geriledi, yatırımcılar şaşkın."
FRENCH = "Le bénéfice a reculé de moitié – l’action chute, a annoncé la société à Orléans."
NAMED = [
    (CHINESE, "gbk", "gb2312"),
    (CHINESE, "gb18030", "gb18030"),
    (TRADITIONAL, "big5", "big5"),
    (CIRCLED, "cp932", "shift_jis"),
    (JAPANESE, "euc_jp", "euc-jp"),
    (CIRCLED, "euc_jis_2004", "euc-jp"),
    (JAPANESE, "iso2022_jp", "iso-2022-jp"),
    (KOREAN, "cp949", "euc-kr"),
    (POLISH, "cp1250", "windows-1250"),
    (RUSSIAN, "cp1251", "windows-1251"),
    (RUSSIAN, "koi8_r", "koi8-r"),
    (FRENCH, "cp1252", "iso-8859-1"),  # what browsers take it for
    (TURKISH, "cp1254", "iso-8859-9"),
    (CHINESE, "utf-16", "utf-16"),
    (CHINESE, "utf-16-le", "utf-16"),
    (CHINESE, "utf-16-be", "utf-16be"),
    (CHINESE, "utf-32", "utf-32"),
]


@pytest.mark.parametrize(("text", "encoding", "name"), NAMED, ids=[f"{e}-{n}" for _, e, n in NAMED])
def test_header_document_and_both_in_conflict_give_the_text(text: str, encoding: str, name: str) -> None:
    bare, page = f"<p>{text}", f'<html><head><meta charset="{name}"><title>{text}</title>'
    feed = f'<?xml version="1.0" encoding="{name}"?><rss><channel><title>{text}</title></channel></rss>'
    cases = [(bare, name), (page, ""), (feed, ""), (page, "utf-8"), (page, "ISO-8859-1"), (page, "us-ascii")]
    for document, header in cases:
        data = document.encode(encoding)
        assert decode(data, f"text/html; charset={header}" if header else "text/html")[0] == document, (
            header,
            document,
        )
    # The other way round: the header is right, and the document claims UTF-8.
    lying = page.replace(name, "utf-8")
    assert decode(lying.encode(encoding), f"text/html; charset={name}")[0] == lying
    assert parse_feed(feed.encode(encoding), "text/xml", URL, NOW).title == text


@pytest.mark.parametrize(("text", "encoding", "name"), NAMED[:7], ids=[f"{e}-{n}" for _, e, n in NAMED[:7]])
def test_a_character_that_is_cut_off_is_left_out(text: str, encoding: str, name: str) -> None:
    data = f"<p>{text}".encode(encoding)
    if encoding == "iso2022_jp":
        data = data.removesuffix(b"\x1b(B")
    assert decode(data[:-1], f"text/html; charset={name}")[0] == f"<p>{text[:-1]}"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(CHINESE, "gbk"), (TRADITIONAL, "big5"), (CIRCLED, "cp932"), (CIRCLED, "euc_jis_2004"), (JAPANESE, "iso2022_jp"),
     (KOREAN, "cp949"), (RUSSIAN, "cp1251"), (RUSSIAN, "koi8_r"), (FRENCH, "cp1252")],
)  # fmt: skip
def test_an_encoding_that_nobody_declares_is_found(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding), "")[0] == text
    assert decode(text.encode(encoding), "text/html; charset=utf-8")[0] == text


@pytest.mark.parametrize("name", ["undefined", "idna", "utf-7", "base64", "unicode_escape", "utf-16", "x" * 90])
def test_declarations_that_are_no_encodings_of_text_are_passed_over(name: str) -> None:
    assert decode(b"<p>Halden +ADw-falls \\u0041", f"text/html; charset={name}")[0] == "<p>Halden +ADw-falls \\u0041"
    assert decode(f"<p>{FRENCH}".encode("cp1252"), f"text/html; charset={name}")[0] == f"<p>{FRENCH}"


def test_a_slip_in_a_page_does_not_change_its_encoding() -> None:
    assert decode(f"<p>{FRENCH}</p>".encode() + b"\xff", "")[0] == f"<p>{FRENCH}</p>\ufffd"
    assert decode(f"<p>{CHINESE}</p>".encode("gbk") + b"\xff.", "text/html; charset=gbk")[0].startswith(f"<p>{CHINESE}")
    assert decode("Caf\u00e9".encode("cp1252"), "")[0] == "Café"  # no UTF-8 that is cut off


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
        ("5分鐘前", "2026-03-04T15:25"),
        ("3時間前", "2026-03-04T12:30"),
        ("2 weeks ago", "2026-02-18T15:30"),
        ("just now", "2026-03-04T15:30"),
        ("Yesterday at 14:05", "2026-03-03T14:05"),
        ("3月2日 14:05", "2026-03-02T14:05"),
        ("2026年3月2日 凌晨2点05分", "2026-03-02T02:05"),
        ("2026. 3. 4. 오후 2:05", "2026-03-04T14:05"),
        ("28 Dec", "2025-12-28T00:00"),
        ("Wed, 04 Mar 26 09:30:00 GMT", "2026-03-04T09:30"),
        ("Wed, 04 Mar 2026 09:30:00 -0000", "2026-03-04T09:30"),
        ("Wed, 04 Mar 2026 09:30:00 GMT+8", "2026-03-04T01:30"),
        ("Wed Mar 04 09:30:00 CST 2026", "2026-03-04T15:30"),
        ("2026-03-03T24:00:00Z", "2026-03-03T23:59"),
        ("20260304T093000Z", "2026-03-04T09:30"),
        ("202603040930", "2026-03-04T09:30"),
        ("2026-03", "2026-03-01T00:00"),
        ("04.03.2026 09:30", "2026-03-04T09:30"),
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
    "raw",
    [
        "2031-01-01",
        "1971-01-01",
        "soon",
        "",
        "0000-00-00",
        "99999999999999999",
        "32/13/2026x",
        "14:05",
        "Issue 12",
        "3",
        "Monday 14:05",
        "Mon, 2 Mars 2026 09:30:00 +0100",
        "Thu, 01 Jan 0001 00:00:00 GMT",
        "2026-03-06T10:00:00Z",
    ],
)
def test_implausible_dates_keep_their_raw_text_alone(raw: str) -> None:
    found = read_date(raw, "t", NOW)
    assert found.moment is None and found.raw == raw


def test_a_date_up_to_a_day_ahead_is_a_matter_of_zones_and_kept() -> None:
    assert read_date("2026-03-05T10:00:00Z", "t", NOW).moment == datetime(2026, 3, 5, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "language", "region", "expected"),
    [
        ("2026年3月4日 14:05", "zh-CN", "", "2026-03-04T06:05"),
        ("Wed Mar 04 14:05:00 CST 2026", "zh", "", "2026-03-04T06:05"),
        ("2026-03-04 14:05", "", "HK", "2026-03-04T06:05"),
        ("2026-03-04 14:05", "en", "GB", "2026-03-04T14:05"),
        ("2025-07-04 14:05", "en", "GB", "2025-07-04T13:05"),
        ("2026-03-04 09:05", "en", "US", "2026-03-04T09:05"),  # a country of several zones
        ("2026-03-04 14:05 +0100", "zh", "CN", "2026-03-04T13:05"),
        ("今天 09:30", "zh", "CN", "2026-03-04T01:30"),
    ],
)
def test_a_date_without_a_zone_is_one_of_its_place(raw: str, language: str, region: str, expected: str) -> None:
    found = read_date(raw, "t", NOW, language, region=region)
    assert found.moment is not None and found.moment.strftime("%Y-%m-%dT%H:%M") == expected


def test_what_is_kept_of_a_date_has_no_control_characters() -> None:
    assert read_date("2026-\x0003-04\u202e\ud800", "t", NOW).raw == "2026-03-04"


# --- feeds ------------------------------------------------------------------------------------------------------------

ITEM = "<title>Halden &amp; Co &lt;b&gt;falls&lt;/b&gt;</title><link>/a</link><guid>g1</guid>"
RSS = (
    f"<rss version='2.0'><channel><title>W</title><language>en</language><item>{ITEM}"
    "<pubDate>Wed, 04 Mar 2026 09:30:00 GMT</pubDate>"
    "<description>&lt;p&gt;One.&lt;/p&gt;&lt;p&gt;Two.&lt;/p&gt;</description></item></channel></rss>"
)
UNLINKED = RSS.replace("<guid>", "<guid isPermaLink='false'>")
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


@pytest.fixture(scope="module")
def soak() -> Any:
    path = Path(__file__).resolve().parents[2] / "soak" / "feeds.py"
    spec = importlib.util.spec_from_file_location("soak_feeds", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_mutated_documents_give_clean_and_bounded_texts(soak: Any, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = soak.all_seeds(False)
    wrong = list(filter(None, (soak.try_one(number, 11, seeds) for number in range(MUTANTS))))
    with capsys.disabled():
        print(f"\nmutated feeds: {MUTANTS} of {soak.FULL:,}")
    assert wrong == []


def test_the_soak_sees_a_reader_that_breaks_the_property(soak: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = [soak.Sent(RSS.encode())]
    monkeypatch.setattr(soak, "parse_feed", lambda *_: Feed([FeedEntry("", guid="a\x00")]))
    assert "'\\x00'" in soak.try_one(1, 11, seeds)["error"]
    monkeypatch.setattr(soak, "parse_feed", lambda *_: Feed([FeedEntry("", title="a" * 501)]))
    assert "501" in soak.try_one(1, 11, seeds)["error"]
    monkeypatch.setattr(soak, "parse_feed", lambda *_: Feed([FeedEntry("https://h:99999/")]))
    assert "Port" in soak.try_one(1, 11, seeds)["error"]


@pytest.mark.parametrize(
    "feed",
    [
        JSON.replace('"g1"', '"g\\u0000\\ud8001\\u202e"').replace("Halden", "Hal\\u0000den\\ud800"),
        UNLINKED.replace("g1", "g\x001\u202e").replace("Halden", "Hal\x00&#0;den"),
        ATOM.replace("<id>g1", "<id>\ng&#x1;1 ").replace("Halden", "Hal\x01den"),
    ],
    ids=["json", "rss", "atom"],
)
def test_guid_and_title_hold_no_control_characters(feed: str) -> None:
    (entry,) = parse_feed(feed.encode("utf-8", "surrogatepass"), "", URL, NOW).entries
    assert entry.guid in ("g1", "https://wire.example/g1") and entry.title.replace("\ufffd", "") == "Halden & Co falls"


def test_references_to_half_characters_do_not_stop_a_page() -> None:
    page = PAGE.format(head="", top="<p>A&#xD800;&#55296B is here").encode()
    assert "sentence 7" in read_page(page, "", URL, NOW).text
    listing = LISTING.replace("Halden falls in", "Halden&#xdfff; falls&#56320; in")
    assert parse_listing(listing.encode(), "", "https://wire.example/").entries[0].title == "Halden falls in London"
    (entry,) = parse_sitemap(b"<urlset><url><loc>/a&#xD800;</loc></url></urlset>", "", URL, NOW).entries
    assert entry.url == "https://wire.example/a"


@pytest.mark.parametrize("address", ["https://h:99999/a", "http://[::1", "javascript:x()", "//[x"])
def test_addresses_that_nothing_can_ask_for_are_left_out(address: str) -> None:
    (entry,) = parse_feed(UNLINKED.replace("/a<", f"{address}<").encode(), "", URL, NOW).entries
    assert entry.url == ""
    page = PAGE.format(head="", top="").replace("https://wire.example/a", address)
    assert read_page(page.encode(), "", URL, NOW).canonical == ""


def test_a_feed_in_another_encoding_than_its_header_says() -> None:
    feed = RSS.replace("Halden &amp; Co", "恒岑科技股价跌停")
    for header in (
        "text/xml; charset=iso-8859-1",
        "text/xml; charset=us-ascii",
        "text/xml",
        "text/xml; charset=gb2312",
    ):
        assert parse_feed(feed.encode(), header, URL, NOW).entries[0].title.startswith("恒岑科技")
    declared = f'<?xml version="1.0" encoding="utf-8"?>{RSS}'.replace("Halden", CHINESE)
    assert parse_feed(declared.encode("gbk"), "text/xml", URL, NOW).entries[0].title.startswith(CHINESE)


def test_gzip_is_read_as_far_as_it_is_sound() -> None:
    pages = "".join(f"<url><loc>/{i}</loc><priority>{i * 7919:032x}</priority></url>" for i in range(3000))
    packed = gzip.compress(f"<urlset>{pages}</urlset>".encode())
    assert parse_feed(gzip.compress(RSS.encode()), "", URL, NOW).entries
    assert len(parse_sitemap(packed, "", URL, NOW).entries) == 3000
    assert 1000 < len(parse_sitemap(packed[: len(packed) // 2], "", URL, NOW).entries) < 3000
    assert unpack(gzip.compress(b"a") + gzip.compress(b"b") + b"tail") == b"ab"
    assert len(unpack(gzip.compress(b"\0" * 60_000_000, 1))) == 50_000_000


def test_of_a_long_sitemap_the_newest_are_read_at_whichever_end() -> None:
    pages = "".join(f"<url><loc>/{i}</loc></url>" for i in range(12_000))
    urls = {entry.url for entry in parse_sitemap(f"<urlset>{pages}</urlset>".encode(), "", URL, NOW).entries}
    assert len(urls) == 5_000 and {"https://wire.example/0", "https://wire.example/11999"} <= urls


@pytest.mark.parametrize(
    "piece",
    ['<script type="application/ld+json">', "<script>", "<style>", "<div><p>some words ", "&amp;", "<a b='", "<!--",
     "<item " + " ".join(f"a{i}='1'" for i in range(3000)) + ">", "<a xml:base='x/'>", "<item><title>"],
)  # fmt: skip
def test_reading_takes_no_square_of_the_size(piece: str) -> None:
    repeated = piece * (100_000 // len(piece) + 1)
    began = time.process_time()
    read_page(f"<html><h1>T</h1><body>{repeated}".encode(), "text/html", URL, NOW)
    parse_feed(f"<rss><channel>{repeated}".encode(), "", URL, NOW)
    assert time.process_time() - began < 15


@pytest.mark.parametrize(
    ("before", "after"),
    [("<dc:creator>", "</dc:creator>"), ("<author>", "</author>"), ("<author><![CDATA[", "]]></author>")],
)
def test_a_long_author_takes_no_square_of_its_size(before: str, after: str) -> None:
    began = time.process_time()
    item = f"<item><title>T</title>{before}{'a' * 200_000}{after}</item>"
    feed = f'<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel>{item}</channel></rss>'
    parse_feed(feed.encode(), "", URL, NOW)
    assert time.process_time() - began < 5


def test_a_page_of_very_many_elements_is_read_by_its_paragraphs() -> None:
    began = time.process_time()
    page = read_page(b"<p>Halden said so, and more than that.</p><b>x</b>" * 40_000, "text/html", URL, NOW)
    assert page.method == "paragraphs" and "Halden said so" in page.text
    assert time.process_time() - began < 15


def test_a_sitemaps_language_holds_no_control_characters() -> None:
    news = "<news:language>e&#x1f;n</news:language>"
    text = f'<urlset xmlns:news="n"><url><loc>/1</loc>{news}</url></urlset>'
    assert [entry.language for entry in parse_sitemap(text.encode(), "", URL, NOW).entries] == ["en"]


def test_a_page_read_again_gives_the_same_whenever_that_is() -> None:
    page = PAGE.format(head='<meta name="date" content="3 hours ago">', top="").encode()
    first = read_page(page, "text/html", URL, NOW)
    assert first.read == NOW and first.published is not None
    assert first.published.moment == datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
    kept = plain_values(first)
    assert read_page(page, "text/html", "", datetime.fromisoformat(kept["read"])) == first


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


def test_a_chinese_date_is_found_right_behind_the_authors_name() -> None:
    top = "<html lang=zh><h1>恒岑科技被立案调查</h1><p>记者 许知予2026年3月3日 16:00</p>"
    markup = f"{top}<p>{'恒岑科技公告。' * 20}</p>"
    page = read_page(markup.encode(), "text/html; charset=utf-8", URL, NOW, language="zh", region="CN")
    assert page.published is not None and page.published.raw == "2026年3月3日 16:00"


def test_a_page_that_the_quick_reading_misses_is_read_with_fallbacks() -> None:
    """What is called the article holds two words; the text lies in plain blocks beside it."""
    sentences = [f"Sentence {i} of the report on the mill, which the company opened near Leeds." for i in range(12)]
    text = "".join(f"<div>{sentence}</div>" for sentence in sentences)
    called = "<article class=entry-content><p>In</p><p>short.</p></article>"
    markup = f"<html><body>{called}<div id=story>{text}</div></body></html>"
    page = read_page(markup.encode(), "text/html", URL, NOW)
    assert "Sentence 0 of the report" in page.text and "Sentence 11 of the report" in page.text


def test_deep_and_huge_pages_are_read_in_bounded_time() -> None:
    began = time.monotonic()
    read_page(b"<div>" * 100_000 + b"text", "text/html", URL, NOW)
    read_page(b"<p>" + b"word " * 2_500_000, "text/html", URL, NOW)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("data", [b"", b"\x00\x01", b"%PDF-1.7 broken", b"<html></html>", b"%PDF-"])
def test_pages_without_content_give_empty_text(data: bytes) -> None:
    assert read_page(data, "", URL, NOW).text == ""
