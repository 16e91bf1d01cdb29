"""Who is told what, when and where: rules, and what a rule would have given in the past."""

import dataclasses
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Any

import sqlalchemy as sa

from finance_monitor import tables
from finance_monitor.calendars import MARKETS, WEEKDAYS, Quiet, zone_of
from finance_monitor.domain import KINDS, Incident
from finance_monitor.watchlists import watchlist
from headwater.errors import HeadwaterError, NotFound

SEVERITIES = ("low", "medium", "high", "critical")
CHANGES = ("opened", "grew", "closed")
MODES = ("immediate", "daily", "weekly")
GROUPS = ("company", "topic", "subscription")
LANGUAGES = ("en", "zh")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_LONGEST_NAME = 64


@dataclass(frozen=True)
class Step:
    """An escalation: `after_minutes` without an acknowledgement, these channels are told too."""

    after_minutes: int
    channels: tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """What a subscription wants. An empty filter takes everything; `zone` is that of quiet hours, digests, shown times.

    `critical_always` sends critical incidents at once, whatever quiet hours, market hours, grouping and the rate limit
    say. `group_minutes` 0 and `per_hour` 0 mean no grouping and no limit. Raises HeadwaterError naming the field.
    """

    companies: tuple[str, ...] = ()
    watchlist: str = ""
    topics: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    source_kinds: tuple[str, ...] = ()
    min_severity: str = "low"
    changes: tuple[str, ...] = CHANGES
    channels: tuple[str, ...] = ()
    language: str = "en"
    zone: str = "UTC"
    quiet: tuple[Quiet, ...] = ()
    market: str = ""
    critical_always: bool = True
    mode: str = "immediate"
    weekday: str = "mon"
    hour: int = 8
    escalation: tuple[Step, ...] = ()
    group_by: str = "company"
    group_minutes: int = 0
    per_hour: int = 0

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            _check_choice(name, getattr(self, name), allowed)
        for name, allowed in _LISTS.items():
            for value in getattr(self, name):
                _check_choice(name, value, allowed)
        if not self.changes:
            raise HeadwaterError("changes: name at least one of opened, grew, closed")
        if self.market:
            _check_choice("market", self.market, MARKETS)
        _check_number("hour", self.hour, 0, 23)
        _check_number("group_minutes", self.group_minutes, 0, 1_440)
        _check_number("per_hour", self.per_hour, 0, 1_000)
        zone_of(self.zone)
        for quiet in self.quiet:
            if quiet.start == quiet.end or not quiet.days:
                raise HeadwaterError("quiet: give two different times, and at least one day")
            for day in quiet.days:
                _check_choice("quiet.days", day, WEEKDAYS)
        self._check_escalation()

    def _check_escalation(self) -> None:
        minutes = [step.after_minutes for step in self.escalation]
        if minutes != sorted(set(minutes)):
            raise HeadwaterError(f"escalation: after_minutes must rise from step to step, found {minutes}")
        for step in self.escalation:
            _check_number("escalation.after_minutes", step.after_minutes, 1, 10_080)
            if not step.channels:
                raise HeadwaterError(f"escalation: the step after {step.after_minutes} minutes names no channel")

    def all_channels(self) -> tuple[str, ...]:
        """The rule's channels and those of its escalation, each once."""
        return tuple(dict.fromkeys([*self.channels, *(name for step in self.escalation for name in step.channels)]))


_CHOICES: dict[str, tuple[str, ...]] = {
    "min_severity": SEVERITIES,
    "language": LANGUAGES,
    "mode": MODES,
    "weekday": WEEKDAYS,
    "group_by": GROUPS,
}
_LISTS: dict[str, tuple[str, ...]] = {"changes": CHANGES, "source_kinds": KINDS}


@dataclass(frozen=True)
class Subscription:
    """A rule under a name. `problem` says what is wrong with a stored rule that cannot be read; it then never fires."""

    id: str
    site_id: str
    name: str
    rule: Rule
    enabled: bool
    actor: str
    created: datetime
    updated: datetime
    problem: str = ""


@dataclass(frozen=True)
class DryRun:
    """What a rule would have given: alerts as they would be stored, and how many messages would have gone out."""

    alerts: list[dict[str, Any]] = field(default_factory=list)
    messages: int = 0
    held: dict[str, int] = field(default_factory=dict)


# --- rules as JSON ----------------------------------------------------------------------------------------------------


def rule_from_json(values: object) -> Rule:
    """The rule that `rule_to_json` or a person wrote. Raises HeadwaterError naming the field and the value."""
    if not isinstance(values, Mapping):
        raise HeadwaterError(f"a rule is an object with fields, found {values!r}")
    fields = {one.name: one for one in dataclasses.fields(Rule)}
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise HeadwaterError(f"a rule has no field {name!r}; its fields: {', '.join(fields)}")
        if name == "quiet":
            given[name] = tuple(_quiet(one) for one in _list(name, value))
        elif name == "escalation":
            given[name] = tuple(_step(one) for one in _list(name, value))
        else:
            given[name] = _typed(name, value, fields[name].default)
    return Rule(**given)


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """The rule as JSON values, every field named."""
    values: dict[str, Any] = {}
    for one in dataclasses.fields(rule):
        value = getattr(rule, one.name)
        values[one.name] = list(value) if isinstance(value, tuple) else value
    values["quiet"] = [{"from": f"{q.start:%H:%M}", "to": f"{q.end:%H:%M}", "days": list(q.days)} for q in rule.quiet]
    values["escalation"] = [{"after_minutes": s.after_minutes, "channels": list(s.channels)} for s in rule.escalation]
    return values


def _typed(name: str, value: object, default: object) -> object:
    if isinstance(default, tuple):
        return tuple(_word(name, one) for one in _list(name, value))
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise HeadwaterError(f"{name}: true or false, found {value!r}")
        return value
    if isinstance(default, int):
        return _whole(name, value)
    if not isinstance(value, str):
        raise HeadwaterError(f"{name}: a text, found {value!r}")
    return value


def _list(name: str, value: object) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        raise HeadwaterError(f"{name}: a list, found {value!r}")
    return value


def _word(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_NAME:
        raise HeadwaterError(f"{name}: texts of 1 to {_LONGEST_NAME} characters, found {value!r}")
    return value


def _whole(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise HeadwaterError(f"{name}: a whole number, found {value!r}")
    return value


def _quiet(value: object) -> Quiet:
    if not isinstance(value, Mapping) or not {"from", "to"} <= set(value) <= {"from", "to", "days"}:
        raise HeadwaterError(f'quiet: as {{"from": "22:00", "to": "07:00", "days": ["mon"]}}, found {value!r}')
    days = tuple(_word("quiet.days", day) for day in _list("quiet.days", value.get("days", WEEKDAYS)))
    return Quiet(_clock("quiet.from", value["from"]), _clock("quiet.to", value["to"]), days)


def _step(value: object) -> Step:
    if not isinstance(value, Mapping) or set(value) != {"after_minutes", "channels"}:
        raise HeadwaterError(f'escalation: as {{"after_minutes": 30, "channels": ["duty"]}}, found {value!r}')
    channels = tuple(_word("escalation.channels", one) for one in _list("escalation.channels", value["channels"]))
    return Step(_whole("escalation.after_minutes", value["after_minutes"]), channels)


def _clock(name: str, value: object) -> time:
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise HeadwaterError(f"{name}: a time such as 22:00, found {value!r}")
    return time(int(found[1]), int(found[2]))


def _check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise HeadwaterError(f"{name}: one of {', '.join(allowed)}, found {value!r}")


def _check_number(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise HeadwaterError(f"{name}: {least} to {most}, found {value}")


# --- stored subscriptions ---------------------------------------------------------------------------------------------


def save(
    connection: sa.Connection,
    site_id: str,
    name: str,
    rule: Rule,
    *,
    actor: str,
    moment: datetime,
    subscription_id: str = "",
    enabled: bool = True,
) -> Subscription:
    """Store a rule under a name, over the one of that id. Raises HeadwaterError when its channels or list are not."""
    if not name.strip() or len(name) > 200:
        raise HeadwaterError(f"name: 1 to 200 characters, found {name!r}")
    _check_names(connection, site_id, rule)
    table = tables.subscriptions
    values = {"name": name, "rule": rule_to_json(rule), "enabled": enabled, "actor": actor, "updated": moment}
    identity = subscription_id or secrets.token_hex(16)
    mine = (table.c.id == identity, table.c.site_id == site_id)
    if not connection.execute(table.update().where(*mine).values(values)).rowcount:
        connection.execute(table.insert().values(id=identity, site_id=site_id, created=moment, **values))
    return get(connection, site_id, identity)


def _check_names(connection: sa.Connection, site_id: str, rule: Rule) -> None:
    query = sa.select(tables.channels.c.name).where(tables.channels.c.site_id == site_id)
    known = sorted(connection.execute(query).scalars())
    for name in rule.all_channels():
        if name not in known:
            raise HeadwaterError(f"channels: no channel {name!r}; those that exist: {', '.join(known) or 'none'}")
    if rule.watchlist:
        watchlist(connection, site_id, rule.watchlist)


def get(connection: sa.Connection, site_id: str, subscription_id: str) -> Subscription:
    """Raises NotFound."""
    table = tables.subscriptions
    row = connection.execute(sa.select(table).where(table.c.id == subscription_id, table.c.site_id == site_id)).first()
    if row is None:
        raise NotFound(f"no subscription {subscription_id!r}")
    return _subscription(row)


def subscriptions(
    connection: sa.Connection, site_id: str | None = None, *, enabled: bool = False
) -> list[Subscription]:
    """Those of a site (of every site), with `enabled` only those in force; in the order of their ids."""
    query = sa.select(tables.subscriptions).order_by(tables.subscriptions.c.id)
    if site_id is not None:
        query = query.where(tables.subscriptions.c.site_id == site_id)
    if enabled:
        query = query.where(tables.subscriptions.c.enabled)
    return [_subscription(row) for row in connection.execute(query)]


def delete(connection: sa.Connection, site_id: str, subscription_id: str) -> None:
    """Raises NotFound."""
    table = tables.subscriptions
    if not connection.execute(table.delete().where(table.c.id == subscription_id, table.c.site_id == site_id)).rowcount:
        raise NotFound(f"no subscription {subscription_id!r}")


def _subscription(row: sa.Row[Any]) -> Subscription:
    values = dict(row._mapping)
    stored = values.pop("rule")
    try:
        return Subscription(rule=rule_from_json(stored), **values)
    except HeadwaterError as error:
        # One rule that an upgrade made unreadable must not stop the others.
        return Subscription(rule=Rule(), problem=str(error), **values)


# --- what a rule would have given -------------------------------------------------------------------------------------


def dry_run(
    connection: sa.Connection, rule: Rule, since: datetime, until: datetime, *, site_id: str = "", limit: int = 10_000
) -> DryRun:
    """What the rule would have given over the stored changes of [since, until), by the code that fires.

    The changes are routed in a database in memory, with the site's watchlists, silences and acknowledgements; nothing
    is written to `connection`. Raises HeadwaterError above `limit` changes.
    """
    from finance_monitor import alerting

    changes = stored_changes(connection, since, until, limit)
    memory = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    copied = (tables.watchlists, tables.silences, tables.acknowledgements)
    needed = [*copied, tables.subscriptions, tables.channels, tables.alerts, tables.outbox, tables.articles]
    tables.metadata.create_all(memory, tables=needed)
    with memory.begin() as scratch:
        for table in copied:
            rows = connection.execute(sa.select(table).where(table.c.site_id == site_id)).mappings().all()
            if rows:
                scratch.execute(table.insert(), [dict(row) for row in rows])
        row = {"id": "dry-run", "site_id": site_id, "name": "dry run", "rule": rule_to_json(rule), "enabled": True}
        scratch.execute(tables.subscriptions.insert().values(**row, actor="", created=since, updated=since))
        for incident, change, moment in changes:
            alerting.route(scratch, alerting.with_source_kinds(connection, incident), change, moment)
        alerts = [dict(row) for row in scratch.execute(sa.select(tables.alerts).order_by("created", "id")).mappings()]
        sent = sa.select(sa.func.count()).where(tables.outbox.c.state != "merged")
        messages = int(scratch.execute(sent).scalar_one())
    memory.dispose()
    held: dict[str, int] = {}
    for alert in alerts:
        held[alert["held"]] = held.get(alert["held"], 0) + 1
    return DryRun(alerts, messages, held)


def stored_changes(
    connection: sa.Connection, since: datetime, until: datetime, limit: int = 10_000
) -> list[tuple[Incident, str, datetime]]:
    """The incidents as they were at each change of [since, until), in order. Raises HeadwaterError above `limit`."""
    changes, incidents = tables.incident_changes, tables.incidents
    query = (
        sa.select(changes, incidents.c.entity_kind, incidents.c.entity, incidents.c.opened)
        .join(incidents, incidents.c.id == changes.c.incident_id)
        .where(changes.c.moment >= since, changes.c.moment < until)
        .order_by(changes.c.moment, changes.c.incident_id, changes.c.revision)
        .limit(limit + 1)
    )
    rows = connection.execute(query).all()
    if len(rows) > limit:
        raise HeadwaterError(
            f"more than {limit:,} changes between {since:%Y-%m-%d} and {until:%Y-%m-%d}; take less time"
        )
    return [(incident_then(row), row.change, row.moment) for row in rows]


def incident_then(row: sa.Row[Any]) -> Incident:
    """The incident as a row of `incident_changes` (with its entity and opening) left it."""
    closed = row.change == "closed"
    return Incident(
        id=row.incident_id,
        entity_kind=row.entity_kind,
        entity=row.entity,
        state="closed" if closed else "open",
        severity=row.severity,
        revision=row.revision,
        opened=row.opened,
        updated=row.moment,
        closed=row.moment if closed else None,
        reason=row.reason,
        story_ids=tuple(row.story_ids),
    )
