"""Daily and weekly digests: functions of the stored tables and the period's end, queued once a subscription and period.

A digest tells what was known at its end: incidents as their changes until then left them, and the counts of the
period's windows, also when it is made later.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from finance_monitor import alerting, queueing, tables
from finance_monitor.calendars import period_before, zone_of
from finance_monitor.domain import Incident
from finance_monitor.subscriptions import SEVERITIES, Rule, Subscription, incident_then, subscriptions
from finance_monitor.watchlists import watchlists
from finance_monitor.wording import entity_name

_WINDOW = 900
_COMPANIES = 10
# After an outage so many missed periods are told, the latest ones.
_MISSED = 7
_SECOND = timedelta(seconds=1)


def queue_due(connection: sa.Connection, moment: datetime) -> int:
    """Queue the digests of all periods that have ended at `moment` and are not queued yet; returns how many messages.

    Must run in a transaction. Periods that ended before a subscription was made get none.
    """
    new = 0
    for subscription in subscriptions(connection, enabled=True):
        if subscription.rule.mode != "immediate" and not subscription.problem:
            for start, end in _ended(subscription, moment):
                new += _queue(connection, subscription, start, end)
    return new


def _ended(subscription: Subscription, moment: datetime) -> list[tuple[datetime, datetime]]:
    rule = subscription.rule
    periods = []
    for _ in range(_MISSED):
        start, end = period_before(rule.mode, rule.weekday, rule.hour, zone_of(rule.zone), moment)
        if end <= subscription.created:
            break
        periods.append((start, end))
        moment = end - _SECOND
    return periods[::-1]


def _queue(connection: sa.Connection, subscription: Subscription, start: datetime, end: datetime) -> int:
    keys = {name: _key(subscription, name, end) for name in subscription.rule.channels}
    there = set(
        connection.execute(sa.select(tables.outbox.c.key).where(tables.outbox.c.key.in_(keys.values()))).scalars()
    )
    missing = {name: key for name, key in keys.items() if key not in there}
    if not missing:
        return 0
    content = {
        "kind": "digest",
        "languages": [subscription.rule.language],
        "digest": digest(connection, subscription, start, end),
    }
    for name, key in missing.items():
        values: dict[str, Any] = {
            "key": key,
            "site_id": subscription.site_id,
            "incident_id": "",
            "channel": name,
            "revision": 0,
            "subscription_id": subscription.id,
            "group_key": "",
            "alert_ids": [],
            "content": content,
            "created": end,
        }
        queueing.insert(connection, values, end)
    return len(missing)


def _key(subscription: Subscription, channel: str, end: datetime) -> str:
    return queueing.message_key(subscription.site_id, "digest", subscription.id, channel, end.isoformat())


def digest(connection: sa.Connection, subscription: Subscription, start: datetime, end: datetime) -> dict[str, Any]:
    """What a digest says: incidents that opened in [start, end), those open at its end, the companies with the most
    negative stories, each with its change against the period of the same length before."""
    rule = subscription.rule
    companies = set(rule.companies)
    if rule.watchlist:
        companies |= set(watchlists(connection, subscription.site_id).get(rule.watchlist, ()))
    known = [
        incident
        for incident in _incidents_at(connection, start, end)
        if _wanted(rule, companies, alerting.with_source_kinds(connection, incident))
    ]
    return {
        "mode": rule.mode,
        "zone": rule.zone,
        "start": start.isoformat(),
        "end": end.isoformat(),
        "subscription": {"id": subscription.id, "name": subscription.name},
        "new": [_shown(incident, rule) for incident in known if incident.opened >= start],
        "open": [_shown(incident, rule) for incident in known if incident.state != "closed"],
        "companies": _companies(connection, rule, companies, start, end),
    }


def _incidents_at(connection: sa.Connection, start: datetime, end: datetime) -> list[Incident]:
    """Incidents that opened in the period or were open at its end, as their last change before the end left them."""
    changes, incidents = tables.incident_changes, tables.incidents
    last = (
        sa.select(changes.c.incident_id, sa.func.max(changes.c.revision).label("revision"))
        .where(changes.c.moment < end)
        .group_by(changes.c.incident_id)
        .subquery()
    )
    query = (
        sa.select(changes, incidents.c.entity_kind, incidents.c.entity, incidents.c.opened)
        .join(last, (last.c.incident_id == changes.c.incident_id) & (last.c.revision == changes.c.revision))
        .join(incidents, incidents.c.id == changes.c.incident_id)
        .where((changes.c.change != "closed") | (incidents.c.opened >= start))
    )
    found = [incident_then(row) for row in connection.execute(query)]
    return sorted(found, key=lambda one: (-SEVERITIES.index(one.severity), one.opened, one.id))


def _wanted(rule: Rule, companies: set[str], incident: Incident) -> bool:
    if (rule.companies or rule.watchlist) and not (incident.entity_kind == "company" and incident.entity in companies):
        return False
    if rule.topics and not alerting.topics_of(incident) & set(rule.topics):
        return False
    for wanted, name in ((rule.languages, "languages"), (rule.source_kinds, "source_kinds")):
        if wanted and not set(wanted) & set(incident.reason.get(name, ())):
            return False
    return SEVERITIES.index(incident.severity) >= SEVERITIES.index(rule.min_severity)


def _shown(incident: Incident, rule: Rule) -> dict[str, Any]:
    return {
        "id": incident.id,
        "name": entity_name(incident.entity_kind, incident.entity, incident.reason, rule.language),
        "severity": incident.severity,
        "revision": incident.revision,
        "state": incident.state,
        "opened": incident.opened.isoformat(),
        "closed": incident.closed.isoformat() if incident.closed else None,
    }


def _companies(
    connection: sa.Connection, rule: Rule, companies: set[str], start: datetime, end: datetime
) -> list[dict[str, Any]]:
    before = _negative(connection, rule, start - (end - start), start)
    counts = {
        company: count
        for company, count in _negative(connection, rule, start, end).items()
        if count[0] and (company in companies or not (rule.companies or rule.watchlist))
    }
    first = sorted(counts, key=lambda company: (-counts[company][0], company))[:_COMPANIES]
    names = _names(connection, first)
    return [
        {
            "id": company,
            "name": names.get(company, company),
            "negative": counts[company][0],
            "stories": counts[company][1],
            "change": counts[company][0] - before.get(company, (0, 0))[0],
        }
        for company in first
    ]


def _negative(connection: sa.Connection, rule: Rule, start: datetime, end: datetime) -> Mapping[str, tuple[int, int]]:
    """Negative and all stories a company, from the windows of a quarter of an hour that begin in [start, end)."""
    table = tables.windows
    query = (
        sa.select(table.c.entity, sa.func.sum(table.c.negative), sa.func.sum(table.c.stories))
        .where(table.c.width == _WINDOW, table.c.start >= start, table.c.start < end, table.c.entity_kind == "company")
        .group_by(table.c.entity)
    )
    if rule.source_kinds:
        query = query.where(table.c.source_kind.in_(rule.source_kinds))
    return {entity: (int(negative), int(stories)) for entity, negative, stories in connection.execute(query)}


def _names(connection: sa.Connection, companies: list[str]) -> dict[str, str]:
    """The name under which each company was mentioned; the first in the alphabet, so that it stays the same."""
    table = tables.mentions
    query = (
        sa.select(table.c.company_id, sa.func.min(table.c.name).label("name"))
        .where(table.c.company_id.in_(companies))
        .group_by(table.c.company_id)
    )
    return {row.company_id: row.name for row in connection.execute(query)}
