"""How each source does: its crawls and what failed, what is new, what was put aside, and how long each stage takes."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import sqlalchemy as sa

from finance_monitor.queries import rows
from finance_monitor.tables import (
    articles,
    captures,
    crawls,
    incident_changes,
    journal,
    judged,
    outbox,
    revisions,
    unjudged,
)

_DAY = timedelta(days=1)
_DAYS = 7
_CRAWLS = 50
_CAPTURES = 50
_MESSAGES = 200
_FAILURES = ("failed", "blocked", "partial")


def _day(number: int) -> sa.ColumnElement[bool]:
    fetched = captures.c.fetched_at
    return sa.and_(fetched > sa.bindparam(f"day_{number + 1}"), fetched <= sa.bindparam(f"day_{number}"))


# Made once: for dozens of sources, making them took longer than asking them.
_SOURCE = sa.bindparam("source")
_LATEST_CRAWLS = sa.select(crawls).where(crawls.c.source_id == _SOURCE).order_by(crawls.c.started.desc()).limit(_CRAWLS)
_NEW = sa.select(*(sa.func.sum(sa.case((_day(number), 1), else_=0)) for number in range(_DAYS))).where(
    captures.c.source_id == _SOURCE, captures.c.fetched_at > sa.bindparam(f"day_{_DAYS}")
)
_STAGES = (
    sa.select(captures.c.fetched_at, journal.c.moment, articles.c.published, judged.c.moment.label("judged"))
    .join(journal, journal.c.capture_id == captures.c.id)
    .join(revisions, revisions.c.capture_id == captures.c.id)
    .join(articles, articles.c.id == revisions.c.article_id)
    .outerjoin(judged, judged.c.sequence == journal.c.sequence)
    .where(captures.c.source_id == _SOURCE)
    .order_by(captures.c.fetched_at.desc())
    .limit(_CAPTURES)
)


def source_health(connection: sa.Connection, ids: Sequence[str], moment: datetime) -> dict[str, dict[str, Any]]:
    """For each source, of the last seven days: its last crawl and last failure; of its last 50 crawls the errors and
    the share of requests that were answered by "not modified"; new captures a day; what was put aside; `latency`."""
    aside = _put_aside(connection)
    sent = _sent(connection, moment)
    nothing = {"count": 0, "reason": "", "moment": None}
    found = {}
    for source_id in ids:
        latency = {**_latency(connection, source_id), "sent": _middle(sent.get(source_id, []))}
        health = _health(connection, source_id, moment)
        found[source_id] = {**health, "unjudged": aside.get(source_id, nothing), "latency": latency}
    return found


def _health(connection: sa.Connection, source_id: str, moment: datetime) -> dict[str, Any]:
    week = moment - _DAYS * _DAY
    found = [dict(row._mapping) for row in connection.execute(_LATEST_CRAWLS, {"source": source_id})]
    figures = [row["figures"] for row in found if row["started"] > week]
    requests = sum(f.get("requests", 0) for f in figures)
    unchanged = sum(f.get("not_modified", 0) for f in figures)
    new = _new_by_day(connection, source_id, moment)
    failures = (row for row in found if row["outcome"] in _FAILURES and row["started"] > week)
    return {
        "last": found[0] if found else None,
        "last_failure": next(failures, None),
        "crawls": len(figures),
        "new_by_day": new[::-1],
        "new": sum(new),
        "new_24h": new[0],
        "errors": sum(f.get("errors", 0) for f in figures),
        "not_modified_share": round(unchanged / requests, 3) if requests else 0.0,
    }


def _new_by_day(connection: sa.Connection, source_id: str, moment: datetime) -> list[int]:
    """Captures of the last 24 hours, of those before, and so on."""
    edges = {f"day_{number}": moment - number * _DAY for number in range(_DAYS + 1)}
    return [int(count or 0) for count in connection.execute(_NEW, {"source": source_id, **edges}).one()]


def _latency(connection: sa.Connection, source_id: str) -> dict[str, float | None]:
    """Median seconds of the latest 50 captures: `found` from the stated date until it was fetched, `read` from then
    until it was taken up, `judged` from then until its scores were there."""
    found = connection.execute(_STAGES, {"source": source_id}).all()
    return {
        "found": _middle([_seconds(row.published, row.fetched_at) for row in found]),
        "read": _middle([_seconds(row.fetched_at, row.moment) for row in found]),
        "judged": _middle([_seconds(row.moment, row.judged) for row in found if row.judged is not None]),
    }


def _sent(connection: sa.Connection, moment: datetime) -> dict[str, list[float]]:
    """{source: seconds} of the latest messages, from when its article was taken up, or when the rule wanted the message
    sent, until it was delivered. A message counts for the source whose story came last."""
    c = outbox.c
    told = sa.and_(incident_changes.c.incident_id == c.incident_id, incident_changes.c.revision == c.revision)
    query = (
        sa.select(c.planned, c.updated, incident_changes.c.reason)
        .join(incident_changes, told)
        .where(c.state == "sent", c.created > moment - _DAYS * _DAY)
        .order_by(c.created.desc())
        .limit(_MESSAGES)
    )
    found: dict[str, list[float]] = {}
    for row in connection.execute(query):
        stories = row.reason.get("stories") or ()
        if stories:
            found.setdefault(stories[0]["source"], []).append(_seconds(row.planned, row.updated))
    return found


def _put_aside(connection: sa.Connection) -> dict[str, dict[str, Any]]:
    """{source: count, and the latest one's reason and moment} of what no attempt could judge."""
    c = unjudged.c
    query = (
        sa.select(captures.c.source_id, sa.func.count().label("count"), sa.func.max(c.sequence).label("last"))
        .join(captures, captures.c.id == c.capture_id)
        .group_by(captures.c.source_id)
    )
    found = {row["source_id"]: row for row in rows(connection, query)}
    latest = sa.select(c.sequence, c.reason, c.moment).where(c.sequence.in_([row["last"] for row in found.values()]))
    told = {row["sequence"]: row for row in rows(connection, latest)}
    return {
        source_id: {"count": row["count"], "reason": told[row["last"]]["reason"], "moment": told[row["last"]]["moment"]}
        for source_id, row in found.items()
    }


def _seconds(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds())


def _middle(values: Sequence[float]) -> float | None:
    return round(median(values), 1) if values else None
