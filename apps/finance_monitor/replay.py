"""The whole path again, from the raw bytes, in the order in which things became known.

It writes into a database of its own and sends nothing. The same journal, models, gazetteer and rules give the same
alerts, byte for byte.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from finance_monitor.companies import Gazetteer
from finance_monitor.crawling.record import plain_values
from finance_monitor.models import Models
from finance_monitor.pages import read_page
from finance_monitor.pipeline import Pipeline
from finance_monitor.tables import (
    acknowledgements,
    alerts,
    captures,
    channels,
    journal,
    silences,
    subscriptions,
    watchlists,
)
from headwater.progress import Progress, Step, silent
from headwater.settings import Settings
from headwater.storage.blobs import Blobs
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate


@dataclass(frozen=True)
class Replayed:
    """How many entries were applied, the alerts as JSON lines, and the SHA-256 of those lines."""

    entries: int
    alerts: tuple[str, ...]
    digest: str


def replay(
    settings: Settings,
    engine: sa.Engine,
    models: Models,
    gazetteer: Gazetteer,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    speed: float = 0.0,
    alert_age: timedelta = timedelta(days=3),
    progress: Progress = silent,
    wait: Callable[[float], None] = time.sleep,
) -> Replayed:
    """Apply the journal up to `end`; the alerts from `start` on are returned. Pages are read again from their bytes.

    What was known before `start` is applied as well, since it is what later moments are judged against.
    """
    blobs = Blobs(settings.folder("raw"))
    with tempfile.TemporaryDirectory(prefix="headwater-replay-") as folder:
        # A database of its own, whatever the installation uses: nothing of the present may shine through.
        own = Settings(home=Path(folder), database_url=None)
        copy = open_engine(own, "finance")
        migrate(copy, "finance")
        later_rules = _copy_rules(engine, copy)
        pipeline = Pipeline(copy, models, gazetteer, alert_age=alert_age)
        entries = _journal(engine, end)
        previous: datetime | None = None
        for number, entry in enumerate(entries):
            if speed > 0 and previous is not None and (start is None or entry["moment"] >= start):
                wait(max(0.0, (entry["moment"] - previous).total_seconds() / speed))
            previous = entry["moment"]
            while later_rules and later_rules[0]["created"] <= entry["moment"]:
                _insert(copy, subscriptions, [later_rules.pop(0)])
            if entry["capture_id"] is not None:
                _copy_capture(engine, copy, blobs, entry["capture_id"])
            pipeline.advance(entry)
            progress(Step(number + 1, len(entries), f"{entry['moment']:%Y-%m-%d %H:%M}"))
        lines = alert_lines(copy, start)
        copy.dispose()
    return Replayed(len(entries), lines, hashlib.sha256("\n".join(lines).encode()).hexdigest())


def alert_lines(engine: sa.Engine, start: datetime | None = None, end: datetime | None = None) -> tuple[str, ...]:
    """The alerts of a database, one line of JSON each, in the order of moment and id."""
    query = sa.select(alerts).order_by(alerts.c.created, alerts.c.id)
    if start is not None:
        query = query.where(alerts.c.created >= start)
    if end is not None:
        query = query.where(alerts.c.created <= end)
    with engine.connect() as connection:
        rows = [dict(row._mapping) for row in connection.execute(query)]
    return tuple(json.dumps(row, ensure_ascii=False, sort_keys=True, default=_iso) for row in rows)


def _iso(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _journal(engine: sa.Engine, end: datetime | None) -> list[dict[str, Any]]:
    query = sa.select(journal).order_by(journal.c.sequence)
    if end is not None:
        query = query.where(journal.c.moment <= end)
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def _copy_rules(engine: sa.Engine, copy: sa.Engine) -> list[dict[str, Any]]:
    """Copy what the alerts go by; returns the subscriptions, oldest first, which are not to fire before they were made.

    Silences and acknowledgements hold moments of their own. A rule that was edited counts in its last form.
    """
    with engine.connect() as source:
        for table in (channels, watchlists, silences, acknowledgements):
            _insert(copy, table, [dict(row._mapping) for row in source.execute(sa.select(table))])
        query = sa.select(subscriptions).order_by(subscriptions.c.created, subscriptions.c.id)
        return [dict(row._mapping) for row in source.execute(query)]


def _insert(engine: sa.Engine, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        with engine.begin() as connection:
            connection.execute(table.insert(), rows)


def _copy_capture(engine: sa.Engine, copy: sa.Engine, blobs: Blobs, capture_id: int) -> None:
    """The capture as it was fetched, with its page read again."""
    with engine.connect() as connection:
        row = connection.execute(sa.select(captures).where(captures.c.id == capture_id)).one()
    values = dict(row._mapping)
    kept = values["page"] or {}
    # A page that no parser survived, or none in its time, was taken without its text, and must not stop a replay.
    if values["page_blob"] and not kept.get("method", "").startswith(("unreadable", "refused")):
        source = values["source"]
        page = read_page(
            blobs.get(values["page_blob"]),
            values["content_type"],
            values["url"],
            datetime.fromisoformat(kept["read"]) if kept.get("read") else values["fetched_at"],
            language=source["language"],
            region=source["region"],
        )
        values["page"] = plain_values(page)
    with copy.begin() as connection:
        connection.execute(captures.insert().values(values))
