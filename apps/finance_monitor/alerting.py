"""From a change of an incident to alerts and queued messages, in one transaction, and people's answers to them.

Everything here is a function of the database and the moment that is passed in: ids are hashes, no clock is read, so
that a replay writes the same bytes.
"""

import hashlib
import logging
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from finance_monitor import queueing, tables
from finance_monitor.calendars import release, zone_of
from finance_monitor.domain import KINDS, Incident
from finance_monitor.subscriptions import SEVERITIES, Rule, Subscription, subscriptions
from finance_monitor.watchlists import watchlists
from headwater.errors import HeadwaterError, NotFound

_log = logging.getLogger(__name__)
# Why an alert is kept for the record but sent to nobody.
UNSENT = ("silenced", "acknowledged", "digest")


@dataclass(frozen=True)
class Matcher:
    """What a silence takes: every field that is given must match. Raises HeadwaterError when none is given."""

    companies: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.companies or self.topics or self.severities):
            raise HeadwaterError("a silence needs companies, topics or severities; it would take everything otherwise")
        for severity in self.severities:
            if severity not in SEVERITIES:
                raise HeadwaterError(f"severities: of {', '.join(SEVERITIES)}, found {severity!r}")

    def takes(self, incident: Incident) -> bool:
        """Whether the incident falls under this silence."""
        return (
            (not self.companies or (incident.entity_kind == "company" and incident.entity in self.companies))
            and (not self.topics or bool(topics_of(incident) & set(self.topics)))
            and (not self.severities or incident.severity in self.severities)
        )


# --- firing -----------------------------------------------------------------------------------------------------------


def route(connection: sa.Connection, incident: Incident, change: str, moment: datetime) -> int:
    """Write the alerts of one change (opened, grew, closed) and queue their messages; returns how many alerts are new.

    Must run in the transaction that writes the change. Routing the same change again adds nothing.
    """
    incident = with_source_kinds(connection, incident)
    lists: dict[str, dict[str, tuple[str, ...]]] = {}
    new = 0
    for subscription in subscriptions(connection, enabled=True):
        site = subscription.site_id
        if subscription.problem:
            _log.warning("subscription %s never fires: %s", subscription.id, subscription.problem)
            continue
        if subscription.rule.watchlist and site not in lists:
            lists[site] = watchlists(connection, site)
        companies = subscription.rule.companies + lists.get(site, {}).get(subscription.rule.watchlist, ())
        alert_id = _digest(subscription.id, incident.id, str(incident.revision))[:32]
        if not _stored(connection, alert_id) and _wanted(connection, subscription, companies, incident, change):
            _fire(connection, subscription, incident, change, moment, alert_id)
            new += 1
    return new


def _fire(
    connection: sa.Connection,
    subscription: Subscription,
    incident: Incident,
    change: str,
    moment: datetime,
    alert_id: str,
) -> None:
    rule, site = subscription.rule, subscription.site_id
    held = _unsent(connection, subscription, incident, change, moment)
    due: datetime | None = None
    if not held:
        due, held = moment, ""
        urgent = rule.critical_always and incident.severity == "critical"
        if not urgent:
            due, held = release(rule.quiet, zone_of(rule.zone), rule.market, moment)
        queued = [
            queueing.enqueue(connection, subscription, incident, alert_id, channel, due, moment, urgent=urgent)
            for channel in rule.channels
        ]
        if queued:
            due, why = min(queued)
            held = held or why
    values: dict[str, Any] = {
        "id": alert_id,
        "site_id": site,
        "subscription_id": subscription.id,
        "incident_id": incident.id,
        "revision": incident.revision,
        "created": moment,
        "content": _content(subscription, incident, change, moment),
        "held": held,
        "due": due,
    }
    connection.execute(tables.alerts.insert().values(values))


def _wanted(
    connection: sa.Connection,
    subscription: Subscription,
    companies: tuple[str, ...],
    incident: Incident,
    change: str,
) -> bool:
    """Whether the rule asks for this change. An end is told to those who were told of the incident, at any severity;
    and who wants openings is told when an incident that was too small grows into the rule."""
    rule = subscription.rule
    if (rule.companies or rule.watchlist) and not (incident.entity_kind == "company" and incident.entity in companies):
        return False
    if rule.topics and not topics_of(incident) & set(rule.topics):
        return False
    if rule.languages and not set(rule.languages) & set(incident.reason.get("languages", ())):
        return False
    if rule.source_kinds and not set(rule.source_kinds) & set(incident.reason.get("source_kinds", ())):
        return False
    if change == "closed":
        return "closed" in rule.changes and _told(connection, subscription, incident)
    if SEVERITIES.index(incident.severity) < SEVERITIES.index(rule.min_severity):
        return False
    if change in rule.changes:
        return True
    return "opened" in rule.changes and not _told(connection, subscription, incident)


def _told(connection: sa.Connection, subscription: Subscription, incident: Incident) -> bool:
    alerts = tables.alerts
    query = sa.select(alerts.c.id).where(
        alerts.c.incident_id == incident.id,
        alerts.c.revision < incident.revision,
        alerts.c.subscription_id == subscription.id,
    )
    return connection.execute(query.limit(1)).first() is not None


def _unsent(
    connection: sa.Connection, subscription: Subscription, incident: Incident, change: str, moment: datetime
) -> str:
    if silenced(connection, subscription.site_id, incident, moment):
        return "silenced"
    if change == "grew" and acknowledged(connection, subscription.site_id, incident, moment):
        return "acknowledged"
    return "" if subscription.rule.mode == "immediate" else "digest"


def topics_of(incident: Incident) -> set[str]:
    """The topics that an incident is about: its entity when that is one, else those of its stories."""
    return {incident.entity} if incident.entity_kind == "topic" else set(incident.reason.get("topics", ()))


def with_source_kinds(connection: sa.Connection, incident: Incident) -> Incident:
    """The incident with `reason["source_kinds"]`: as its stories say (`kind`), else looked up at their articles."""
    if "source_kinds" in incident.reason:
        return incident
    kinds = {story["kind"] for story in incident.reason.get("stories", ()) if story.get("kind")}
    if not kinds and incident.story_ids:
        articles = tables.articles
        query = sa.select(articles.c.kind).where(articles.c.story_id.in_(incident.story_ids)).distinct()
        kinds = set(connection.execute(query).scalars())
    return replace(incident, reason={**incident.reason, "source_kinds": [kind for kind in KINDS if kind in kinds]})


def _content(subscription: Subscription, incident: Incident, change: str, moment: datetime) -> dict[str, Any]:
    """Everything that the alert says; `channels.rendering` makes texts of it."""
    return {
        "change": change,
        "moment": moment.isoformat(),
        "incident": {
            "id": incident.id,
            "entity_kind": incident.entity_kind,
            "entity": incident.entity,
            "state": incident.state,
            "severity": incident.severity,
            "revision": incident.revision,
            "opened": incident.opened.isoformat(),
            "closed": incident.closed.isoformat() if incident.closed else None,
        },
        "subscription": {"id": subscription.id, "name": subscription.name},
        "language": subscription.rule.language,
        "zone": subscription.rule.zone,
        "reason": incident.reason,
    }


def _stored(connection: sa.Connection, alert_id: str) -> bool:
    return connection.execute(sa.select(tables.alerts.c.id).where(tables.alerts.c.id == alert_id)).first() is not None


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


# --- silences ---------------------------------------------------------------------------------------------------------


def silence(
    connection: sa.Connection,
    site_id: str,
    matcher: Matcher,
    *,
    starts: datetime,
    ends: datetime,
    reason: str,
    actor: str,
) -> str:
    """Keep alerts that match from being sent until `ends`; returns the silence's id. Raises HeadwaterError."""
    if ends <= starts:
        raise HeadwaterError(f"a silence must end after it starts, found {starts.isoformat()} to {ends.isoformat()}")
    _check_reason("a silence", reason)
    identity = secrets.token_hex(16)
    values = {name: list(getattr(matcher, name)) for name in ("companies", "topics", "severities")}
    connection.execute(
        tables.silences.insert().values(
            id=identity, site_id=site_id, matcher=values, starts=starts, ends=ends, reason=reason, actor=actor
        )
    )
    return identity


def end_silence(connection: sa.Connection, site_id: str, silence_id: str, moment: datetime) -> None:
    """End a silence now. Raises NotFound for one that does not exist or has ended."""
    table = tables.silences
    mine = (table.c.id == silence_id, table.c.site_id == site_id, table.c.ends > moment)
    if not connection.execute(table.update().where(*mine).values(ends=moment)).rowcount:
        raise NotFound(f"no silence {silence_id!r} that is still in force")


def silences(connection: sa.Connection, site_id: str, moment: datetime) -> list[dict[str, Any]]:
    """Those in force or to come, the next to end first."""
    table = tables.silences
    query = sa.select(table).where(table.c.site_id == site_id, table.c.ends > moment).order_by(table.c.ends, table.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]


def silenced(connection: sa.Connection, site_id: str, incident: Incident, moment: datetime) -> bool:
    """Whether a silence of the site takes the incident at that moment."""
    table = tables.silences
    query = sa.select(table.c.matcher).where(
        table.c.site_id == site_id, table.c.starts <= moment, table.c.ends > moment
    )
    matchers = [
        Matcher(**{name: tuple(value) for name, value in stored.items()})
        for stored in connection.execute(query).scalars()
    ]
    return any(matcher.takes(incident) for matcher in matchers)


# --- acknowledgement and escalation -----------------------------------------------------------------------------------


def acknowledge(
    connection: sa.Connection, site_id: str, incident_id: str, *, actor: str, reason: str, moment: datetime
) -> None:
    """Say that someone takes care: escalation ends, and so do messages of growth until the severity rises.

    Raises NotFound for an unknown incident, HeadwaterError without a reason.
    """
    _check_reason("an acknowledgement", reason)
    incidents = tables.incidents
    row = connection.execute(sa.select(incidents).where(incidents.c.id == incident_id)).first()
    if row is None:
        raise NotFound(f"no incident {incident_id!r}")
    connection.execute(
        tables.acknowledgements.insert().values(
            id=secrets.token_hex(16),
            incident_id=incident_id,
            site_id=site_id,
            severity=row.severity,
            revision=row.revision,
            actor=actor,
            reason=reason,
            moment=moment,
        )
    )


def acknowledged(connection: sa.Connection, site_id: str, incident: Incident, moment: datetime) -> bool:
    """Whether an acknowledgement until `moment` covers the incident at its present severity."""
    covered = _covered(connection, site_id, incident.id, moment)
    return covered >= SEVERITIES.index(incident.severity)


def _covered(connection: sa.Connection, site_id: str, incident_id: str, moment: datetime) -> int:
    """The rank of the highest severity that was acknowledged until `moment`, -1 for none."""
    table = tables.acknowledgements
    query = sa.select(table.c.severity).where(
        table.c.incident_id == incident_id, table.c.site_id == site_id, table.c.moment <= moment
    )
    return max((SEVERITIES.index(severity) for severity in connection.execute(query).scalars()), default=-1)


def escalate(connection: sa.Connection, moment: datetime) -> int:
    """Queue what unanswered alerts of open incidents have earned until `moment`; returns how many messages are new.

    The minutes of a step count from when the first alert that no acknowledgement covers was to go out. Calling it
    oftener or later queues the same messages.
    """
    new = 0
    for subscription in subscriptions(connection, enabled=True):
        if subscription.rule.escalation and not subscription.problem:
            for alert in _unanswered(connection, subscription, moment):
                new += _escalate(connection, subscription, alert, moment)
    return new


def _unanswered(connection: sa.Connection, subscription: Subscription, moment: datetime) -> list[sa.Row[Any]]:
    """For each open incident, the first sent alert whose severity nobody has acknowledged."""
    alerts, incidents = tables.alerts, tables.incidents
    query: sa.Select[Any] = (
        sa.select(alerts.c.id, alerts.c.incident_id, alerts.c.revision, alerts.c.due, alerts.c.content)
        .join(incidents, incidents.c.id == alerts.c.incident_id)
        .where(alerts.c.subscription_id == subscription.id, alerts.c.due <= moment, incidents.c.state != "closed")
        .order_by(alerts.c.incident_id, alerts.c.revision)
    )
    first: dict[str, sa.Row[Any]] = {}
    for row in connection.execute(query):
        severity = SEVERITIES.index(row.content["incident"]["severity"])
        covered = _covered(connection, subscription.site_id, row.incident_id, moment)
        if row.incident_id not in first and severity > covered:
            first[row.incident_id] = row
    return list(first.values())


def _escalate(connection: sa.Connection, subscription: Subscription, alert: sa.Row[Any], moment: datetime) -> int:
    rule = subscription.rule
    new = 0
    for number, step in enumerate(rule.escalation, 1):
        due = _when(rule, alert.content["incident"]["severity"], alert.due + timedelta(minutes=step.after_minutes))
        if due <= moment:
            for channel in step.channels:
                new += queueing.enqueue_escalation(connection, subscription, alert, number, channel, due)
    return new


def _when(rule: Rule, severity: str, moment: datetime) -> datetime:
    if rule.critical_always and severity == "critical":
        return moment
    return release(rule.quiet, zone_of(rule.zone), rule.market, moment)[0]


def _check_reason(what: str, reason: str) -> None:
    if not reason.strip() or len(reason) > 2_000:
        raise HeadwaterError(f"{what} needs a reason of 1 to 2,000 characters, found {reason[:50]!r}")
