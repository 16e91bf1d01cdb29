"""Pages and sitemaps are fetched from a real server; addresses of the own network are refused, redirects included."""

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headwater.errors import HeadwaterError, TooLarge, Unavailable, Unsupported
from support_bot.fetching import check_address, fetch_page, read_sitemap


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        host = f"http://{self.headers['Host']}"
        pages = {
            "/page": (200, "text/html; charset=utf-8", b"<h1>Page</h1><p>Text</p>"),
            "/image": (200, "image/png", b"\x89PNG"),
            "/large": (200, "text/html", b"x" * 5000),
            "/gone": (404, "text/html", b""),
            "/sitemap.xml": (200, "application/xml", _index(host).encode()),
            "/pages.xml.gz": (200, "application/gzip", gzip.compress(_urls(host).encode())),
            "/bad.xml": (200, "application/xml", b"<urlset><url>"),
            "/entities.xml": (200, "application/xml", _ENTITIES),
            "/encoding.xml": (200, "application/xml", b'<?xml version="1.0" encoding="gbk"?><urlset/>'),
            "/empty.xml": (200, "application/xml", b"<urlset><url><loc>http://[</loc></url></urlset>"),
            "/packed": (200, "text/html", b"packed"),
        }
        if self.path in ("/drip", "/drip-head"):
            self._drip()
            return
        if self.path in ("/moved", "/loop", "/inside", "/nowhere", "/script"):
            target = {"/moved": "/page", "/loop": "/loop", "/inside": "http://169.254.169.254/latest/meta-data"}
            target |= {"/nowhere": "http://[", "/script": "javascript:alert(1)"}
            self.send_response(302)
            self.send_header("Location", target[self.path])
            self.end_headers()
            return
        if self.path.startswith("/many"):
            below = "".join(f"<sitemap><loc>{host}{self.path}{n}</loc></sitemap>" for n in range(3))
            pages[self.path] = (200, "application/xml", f"<sitemapindex>{below}</sitemapindex>".encode())
        status, kind, body = pages.get(self.path, (404, "text/html", b""))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if self.path == "/packed":
            self.send_header("Content-Encoding", "br")
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        """A byte now and then, so that no single wait is long."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + b"\r\n" * (self.path == "/drip"))
        try:
            for _ in range(100):
                self.wfile.write(b"X: 1\r\n")
                time.sleep(0.1)
        except OSError:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


_ENTITIES = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><urlset><loc>&b;</loc></urlset>'


def _index(host: str) -> str:
    return f"<sitemapindex><sitemap><loc>{host}/pages.xml.gz</loc></sitemap></sitemapindex>"


def _urls(host: str) -> str:
    names = ("/page", "/other", "/page")
    return f"<urlset>{''.join(f'<url><loc>{host}{n}</loc></url>' for n in names)}<url><loc>http://b.example/</loc></url></urlset>"


@pytest.fixture
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_page_is_fetched_also_after_a_redirect(site: str) -> None:
    page = fetch_page(f"{site}/moved", max_bytes=10_000, allow_private=True)

    assert (page.url, page.suffix, page.data) == (f"{site}/page", ".html", b"<h1>Page</h1><p>Text</p>")


@pytest.mark.parametrize(
    ("path", "kind", "reason"),
    [
        ("/image", Unsupported, "image/png"),
        ("/large", TooLarge, "larger than 1,000 bytes"),
        ("/gone", Unavailable, "404"),
        ("/loop", HeadwaterError, "redirects"),
        ("/nowhere", Unavailable, "no address"),
        ("/script", HeadwaterError, "cannot be fetched|no http"),
        ("/packed", Unsupported, "packed as br"),
    ],
)
def test_a_page_that_cannot_be_used_is_named(site: str, path: str, kind: type[Exception], reason: str) -> None:
    with pytest.raises(kind, match=reason) as refusal:
        fetch_page(f"{site}{path}", max_bytes=1000, allow_private=True)
    assert path in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost:8000/",
        "http://10.1.2.3/",
        "http://192.168.0.1/",
        "http://172.16.0.9/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://0.0.0.0/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://100.64.0.1/",
        "http://[::127.0.0.1]/",
        "http://[::ffff:0:127.0.0.1]/",
        "http://[64:ff9b::10.0.0.1]/",
        "http://[2002:7f00:1::]/",
        "http://[fec0::1]/",
        "http://127。0。0。1/",
    ],
)
def test_private_addresses_are_refused_in_every_spelling(url: str) -> None:
    with pytest.raises(HeadwaterError, match=r"private|resolved"):
        check_address(url)


def test_a_name_that_resolves_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: answer)

    with pytest.raises(HeadwaterError, match=r"intra.example is the private address 10.0.0.7"):
        check_address("http://intra.example/")


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 80)) for host in ("93.184.216.34", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: answer)

    with pytest.raises(HeadwaterError, match=r"127.0.0.1"):
        check_address("http://mixed.example/")


def test_a_redirect_into_the_own_network_is_refused(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from support_bot import fetching

    real = fetching.is_public
    monkeypatch.setattr(fetching, "is_public", lambda address: address == "127.0.0.1" or real(address))

    with pytest.raises(HeadwaterError, match=r"169.254.169.254"):
        fetch_page(f"{site}/inside", max_bytes=1000)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/a",
        "file:///etc/passwd",
        "http://u:p@example.com/",
        "http://:@example.com/",
        "nonsense",
        "http://[",
        "http://1.1.1.1:99999/",
        "http://1.1.1.1:0/",
        "http://1.1.1.1/\x01",
        "http://a\x00b/",
        "http://\ud800/",
    ],
)
def test_other_schemes_and_passwords_are_refused(url: str) -> None:
    with pytest.raises(HeadwaterError):
        check_address(url)


def test_sitemap_indexes_and_gzipped_sitemaps_give_the_pages_of_their_own_host(site: str) -> None:
    assert read_sitemap(f"{site}/sitemap.xml", max_bytes=100_000, allow_private=True) == [
        f"{site}/page",
        f"{site}/other",
    ]


def test_the_system_decides_which_of_several_addresses_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 80)) for host in ("93.184.216.34", "2606:2800:21f::1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: answer)

    assert check_address("http://both.example/") == "93.184.216.34"


def test_a_host_in_another_script_is_asked_by_its_ascii_name(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: answer)
    port = site.rsplit(":", 1)[1]

    assert fetch_page(f"http://bücher.example:{port}/page", max_bytes=10_000, allow_private=True).suffix == ".html"


@pytest.mark.parametrize("path", ["/drip", "/drip-head"])
def test_an_answer_in_drips_ends_at_the_deadline(site: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from support_bot import fetching

    monkeypatch.setattr(fetching, "_TOTAL_SECONDS", 0.5)
    started = time.monotonic()

    with pytest.raises(Unavailable, match=rf"{path} did not arrive within 0.5 seconds"):
        fetch_page(f"{site}{path}", max_bytes=10_000, allow_private=True)
    assert time.monotonic() - started < 3


def test_sitemaps_that_lead_to_ever_more_sitemaps_are_refused(site: str) -> None:
    with pytest.raises(TooLarge, match="more than 50 sitemaps"):
        read_sitemap(f"{site}/many", max_bytes=100_000, allow_private=True)


def test_a_sitemap_without_a_page_of_its_host_says_so(site: str) -> None:
    with pytest.raises(HeadwaterError, match=r"empty.xml names no page of 127.0.0.1"):
        read_sitemap(f"{site}/empty.xml", max_bytes=100_000, allow_private=True)


@pytest.mark.parametrize("name", ["bad.xml", "entities.xml", "encoding.xml"])
def test_a_sitemap_that_is_none_or_hostile_is_refused(site: str, name: str) -> None:
    with pytest.raises(HeadwaterError, match="not a sitemap"):
        read_sitemap(f"{site}/{name}", max_bytes=100_000, allow_private=True)
