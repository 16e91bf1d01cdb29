"""Channels: one module a kind, each with `check(options)`, `send(options, message, installation) -> Outcome`,
`IDEMPOTENT` (a second copy of a message is dropped by its key) and `PER_MINUTE` (0: no limit of its own).
"""

import importlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol, cast

import sqlalchemy as sa

from finance_monitor import tables
from finance_monitor.channels.message import SENT, Installation, Message, Outcome
from headwater.errors import HeadwaterError, NotFound

KINDS = ("email", "webhook", "slack", "dingtalk", "feishu", "wecom", "apprise", "inbox")
__all__ = ["KINDS", "SENT", "Channel", "Installation", "Message", "Outcome", "channel_kind", "delete", "save"]


class Channel(Protocol):
    """What the module of a kind offers."""

    IDEMPOTENT: bool
    PER_MINUTE: int
    check: Callable[[Mapping[str, Any]], None]
    send: Callable[[Mapping[str, Any], Message, Installation], Outcome]


def channel_kind(kind: str) -> Channel:
    """The module of that kind, imported when it is first asked for. Raises HeadwaterError for an unknown one."""
    if kind not in KINDS:
        raise HeadwaterError(f"kind: one of {', '.join(KINDS)}, found {kind!r}")
    return cast(Channel, importlib.import_module(f"finance_monitor.channels.{kind}"))


def save(
    connection: sa.Connection,
    site_id: str,
    name: str,
    kind: str,
    options: Mapping[str, Any],
    *,
    actor: str,
    moment: datetime,
    enabled: bool = True,
) -> None:
    """Store a channel, over the one of that name; its state starts anew. Raises HeadwaterError for bad options."""
    if not name.strip() or len(name) > 64:
        raise HeadwaterError(f"name: 1 to 64 characters, found {name!r}")
    channel_kind(kind).check(options)
    table = tables.channels
    fresh = {"state": "new", "reason": "", "retry_at": None, "actor": actor, "updated": moment}
    values = {"kind": kind, "options": dict(options), "enabled": enabled, **fresh}
    mine = (table.c.site_id == site_id, table.c.name == name)
    if not connection.execute(table.update().where(*mine).values(values)).rowcount:
        connection.execute(table.insert().values(site_id=site_id, name=name, **values))


def delete(connection: sa.Connection, site_id: str, name: str) -> None:
    """Raises NotFound, and HeadwaterError while a subscription uses it."""
    from finance_monitor.subscriptions import subscriptions

    users = [one.name for one in subscriptions(connection, site_id) if name in one.rule.all_channels()]
    if users:
        raise HeadwaterError(f"the channel {name!r} is used by {', '.join(users)}; change those first")
    table = tables.channels
    if not connection.execute(table.delete().where(table.c.site_id == site_id, table.c.name == name)).rowcount:
        raise NotFound(f"no channel {name!r}")
