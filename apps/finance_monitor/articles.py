"""From captures to articles: layered identity (guid, address, content), and every revision as a row of its own."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import sqlalchemy as sa

from finance_monitor.companies import language_of
from finance_monitor.domain import Article
from finance_monitor.tables import article_keys, articles, revisions

# A date this long before the first sight is an old page that was put on the feed again, or a mistake.
_OLDEST = timedelta(days=90)
_TRACKING = re.compile(r"^(utm_.*|fbclid|gclid|mc_[ce]id|spm|from|ref|ref_src|cmpid|ncid|src|share.*)$", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_TEXT = 100_000


@dataclass(frozen=True)
class Identified:
    """An article's revision, whether it is new, changed, or was there already as it is, and the `keys` that it is not
    known by yet."""

    article: Article
    state: str  # new, revised, known
    digest: str
    date_raw: str
    date_method: str
    keys: dict[str, str]


def canonical_url(url: str) -> str:
    """The address without fragment, tracking parameters, default port and trailing slash; host in lower case."""
    parts = urlsplit(url)
    query = urlencode(sorted((k, v) for k, v in parse_qsl(parts.query) if not _TRACKING.match(k)))
    host = (parts.hostname or "").removeprefix("www.")
    port = f":{parts.port}" if parts.port and parts.port not in (80, 443) else ""
    return urlunsplit(("https", host + port, parts.path.rstrip("/"), query, ""))


def identify(
    connection: sa.Connection, capture: Mapping[str, Any], page: Mapping[str, Any] | None, known_at: datetime
) -> Identified | None:
    """Which article a capture belongs to; None when it has neither title nor text. Writes nothing (`add_keys`)."""
    entry, source = capture["entry"], capture["source"]
    title = entry["title"] or (page or {}).get("title") or ""
    text = ((page or {}).get("text") or entry["content"] or "")[:_TEXT]
    summary = entry["summary"]
    if not text and summary:
        text = summary
    if not title:
        title = text.split("\n", 1)[0][:120]
    if not title.strip():
        return None
    digest = _hash(_SPACE.sub(" ", title), _SPACE.sub(" ", text))
    keys = _keys(capture, (page or {}).get("canonical") or "", digest)
    known = connection.execute(_KNOWN, {"keys": list(keys)}).all()
    found = _same(known, title, capture["url"])
    raw, method, published = _date(entry, page, known_at)
    if found is None:
        article_id = _hash("article", source["id"], *sorted(keys))[:24]
        number, first_seen = 1, known_at
    else:
        article_id, number, first_seen = found.id, found.revision, found.first_seen
        published = found.published
    same = found is not None and _has_revision(connection, article_id, digest)
    if found is not None and not same:
        number += 1
    article = Article(
        article_id,
        number,
        source["id"],
        capture["url"],
        title,
        summary,
        text,
        language_of(f"{title} {text[:500]}", entry["language"] or source["language"]),
        source["kind"],
        published,
        known_at,
        first_seen,
        entry["author"] or (page or {}).get("author") or "",
        raw,
        method,
        source["weight"],
    )
    for row in known:
        del keys[row.key]
    return Identified(article, "known" if same else "revised" if found else "new", digest, raw, method, keys)


def _keys(capture: Mapping[str, Any], canonical: str, digest: str) -> dict[str, str]:
    """Key → layer. The guid counts within its source, the address everywhere."""
    keys = {}
    if capture["guid"]:
        keys[_hash("guid", capture["source_id"], capture["guid"])] = "guid"
    for url in filter(None, (capture["url"], canonical)):
        # A publisher that calls its front page canonical for every article would make them one.
        if urlsplit(url).path.strip("/") or urlsplit(url).query:
            keys[_hash("url", canonical_url(url))] = "url"
    keys[_hash("content", capture["source_id"], digest)] = "content"
    return keys


# Built once, like those of the pipeline.
_KNOWN = (
    sa.select(
        article_keys.c.key,
        article_keys.c.layer,
        *(articles.c[name] for name in ("id", "revision", "first_seen", "published", "title", "url")),
    )
    .join(articles, articles.c.id == article_keys.c.article_id)
    .where(article_keys.c.key.in_(sa.bindparam("keys", expanding=True)))
)


def _same(known: Sequence[Any], title: str, url: str) -> Any:
    """The article among those that share a key; None where they are others."""
    rows = {row.layer: row for row in known}
    for layer in ("url", "content", "guid"):
        row = rows.get(layer)
        if row is None:
            continue
        # Some feeds give all their items one guid: then title and address tell them apart.
        if layer == "guid" and row.title != title and canonical_url(row.url) != canonical_url(url):
            continue
        return row
    return None


def add_keys(connection: sa.Connection, found: Identified) -> None:
    """Write what the article is known by from now on."""
    article_id = found.article.id
    rows = [{"key": key, "layer": layer, "article_id": article_id} for key, layer in found.keys.items()]
    if rows:
        connection.execute(article_keys.insert(), rows)


def _has_revision(connection: sa.Connection, article_id: str, digest: str) -> bool:
    query = sa.select(revisions.c.number).where(revisions.c.article_id == article_id, revisions.c.digest == digest)
    return connection.execute(query.limit(1)).first() is not None


def _date(entry: Mapping[str, Any], page: Mapping[str, Any] | None, known_at: datetime) -> tuple[str, str, datetime]:
    """Raw text, method and moment: the feed's date, else the page's, else the moment it was first seen."""
    stated = [entry.get("published"), (page or {}).get("published"), entry.get("updated")]
    raw = next((found["raw"] for found in stated if found), "")
    for found in stated:
        if found and found["moment"]:
            moment = datetime.fromisoformat(found["moment"])
            if known_at - _OLDEST <= moment:
                return found["raw"], found["method"], min(moment, known_at)
    return raw, "first seen", known_at


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).hexdigest()
