"""Which message an alert travels in: grouping, held messages that are overtaken, the rate limit.

Each (incident, channel, revision) has one row of the outbox. A row either is a message of its own or is `merged` into
another one that has not been sent yet; that one names every alert it carries.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from finance_monitor.calendars import release, zone_of
from finance_monitor.domain import Incident
from finance_monitor.subscriptions import Subscription
from finance_monitor.tables import alerts, outbox

_HOUR = timedelta(hours=1)


def message_key(*parts: str) -> str:
    """The key of what a channel is told once: a hash of site, incident, channel and revision."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def enqueue(
    connection: sa.Connection,
    subscription: Subscription,
    incident: Incident,
    alert_id: str,
    channel: str,
    due: datetime,
    moment: datetime,
    *,
    urgent: bool,
) -> tuple[datetime, str]:
    """Queue one alert for one channel, no earlier than `due`; returns when it goes out and what holds it: group, limit.

    `urgent` goes out at once, whatever groups and limits say, and takes along what is held of the same incident.
    """
    key = message_key(subscription.site_id, incident.id, channel, str(incident.revision))
    language = subscription.rule.language
    same = _row(connection, key)
    if same is not None:
        return _share(connection, same, alert_id, language, due, moment), ""
    group = _group(subscription, incident)
    carrier = None if urgent else _carrier(connection, subscription, incident, channel, group, due, moment)
    why = ""
    planned = due
    if carrier is not None:
        why = "group"
    elif not urgent:
        planned, why = _delayed(subscription, due, moment)
        planned, carrier, limited = _limited(connection, subscription, channel, planned, due, moment)
        why = "limit" if limited else why
    values: dict[str, Any] = {
        "key": key,
        "site_id": subscription.site_id,
        "incident_id": incident.id,
        "channel": channel,
        "revision": incident.revision,
        "subscription_id": subscription.id,
        "group_key": group,
        "alert_ids": [alert_id],
        "content": {"kind": "alert", "languages": [language]},
        "created": moment,
    }
    if carrier is not None:
        insert(connection, values, carrier.planned, merged_into=carrier.key)
        _load(connection, carrier, [alert_id], [language])
        return carrier.planned, why
    if planned == moment:
        taken = _take_over(connection, subscription.site_id, incident.id, channel, key, moment)
        values["alert_ids"] = [*taken, alert_id]
    insert(connection, values, planned)
    return planned, why


def enqueue_escalation(
    connection: sa.Connection,
    subscription: Subscription,
    alert: sa.Row[Any],
    step: int,
    channel: str,
    due: datetime,
) -> bool:
    """Queue one step of an escalation for one channel; False when it is queued already."""
    revision = str(alert.revision)
    minutes = subscription.rule.escalation[step - 1].after_minutes
    key = message_key(subscription.site_id, alert.incident_id, channel, revision, "escalation", str(step))
    if _row(connection, key) is not None:
        return False
    values: dict[str, Any] = {
        "key": key,
        "site_id": subscription.site_id,
        "incident_id": alert.incident_id,
        "channel": channel,
        "revision": alert.revision,
        "subscription_id": subscription.id,
        "group_key": "",
        "alert_ids": [alert.id],
        "content": {
            "kind": "escalation",
            "step": step,
            "after_minutes": minutes,
            "languages": [subscription.rule.language],
        },
        "created": due,
    }
    insert(connection, values, due)
    return True


def insert(connection: sa.Connection, values: dict[str, Any], planned: datetime, merged_into: str = "") -> None:
    """Write a row of the outbox that waits for `planned`, or travels in another one."""
    state = "merged" if merged_into else "pending"
    fresh = {"state": state, "attempts": 0, "worker": "", "reason": "", "updated": values["created"]}
    connection.execute(outbox.insert().values(**values, **fresh, merged_into=merged_into, planned=planned, due=planned))


def _group(subscription: Subscription, incident: Incident) -> str:
    kind = subscription.rule.group_by
    value = ""
    if kind == "company":
        value = f"{incident.entity_kind}:{incident.entity}"
    elif kind == "topic":
        topics = incident.reason.get("topics", ())
        value = incident.entity if incident.entity_kind == "topic" else (topics[0] if topics else "")
    return message_key(subscription.id, kind, value)


def _row(connection: sa.Connection, key: str) -> sa.Row[Any] | None:
    return connection.execute(sa.select(outbox).where(outbox.c.key == key).with_for_update()).first()


def _share(
    connection: sa.Connection, row: sa.Row[Any], alert_id: str, language: str, due: datetime, moment: datetime
) -> datetime:
    """Another subscription has this revision on this channel already: its message serves both, at the earlier time."""
    merged = row.state == "merged"
    carrier = (_row(connection, row.merged_into) if merged else None) or row
    planned: datetime = carrier.planned
    if not _open(carrier, moment) and planned != moment:
        return planned
    if due >= planned:
        if carrier.state == "pending" and not carrier.attempts:
            for one in {carrier.key: carrier, row.key: row}.values():
                _load(connection, one, [alert_id], [language])
        return planned
    mine = row.alert_ids
    if carrier.key != row.key:
        _unload(connection, carrier, mine, into=row.key)
    values = {"state": "pending", "merged_into": "", "planned": due, "due": due}
    connection.execute(outbox.update().where(outbox.c.key == row.key).values(values))
    if due == moment:
        mine = [*_take_over(connection, row.site_id, row.incident_id, row.channel, row.key, moment), *mine]
    _load(connection, row, [*mine, alert_id], [language])
    return due


def _open(row: sa.Row[Any], moment: datetime) -> bool:
    """Whether a message still takes alerts. One that was tried may have arrived, and must stay as it is."""
    return bool(row.state == "pending" and row.attempts == 0 and row.planned > moment)


def _carrier(
    connection: sa.Connection,
    subscription: Subscription,
    incident: Incident,
    channel: str,
    group: str,
    due: datetime,
    moment: datetime,
) -> sa.Row[Any] | None:
    """A waiting message on the channel that the alert belongs in: an earlier revision's, or its group's."""
    mine = (outbox.c.site_id == subscription.site_id, outbox.c.channel == channel)
    query = sa.select(outbox).where(
        *mine, outbox.c.incident_id == incident.id, outbox.c.state.in_(("pending", "merged")), outbox.c.group_key != ""
    )
    for row in connection.execute(query.order_by(outbox.c.revision.desc()).with_for_update()).all():
        carrier = row if row.state == "pending" else _row(connection, row.merged_into)
        # Another subscription's message may wait for that one's reasons (its quiet hours), not for this one's.
        own = carrier is not None and carrier.subscription_id == subscription.id
        if carrier is not None and own and _open(carrier, moment) and carrier.planned >= due:
            return carrier
    if not subscription.rule.group_minutes:
        return None
    latest = due + timedelta(minutes=subscription.rule.group_minutes)
    query = sa.select(outbox).where(
        *mine,
        outbox.c.group_key == group,
        outbox.c.state == "pending",
        outbox.c.attempts == 0,
        outbox.c.planned > moment,
        outbox.c.planned >= due,
        outbox.c.planned <= latest,
    )
    return connection.execute(query.order_by(outbox.c.planned, outbox.c.key).limit(1).with_for_update()).first()


def _delayed(subscription: Subscription, due: datetime, moment: datetime) -> tuple[datetime, str]:
    """The first alert of a group waits for the others; one that is held anyway has waited long enough."""
    rule = subscription.rule
    if not rule.group_minutes or due > moment:
        return due, ""
    return release(rule.quiet, zone_of(rule.zone), rule.market, due + timedelta(minutes=rule.group_minutes))[0], "group"


def _limited(
    connection: sa.Connection,
    subscription: Subscription,
    channel: str,
    planned: datetime,
    due: datetime,
    moment: datetime,
) -> tuple[datetime, sa.Row[Any] | None, bool]:
    """When the subscription's limit lets a message out on the channel, or the waiting one that takes the surplus."""
    rule = subscription.rule
    if not rule.per_hour:
        return planned, None, False
    query = (
        sa.select(outbox)
        .where(
            outbox.c.subscription_id == subscription.id,
            outbox.c.channel == channel,
            outbox.c.state != "merged",
            outbox.c.group_key != "",
            outbox.c.planned > planned - _HOUR,
        )
        .order_by(outbox.c.planned, outbox.c.key)
    )
    rows = connection.execute(query.with_for_update()).all()
    if len(rows) < rule.per_hour:
        return planned, None, False
    if _open(rows[-1], moment) and rows[-1].planned >= due:
        return rows[-1].planned, rows[-1], True
    freed = rows[-rule.per_hour].planned + _HOUR
    return release(rule.quiet, zone_of(rule.zone), rule.market, freed)[0], None, True


def _take_over(
    connection: sa.Connection, site_id: str, incident_id: str, channel: str, key: str, moment: datetime
) -> list[str]:
    """What is still held of this incident on the channel now goes out with the message `key`: its alerts."""
    query = sa.select(outbox).where(
        outbox.c.site_id == site_id,
        outbox.c.channel == channel,
        outbox.c.incident_id == incident_id,
        outbox.c.state.in_(("pending", "merged")),
        outbox.c.group_key != "",
    )
    taken: list[str] = []
    for row in connection.execute(query.order_by(outbox.c.revision).with_for_update()).all():
        carrier = row if row.state == "pending" else _row(connection, row.merged_into)
        if carrier is None or not _open(carrier, moment):
            continue
        ids = sa.select(alerts.c.id).where(alerts.c.id.in_(carrier.alert_ids), alerts.c.incident_id == incident_id)
        mine = set(connection.execute(ids).scalars())
        taken += [one for one in carrier.alert_ids if one in mine]
        _unload(connection, carrier, sorted(mine), into=key)
        followers = (outbox.c.merged_into == carrier.key, outbox.c.incident_id == incident_id)
        connection.execute(outbox.update().where(*followers).values(merged_into=key))
    return list(dict.fromkeys(taken))


def _load(connection: sa.Connection, carrier: sa.Row[Any], alert_ids: list[str], languages: list[str]) -> None:
    current = connection.execute(sa.select(outbox.c.alert_ids).where(outbox.c.key == carrier.key)).scalar_one()
    merged = list(dict.fromkeys([*current, *alert_ids]))
    connection.execute(outbox.update().where(outbox.c.key == carrier.key).values(alert_ids=merged))
    _speak(connection, carrier, languages)


def _speak(connection: sa.Connection, row: sa.Row[Any], languages: list[str]) -> None:
    spoken = list(dict.fromkeys([*row.content["languages"], *languages]))
    if spoken != row.content["languages"]:
        content = {**row.content, "languages": spoken}
        connection.execute(outbox.update().where(outbox.c.key == row.key).values(content=content))


def _unload(connection: sa.Connection, carrier: sa.Row[Any], alert_ids: list[str], into: str) -> None:
    """Take alerts out of a waiting message; one that is left empty is merged into `into`."""
    left = [one for one in carrier.alert_ids if one not in alert_ids]
    values: dict[str, Any] = {"alert_ids": left}
    if not left:
        values = {"state": "merged", "merged_into": into}
    connection.execute(outbox.update().where(outbox.c.key == carrier.key).values(values))
