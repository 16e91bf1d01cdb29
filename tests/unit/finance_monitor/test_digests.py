"""What a digest says, and that each period's is queued once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from finance_monitor import alerting, digests, subscriptions, tables
from finance_monitor.channels.rendering import digest_message
from finance_monitor.domain import Incident
from finance_monitor.subscriptions import Rule
from headwater.settings import Settings
from headwater.storage.engine import open_engine

SITE = "desk"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
# Eight o'clock in Berlin before and after the clocks go forward on 29 March.
SATURDAY, SUNDAY = datetime(2026, 3, 28, 7, 0, tzinfo=UTC), datetime(2026, 3, 29, 6, 0, tzinfo=UTC)
RULE = Rule(channels=("ops",), mode="daily", hour=8, zone="Europe/Berlin")


@pytest.fixture
def engine(database_settings: Settings) -> Iterator[sa.Engine]:
    engine = open_engine(database_settings, "finance")
    tables.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def memory() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    tables.metadata.create_all(engine)
    yield engine
    engine.dispose()


def subscribe(engine: sa.Engine, rule: Rule = RULE, created: datetime = SATURDAY - HOUR) -> subscriptions.Subscription:
    with engine.begin() as connection:
        row = {"name": "ops", "site_id": SITE, "kind": "inbox", "options": {}, "enabled": True, "actor": "a"}
        connection.execute(tables.channels.insert().values(**row, updated=created, state="new", reason=""))
        return subscriptions.save(
            connection, SITE, "morning", rule, actor="a", moment=created, subscription_id="morning"
        )


def change(engine: sa.Engine, name: str, kind: str, revision: int, moment: datetime, severity: str = "medium") -> None:
    reason = {"entity_name": name.title(), "topics": ["litigation"], "languages": ["en"], "source_kinds": ["news"]}
    shared = {"severity": severity, "reason": reason, "story_ids": []}
    table = tables.incidents
    with engine.begin() as connection:
        values = {"state": "closed" if kind == "closed" else "open", "revision": revision, "updated": moment, **shared}
        if not connection.execute(table.update().where(table.c.id == name).values(values)).rowcount:
            about = {"id": name, "entity_kind": "company", "entity": name, "opened": moment, "memory": {}}
            connection.execute(table.insert().values(**values, **about))
        connection.execute(
            tables.incident_changes.insert().values(
                incident_id=name, revision=revision, change=kind, moment=moment, **shared
            )
        )


def count(
    engine: sa.Engine, company: str, start: datetime, negative: int, width: int = 900, kind: str = "news"
) -> None:
    zero = dict.fromkeys(("articles", "positive", "weight", "negative_weight", "positive_weight"), 0)
    row: dict[str, Any] = {"entity_kind": "company", "entity": company, "width": width, "start": start}
    row |= {"source_kind": kind, "stories": negative + 1, "negative": negative, **zero}
    with engine.begin() as connection:
        connection.execute(tables.windows.insert().values(row))


def queued(engine: sa.Engine, moment: datetime) -> int:
    with engine.begin() as connection:
        return digests.queue_due(connection, moment)


def contents(engine: sa.Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [row.content["digest"] for row in connection.execute(sa.select(tables.outbox).order_by("planned"))]


def test_each_period_is_queued_once_also_over_the_change_of_clocks(engine: sa.Engine) -> None:
    subscribe(engine)
    assert queued(engine, SATURDAY - timedelta(minutes=1)) == 0
    assert [queued(engine, SATURDAY), queued(engine, SATURDAY + HOUR)] == [1, 0]
    assert queued(engine, SUNDAY - timedelta(minutes=1)) == 0
    assert [queued(engine, SUNDAY), queued(engine, SUNDAY + 5 * HOUR)] == [1, 0]
    first, second = contents(engine)
    assert (first["start"], first["end"]) == ("2026-03-27T07:00:00+00:00", SATURDAY.isoformat())
    assert (second["start"], second["end"]) == (SATURDAY.isoformat(), SUNDAY.isoformat())


def test_missed_periods_are_made_up_but_not_those_before_the_subscription(memory: sa.Engine) -> None:
    subscribe(memory, created=SATURDAY - HOUR)
    assert queued(memory, SUNDAY + 2 * DAY) == 4
    assert queued(memory, SUNDAY + 20 * DAY) == 7


def test_weekly_digest_covers_a_week(memory: sa.Engine) -> None:
    subscribe(memory, replace(RULE, mode="weekly", weekday="sun"))
    assert queued(memory, SUNDAY) == 1
    digest = contents(memory)[0]
    assert digest["mode"] == "weekly"
    assert datetime.fromisoformat(digest["end"]) - datetime.fromisoformat(digest["start"]) == 7 * DAY - HOUR


def test_digest_tells_new_and_open_incidents_as_they_were_at_its_end(engine: sa.Engine) -> None:
    change(engine, "early", "opened", 1, SATURDAY - 30 * HOUR)
    change(engine, "gone", "opened", 1, SATURDAY - 30 * HOUR)
    change(engine, "gone", "closed", 2, SATURDAY - 20 * HOUR)
    change(engine, "brief", "opened", 1, SATURDAY - 5 * HOUR)
    change(engine, "brief", "closed", 2, SATURDAY - 4 * HOUR)
    change(engine, "new", "opened", 1, SATURDAY - HOUR, "high")
    change(engine, "new", "grew", 2, SATURDAY + HOUR, "critical")
    change(engine, "later", "opened", 1, SATURDAY + HOUR)
    subscribe(engine)
    queued(engine, SATURDAY)
    digest = contents(engine)[0]
    assert [(one["id"], one["severity"], one["state"]) for one in digest["new"]] == [
        ("new", "high", "open"),
        ("brief", "medium", "closed"),
    ]
    assert [one["id"] for one in digest["open"]] == ["new", "early"]


def test_digest_counts_the_companies_of_the_period_against_the_one_before(engine: sa.Engine) -> None:
    count(engine, "norwick", SATURDAY - HOUR, 5)
    count(engine, "norwick", SATURDAY - HOUR, 2, kind="filing")
    count(engine, "norwick", SATURDAY - 25 * HOUR, 3)
    count(engine, "norwick", SATURDAY, 100)
    count(engine, "norwick", SATURDAY - HOUR, 50, width=86_400)
    count(engine, "atlas", SATURDAY - DAY, 1)
    count(engine, "calm", SATURDAY - HOUR, 0)
    subscription = subscribe(engine)
    with engine.connect() as connection:
        digest = digests.digest(connection, subscription, SATURDAY - DAY, SATURDAY)
        names = ("id", "negative", "stories", "change")
        assert [tuple(one[name] for name in names) for one in digest["companies"]] == [
            ("norwick", 7, 9, 4),
            ("atlas", 1, 2, 1),
        ]
        narrow = replace(subscription, rule=replace(RULE, companies=("atlas",), source_kinds=("news",)))
        digest = digests.digest(connection, narrow, SATURDAY - DAY, SATURDAY)
        assert [one["id"] for one in digest["companies"]] == ["atlas"]


def test_digest_keeps_to_the_rules_filters(memory: sa.Engine) -> None:
    for name, severity in (("norwick", "high"), ("atlas", "low")):
        change(memory, name, "opened", 1, SATURDAY - HOUR, severity)
    subscription = subscribe(memory)
    filters: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["norwick", "atlas"]),
        ({"min_severity": "high"}, ["norwick"]),
        ({"companies": ("atlas",)}, ["atlas"]),
        ({"topics": ("macro",)}, []),
        ({"languages": ("zh",)}, []),
        ({"source_kinds": ("filing",)}, []),
    ]
    with memory.connect() as connection:
        for values, expected in filters:
            one = replace(subscription, rule=replace(RULE, **values))
            digest = digests.digest(connection, one, SATURDAY - DAY, SATURDAY)
            assert [shown["id"] for shown in digest["open"]] == expected


def test_alert_of_a_digest_subscription_is_kept_for_the_digest(memory: sa.Engine) -> None:
    subscribe(memory)
    one = Incident("i", "company", "c", "open", "critical", 1, SATURDAY, SATURDAY, None, {}, ())
    with memory.begin() as connection:
        assert alerting.route(connection, one, "opened", SATURDAY) == 1
        alert = connection.execute(sa.select(tables.alerts)).one()
        assert (alert.held, alert.due) == ("digest", None)
        assert connection.execute(sa.select(tables.outbox)).all() == []


@pytest.mark.parametrize(("language", "words"), [("en", "Daily digest: morning"), ("zh", "每日摘要：morning")])
def test_digest_is_told_in_the_rules_language(memory: sa.Engine, language: str, words: str) -> None:
    change(memory, "norwick", "opened", 1, SATURDAY - HOUR, "high")
    count(memory, "norwick", SATURDAY - HOUR, 5)
    subscription = subscribe(memory, replace(RULE, language=language))
    with memory.connect() as connection:
        digest = digests.digest(connection, subscription, SATURDAY - DAY, SATURDAY)
    message = digest_message("k", {"kind": "digest", "languages": [language], "digest": digest}, "http://desk.example")
    assert message.subject == words
    assert "2026-03-27 08:00 UTC+01:00" in message.text and "+5" in message.text
    assert "http://desk.example/?incident=norwick" in message.html
