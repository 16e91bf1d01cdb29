"""A local press of realistic weight: the sample world's articles on pages of several publishers, on loopback addresses.

What a page weighs follows the 181 pages of the scrapinghub extraction benchmark (median): 119 kB, 817 elements, 145
links, 32 scripts of 35 kB, 45 kB of attributes, 4,000 characters in paragraphs; so does where it states its date
(JSON-LD 61 %, a meta element 62 %, a time element 53 %, none of them 10 %; the body in JSON-LD 8 %). All text is the
sample world's.

Run as a program it serves a folder that `write_press` made: `python press.py FOLDER PORT`.
"""

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from finance_monitor.world import build_world
from finance_monitor.world_bank import Article

HOSTS = tuple(f"127.0.0.{number}" for number in range(2, 6))
# Shares of pages by where they state their date: (meta element, JSON-LD, time element).
_DATES = (
    ((True, True, True), 46), ((True, True, False), 29), ((True, False, False), 25), ((False, True, False), 24),
    ((True, False, True), 19), ((False, False, False), 19), ((False, True, True), 12), ((False, False, True), 7),
)  # fmt: skip
_STATED_BODY = 0.08
_BODY_CHARACTERS = (2_000, 6_500)
# Of the paragraphs that fill a body, those about any company; a page then names about two.
_OTHER_COMPANIES = 0.1
_WORDS = (
    "grid", "panel", "card", "wrap", "inner", "outer", "lead", "rail", "deck", "strip", "block", "stack", "flex",
    "tile", "slot", "shelf", "media", "label", "trend", "pulse", "meta", "stamp", "ticker", "quote", "chart", "brand",
)  # fmt: skip
_SECTIONS = {
    "en": ("Markets", "Companies", "Economy", "Energy", "Technology", "Banking", "Opinion", "Property", "Weather"),
    "zh": ("市场", "公司", "宏观", "能源", "科技", "银行", "评论", "地产", "天气"),
}


@dataclass(frozen=True)
class Piece:
    """One article as it lies on the press: its address, and what its feed says of it."""

    host: str
    path: str
    article: Article


def pieces(count: int, seed: int, now: datetime) -> list[Piece]:
    """`count` news articles of the sample world, oldest first, dealt out to the hosts. More than a world holds: several
    worlds."""
    found: list[Article] = []
    number = 0
    while len(found) < count:
        world = build_world(now, seed=seed + number)
        found += [a for a in world.articles if a.kind == "news" and not a.revision_of and not a.reprint_of]
        number += 1
    found = sorted(found[-count:], key=lambda article: article.published)
    return [
        Piece(
            HOSTS[place % len(HOSTS)], f"/{language_of(article)}/{article.published:%Y/%m}/story-{place}.html", article
        )
        for place, article in enumerate(found)
    ]


def language_of(article: Article) -> str:
    return article.language.split("-")[0]


def page(piece: Piece, others: Sequence[Article], rng: random.Random) -> str:
    """The whole page: the article inside navigation, scripts, teasers and notices. `others`: of the same language."""
    article, language = piece.article, language_of(piece.article)
    with_meta, with_linked, with_time = rng.choices([d for d, _ in _DATES], [w for _, w in _DATES])[0]
    paragraphs = list(article.paragraphs)
    wanted = rng.randint(*_BODY_CHARACTERS) // (1 if language == "en" else 3)
    # A story goes on about its own companies, and now and then about another.
    alike = [other for other in others if set(other.polarity) <= set(article.polarity)]
    while sum(map(len, paragraphs)) < wanted:
        among = others if not alike or rng.random() < _OTHER_COMPANIES else alike
        paragraphs += [" ".join(rng.choice(among).paragraphs[:3])]
    iso = article.published.isoformat(timespec="seconds")
    day = f"{article.published:%d %B %Y, %H:%M}" if language == "en" else f"{article.published:%Y年%m月%d日 %H:%M}"
    shown = f'<time datetime="{iso}">{day}</time>' if with_time else f"<span{_attributes(rng, 1)}>{day}</span>"
    return f"""<!doctype html>
<html lang="{article.language}"><head><meta charset="utf-8"><title>{escape(article.title)}</title>
{_metas(article, iso if with_meta else "")}<link rel="canonical" href="http://{piece.host}{piece.path}">
{_linked(article, iso if with_linked else "", paragraphs if rng.random() < _STATED_BODY / 0.61 else [])}
{_scripts(rng, rng.randint(12, 24), 23_000)}<style>{_style(rng)}</style></head>
<body{_attributes(rng, 3)}><header{_attributes(rng, 2)}>{_menu(rng, language, rng.randint(40, 80))}</header>
<div{_attributes(rng, 3)}><main{_attributes(rng, 2)}><article{_attributes(rng, 3)}>
<h1{_attributes(rng, 1)}>{escape(article.title)}</h1>
<div{_attributes(rng, 2)}><span{_attributes(rng, 1)}>{escape(article.author)}</span>{shown}</div>{_share(rng)}
<div{_attributes(rng, 3)}>{_text(rng, paragraphs, others)}</div>{_share(rng)}</article></main>
<aside{_attributes(rng, 2)}>{_teasers(rng, others, rng.randint(18, 30))}</aside></div>
<section{_attributes(rng, 2)}>{_teasers(rng, others, rng.randint(14, 24))}</section>
<footer{_attributes(rng, 2)}>{_menu(rng, language, rng.randint(25, 45))}<p>© {escape(piece.host)}</p></footer>
{_scripts(rng, rng.randint(8, 14), 12_000)}</body></html>
"""


def _metas(article: Article, published: str) -> str:
    told = {"og:title": article.title, "og:description": article.summary, "og:type": "article"}
    if published:
        told["article:published_time"] = published
    return "".join(f'<meta property="{key}" content="{escape(value)}">' for key, value in told.items())


def _linked(article: Article, published: str, paragraphs: Sequence[str]) -> str:
    """JSON-LD: of the article where it states the date, else of the site."""
    told: dict[str, Any] = {"@context": "https://schema.org", "@type": "NewsArticle" if published else "WebSite"}
    if published:
        author = {"@type": "Person", "name": article.author}
        told |= {"headline": article.title, "datePublished": published, "author": author}
        if paragraphs:
            told["articleBody"] = "\n".join(paragraphs)
    text = json.dumps(told, ensure_ascii=False).replace("</", "<\\/")
    return f'<script type="application/ld+json">{text}</script>'


def _text(rng: random.Random, paragraphs: Sequence[str], others: Sequence[Article]) -> str:
    made = []
    for place, text in enumerate(paragraphs):
        made.append(f"<p{_attributes(rng, 1)}>{escape(text, quote=False)}</p>")
        if place % 5 == 4:
            link = f'<a href="/x/{rng.randint(1, 9999)}">{escape(rng.choice(others).title)}</a>'
            made.append(f"<div{_attributes(rng, 2)}>{link}</div>")
    return "\n".join(made)


def _name(rng: random.Random) -> str:
    return f"{rng.choice(_WORDS)}-{rng.choice(_WORDS)}__{rng.choice(_WORDS)}--{rng.randint(1, 99)}"


def _attributes(rng: random.Random, classes: int) -> str:
    names = " ".join(_name(rng) for _ in range(classes))
    return f' class="{names}" data-id="{rng.getrandbits(48):x}" data-{rng.choice(_WORDS)}="{rng.choice(_WORDS)}"'


def _menu(rng: random.Random, language: str, items: int) -> str:
    rows = ""
    for _ in range(items):
        place = f"/{language}/{rng.choice(_WORDS)}/{rng.randint(1, 999)}"
        link = f'<a{_attributes(rng, 1)} href="{place}"><span>{rng.choice(_SECTIONS[language])}</span></a>'
        rows += f"<li{_attributes(rng, 1)}>{link}</li>"
    return f"<nav{_attributes(rng, 2)}><ul>{rows}</ul></nav>"


def _share(rng: random.Random) -> str:
    rows = []
    for place in range(4):
        path = " ".join(str(rng.randint(0, 240) / 10) for _ in range(60))
        icon = f'<svg width="24" height="24" viewBox="0 0 24 24"><path d="M{path}z"/></svg>'
        rows.append(f'<li><a{_attributes(rng, 1)} href="#{place}">{icon}</a></li>')
    return f"<ul{_attributes(rng, 1)}>{''.join(rows)}</ul>"


def _image(rng: random.Random) -> str:
    place = f"/media/{rng.getrandbits(64):x}"
    sizes = ", ".join(f"{place}?w={width}&amp;q=75 {width}w" for width in (320, 480, 640, 960, 1280))
    return f'<img{_attributes(rng, 1)} src="{place}" srcset="{sizes}" loading="lazy" alt="">'


def _teasers(rng: random.Random, others: Sequence[Article], count: int) -> str:
    made = []
    for other in rng.choices(others, k=count):
        image = _image(rng) if rng.random() < 0.55 else ""
        lead = f"<p>{escape(other.summary)}</p>" if rng.random() < 0.3 else ""
        link = f'<a{_attributes(rng, 1)} href="/x/{rng.randint(1, 9999)}">{escape(other.title)}</a>'
        made.append(
            f"<div{_attributes(rng, 2)}><div{_attributes(rng, 1)}>{image}<div{_attributes(rng, 1)}>"
            f"<h3{_attributes(rng, 1)}>{link}</h3>{lead}<span{_attributes(rng, 1)}>{rng.randint(2, 59)} min</span>"
            "</div></div></div>"
        )
    return "".join(made)


def _scripts(rng: random.Random, count: int, characters: int) -> str:
    made = []
    for _ in range(count):
        size, text = int(characters / count * rng.uniform(0.2, 1.8)), []
        while sum(map(len, text)) < size:
            one, other = rng.choice(_WORDS), rng.choice(_WORDS)
            text.append(
                f"window.{one}=window.{other}||{{}};(function(a,b){{if(a.{one}>{rng.randint(1, 999)})"
                f'{{b.push("{_name(rng)}","{rng.getrandbits(64):x}")}}}})(window,[]);'
            )
        made.append(f"<script{_attributes(rng, 0)}>{''.join(text)}</script>")
    return "\n".join(made)


def _style(rng: random.Random) -> str:
    return "".join(
        f".{_name(rng)}{{margin:{rng.randint(0, 40)}px;color:#{rng.getrandbits(24):06x}}}" for _ in range(60)
    )


def feed(host: str, port: int, own: Sequence[Piece]) -> str:
    """RSS 2.0 with titles and summaries, newest first."""
    items = "".join(
        f"<item><title>{escape(piece.article.title)}</title><link>http://{host}:{port}{piece.path}</link>"
        f"<guid>{host}{piece.path}</guid><pubDate>{format_datetime(piece.article.published)}</pubDate>"
        f"<description>{escape(piece.article.summary)}</description></item>"
        for piece in reversed(own)
    )
    head = '<?xml version="1.0" encoding="utf-8"?>\n<rss version="2.0">'
    return f"{head}<channel><title>{host}</title>{items}</channel></rss>"


def write_press(folder: Path, count: int, seed: int, port: int) -> list[Piece]:
    """Write `count` pages and the feeds of their hosts into `folder`, a folder a host."""
    rng = random.Random(seed)
    made = pieces(count, seed, datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1))
    by_language = {name: [p.article for p in made if language_of(p.article) == name] for name in ("en", "zh")}
    for piece in made:
        path = folder / piece.host / piece.path[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(piece, by_language[language_of(piece.article)], rng), encoding="utf-8")
    for host in HOSTS:
        (folder / host).mkdir(exist_ok=True)
        own = [piece for piece in made if piece.host == host]
        (folder / host / "feed.xml").write_text(feed(host, port, own), encoding="utf-8")
    return made


def page_sizes(folder: Path) -> list[int]:
    """Bytes of each page, in order."""
    return sorted(path.stat().st_size for path in folder.rglob("*.html"))


@contextmanager
def serving(folder: Path, port: int) -> Iterator[None]:
    """The press in a process of its own."""
    process = subprocess.Popen([sys.executable, __file__, str(folder), str(port)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"the press did not start on port {port}")
        yield
    finally:
        process.terminate()
        process.wait()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        host = (self.headers.get("Host") or "").partition(":")[0]
        path = self.folder / host / self.path.lstrip("/")
        found = host in HOSTS and ".." not in self.path and path.is_file()
        body = path.read_bytes() if found else b"not here"
        self.send_response(200 if found else 404)
        kind = "application/rss+xml" if path.suffix == ".xml" else "text/html"
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def main() -> None:
    _Handler.folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("", int(sys.argv[2])), _Handler)
    server.daemon_threads = True
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
