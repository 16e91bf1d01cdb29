"""Which alerts a change gives, when their messages go out, and what people's answers change."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from finance_monitor import alerting, subscriptions, tables, watchlists
from finance_monitor.alerting import Matcher, acknowledge, escalate, route, silence
from finance_monitor.calendars import Quiet
from finance_monitor.domain import Incident
from finance_monitor.subscriptions import Rule, Step
from headwater.errors import HeadwaterError, NotFound
from headwater.settings import Settings
from headwater.storage.engine import open_engine

SITE = "desk"
START = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NIGHT = (Quiet(time(22), time(7)),)


@pytest.fixture
def engine(database_settings: Settings) -> Iterator[sa.Engine]:
    """The finance tables on either kind of database."""
    engine = open_engine(database_settings, "finance")
    tables.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def memory() -> Iterator[sa.Engine]:
    """The finance tables in memory, for what does not depend on the kind of database."""
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    tables.metadata.create_all(engine)
    yield engine
    engine.dispose()


def incident(name: str = "norwick", revision: int = 1, **values: Any) -> Incident:
    reason = {
        "entity_name": name.title(),
        "topics": ["litigation"],
        "languages": ["en"],
        "stories": [{"id": "s1", "title": "Norwick sued", "kind": "news"}],
    }
    fields: dict[str, Any] = {
        "id": f"incident-{name}",
        "entity_kind": "company",
        "entity": name,
        "state": "open",
        "severity": "medium",
        "revision": revision,
        "opened": START,
        "updated": START,
        "closed": None,
        "reason": reason | values.pop("reason", {}),
        "story_ids": ("s1",),
    }
    return Incident(**fields | values)


def subscribe(engine: sa.Engine, identity: str = "a", site: str = SITE, **values: Any) -> Rule:
    rule = Rule(**{"channels": ("ops",), **values})
    with engine.begin() as connection:
        for name in rule.all_channels():
            table = tables.channels
            there = sa.select(table.c.name).where(table.c.site_id == site, table.c.name == name)
            if connection.execute(there).first() is None:
                row = {"site_id": site, "name": name, "kind": "inbox", "options": {}, "enabled": True, "actor": "t"}
                connection.execute(table.insert().values(**row, updated=START, state="new", reason=""))
        subscriptions.save(
            connection, site, f"rule {identity}", rule, actor="t", moment=START, subscription_id=identity
        )
    return rule


def fire(engine: sa.Engine, one: Incident, change: str = "opened", moment: datetime = START) -> int:
    with engine.begin() as connection:
        return route(connection, one, change, moment)


def stored(engine: sa.Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(tables.alerts).order_by("created", "revision", "subscription_id")))


def messages(engine: sa.Engine) -> list[tuple[str, datetime, list[int]]]:
    """Channel, planned moment and revisions of every message that is to go out."""
    with engine.connect() as connection:
        revisions = {row.id: row.revision for row in connection.execute(sa.select(tables.alerts))}
        rows = connection.execute(
            sa.select(tables.outbox).where(tables.outbox.c.state == "pending").order_by("planned", "channel", "key")
        )
        return [(row.channel, row.planned, sorted(revisions[one] for one in row.alert_ids)) for row in rows]


def open_incident(engine: sa.Engine, one: Incident) -> None:
    """What the pipeline stores beside the alerts."""
    values = {name: getattr(one, name) for name in ("id", "entity_kind", "entity", "state", "severity", "revision")}
    values |= {"opened": one.opened, "updated": one.updated, "closed": one.closed, "reason": one.reason}
    with engine.begin() as connection:
        connection.execute(tables.incidents.delete().where(tables.incidents.c.id == one.id))
        connection.execute(tables.incidents.insert().values(**values, story_ids=list(one.story_ids), memory={}))


# --- firing -----------------------------------------------------------------------------------------------------------


def test_change_gives_one_alert_a_subscription_and_one_message_a_channel(engine: sa.Engine) -> None:
    subscribe(engine, "a", channels=("ops", "desk"))
    subscribe(engine, "b", channels=("ops",), language="zh")
    assert fire(engine, incident()) == 2
    assert messages(engine) == [("desk", START, [1]), ("ops", START, [1, 1])]
    with engine.connect() as connection:
        query = sa.select(tables.outbox.c.content).where(tables.outbox.c.channel == "ops")
        assert connection.execute(query).scalar_one()["languages"] == ["en", "zh"]


def test_routing_a_change_again_adds_nothing(engine: sa.Engine) -> None:
    subscribe(engine, quiet=NIGHT)
    fire(engine, incident())
    before = stored(engine), messages(engine)
    assert fire(engine, incident()) == 0
    assert (stored(engine), messages(engine)) == before


def test_rollback_of_the_pipeline_leaves_neither_alert_nor_message(engine: sa.Engine) -> None:
    subscribe(engine)

    def stop_after_routing() -> None:
        with engine.begin() as connection:
            route(connection, incident(), "opened", START)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stop_after_routing()
    assert stored(engine) == [] and messages(engine) == []


@pytest.mark.parametrize(
    ("rule", "one", "fires"),
    [
        ({"companies": ("norwick",)}, incident(), True),
        ({"companies": ("other",)}, incident(), False),
        ({"companies": ("litigation",)}, incident("litigation", entity_kind="topic"), False),
        ({"topics": ("litigation",)}, incident(), True),
        ({"topics": ("litigation",)}, incident("litigation", entity_kind="topic"), True),
        ({"topics": ("recall-safety",)}, incident(), False),
        ({"languages": ("zh",)}, incident(), False),
        ({"languages": ("zh", "en")}, incident(), True),
        ({"source_kinds": ("news",)}, incident(), True),
        ({"source_kinds": ("filing",)}, incident(), False),
        ({"min_severity": "high"}, incident(), False),
        ({"min_severity": "medium"}, incident(), True),
        ({"changes": ("closed",)}, incident(), False),
    ],
)
def test_every_filter_must_pass(memory: sa.Engine, rule: dict[str, Any], one: Incident, fires: bool) -> None:
    subscribe(memory, **rule)
    assert fire(memory, one) == fires


def test_watchlist_stands_for_its_companies(memory: sa.Engine) -> None:
    with memory.begin() as connection:
        watchlists.save(connection, SITE, "core", ["norwick"], actor="t", moment=START)
    subscribe(memory, watchlist="core")
    assert fire(memory, incident()) == 1
    assert fire(memory, incident("other")) == 0


def test_source_kinds_are_looked_up_when_the_stories_do_not_name_them(memory: sa.Engine) -> None:
    subscribe(memory, source_kinds=("filing",))
    bare = {"reason": {"stories": [{"id": "s1", "title": "x"}]}}
    assert fire(memory, incident(**bare)) == 0
    names = ("id", "source_id", "url", "title", "language", "story_id", "relation", "label")
    article: dict[str, Any] = dict.fromkeys(names, "s1") | {"kind": "filing", "revision": 1}
    article |= dict.fromkeys(("published", "first_seen", "known_at"), START)
    article |= dict.fromkeys(("weight", "novelty", "positive", "neutral", "negative"), 0.0)
    with memory.begin() as connection:
        connection.execute(tables.articles.insert().values(article))
    assert fire(memory, incident(revision=2, **bare)) == 1


def test_incident_that_grows_into_the_rule_is_told_as_if_it_opened(memory: sa.Engine) -> None:
    subscribe(memory, min_severity="high", changes=("opened",))
    assert fire(memory, incident()) == 0
    assert fire(memory, incident(revision=2, severity="high"), "grew", START + MINUTE) == 1
    assert fire(memory, incident(revision=3, severity="high"), "grew", START + 2 * MINUTE) == 0


def test_end_is_told_to_those_who_were_told_of_the_incident(memory: sa.Engine) -> None:
    subscribe(memory, "told", min_severity="medium")
    subscribe(memory, "untold", min_severity="critical")
    fire(memory, incident())
    ended = incident(revision=2, severity="low", state="closed", closed=START + MINUTE)
    assert fire(memory, ended, "closed", START + MINUTE) == 1
    assert [alert.subscription_id for alert in stored(memory)] == ["told", "told"]


def test_disabled_and_unreadable_subscriptions_do_not_fire_and_stop_no_other(memory: sa.Engine) -> None:
    for identity in ("a", "b", "c"):
        subscribe(memory, identity)
    table = tables.subscriptions
    with memory.begin() as connection:
        connection.execute(table.update().where(table.c.id == "a").values(enabled=False))
        connection.execute(table.update().where(table.c.id == "b").values(rule={"min_severity": "dire"}))
        assert "dire" in subscriptions.get(connection, SITE, "b").problem
    assert fire(memory, incident()) == 1
    assert [alert.subscription_id for alert in stored(memory)] == ["c"]


# --- when messages go out ---------------------------------------------------------------------------------------------


def test_quiet_hours_hold_a_message_until_their_end_and_later_revisions_join_it(engine: sa.Engine) -> None:
    subscribe(engine, quiet=NIGHT, zone="Europe/Berlin")
    night = datetime(2026, 3, 2, 22, 30, tzinfo=UTC)
    morning = datetime(2026, 3, 3, 6, 0, tzinfo=UTC)
    fire(engine, incident(), "opened", night)
    fire(engine, incident(revision=2), "grew", night + 20 * MINUTE)
    assert messages(engine) == [("ops", morning, [1, 2])]
    assert [(alert.held, alert.due) for alert in stored(engine)] == [("quiet", morning), ("quiet", morning)]


def test_critical_passes_quiet_hours_when_the_rule_says_so_and_takes_held_revisions_along(engine: sa.Engine) -> None:
    subscribe(engine, quiet=NIGHT)
    night = datetime(2026, 3, 2, 23, 0, tzinfo=UTC)
    fire(engine, incident(), "opened", night)
    fire(engine, incident("other"), "opened", night)
    fire(engine, incident(revision=2, severity="critical"), "grew", night + MINUTE)
    morning = datetime(2026, 3, 3, 7, 0, tzinfo=UTC)
    assert messages(engine) == [("ops", night + MINUTE, [1, 2]), ("ops", morning, [1])]


def test_critical_waits_like_others_when_the_rule_says_so(memory: sa.Engine) -> None:
    subscribe(memory, quiet=NIGHT, critical_always=False)
    fire(memory, incident(severity="critical"), "opened", datetime(2026, 3, 2, 23, 0, tzinfo=UTC))
    assert messages(memory)[0][1] == datetime(2026, 3, 3, 7, 0, tzinfo=UTC)


def test_market_hours_hold_a_message_until_the_session_opens(memory: sa.Engine) -> None:
    subscribe(memory, market="XNYS")
    fire(memory, incident(), "opened", datetime(2026, 3, 6, 21, 30, tzinfo=UTC))
    # Monday after the clocks went forward: half past nine is 13:30 UTC.
    assert messages(memory)[0][1] == datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
    assert stored(memory)[0].held == "session"


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_subscription_without_quiet_hours_is_not_held_up_by_another_one(
    engine: sa.Engine, order: Sequence[str]
) -> None:
    subscribe(engine, order[0], quiet=NIGHT)
    subscribe(engine, order[1], min_severity="high", critical_always=False)
    night = datetime(2026, 3, 2, 23, 0, tzinfo=UTC)
    fire(engine, incident(), "opened", night)
    fire(engine, incident(revision=2, severity="high"), "grew", night + MINUTE)
    assert messages(engine) == [("ops", night + MINUTE, [1, 2, 2])]


def test_incidents_of_a_group_within_its_minutes_become_one_message(engine: sa.Engine) -> None:
    subscribe(engine, group_by="subscription", group_minutes=10)
    fire(engine, incident("a"), "opened", START)
    fire(engine, incident("b"), "opened", START + 9 * MINUTE)
    fire(engine, incident("c"), "opened", START + 11 * MINUTE)
    assert messages(engine) == [("ops", START + 10 * MINUTE, [1, 1]), ("ops", START + 21 * MINUTE, [1])]


def test_groups_are_kept_apart_by_company_and_by_topic(memory: sa.Engine) -> None:
    subscribe(memory, "a", group_by="company", group_minutes=10, channels=("one",))
    subscribe(memory, "b", group_by="topic", group_minutes=10, channels=("two",))
    for name in ("norwick", "other"):
        fire(memory, incident(name))
    due = START + 10 * MINUTE
    assert messages(memory) == [("one", due, [1]), ("one", due, [1]), ("two", due, [1, 1])]


def test_surplus_over_the_limit_gathers_in_one_message_when_the_hour_allows(engine: sa.Engine) -> None:
    subscribe(engine, per_hour=2)
    for number in range(6):
        fire(engine, incident(f"c{number}"), "opened", START + number * MINUTE)
    assert messages(engine) == [
        ("ops", START, [1]),
        ("ops", START + MINUTE, [1]),
        ("ops", START + 60 * MINUTE, [1, 1, 1, 1]),
    ]
    assert [alert.held for alert in stored(engine)] == ["", "", "limit", "limit", "limit", "limit"]


def test_message_that_was_tried_takes_no_further_alert(memory: sa.Engine) -> None:
    subscribe(memory, group_by="subscription", group_minutes=10)
    fire(memory, incident("a"))
    with memory.begin() as connection:
        connection.execute(tables.outbox.update().values(attempts=1))
    fire(memory, incident("b"), "opened", START + MINUTE)
    fire(memory, incident("a", 2), "grew", START + 20 * MINUTE)
    with memory.begin() as connection:
        connection.execute(tables.outbox.update().values(attempts=1))
    fire(memory, incident("a", 3), "grew", START + 21 * MINUTE)
    assert [revisions for _, _, revisions in messages(memory)] == [[1], [1], [2], [3]]


CHANGES = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 600), st.sampled_from(subscriptions.SEVERITIES)),
    min_size=1,
    max_size=12,
)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES, rules=st.lists(st.integers(0, 5), min_size=1, max_size=3))
def test_routing_twice_adds_nothing_and_every_alert_travels_once_a_channel(
    changes: list[tuple[str, int, str]], rules: list[int]
) -> None:
    kinds: list[dict[str, Any]] = [
        {},
        {"quiet": NIGHT},
        {"group_by": "subscription", "group_minutes": 30},
        {"per_hour": 1},
        {"quiet": NIGHT, "per_hour": 1, "group_minutes": 5},
        {"channels": ("ops", "desk"), "critical_always": False, "quiet": NIGHT, "group_by": "topic"},
    ]
    written = []
    for repeat in (1, 2):
        engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
        tables.metadata.create_all(engine)
        for number, kind in enumerate(rules):
            subscribe(engine, f"s{number}", **kinds[kind])
        moment = START
        revisions: dict[str, int] = {}
        for name, minutes, severity in changes:
            moment += minutes * MINUTE
            revisions[name] = revisions.get(name, 0) + 1
            one = incident(name, revisions[name], severity=severity)
            change = "opened" if revisions[name] == 1 else "grew"
            for again in range(repeat):
                assert fire(engine, one, change, moment) == (0 if again else len(rules))
        with engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(sa.select(tables.alerts).order_by("id")).mappings()]
            sent = [dict(row) for row in connection.execute(sa.select(tables.outbox).order_by("key")).mappings()]
        carried = [(row["channel"], one) for row in sent if row["state"] == "pending" for one in row["alert_ids"]]
        assert len(carried) == len(set(carried))
        for alert in rows:
            rule = kinds[rules[int(alert["subscription_id"][1:])]]
            for channel in rule.get("channels", ("ops",)):
                assert (channel, alert["id"]) in carried
        for row in sent:
            assert row["planned"] >= row["created"]
            assert (row["state"] == "merged") == bool(row["merged_into"])
        written.append((rows, sent))
        engine.dispose()
    assert written[0] == written[1]


# --- silences, acknowledgement, escalation ----------------------------------------------------------------------------


def test_silenced_alert_is_kept_and_not_sent(engine: sa.Engine) -> None:
    subscribe(engine)
    with engine.begin() as connection:
        identity = silence(
            connection,
            SITE,
            Matcher(companies=("norwick",), severities=("low", "medium")),
            starts=START,
            ends=START + 60 * MINUTE,
            reason="planned restructuring",
            actor="ana",
        )
    fire(engine, incident())
    fire(engine, incident("other"))
    fire(engine, incident(revision=2, severity="high"), "grew", START + MINUTE)
    assert sorted((alert.incident_id, alert.held) for alert in stored(engine)) == [
        ("incident-norwick", ""),
        ("incident-norwick", "silenced"),
        ("incident-other", ""),
    ]
    with engine.begin() as connection:
        assert [one["id"] for one in alerting.silences(connection, SITE, START)] == [identity]
        alerting.end_silence(connection, SITE, identity, START + 2 * MINUTE)
        with pytest.raises(NotFound, match="still in force"):
            alerting.end_silence(connection, SITE, identity, START + 3 * MINUTE)
    fire(engine, incident(revision=3), "grew", START + 2 * MINUTE)
    assert stored(engine)[-1].held == ""


def test_silence_of_another_site_takes_nothing(memory: sa.Engine) -> None:
    subscribe(memory)
    with memory.begin() as connection:
        matcher = Matcher(topics=("litigation",))
        silence(connection, "elsewhere", matcher, starts=START, ends=START + MINUTE, reason="x", actor="a")
    fire(memory, incident())
    assert stored(memory)[0].held == ""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Matcher(), "a silence needs companies, topics or severities; it would take everything otherwise"),
        (lambda: Matcher(severities=("dire",)), "severities: of low, medium, high, critical, found 'dire'"),
    ],
)
def test_silence_that_names_nothing_is_refused(make: Any, message: str) -> None:
    with pytest.raises(HeadwaterError) as raised:
        make()
    assert str(raised.value) == message


def test_acknowledgement_stops_growth_until_the_severity_rises(engine: sa.Engine) -> None:
    subscribe(engine)
    fire(engine, incident())
    open_incident(engine, incident())
    with engine.begin() as connection:
        with pytest.raises(HeadwaterError, match="needs a reason"):
            acknowledge(connection, SITE, "incident-norwick", actor="ana", reason=" ", moment=START)
        with pytest.raises(NotFound):
            acknowledge(connection, SITE, "incident-none", actor="ana", reason="x", moment=START)
        acknowledge(connection, SITE, "incident-norwick", actor="ana", reason="calling them", moment=START + MINUTE)
    fire(engine, incident(revision=2), "grew", START + 2 * MINUTE)
    fire(engine, incident(revision=3, severity="high"), "grew", START + 3 * MINUTE)
    ended = incident(revision=4, severity="high", state="closed", closed=START + 4 * MINUTE)
    fire(engine, ended, "closed", START + 4 * MINUTE)
    assert [(alert.revision, alert.held) for alert in stored(engine)] == [
        (1, ""),
        (2, "acknowledged"),
        (3, ""),
        (4, ""),
    ]


def test_unanswered_alert_is_escalated_step_by_step_once(engine: sa.Engine) -> None:
    subscribe(engine, escalation=(Step(30, ("duty",)), Step(60, ("duty", "head"))))
    fire(engine, incident())
    open_incident(engine, incident())
    counts = []
    for minutes in (29, 30, 30, 59, 200):
        with engine.begin() as connection:
            counts.append(escalate(connection, START + minutes * MINUTE))
    assert counts == [0, 1, 0, 0, 2]
    assert messages(engine) == [
        ("ops", START, [1]),
        ("duty", START + 30 * MINUTE, [1]),
        ("duty", START + 60 * MINUTE, [1]),
        ("head", START + 60 * MINUTE, [1]),
    ]


def test_escalation_counts_from_when_a_held_alert_went_out(memory: sa.Engine) -> None:
    subscribe(memory, quiet=NIGHT, escalation=(Step(30, ("duty",)),))
    night, morning = datetime(2026, 3, 2, 23, 0, tzinfo=UTC), datetime(2026, 3, 3, 7, 0, tzinfo=UTC)
    fire(memory, incident(), "opened", night)
    open_incident(memory, incident())
    with memory.begin() as connection:
        assert escalate(connection, morning + 29 * MINUTE) == 0
        assert escalate(connection, morning + 30 * MINUTE) == 1


def test_acknowledged_and_closed_incidents_are_not_escalated_until_the_severity_rises(memory: sa.Engine) -> None:
    subscribe(memory, escalation=(Step(30, ("duty",)),))
    fire(memory, incident())
    open_incident(memory, incident())
    with memory.begin() as connection:
        acknowledge(connection, SITE, "incident-norwick", actor="ana", reason="on it", moment=START + MINUTE)
        assert escalate(connection, START + 60 * MINUTE) == 0
    fire(memory, incident(revision=2, severity="high"), "grew", START + 61 * MINUTE)
    open_incident(memory, incident(revision=2, severity="high"))
    with memory.begin() as connection:
        assert escalate(connection, START + 90 * MINUTE) == 0
    open_incident(memory, incident(revision=3, state="closed"))
    with memory.begin() as connection:
        assert escalate(connection, START + 91 * MINUTE) == 0
    open_incident(memory, incident(revision=2, severity="high"))
    with memory.begin() as connection:
        assert escalate(connection, START + 91 * MINUTE) == 1
