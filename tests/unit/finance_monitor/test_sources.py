"""The sources file: only an address is needed, errors name the line, edits keep the rest of the file."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from finance_monitor.domain import Source
from finance_monitor.sources import (
    add_source,
    due_sources,
    enable_source,
    load_sources,
    put_source,
    remove_source,
    update_source,
)
from finance_monitor.tables import crawls, metadata
from headwater.errors import Conflict, HeadwaterError, NotFound

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
FILE = """# Our sources
defaults:
  language: en

sources:
  # the wire
  - id: wire
    name: The Wire
    url: "https://wire.example/feed.xml"
    every: 5m
  - url: https://www.plain.example/news/index.html  # no feed
    kind: comment
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "sources.yaml"
    path.write_text(FILE)
    return path


def test_only_an_address_is_needed(path: Path) -> None:
    wire, plain = load_sources(path)
    assert (wire.id, wire.every, wire.language) == ("wire", 300.0, "en")
    assert (plain.id, plain.name, plain.format) == ("plain-example-news-index-html", "www.plain.example", "")
    assert plain.kind == "comment" and plain.language == "en"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("every: 5m", "every: soon", ":10: every is a time such as 30s, 10m, 2h or 1d, not 'soon'"),
        ("every: 5m", "every: 5", ":10: every is 5; at least 30 s"),
        ("every: 5m", "evry: 5m", ":10: unknown key 'evry'; did you mean 'every'?"),
        ("every: 5m", "colour: red", ":10: unknown key 'colour'; there are: id, name, url"),
        ("every: 5m", "weight: heavy", ":10: weight is a number, not 'heavy'"),
        ("every: 5m", "weight: .inf", ":10: weight is a number, not inf"),
        ("every: 5m", "max_pages: 1.5", ":10: max_pages is a whole number, not 1.5"),
        ("every: 5m", 'include: "("', ":10: include is no regular expression"),
        ("every: 5m", "enabled: maybe", ":10: enabled is true or false, not 'maybe'"),
        ("every: 5m", "name: 2026", ":10: this is no YAML"),
        ("every: 5m", "region: 49", ":10: region is a text, not 49; put it in quotes"),
        ("every: 5m", "id: Wire!", ":10: "),
        ("kind: comment", "kind: rumour", ":12: kind must be one of news, comment, filing, not 'rumour'"),
        ("kind: comment", "kind: coment", "did you mean 'comment'?"),
        ('"https://wire.example/feed.xml"', "ftp://wire.example/x", ":9: url must be an http:// or https:// address"),
        ('"https://wire.example/feed.xml"', '"https://me:word@wire.example/"', ":9: url holds a user name"),
        ('url: "https://wire.example/feed.xml"', "region: GB", ":7: url must be"),
        ("id: wire", "id: plain-example-news-index-html", ":11: the id 'plain-example-news-index-html' is given twice"),
        ("  language: en", "  langage: en", ":3: unknown key 'langage'; did you mean 'language'?"),
        ("  language: en", "  url: https://wire.example/", ":3: url cannot be a default"),
        ("# Our sources", "extra: 1", ":1: unknown key 'extra'; there are: sources, defaults"),
        ("sources:", "sourcs:", "must hold a list named sources"),
        ("defaults:", "defaults: [", "this is no YAML"),
    ],
)
def test_mistakes_are_named_with_their_line(path: Path, old: str, new: str, message: str) -> None:
    path.write_text(FILE.replace(old, new, 1))
    with pytest.raises(HeadwaterError) as caught:
        load_sources(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_a_missing_file_is_answered_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="a file of one source is"):
        load_sources(tmp_path / "none.yaml")


def test_edits_keep_comments_and_order(path: Path) -> None:
    put_source(path, {"id": "wire", "url": "https://wire.example/feed.xml", "every": "20m"})
    put_source(path, {"url": "https://third.example/atom"})
    text = path.read_text()
    assert "# Our sources" in text and "# the wire" in text and "# no feed" in text
    assert [source.id for source in load_sources(path)] == [
        "wire",
        "plain-example-news-index-html",
        "third-example-atom",
    ]
    assert load_sources(path)[0].every == 1200.0 and load_sources(path)[0].name == "The Wire"
    remove_source(path, "wire")
    assert "The Wire" not in path.read_text()
    with pytest.raises(NotFound):
        remove_source(path, "wire")


def test_a_refused_edit_changes_nothing(path: Path) -> None:
    with pytest.raises(HeadwaterError, match="every is a time"):
        put_source(path, {"url": "https://third.example/atom", "every": "often"})
    assert path.read_text() == FILE and list(path.parent.iterdir()) == [path]


def test_the_first_source_makes_the_file(tmp_path: Path) -> None:
    put_source(tmp_path / "finance" / "sources.yaml", {"url": "https://wire.example/"})
    assert len(load_sources(tmp_path / "finance" / "sources.yaml")) == 1


def test_sources_are_added_changed_and_switched_by_their_id(path: Path) -> None:
    added = add_source(path, {"url": "https://third.example/atom?lang=de", "every": "1h"})
    assert (added.id, added.every, added.language) == ("third-example-atom-lang-de", 3600.0, "en")
    with pytest.raises(Conflict, match="has a source 'wire' already"):
        add_source(path, {"id": "wire", "url": "https://other.example/"})
    assert enable_source(path, "wire", False).enabled is False
    assert "    every: 5m\n    enabled: false\n" in path.read_text()
    assert update_source(path, "wire", {"enabled": None, "weight": 2}).enabled is True
    with pytest.raises(NotFound, match="did you mean 'wire'"):
        update_source(path, "wre", {"weight": 2})


def test_a_source_keeps_its_id_when_its_address_changes(path: Path) -> None:
    moved = update_source(path, "plain-example-news-index-html", {"url": "https://plain.example/rss"})
    assert (moved.id, moved.url) == ("plain-example-news-index-html", "https://plain.example/rss")
    with pytest.raises(Conflict, match="the id 'wire' stays"):
        update_source(path, "wire", {"id": "other"})


def test_addresses_that_differ_late_have_different_ids(path: Path) -> None:
    long = "https://wire.example/" + "section/" * 12
    assert add_source(path, {"url": f"{long}a"}).id != add_source(path, {"url": f"{long}b"}).id


def test_edits_at_the_same_time_are_all_kept(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: add_source(path, {"url": f"https://site{n}.example/"}), range(16)))
    assert len(load_sources(path)) == 18


def test_sources_are_due_by_their_own_time_and_wish() -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    metadata.create_all(engine)
    new, old, fresh, waiting = (Source(name, name, "https://x.example/", every=600) for name in ("n", "o", "f", "w"))

    def crawled(source: Source, minutes: int, retry: int | None = None) -> None:
        with engine.begin() as connection:
            connection.execute(
                crawls.insert().values(
                    id=f"{source.id}{minutes}",
                    source_id=source.id,
                    started=NOW - timedelta(minutes=minutes),
                    outcome="done",
                    reason="",
                    figures={},
                    retry_at=NOW + timedelta(minutes=retry) if retry else None,
                )
            )

    crawled(old, 90)
    crawled(old, 11)
    crawled(fresh, 9)
    crawled(waiting, 60, retry=30)
    sources = [fresh, waiting, old, new, replace(new, id="off", enabled=False)]
    assert [source.id for source in due_sources(engine, sources, NOW)] == ["n", "o"]
