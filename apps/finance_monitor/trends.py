"""Aggregates: each story counts once for an entity in a window, weighted by relevance, novelty and source."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from finance_monitor.domain import Scored
from finance_monitor.tables import contributions, windows

QUARTER = 900
DAY = 86_400
WIDTHS = (QUARTER, DAY)
ALL = ("all", "all")
_PLACE = ("entity_kind", "entity", "width", "start", "source_kind")
_COUNTS = ("articles", "stories", "negative", "positive", "weight", "negative_weight", "positive_weight")


def window_start(moment: datetime, width: int) -> datetime:
    """The beginning of the window that holds `moment` (UTC)."""
    seconds = int(moment.timestamp())
    return datetime.fromtimestamp(seconds - seconds % width, UTC)


def entities_of(scored: Scored) -> dict[tuple[str, str], tuple[str, float]]:
    """{(kind, entity): (label, weight)} that an article speaks of."""
    place = 0.25 + 0.75 * scored.place.novelty
    base = scored.article.weight * place
    found = {ALL: (scored.overall.label, base)}
    for mention, sentiment in scored.mentions:
        found["company", mention.company_id] = (sentiment.label, base * _by_relevance(mention.relevance))
    for topic, _ in scored.topics:
        found["topic", topic] = (scored.overall.label, base)
    return found


def _by_relevance(relevance: int) -> float:
    """A company that a story is about counts in full; one at the margin hardly."""
    return min(1.0, relevance / 70)


def count(connection: sa.Connection, scored: Scored) -> list[tuple[str, str]]:
    """Count an article (again, when it was revised); returns the entities whose story counts changed.

    Later articles of a story add to `articles` only: a reprint never counts twice.
    """
    article, story = scored.article, scored.place.story_id
    table = contributions
    own = connection.execute(_OF_STORY, {"of_story": story}).all()
    before = {(row.entity_kind, row.entity): row for row in own}
    changed: list[tuple[str, str]] = []
    new: list[dict[str, Any]] = []
    added: list[dict[str, Any]] = []
    wanted = entities_of(scored)
    for key, (label, weight) in wanted.items():
        row = before.get(key)
        values = {"label": label, "weight": round(weight, 6)}
        if row is None:
            place = {"story_id": story, "entity_kind": key[0], "entity": key[1], "article_id": article.id}
            new.append(place | {"moment": article.published, "source_kind": article.kind, **values})
            added += _in_windows(key, article.published, article.kind, _counts(label, weight, 1, 1))
            changed.append(key)
        elif row.article_id == article.id:
            if row.label != label or abs(row.weight - weight) > 1e-6:
                added += _in_windows(key, row.moment, row.source_kind, _counts(row.label, row.weight, -1, 0))
                added += _in_windows(key, row.moment, row.source_kind, _counts(label, weight, 1, 0))
                connection.execute(table.update().where(*_is(row)).values(values))
                changed.append(key)
        elif article.revision == 1:
            added += _in_windows(key, article.published, article.kind, _counts("", 0.0, 0, 1))
    # What a correction took back.
    for key, row in before.items():
        if key not in wanted and row.article_id == article.id:
            added += _in_windows(key, row.moment, row.source_kind, _counts(row.label, row.weight, -1, -1))
            connection.execute(table.delete().where(*_is(row)))
            changed.append(key)
    if new:
        connection.execute(table.insert(), new)
    if added:
        connection.execute(_ADD[connection.dialect.name], added)
    return changed


def _is(row: Any) -> Sequence[sa.ColumnElement[bool]]:
    c = contributions.c
    return (c.story_id == row.story_id, c.entity_kind == row.entity_kind, c.entity == row.entity)


def _counts(label: str, weight: float, stories: int, articles: int) -> dict[str, float]:
    negative, positive = (stories if label == name else 0 for name in ("negative", "positive"))
    return {
        "articles": articles,
        "stories": stories,
        "negative": negative,
        "positive": positive,
        "weight": stories * weight,
        "negative_weight": negative * weight,
        "positive_weight": positive * weight,
    }


def _in_windows(
    key: tuple[str, str], moment: datetime, source_kind: str, counts: dict[str, float]
) -> list[dict[str, Any]]:
    """What is added to the windows that hold `moment`, one row for each width."""
    place = {"entity_kind": key[0], "entity": key[1], "source_kind": source_kind, **counts}
    return [place | {"width": width, "start": window_start(moment, width)} for width in WIDTHS]


def _adding(new: Any) -> Any:
    """The insert of a window, which adds to one that is there."""
    more = {name: windows.c[name] + new.excluded[name] for name in _COUNTS}
    return new.on_conflict_do_update(index_elements=_PLACE, set_=more)


# Built once: an article adds to some ten windows, and making the statements took longer than running them.
_ADD = {"sqlite": _adding(sqlite.insert(windows)), "postgresql": _adding(postgresql.insert(windows))}
_OF_STORY = sa.select(contributions).where(contributions.c.story_id == sa.bindparam("of_story"))


def series(
    connection: sa.Connection,
    entity_kind: str,
    entity: str,
    since: datetime,
    until: datetime,
    width: int = DAY,
    source_kind: str = "",
) -> list[dict[str, Any]]:
    """Counts a window, without gaps. `width`: any multiple of 15 minutes; whole days are read from the day windows."""
    stored = DAY if width % DAY == 0 else QUARTER
    # Kinds of sources are summed by the database, so that a third of the rows come over.
    sums = [sa.func.sum(windows.c[name]).label(name) for name in _COUNTS]
    query = (
        sa.select(windows.c.start, *sums)
        .where(
            windows.c.entity_kind == entity_kind,
            windows.c.entity == entity,
            windows.c.width == stored,
            windows.c.start >= window_start(since, width),
            windows.c.start < until,
        )
        .group_by(windows.c.start)
        .order_by(windows.c.start)
    )
    if source_kind:
        query = query.where(windows.c.source_kind == source_kind)
    found: dict[datetime, dict[str, Any]] = {}
    start = window_start(since, width)
    while start < until:
        found[start] = {"start": start.isoformat(), **dict.fromkeys(_COUNTS, 0)}
        start += timedelta(seconds=width)
    for start, *counts in connection.execute(query):
        slot = found.get(window_start(start, width))
        if slot is not None:
            for name, count in zip(_COUNTS, counts, strict=True):
                slot[name] = round(slot[name] + count, 6)
    return list(found.values())


def in_windows(
    connection: sa.Connection,
    entity_kind: str,
    entity: str,
    bounds: Sequence[tuple[datetime, datetime, bool]],
    source_kind: str = "",
) -> list[dict[str, Any]]:
    """Counts of windows (start, end, open) that follow each other on quarters of an hour, such as market sessions."""
    found = [
        {"start": start.isoformat(), "end": end.isoformat(), "open": is_open, **dict.fromkeys(_COUNTS, 0)}
        for start, end, is_open in bounds
    ]
    if not found:
        return []
    starts = [start for start, _, _ in bounds]
    query = sa.select(windows).where(
        windows.c.entity_kind == entity_kind,
        windows.c.entity == entity,
        windows.c.width == QUARTER,
        windows.c.start >= starts[0],
        windows.c.start < bounds[-1][1],
    )
    if source_kind:
        query = query.where(windows.c.source_kind == source_kind)
    for row in connection.execute(query):
        slot = found[bisect_right(starts, row.start) - 1]
        for name in _COUNTS:
            slot[name] = round(slot[name] + getattr(row, name), 6)
    return found
