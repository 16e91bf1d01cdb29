"""What a crawl keeps: its own row, the captures, and the validators for conditional requests."""

import hashlib
import json
import secrets
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import psutil
import sqlalchemy as sa

from finance_monitor.domain import DateFound, FeedEntry, Page, Source
from finance_monitor.tables import captures, crawls, validators
from headwater.storage.columns import now

_DAY = 86_400.0
_URL = 2000
_BATCH = 200
# A page is asked for again while it may still be corrected.
YOUNG = timedelta(hours=48)
_VALIDATORS_KEPT = timedelta(days=30)
_REVISITS = 2_000


def new_crawl_id() -> str:
    return secrets.token_hex(8)


def plain_values(value: FeedEntry | Page | Source) -> dict[str, Any]:
    """The fields with moments as ISO texts, for a JSON column."""
    return json.loads(json.dumps(asdict(value), default=lambda moment: moment.isoformat()))  # type: ignore[no-any-return]


def entry_of(values: dict[str, Any]) -> FeedEntry:
    """The entry that `plain_values` wrote."""
    dates = {}
    for name in ("published", "updated"):
        found = values.get(name)
        if found:
            moment = datetime.fromisoformat(found["moment"]) if found["moment"] else None
            dates[name] = DateFound(found["raw"], found["method"], moment)
    return FeedEntry(**{**values, "published": None, "updated": None, **dates})


def entry_digest(entry: FeedEntry) -> str:
    """SHA-256 over what the entry says; a correction in the feed changes it."""
    dates = [date.raw if date else "" for date in (entry.published, entry.updated)]
    return _hash([entry.url, entry.guid, entry.title, entry.summary, entry.content, *dates])


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True)
class Young:
    """An address that may be asked for again: `method` is None where no page could be had."""

    capture_id: int
    first: datetime
    last: datetime
    method: str | None
    has_page: bool


class Record:
    """The rows of one crawl of one source."""

    def __init__(self, engine: sa.Engine, source: Source, crawl_id: str) -> None:
        self.engine = engine
        self.source = source
        self.crawl_id = crawl_id
        self._source_values = plain_values(source)
        # Another pattern or format reads the same document differently: then it is wanted whole again.
        self._reading = _hash([source.format, source.include, str(source.full_text)])[:8]
        self._first_today = False

    # --- the crawl's own row ------------------------------------------------------------------------------------------

    def open(self, pid: int, deadline_seconds: float) -> bool:
        """Write the crawl's row; closes those of crawls that died. False while another process crawls the source."""
        moment = now()
        mine = crawls.c.source_id == self.source.id
        with self.engine.begin() as connection:
            last = connection.execute(sa.select(sa.func.max(crawls.c.started)).where(mine)).scalar()
            self._first_today = last is None or last.date() != moment.date()
            for row in connection.execute(sa.select(crawls).where(mine, crawls.c.outcome == "running")).all():
                limit = timedelta(seconds=float(row.figures.get("deadline", deadline_seconds)) + 300)
                if _is_alive(row.figures) and row.started > moment - limit:
                    return False
                reason = "the crawl's process died; what it kept stays, and the rest follows with the next crawl"
                values = {"outcome": "failed", "ended": moment, "reason": reason}
                connection.execute(crawls.update().where(crawls.c.id == row.id).values(values))
            connection.execute(
                crawls.insert().values(
                    id=self.crawl_id,
                    source_id=self.source.id,
                    started=moment,
                    outcome="running",
                    reason="",
                    figures={**_process(pid), "deadline": deadline_seconds},
                )
            )
        return True

    def close(self, outcome: str, reason: str, figures: dict[str, Any], retry_at: datetime | None) -> None:
        """End the crawl. A failure without a wish of the site waits twice as long each time, at most a day."""
        if outcome in ("failed", "blocked") and retry_at is None:
            wait = min(_DAY, self.source.every * 2 ** min(12, self._failures()))
            retry_at = now() + timedelta(seconds=wait)
        values = {"outcome": outcome, "reason": reason[:1000], "figures": figures, "ended": now(), "retry_at": retry_at}
        with self.engine.begin() as connection:
            # Only while it runs: the parent may have closed it for a child that was thought dead.
            open_row = sa.and_(crawls.c.id == self.crawl_id, crawls.c.outcome == "running")
            connection.execute(crawls.update().where(open_row).values(values))
            if self._first_today:
                self._forget(connection)

    def close_if_open(self, reason: str, outcome: str = "failed", **figures: Any) -> None:
        """For the parent: a child that ended without a word has failed."""
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(crawls).where(crawls.c.id == self.crawl_id)).first()
        if row is not None and row.outcome == "running":
            self.close(outcome, reason, {**row.figures, **figures}, None)

    def outcome(self) -> tuple[str, str, dict[str, Any], datetime | None]:
        """Outcome, reason, figures and the moment before which the source is left alone."""
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(crawls).where(crawls.c.id == self.crawl_id)).first()
        if row is None:
            return "skipped", "another crawl of this source is running", {}, None
        return row.outcome, row.reason, dict(row.figures), row.retry_at

    def last_figures(self) -> dict[str, Any]:
        """The figures of the crawl before this one: what its document was, and what its process crashed over."""
        query = sa.select(crawls.c.figures).where(crawls.c.source_id == self.source.id, crawls.c.id != self.crawl_id)
        with self.engine.connect() as connection:
            row = connection.execute(query.order_by(crawls.c.started.desc()).limit(1)).first()
        return dict(row.figures) if row is not None else {}

    def _failures(self) -> int:
        """How many crawls failed since the last that did not."""
        query = (
            sa.select(crawls.c.outcome)
            .where(crawls.c.source_id == self.source.id, crawls.c.id != self.crawl_id)
            .order_by(crawls.c.started.desc())
            .limit(12)
        )
        count = 0
        with self.engine.connect() as connection:
            for outcome in connection.scalars(query):
                if outcome not in ("failed", "blocked"):
                    break
                count += 1
        return count

    # --- validators ---------------------------------------------------------------------------------------------------

    def visited(self, url: str) -> datetime | None:
        """When the page was asked for last."""
        query = sa.select(validators.c.fetched_at).where(validators.c.url == self._key(url, False))
        with self.engine.connect() as connection:
            return connection.execute(query).scalar()

    def validators(self, url: str, *, document: bool = False) -> dict[str, str]:
        """Headers that ask for the page only if it has changed; empty for an address never seen."""
        query = sa.select(validators).where(validators.c.url == self._key(url, document))
        with self.engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            return {}
        headers = {"If-None-Match": row.etag, "If-Modified-Since": row.last_modified}
        return {name: value for name, value in headers.items() if value}

    def keep_document(self, url: str, etag: str, last_modified: str, digest: str) -> None:
        """For a feed or sitemap, when all that it brought is kept: a 304 for it would hide what was lost."""
        with self.engine.begin() as connection:
            self._put_validators(connection, self._key(url, True), etag, last_modified, digest)

    def note_visit(self, url: str, *, document: bool = False) -> None:
        """The address was asked for now, and nothing came of it."""
        key = self._key(url, document)
        with self.engine.begin() as connection:
            changed = connection.execute(validators.update().where(validators.c.url == key).values(fetched_at=now()))
            if changed.rowcount == 0:
                self._put_validators(connection, key, "", "", "")

    def _put_validators(self, connection: sa.Connection, key: str, etag: str, last_modified: str, digest: str) -> None:
        # A cut validator would be a wrong one.
        values = {
            "etag": etag if len(etag) <= 1000 else "",
            "last_modified": last_modified if len(last_modified) <= 100 else "",
            "digest": digest,
            "fetched_at": now(),
        }
        changed = connection.execute(validators.update().where(validators.c.url == key).values(values))
        if changed.rowcount == 0:
            connection.execute(validators.insert().values(url=key, **values))

    def _key(self, url: str, document: bool) -> str:
        """Two sources may watch one address: what one has seen must not hide it from the other."""
        key = f"{self.source.id}:{self._reading if document else ''} {url}"
        return key if len(key) <= _URL else f"{key[: _URL - 65]} {_hash([url])}"

    def _forget(self, connection: sa.Connection) -> None:
        """Once a day: validators of pages that are not asked for any more."""
        mine = validators.c.url.startswith(f"{self.source.id}:", autoescape=True)
        connection.execute(validators.delete().where(mine, validators.c.fetched_at < now() - _VALIDATORS_KEPT))

    # --- captures -----------------------------------------------------------------------------------------------------

    def known(self, digests: Sequence[str]) -> set[str]:
        """Those of the entry digests that were captured before."""
        found: set[str] = set()
        with self.engine.connect() as connection:
            for start in range(0, len(digests), _BATCH):
                query = sa.select(captures.c.entry_digest).where(
                    captures.c.source_id == self.source.id,
                    captures.c.entry_digest.in_(digests[start : start + _BATCH]),
                )
                found.update(connection.scalars(query))
        return found

    def latest(self, urls: Sequence[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(address, entry digest, entry) of the latest capture of each address."""
        newest = sa.func.max(captures.c.id)
        mine = captures.c.source_id == self.source.id
        for start in range(0, len(urls), _BATCH):
            wanted = [url[:_URL] for url in urls[start : start + _BATCH]]
            ids = sa.select(newest).where(mine, captures.c.url.in_(wanted)).group_by(captures.c.url)
            query = sa.select(captures.c.url, captures.c.entry_digest, captures.c.entry).where(captures.c.id.in_(ids))
            with self.engine.connect() as connection:
                rows = connection.execute(query).all()
            yield from ((row.url, row.entry_digest, row.entry) for row in rows)

    def last_page(self, url: str) -> tuple[dict[str, Any], str, str] | None:
        """What the address's page said when it was last read, its blob and its content type."""
        query = (
            sa.select(captures.c.page, captures.c.page_blob, captures.c.content_type)
            .where(captures.c.source_id == self.source.id, captures.c.url == url[:_URL], captures.c.page_blob != "")
            .order_by(captures.c.id.desc())
        )
        with self.engine.connect() as connection:
            row = connection.execute(query.limit(1)).first()
        return (row.page, row.page_blob, row.content_type) if row is not None and row.page is not None else None

    def young_pages(self) -> list[Young]:
        """The latest state of each address that had a new one in the last 48 hours, newest first."""
        recent = (
            sa.select(sa.func.max(captures.c.id).label("id"), sa.func.min(captures.c.fetched_at).label("first"))
            .where(captures.c.source_id == self.source.id, captures.c.fetched_at > now() - YOUNG, captures.c.url != "")
            .group_by(captures.c.url)
            .order_by(sa.func.max(captures.c.id).desc())
            .limit(_REVISITS)
        )
        columns = (captures.c.id, captures.c.url, captures.c.page_blob, captures.c.page["method"].as_string())
        found: list[Young] = []
        with self.engine.connect() as connection:
            first = {row.id: row.first for row in connection.execute(recent)}
            for start in range(0, len(first), _BATCH):
                some = list(first)[start : start + _BATCH]
                rows = connection.execute(sa.select(*columns).where(captures.c.id.in_(some))).all()
                keys = [self._key(row.url, False) for row in rows]
                query = sa.select(validators.c.url, validators.c.fetched_at).where(validators.c.url.in_(keys))
                visits = {row.url: row.fetched_at for row in connection.execute(query)}
                for row, key in zip(rows, keys, strict=True):
                    found.append(Young(row[0], first[row[0]], visits.get(key, first[row[0]]), row[3], bool(row[2])))
        return sorted(found, key=lambda young: -young.capture_id)

    def capture(self, capture_id: int) -> Any:
        """The entry of a capture, its digest and the blob of its feed."""
        columns = (captures.c.entry, captures.c.entry_digest, captures.c.feed_blob)
        with self.engine.connect() as connection:
            return connection.execute(sa.select(*columns).where(captures.c.id == capture_id)).first()

    def state(self, digest: str, page: Page | dict[str, Any] | None) -> str:
        """What a state of an entry and its page is known by: their texts, not the bytes around them."""
        values = plain_values(page) if isinstance(page, Page) else page
        said = _hash([values["title"], values["text"]]) if values is not None else ""
        return _hash([self.source.id, digest, said])

    def keep(
        self,
        entry: FeedEntry,
        digest: str,
        page: Page | dict[str, Any] | None,
        *,
        feed_blob: str,
        page_blob: str,
        content_type: str,
        visited: tuple[str, str, str] | None = None,
    ) -> bool:
        """Keep one state of an entry and its page; False when this state is there already.

        `visited` is the page's address, etag and last-modified, kept in the same transaction.
        """
        whole = self.state(digest, page)
        values = {
            "source_id": self.source.id,
            "crawl_id": self.crawl_id,
            "digest": whole,
            "entry_digest": digest,
            "url": entry.url[:_URL],
            "guid": entry.guid[:_URL],
            "entry": plain_values(entry),
            "source": self._source_values,
            "feed_blob": feed_blob,
            "page_blob": page_blob,
            "content_type": content_type[:200],
            "fetched_at": now(),
            "page": plain_values(page) if isinstance(page, Page) else page,
        }
        with self.engine.begin() as connection:
            there = connection.execute(sa.select(captures.c.id).where(captures.c.digest == whole)).first()
            if there is None:
                connection.execute(captures.insert().values(values))
            if visited is not None:
                self._put_validators(connection, self._key(visited[0], False), visited[1], visited[2], page_blob)
        return there is None

    def has_state(self, whole: str) -> bool:
        with self.engine.connect() as connection:
            return connection.execute(sa.select(captures.c.id).where(captures.c.digest == whole)).first() is not None


def _process(pid: int) -> dict[str, Any]:
    try:
        born = psutil.Process(pid).create_time()
    except psutil.Error:
        born = 0.0
    return {"pid": pid, "born": born, "host": socket.gethostname()}


def _is_alive(figures: dict[str, Any]) -> bool:
    """Whether the crawl's process runs; that of another machine is taken to run until its deadline."""
    if figures.get("host", socket.gethostname()) != socket.gethostname():
        return True
    try:
        process = psutil.Process(int(figures.get("pid") or -1))
        return abs(process.create_time() - float(figures.get("born") or 0.0)) < 2.0
    except (psutil.Error, ValueError):
        return False
