"""What is kept of a person (site + user name): a copy, and oblivion; and the end of keeping.

The monitor keeps no customers. People appear in it as those who acknowledged, silenced, corrected, or wrote a rule.
What they decided stays, since others rely on it; their name and their words go.
"""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from finance_monitor.tables import acknowledgements, channels, corrections, silences, subscriptions, watchlists
from headwater.storage.columns import now

ERASED = "erased"
# Tables that name who did it, with the column that says when, and whether the person wrote a reason of their own.
_ACTED: tuple[tuple[sa.Table, str, bool], ...] = (
    (acknowledgements, "moment", True),
    (silences, "ends", True),
    (corrections, "moment", False),
    (subscriptions, "updated", False),
    (watchlists, "updated", False),
    (channels, "updated", False),
)


def export(engine: sa.Engine, site: str, subject: str) -> dict[str, list[dict[str, Any]]]:
    """All rows that a user of the site wrote, by table."""
    with engine.connect() as connection:
        found = {
            table.name: connection.execute(sa.select(table).where(_by(table, site, subject))).mappings().all()
            for table, _, _ in _ACTED
        }
    return {name: [dict(row) for row in rows] for name, rows in found.items() if rows}


def erase(engine: sa.Engine, site: str, subject: str) -> int:
    """Take a user's name and reasons out of every row; returns how many rows named them."""
    return _erase(engine, lambda table, _: _by(table, site, subject))


def retention(engine: sa.Engine, site: str | None, days: int) -> int:
    """Take names and reasons out of acknowledgements, corrections and ended silences that are older than `days` days,
    of every site when `site` is None. Rules, lists and channels are in use and keep theirs. Returns how many rows."""
    before = now() - timedelta(days=days)

    def old(table: sa.Table, column: str) -> sa.ColumnElement[bool] | None:
        return None if column == "updated" else _old(table, column, site, before)

    return _erase(engine, old)


def _by(table: sa.Table, site: str, subject: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.site_id == site, table.c.actor == subject)


def _old(table: sa.Table, column: str, site: str | None, before: datetime) -> sa.ColumnElement[bool]:
    old = sa.and_(table.c[column] < before, table.c.actor != ERASED)
    return old if site is None else sa.and_(table.c.site_id == site, old)


def _erase(engine: sa.Engine, which: Any) -> int:
    count = 0
    with engine.begin() as connection:
        for table, column, explained in _ACTED:
            where = which(table, column)
            if where is not None:
                values = {"actor": ERASED, **({"reason": ERASED} if explained else {})}
                count += int(connection.execute(table.update().where(where).values(values)).rowcount)
    return count
