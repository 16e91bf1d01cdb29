"""Property of the reading: whatever bytes a source sends, they become texts without control characters and of bounded
size, in bounded time and memory, or a HeadwaterError; and reading them again gives the same.

Mutated feeds, sitemaps, listings and pages, from the sample world's formats and, where HEADWATER_DATA has it, from the
public feed corpus, whose own expectations are counted as well. The readers run in processes of their own, since a
parser that hangs cannot be stopped within one. `python tests/soak/feeds.py` runs the full size and keeps
docs/results/soak-feeds.json.
"""

import argparse
import ast
import calendar
import faulthandler
import gzip
import io
import json
import random
import re
import resource
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finance_monitor.articles import canonical_url
from finance_monitor.dates import read_date
from finance_monitor.decoding import decode
from finance_monitor.feeds import feed_link, looks_like, parse_feed, parse_listing, parse_sitemap, plain
from finance_monitor.pages import read_page
from finance_monitor.world import build_world
from finance_monitor.world_pages import FEED_TYPES, FEEDS, article_page, document, sitemap
from headwater.data.public import data_folder
from headwater.errors import HeadwaterError, NotFound

FULL = 100_000
NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)
URL = "https://wire.example/markets/feed"
PROCESSES = 2
# Of computing, so that a busy machine changes nothing.
SECONDS = 30.0
# What a process may use: the libraries take 0.3 GB, a gzip bomb of 50 MB up to 1 GB more.
MEMORY = 3 << 30
LONGEST = {"title": 500, "summary": 5_000, "content": 200_000, "text": 200_000, "url": 2_000, "guid": 2_000}
LONGEST |= {"canonical": 2_000, "author": 300, "language": 16, "raw": 120, "problem": 320, "method": 64, "kind": 16}
MOST = {"entries": 5_000, "children": 50_000}
FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Sent:
    """What a source answers: the bytes and their Content-Type."""

    data: bytes
    type: str = ""


# --- what is mutated --------------------------------------------------------------------------------------------------


def world_documents(per_feed: int = 2) -> list[Sent]:
    """The sample world's feeds with few entries each, its sitemaps and pages."""
    world, origin = build_world(NOW, 7, 4), "https://world.example"
    found = []
    for source in world.sources:
        articles = [article for article in world.articles if article.source == source.id][-per_feed:]
        text = FEEDS[source.style](source, articles, origin)
        made = [document(source, FEED_TYPES[source.style], text, NOW)]
        made += [article_page(source, article, articles, origin) for article in articles[:1]]
        found += [Sent(one.body, one.type) for one in made]
        if source.style == "sitemap":
            text = sitemap(source, articles, origin, news=True)
            found += [Sent(text.encode(), "application/xml"), Sent(gzip.compress(text.encode()), "application/gzip")]
    return found


def corpus() -> dict[str, bytes]:
    """The corpus's documents by name; empty without HEADWATER_DATA."""
    try:
        folder = data_folder("feed_corpus")
    except NotFound:
        return {}
    found = {}
    for path in sorted(folder.glob("*.tar.gz")):
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    found[f"{path.name.split('_')[0]}/{member.name}"] = file.read()
    return found


# --- mutations --------------------------------------------------------------------------------------------------------

ENCODINGS = ("gb18030", "big5", "shift_jis", "euc_jp", "euc_kr", "cp1250", "cp1251", "cp1252", "cp1254", "utf-16")
ENCODINGS += ("utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "iso2022_jp", "koi8_r", "cp037", "utf-7")
LABELS = ("utf-8", "gbk", "gb2312", "big5", "shift_jis", "euc-kr", "windows-1251", "iso-8859-1", "utf-16", "utf-7")
LABELS += ("base64", "undefined", "idna", "rot13", "x" * 300, "unicode_escape", "\x00", "utf-32", "hz", "")
CONTROLS = ("\x00", "\x0b", "\x1b", "\x7f", "\x85", "\x9f", "\u202e", "\u2066", "\ufeff", "&#0;", "&#x1;", "&#xD800;")
CONTROLS += ("&#31;", "\\u0000", "\\ud800", "\\u001f", "&#x202E;", "&#133;", "&amp;#0;", "&#99999999;", "\u2028", "\n")
DATES = ("Wed, 99 Foo 2026 25:61:61 XYZ", "0000-00-00T00:00:00Z", "2026-13-45", "9" * 400, "-1", "3 hours ago", "NaN")
DATES += ("2026-03-04T09:30:00+99:99", "12:00", "2099-01-01", "26年13月40日", "999999999天前", "\x002026", "1e400", "Ⅳ")
DATES += ("²³⁴⁵⁶⁷⁸⁹⁰", "Mon " * 200, "00:00 +2460", "31/31/31", "2026-03-04T09:30:00[Mars/Base]", "今天 99:99", "1.2.3")
TAGS = ("a", "item", "entry", "title", "content:encoded", "div", "url", "p", "table", "channel", "svg", "script", "b")
PIECES = (
    "<![CDATA[",
    "]]>",
    "<!--",
    "-->",
    "<?xml ",
    "<",
    "&",
    "<script>",
    "</",
    "<a b='",
    "]]",
    "<item>",
    "</item>",
    "{",
)
PIECES += ("<!DOCTYPE ", "<meta charset=", '<script type="application/ld+json">', "<time datetime=", "&lt;", "[", '"')


def flip(rng: random.Random, sent: Sent) -> Sent:
    data = bytearray(sent.data)
    for _ in range(rng.randint(1, 12)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return Sent(bytes(data), sent.type)


def cut(rng: random.Random, sent: Sent) -> Sent:
    data = sent.data
    if rng.random() < 0.5:
        return Sent(data[: rng.randrange(len(data)) + 1], sent.type)
    at = rng.randrange(len(data))
    return Sent(data[:at] + data[at + rng.randint(1, 400) :] or b"<", sent.type)


def repeat(rng: random.Random, sent: Sent) -> Sent:
    """A piece of it many times over, up to 60 kB: what costs the square of its size shows here."""
    piece = rng.choice(PIECES).encode()
    if rng.random() < 0.5:
        at = rng.randrange(len(sent.data))
        piece = sent.data[at : at + rng.randint(1, 60)]
    return _insert(rng, sent, piece * min(_size(rng, 2, 30, 3_000), 60_000 // len(piece)))


def nest(rng: random.Random, sent: Sent) -> Sent:
    if looks_like(sent.data, sent.type) == "feed" and sent.data.lstrip()[:1] == b"{":
        return Sent(sent.data.replace(b":", b":" + b"[" * _size(rng, 10, 50, 5_000), 3), sent.type)
    attribute = rng.choice(("", " xml:base='x/'", " xml:lang='zh'", " type='xhtml'", " xmlns='u:x'"))
    return _insert(rng, sent, f"<{rng.choice(TAGS)}{attribute}>".encode() * _size(rng, 3, 30, 2_000))


def bomb(rng: random.Random, sent: Sent) -> Sent:
    """Entities that grow without end: exponential, quadratic, of files and of themselves."""
    kind = rng.randrange(4)
    if kind == 0:
        entities = '<!ENTITY e0 "ha">' + "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    elif kind == 1:
        entities = f'<!ENTITY e9 "{"h" * 4_000}">'
    elif kind == 2:
        entities = '<!ENTITY e9 SYSTEM "file:///etc/passwd"><!ENTITY % p SYSTEM "http://127.0.0.1:9/x"> %p;'
    else:
        entities = '<!ENTITY e9 "&e8;"><!ENTITY e8 "&e9;">'
    head, found, rest = sent.data.partition(b"?>")
    start, body = (head + found, rest) if found else (b"", sent.data)
    body = re.sub(rb"(<title[^>]{0,99}>)", lambda m: m[0] + b"&e9;" * _size(rng, 1, 10, 500), body, count=3)
    return Sent(start + f"<!DOCTYPE r [{entities}]>".encode() + body, sent.type)


def attributes(rng: random.Random, sent: Sent) -> Sent:
    many = " ".join(f"a{i}='{i}'" for i in range(_size(rng, 5, 190, 3_000)))
    long = f"a='{'x' * _size(rng, 300, 3_000, 100_000)}'"
    spaces = "".join(f" xmlns:n{i}='u:{i}'" for i in range(_size(rng, 3, 20, 150)))
    added = rng.choice((many, long, spaces, "href='http://[::1' a=\"<>\"", "href='//h:99999/x'")).encode()
    places = [match.end() for match in re.finditer(rb"<[a-zA-Z:]{1,30}", sent.data)] or [0]
    at = rng.choice(places)
    return Sent(sent.data[:at] + b" " + added + sent.data[at:], sent.type)


def encoding(rng: random.Random, sent: Sent) -> Sent:
    """In another encoding than it says."""
    text = sent.data.decode("utf-8", "replace")
    data = text.encode(rng.choice(ENCODINGS), "ignore")
    return Sent(data if rng.random() < 0.7 else data[: -rng.randint(1, 3)], sent.type)


def label(rng: random.Random, sent: Sent) -> Sent:
    said = rng.choice(LABELS)
    if rng.random() < 0.5:
        kind = rng.choice(("text/html", "text/xml", "application/json", "image/png", "application/rss+xml", ""))
        return Sent(sent.data, f"{kind}; charset={said}")
    data, count = re.subn(rb"""(encoding|charset)=["']?[\w-]+["']?""", b'\\1="%s"' % said.encode(), sent.data, count=1)
    return Sent(data if count else b'<?xml version="1.0" encoding="%s"?>' % said.encode() + data, sent.type)


def controls(rng: random.Random, sent: Sent) -> Sent:
    for _ in range(rng.randint(1, 10)):
        sent = _insert(rng, sent, rng.choice(CONTROLS).encode())
    return sent


def dates(rng: random.Random, sent: Sent) -> Sent:
    pattern = rb"\d{4}-\d\d-\d\d[T\d:+.Z-]*|\w{3}, \d\d \w{3} \d{4} [\d:]+ \S{1,5}"
    return Sent(re.sub(pattern, lambda m: rng.choice((*(date.encode() for date in DATES), m[0])), sent.data), sent.type)


def namespaces(rng: random.Random, sent: Sent) -> Sent:
    """Elements under other names, declared or not."""
    new = rng.choice(
        ("dc:", "media:", "atom:", "content:", "itunes:", "x:", "georss:", "", "xhtml:", "sy:", ":")
    ).encode()
    declared = rng.choice((b"", b" xmlns:x='u:x'", b" xmlns:dc='http://search.yahoo.com/mrss/'", b" xmlns=''"))
    old = rng.choice(re.findall(rb"</?([a-zA-Z:]{1,30})", sent.data) or [b"title"])
    data = re.sub(rb"(</?)" + re.escape(old) + rb"\b", b"\\1" + new + old.split(b":")[-1], sent.data)
    return Sent(re.sub(rb"<(rss|feed|rdf:RDF|urlset)\b", b"<\\1" + declared, data, count=1), sent.type)


def values(rng: random.Random, sent: Sent) -> Sent:
    """A JSON Feed's values of other types; of anything else the texts between the tags."""
    odd: list[Any] = [
        None,
        True,
        -1,
        1e308,
        10**30,
        [],
        {},
        [[1]],
        {"a": 1},
        "",
        "\x00a\ud800",
        "x" * _size(rng, 300, 3_000, 300_000),
        ["a", 2],
    ]
    try:
        feed = json.loads(sent.data)
    except (ValueError, RecursionError):
        texts = [
            b"",
            b"&#0;",
            b"x" * _size(rng, 300, 3_000, 300_000),
            b"\xff\xfe",
            b"javascript:x",
            b"http://h:x/",
            b"<b>",
            b"]]>",
            b"//[",
            b"\0",
        ]
        return Sent(
            re.sub(rb">[^<]+<", lambda m: rng.choice([m[0], b">" + rng.choice(texts) + b"<"]), sent.data), sent.type
        )
    places = list(_places(feed))
    for _ in range(rng.randint(1, 6)):
        if places:
            holder, key = rng.choice(places)
            holder[key] = rng.choice(odd)
    return Sent(json.dumps(feed).encode(), sent.type)


def zipped(rng: random.Random, sent: Sent) -> Sent:
    """Gzipped: sound, twice, cut off, broken, in members; one in a hundred unpacks to as much as is ever unpacked."""
    data = sent.data
    if rng.random() < 0.01:
        filling = rng.choice(
            (b"<a>", b"<url><loc>x</loc></url>", b"\0", b"<p>word word", b"&amp;", b"[" * 9, b"<item>")
        )
        data = data + filling * (rng.choice((2_000_000, 60_000_000)) // len(filling))
    packed = gzip.compress(data, 1)
    kind = rng.randrange(5)
    if kind == 1:
        packed = gzip.compress(packed, 1)
    elif kind == 2:
        packed = packed[: rng.randrange(len(packed)) + 1]
    elif kind == 3:
        packed = flip(rng, Sent(packed)).data
    elif kind == 4:
        packed += packed + b"tail"
    return Sent(packed, rng.choice((sent.type, "application/gzip")))


def _size(rng: random.Random, small: int, middle: int, large: int) -> int:
    """Mostly small, so that there is time for many."""
    return rng.choices((small, middle, large), (80, 18, 2))[0]


def _insert(rng: random.Random, sent: Sent, piece: bytes) -> Sent:
    at = rng.randrange(len(sent.data))
    return Sent(sent.data[:at] + piece + sent.data[at:], sent.type)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


MUTATIONS: tuple[Callable[[random.Random, Sent], Sent], ...] = (
    flip, cut, repeat, nest, bomb, attributes, encoding, label, controls, dates, namespaces, values, zipped,
)  # fmt: skip


def mutant(number: int, seed: int, seeds: list[Sent]) -> tuple[str, Sent]:
    """The mutant of this number, always the same: one to three mutations, and their names."""
    rng = random.Random(f"{seed}:{number}")
    sent, names = rng.choice(seeds), []
    for _ in range(rng.choice((1, 1, 2, 3))):
        mutation = rng.choice(MUTATIONS)
        sent = mutation(rng, sent)
        names.append(mutation.__name__)
    return "+".join(names), sent


# --- the property -----------------------------------------------------------------------------------------------------


def read_all(sent: Sent, every: bool) -> dict[str, Any]:
    """Read as the crawl does: by what the bytes look like; `every`: with each reader, whatever they look like."""
    kind = looks_like(sent.data, sent.type) or "feed"
    read: dict[str, Callable[[], Any]] = {
        "feed": lambda: parse_feed(sent.data, sent.type, URL, NOW),
        "sitemap": lambda: parse_sitemap(sent.data, sent.type, URL, NOW),
        "listing": lambda: parse_listing(sent.data, sent.type, URL),
        "page": lambda: read_page(sent.data, sent.type, URL, NOW),
    }
    wanted = read if every else {kind, "page"} if kind == "listing" else {kind}
    found = {}
    for name in wanted:
        with suppress(HeadwaterError):
            found[name] = asdict(read[name]())
    return found | {"link": {"url": feed_link(sent.data, sent.type, URL)}}


def check(found: Any, name: str = "") -> None:
    """AssertionError where a text holds what no database need take, or is longer than it may be."""
    if isinstance(found, dict):
        for key, value in found.items():
            check(value, key)
    elif isinstance(found, list):
        assert len(found) <= MOST[name], f"{len(found)} {name}"
        for value in found:
            check(value, "url" if name == "children" else name)
    elif isinstance(found, str):
        strange = FORBIDDEN.search(found)
        assert strange is None, f"{name} holds {strange.group()!r}"  # type: ignore[union-attr]
        assert len(found) <= LONGEST[name], f"{name} has {len(found)} characters"
        if name in ("url", "canonical") and found:
            canonical_url(found)  # what the next stage does with it


def try_one(number: int, seed: int, seeds: list[Sent]) -> dict[str, Any] | None:
    """None where the property holds, else what was wrong."""
    names, sent = mutant(number, seed, seeds)
    try:
        found = read_all(sent, every=number % 50 == 0)
        check(found)
        if number % 500 == 0:
            assert found == read_all(sent, every=number % 50 == 0), "read again, it is not the same"
    except Exception as error:
        where = error.__traceback__
        while where and where.tb_next:
            where = where.tb_next
        place = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else ""
        return {"mutant": number, "mutations": names, "error": f"{type(error).__name__}: {error}"[:200], "at": place}
    return None


def child(numbers: Iterable[int], seed: int, with_corpus: bool, status: Path) -> None:
    """A process of the fuzzer: a JSON line for each mutant that broke the property, and one of figures at the end."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    faulthandler.register(signal.SIGPROF, chain=True)  # says where, and then the process ends
    seeds = all_seeds(with_corpus)
    read_all(seeds[0], every=True)  # the libraries are loaded before anything is measured
    base = _peak()
    worst, slow = 0.0, -1
    for number in numbers:
        status.write_text(str(number))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        began = time.process_time()
        wrong = try_one(number, seed, seeds)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if time.process_time() - began > worst:
            worst, slow = time.process_time() - began, number
        if wrong:
            print(json.dumps(wrong), flush=True)
    print(json.dumps({"slowest": [round(worst, 2), slow], "grown_mb": round(_peak() - base)}), flush=True)


def _peak() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)


def all_seeds(with_corpus: bool) -> list[Sent]:
    """The documents that are mutated: half of the draws from the sample world's, however many the corpus has."""
    own = world_documents()
    public = [Sent(data) for data in corpus().values() if 20 < len(data) < 20_000] if with_corpus else []
    return own * max(1, len(public) // len(own)) + public


def fuzz(steps: int, seed: int, with_corpus: bool) -> dict[str, Any]:
    """Mutants 0 to `steps`, in several processes; one that dies or hangs is noted, and the rest goes on without it."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(PROCESSES) as pool:
        files = [Path(folder) / str(place) for place in range(PROCESSES)]
        parts = list(pool.map(lambda place: _follow(steps, seed, with_corpus, place, files[place]), range(PROCESSES)))
    said = [line for part in parts for line in part]
    failures = sorted((line for line in said if "mutant" in line), key=lambda line: line["mutant"])
    figures = [line for line in said if "slowest" in line]
    slowest, number = max((line["slowest"] for line in figures), default=[0.0, -1])
    grown = max((line["grown_mb"] for line in figures), default=0)
    return {"failures": failures, "slowest_seconds": slowest, "slowest_mutant": number, "grown_mb": grown}


def _follow(steps: int, seed: int, with_corpus: bool, place: int, status: Path) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    complaints = status.with_suffix(".stderr")
    first = place
    while first < steps:
        order = json.dumps([first, steps, PROCESSES, seed, with_corpus, str(status)])
        with complaints.open("w") as errors:
            command = [sys.executable, __file__, "child", order]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            lines = list(_echoed(process.stdout or ()))
            code = process.wait()
        said += map(json.loads, lines)
        if code == 0:
            break
        number, trace = int(status.read_text()), complaints.read_text(errors="replace")
        at = next((line.strip() for line in trace.splitlines() if "File" in line), "")
        why = f"no answer in {SECONDS:g} s of computing" if code == -signal.SIGPROF else f"exit status {code}"
        names, _ = mutant(number, seed, all_seeds(with_corpus))
        said.append({"mutant": number, "mutations": names, "error": why, "at": at})
        print(json.dumps(said[-1]), file=sys.stderr, flush=True)
        first = number + PROCESSES
    return said


def _echoed(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith("{"):
            print(line, end="", file=sys.stderr, flush=True)
            yield line


# --- the corpus's own expectations ------------------------------------------------------------------------------------

_EXPECT = re.compile(rb"Expect:\s*(.+?)\s*(?:-->|\n)", re.DOTALL)
_HEADER = re.compile(rb"^Header:\s*Content-type:\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
_DATES = {"published_parsed": "published", "created_parsed": "published", "updated_parsed": "updated"}


def agreement(files: dict[str, bytes]) -> dict[str, Any]:
    """Every document is read whole, and each expectation that concerns what is read here is compared."""
    right: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}
    read = 0
    for name, data in files.items():
        if not name.endswith((".xml", ".atom", ".rss", ".json", ".html")):
            continue
        header = _HEADER.search(data)
        sent = Sent(data, header.group(1).decode("ascii", "replace") if header else "")
        check(read_all(sent, every=read % 10 == 0))
        read += 1
        beside = files.get(name.removesuffix(".xml") + ".json") if name.endswith(".xml") else None
        for field, same in _compared(name, sent, beside):
            right[field] += same
            wrong.setdefault(field, [])
            if not same:
                wrong[field].append(name)
    return {
        "documents": read,
        "uncaught": 0,
        "agree": {field: [right[field], right[field] + len(names)] for field, names in sorted(wrong.items())},
        "differ": {field: names for field, names in sorted(wrong.items()) if names},
    }


def _compared(name: str, sent: Sent, beside: bytes | None) -> Iterator[tuple[str, bool]]:
    """(what, whether it is as the corpus says)."""
    if name.startswith("gofeed") and beside:
        yield from _gofeed(sent, json.loads(beside))
    stated = _EXPECT.search(sent.data)
    if name.startswith("feedparser") and (stated or "utf" in name):
        text = stated.group(1).decode("utf-8", "replace") if stated else ""
        with suppress(SyntaxError, ValueError):
            tree = ast.parse(text.strip(), mode="eval")
            feed = parse_feed(sent.data, sent.type, URL, NOW)
            if text.startswith("not bozo"):
                yield "well-formed", feed.problem in ("", "the feed has no entries")
            # An entry that has only the text in question would be left out here.
            named = re.sub(rb"<(item|entry)>", rb"<\1><title>x</title>", sent.data)
            beside_title = parse_feed(named, sent.type, URL, NOW)
            for path, wanted in _equalities(tree):
                is_lone = len(path) > 2 and path[2] in ("summary", "summary_detail", "description", "content", "author")
                yield from _feedparser(path, wanted, sent, asdict(beside_title if is_lone else feed))


def _equalities(tree: ast.AST) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """entries[0]['title'] == 'x' → (("entries", 0, "title"), "x"); read, never run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
            path, left = [], node.left
            while isinstance(left, ast.Subscript | ast.Attribute):
                key = left.attr if isinstance(left, ast.Attribute) else getattr(left.slice, "value", None)
                path.append(key)
                left = left.value
            with suppress(ValueError):
                if isinstance(left, ast.Name):
                    yield (left.id, *reversed(path)), ast.literal_eval(node.comparators[0])


def _feedparser(path: tuple[Any, ...], wanted: Any, sent: Sent, feed: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    match path:
        case ("encoding",) if isinstance(wanted, str):
            yield "encoding", _same_text(sent, wanted)
        case ("feed", "title") if isinstance(wanted, str):
            yield "feed title", feed["title"] == plain(wanted)[:500]
        case ("entries", int(place), str(field), *_) if place < len(feed["entries"]):
            yield from _entry(field, path[3:], wanted, feed["entries"][place])


def _entry(field: str, rest: tuple[Any, ...], wanted: Any, entry: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    field = {"description": "summary"}.get(field, field)
    if field in ("title", "summary", "author") and isinstance(wanted, str) and rest in ((), ("value",)):
        yield field, entry[field] == plain(wanted)[: LONGEST[field]]
    elif field in ("title_detail", "summary_detail") and rest == ("value",) and isinstance(wanted, str):
        yield field.removesuffix("_detail"), entry[field.removesuffix("_detail")] == plain(wanted)
    elif field == "content" and rest == (0, "value") and isinstance(wanted, str):
        yield "content", entry["content"] == plain(wanted)
    elif field == "id" and not rest and isinstance(wanted, str):
        yield "guid", entry["guid"] == " ".join(wanted.split())
    elif field == "link" and not rest and str(wanted).startswith(("http://", "https://")):
        yield "link", entry["url"] == wanted
    elif field in _DATES and not rest and isinstance(wanted, tuple) and wanted[0] >= 1990:
        yield "date", _at(entry[_DATES[field]]) == datetime.fromtimestamp(calendar.timegm(wanted), UTC)


def _at(found: dict[str, Any] | None) -> datetime | None:
    return found["moment"] if found else None


def _same_text(sent: Sent, name: str) -> bool:
    """Whether the bytes were read as by the named encoding, by whatever name."""
    text, own = decode(sent.data, sent.type)
    try:
        return text.lstrip("\ufeff") == sent.data.decode(name).lstrip("\ufeff")
    except (LookupError, UnicodeDecodeError):
        return own == name


def _gofeed(sent: Sent, said: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    feed = asdict(parse_feed(sent.data, sent.type, URL, NOW))
    if isinstance(said.get("title"), str):
        yield "feed title", feed["title"] == plain(said["title"])
    items = said.get("items") or said.get("entries") or []
    if len(items) != len(feed["entries"]):
        return
    for item, entry in zip(items, feed["entries"], strict=True):
        if isinstance(item.get("title"), str):
            yield "title", entry["title"] == plain(item["title"])
        for names, field in ((("publishedParsed", "pubDateParsed"), "published"), (("updatedParsed",), "updated")):
            wanted = next((item[key] for key in names if item.get(key)), None)
            moment = read_date(wanted, "", NOW).moment if wanted else None
            if moment:
                yield "date", moment == _at(entry[field])


# --- speed ------------------------------------------------------------------------------------------------------------


def speed(feeds: list[bytes], rounds: int = 2) -> dict[str, Any]:
    """Feeds a second of computing against feedparser on the same bytes, turn by turn; the best of some rounds each."""
    import feedparser

    took: dict[str, list[float]] = {"headwater": [], "feedparser": []}
    for _ in range(rounds):
        for name, read in (
            ("headwater", lambda data: parse_feed(data, "", URL, NOW)),
            ("feedparser", lambda data: feedparser.parse(io.BytesIO(data))),
        ):
            began = time.process_time()
            for data in feeds:
                with suppress(Exception):
                    read(data)
            took[name].append(time.process_time() - began)
    best = {name: len(feeds) / min(times) for name, times in took.items()}
    return {"feeds": len(feeds), **{f"{name}_per_second": round(rate, 1) for name, rate in best.items()}}


def _feeds_of(files: dict[str, bytes]) -> list[bytes]:
    return [data for name, data in files.items() if name.endswith((".xml", ".rss", ".atom")) and looks_like(data, "")]


def table(result: dict[str, Any]) -> str:
    rows = [("mutants", f"{result['steps']:,}"), ("broke the property", str(len(result["failures"])))]
    rows += [("slowest", f"{result['slowest_seconds']} s"), ("memory grown by", f"{result['grown_mb']} MB")]
    if result["corpus"]:
        rows.append(("corpus documents read", str(result["corpus"]["documents"])))
        rows += [(f"corpus {name}", f"{a} of {b}") for name, (a, b) in result["corpus"]["agree"].items()]
    for name, row in result["speed"].items():
        rows.append((f"feeds a second, {name}", f"{row['headwater_per_second']}"))
        rows.append((f"feedparser alone, {name}", f"{row['feedparser_per_second']}"))
    return "\n".join(f"{name:34} {value}" for name, value in rows)


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        first, steps, stride, seed, with_corpus, status = json.loads(sys.argv[2])
        child(range(first, steps, stride), seed, with_corpus, Path(status))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=FULL, help="how many mutants")
    parser.add_argument("--seed", type=int, default=20261127)
    parser.add_argument("--only", type=int, help="read one mutant in this process, to look into it")
    arguments = parser.parse_args()
    files = corpus()
    if arguments.only is not None:
        print(mutant(arguments.only, arguments.seed, all_seeds(bool(files)))[0])
        print(try_one(arguments.only, arguments.seed, all_seeds(bool(files))) or "the property holds")
        return
    started = time.time()
    result: dict[str, Any] = {"steps": arguments.steps, "seed": arguments.seed}
    result["speed"] = {"sample world": speed([sent.data for sent in world_feeds()])}
    result["corpus"] = agreement(files) if files else None
    if files:
        result["speed"]["a quarter of the corpus"] = speed(_feeds_of(files)[::4])
    result |= fuzz(arguments.steps, arguments.seed, bool(files))
    result["seconds"] = round(time.time() - started, 1)
    print(table(result))
    for failure in result["failures"][:20]:
        print(json.dumps(failure))
    if arguments.steps >= FULL:
        path = Path(__file__).resolve().parents[2] / "docs" / "results" / "soak-feeds.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(1 if result["failures"] else 0)


def world_feeds() -> list[Sent]:
    """The sample world's XML feeds with up to 30 entries, as they are crawled."""
    found = [sent for sent in world_documents(30) if looks_like(sent.data, sent.type) == "feed"]
    return [sent for sent in found if not sent.data.startswith(b"{")]


if __name__ == "__main__":
    main()
