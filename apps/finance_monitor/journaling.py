"""The journal: the order in which captures were taken up, and the ticks of the clock between them."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from finance_monitor.tables import captures, journal, unjudged

TICK = timedelta(minutes=5)
# Ids are given when a crawl's transaction begins, so that a few may become visible late, after higher ones: so far back
# is looked in each call, and at each tick. Older ones are done.
_LATE, _LATE_AT_TICK = 200, 10_000

_LAST = sa.select(journal.c.moment).order_by(journal.c.sequence.desc()).limit(1)
_TICKED = _LAST.where(journal.c.capture_id.is_(None))
_NEWEST = sa.select(sa.func.max(journal.c.capture_id))
_RECENT = sa.bindparam("recent", type_=sa.Integer)
_MISSING = (
    sa.select(captures.c.id, captures.c.entry, captures.c.page, captures.c.fetched_at)
    .where(captures.c.id > _RECENT)
    .where(captures.c.id.not_in(sa.select(journal.c.capture_id).where(journal.c.capture_id > _RECENT)))
    .order_by(captures.c.id)
    .limit(sa.bindparam("at_most"))
)


def take_up(engine: sa.Engine, moment: datetime, limit: int = 2_000) -> int:
    """Enter captures that are not in the journal yet, oldest date first, and the ticks that are due; how many entries.

    While a source's history comes in at once, the order by date lets trends and incidents be found as they happened.
    """
    with engine.begin() as connection:
        last, ticked = connection.scalar(_LAST), connection.scalar(_TICKED)
        moment = max(moment, last) if last is not None else moment
        tick = ticked is None or moment - ticked >= TICK
        recent = (connection.scalar(_NEWEST) or 0) - (_LATE_AT_TICK if tick else _LATE)
        missing = connection.execute(_MISSING, {"recent": recent, "at_most": limit})
        found = sorted((_stated(row, moment), row.id) for row in missing)
        rows: list[dict[str, Any]] = [{"moment": moment, "capture_id": capture_id} for _, capture_id in found]
        if tick:
            # A tick closes what is over; after a pause it comes before what is new, and at the very start after it.
            rows.insert(len(rows) if ticked is None else 0, {"moment": moment, "capture_id": None})
        if rows:
            connection.execute(journal.insert(), rows)
        return len(rows)


def judge_again(engine: sa.Engine, moment: datetime) -> int:
    """Enter what was put aside once more, as known from now on; how many entries. A place in the journal that came to
    nothing is left for the new one, so that a replay does what was done."""
    with engine.begin() as connection:
        last = connection.scalar(sa.select(sa.func.max(journal.c.moment)))
        aside = connection.execute(sa.select(unjudged).order_by(unjudged.c.sequence)).all()
        if not aside:
            return 0
        moment = max(moment, last) if last is not None else moment
        # One by one, since a statement holds so many values only. The old place goes last: SQLite would give the number
        # of a last place that is gone once more, and it is behind the watermark.
        for row in aside:
            place = journal.c.sequence == row.sequence
            connection.execute(journal.update().where(place).values(capture_id=None))
            connection.execute(journal.insert().values(moment=moment, capture_id=row.capture_id))
            connection.execute(journal.delete().where(place))
            connection.execute(unjudged.delete().where(unjudged.c.sequence == row.sequence))
        return len(aside)


def _stated(row: Any, moment: datetime) -> datetime:
    for found in (row.entry.get("published"), (row.page or {}).get("published"), row.entry.get("updated")):
        if found and found["moment"]:
            return min(moment, datetime.fromisoformat(found["moment"]))
    return min(moment, row.fetched_at)
