"""What a subject (site + external id) may ask for: a copy, and oblivion; and the end of keeping."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from headwater.storage.columns import now
from support_bot.tables import conversations, turns


def export(engine: sa.Engine, site: str, subject: str) -> list[dict[str, Any]]:
    """All conversations of a subject with their turns."""
    own = sa.select(conversations).where(conversations.c.site_id == site, conversations.c.subject == subject)
    with engine.connect() as connection:
        found = [dict(row._mapping) for row in connection.execute(own)]
        for conversation in found:
            said = sa.select(turns).where(turns.c.conversation_id == conversation["id"]).order_by(turns.c.number)
            conversation["turns"] = [dict(row._mapping) for row in connection.execute(said)]
    return found


def erase(engine: sa.Engine, site: str, subject: str) -> int:
    """Delete all conversations of a subject; returns how many there were."""
    return _delete(engine, sa.and_(conversations.c.site_id == site, conversations.c.subject == subject))


def retention(engine: sa.Engine, site: str | None, days: int) -> int:
    """Delete conversations without a turn in the last `days` days, of every site when `site` is None.

    Returns how many there were.
    """
    old = conversations.c.updated < now() - timedelta(days=days)
    return _delete(engine, old if site is None else sa.and_(conversations.c.site_id == site, old))


def _delete(engine: sa.Engine, condition: sa.ColumnElement[bool]) -> int:
    ids = sa.select(conversations.c.id).where(condition)
    with engine.begin() as connection:
        connection.execute(turns.delete().where(turns.c.conversation_id.in_(ids)))
        return int(connection.execute(conversations.delete().where(condition)).rowcount)
