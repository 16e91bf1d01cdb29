"""Aggregates: each story counts once for an entity in a window, weighted by relevance, novelty and source."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

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
    own = connection.execute(sa.select(table).where(table.c.story_id == story)).all()
    before = {(row.entity_kind, row.entity): row for row in own}
    changed: list[tuple[str, str]] = []
    wanted = entities_of(scored)
    for key, (label, weight) in wanted.items():
        row = before.get(key)
        values = {"label": label, "weight": round(weight, 6)}
        if row is None:
            moment = article.published
            connection.execute(
                table.insert().values(
                    story_id=story,
                    entity_kind=key[0],
                    entity=key[1],
                    article_id=article.id,
                    moment=moment,
                    source_kind=article.kind,
                    **values,
                )
            )
            _add(connection, key, moment, article.kind, _counts(label, weight, 1, 1))
            changed.append(key)
        elif row.article_id == article.id:
            if row.label != label or abs(row.weight - weight) > 1e-6:
                _add(connection, key, row.moment, row.source_kind, _counts(row.label, row.weight, -1, 0))
                _add(connection, key, row.moment, row.source_kind, _counts(label, weight, 1, 0))
                connection.execute(table.update().where(*_is(row)).values(values))
                changed.append(key)
        elif article.revision == 1:
            _add(connection, key, article.published, article.kind, _counts("", 0.0, 0, 1))
    # What a correction took back.
    for key, row in before.items():
        if key not in wanted and row.article_id == article.id:
            _add(connection, key, row.moment, row.source_kind, _counts(row.label, row.weight, -1, -1))
            connection.execute(table.delete().where(*_is(row)))
            changed.append(key)
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


def _add(
    connection: sa.Connection, key: tuple[str, str], moment: datetime, source_kind: str, counts: dict[str, float]
) -> None:
    for width in WIDTHS:
        place = {
            "entity_kind": key[0],
            "entity": key[1],
            "width": width,
            "start": window_start(moment, width),
            "source_kind": source_kind,
        }
        bound = {f"at_{name}": value for name, value in place.items()}
        bound |= {f"more_{name}": value for name, value in counts.items()}
        if connection.execute(_ADD, bound).rowcount == 0:
            connection.execute(_NEW, place | counts)


# Built once: an article adds to some thirty windows, and making the statements took longer than running them.
_ADD = (
    windows.update()
    .where(*(windows.c[name] == sa.bindparam(f"at_{name}") for name in _PLACE))
    .values({name: windows.c[name] + sa.bindparam(f"more_{name}") for name in _COUNTS})
)
_NEW = windows.insert()


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
