"""Rules as JSON, stored subscriptions, watchlists from files, and what a rule would have given."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from finance_monitor import alerting, subscriptions, tables, watchlists
from finance_monitor.calendars import MARKETS, WEEKDAYS, Quiet
from finance_monitor.domain import KINDS, Incident
from finance_monitor.subscriptions import Rule, Step, dry_run, rule_from_json, rule_to_json
from finance_monitor.watchlists import read_watchlist
from headwater.errors import HeadwaterError, NotFound
from headwater.settings import Settings
from headwater.storage.engine import open_engine

SITE = "desk"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def memory() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    tables.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(database_settings: Settings) -> Iterator[sa.Engine]:
    engine = open_engine(database_settings, "finance")
    tables.metadata.create_all(engine)
    yield engine
    engine.dispose()


FULL = {
    "companies": ["norwick"],
    "watchlist": "core",
    "topics": ["litigation"],
    "languages": ["en", "zh"],
    "source_kinds": ["news", "filing"],
    "min_severity": "high",
    "changes": ["opened", "closed"],
    "channels": ["ops"],
    "language": "zh",
    "zone": "Asia/Shanghai",
    "quiet": [{"from": "22:00", "to": "07:30", "days": ["mon", "tue"]}],
    "market": "XSHG",
    "critical_always": False,
    "mode": "weekly",
    "weekday": "fri",
    "hour": 17,
    "escalation": [{"after_minutes": 30, "channels": ["duty"]}],
    "group_by": "topic",
    "group_minutes": 15,
    "per_hour": 6,
}


def test_rule_reads_and_writes_every_field() -> None:
    rule = rule_from_json(FULL)
    assert rule_to_json(rule) == FULL
    assert rule.quiet == (Quiet(time(22), time(7, 30), ("mon", "tue")),)
    assert rule.escalation == (Step(30, ("duty",)),)
    assert rule.all_channels() == ("ops", "duty")
    assert rule_from_json({}) == Rule()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "a rule is an object with fields, found []"),
        ({"colour": "red"}, "a rule has no field 'colour'; its fields: companies, watchlist, topics, languages, "),
        ({"companies": "norwick"}, "companies: a list, found 'norwick'"),
        ({"companies": [3]}, "companies: texts of 1 to 64 characters, found 3"),
        ({"topics": [" "]}, "topics: texts of 1 to 64 characters, found ' '"),
        ({"min_severity": "dire"}, "min_severity: one of low, medium, high, critical, found 'dire'"),
        ({"changes": []}, "changes: name at least one of opened, grew, closed"),
        ({"changes": ["began"]}, "changes: one of opened, grew, closed, found 'began'"),
        ({"source_kinds": ["blog"]}, "source_kinds: one of news, comment, filing, found 'blog'"),
        ({"language": "de"}, "language: one of en, zh, found 'de'"),
        ({"zone": "Mars"}, "'Mars' is no time zone; write one such as Europe/London"),
        ({"market": "XPAR"}, "market: one of XNYS, XLON, XHKG, XSHG, found 'XPAR'"),
        ({"mode": "hourly"}, "mode: one of immediate, daily, weekly, found 'hourly'"),
        ({"hour": 24}, "hour: 0 to 23, found 24"),
        ({"hour": True}, "hour: a whole number, found True"),
        ({"hour": "8"}, "hour: a whole number, found '8'"),
        ({"critical_always": 1}, "critical_always: true or false, found 1"),
        ({"watchlist": None}, "watchlist: a text, found None"),
        ({"group_minutes": 1441}, "group_minutes: 0 to 1440, found 1441"),
        ({"per_hour": -1}, "per_hour: 0 to 1000, found -1"),
        (
            {"quiet": [{"from": "22:00"}]},
            'quiet: as {"from": "22:00", "to": "07:00", "days": ["mon"]}, found {\'from\': \'22:00\'}',
        ),
        ({"quiet": [{"from": "22:00", "to": "24:00"}]}, "quiet.to: a time such as 22:00, found '24:00'"),
        (
            {"quiet": [{"from": "22:00", "to": "22:00"}]},
            "quiet: give two different times, and at least one day",
        ),
        (
            {"quiet": [{"from": "22:00", "to": "07:00", "days": ["monday"]}]},
            "quiet.days: one of mon, tue, wed, thu, fri, sat, sun, found 'monday'",
        ),
        (
            {"escalation": [{"after_minutes": 30}]},
            'escalation: as {"after_minutes": 30, "channels": ["duty"]}, found {\'after_minutes\': 30}',
        ),
        (
            {"escalation": [{"after_minutes": 30, "channels": []}]},
            "escalation: the step after 30 minutes names no channel",
        ),
        (
            {"escalation": [{"after_minutes": 30, "channels": ["a"]}, {"after_minutes": 30, "channels": ["b"]}]},
            "escalation: after_minutes must rise from step to step, found [30, 30]",
        ),
    ],
)
def test_wrong_rule_is_refused_with_field_and_value(values: object, message: str) -> None:
    with pytest.raises(HeadwaterError) as raised:
        rule_from_json(values)
    assert str(raised.value).startswith(message)


NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=20), max_size=3
)
QUIET = st.builds(
    lambda start, end, days: Quiet(time(start), time(end), tuple(days)),
    st.integers(0, 11),
    st.integers(12, 23),
    st.lists(st.sampled_from(WEEKDAYS), min_size=1, unique=True),
)


@given(
    st.builds(
        Rule,
        companies=NAMES.map(tuple),
        topics=NAMES.map(tuple),
        channels=NAMES.map(tuple),
        source_kinds=st.lists(st.sampled_from(KINDS)).map(tuple),
        min_severity=st.sampled_from(subscriptions.SEVERITIES),
        market=st.sampled_from(["", *MARKETS]),
        quiet=st.lists(QUIET, max_size=2).map(tuple),
        hour=st.integers(0, 23),
        per_hour=st.integers(0, 1_000),
    )
)
def test_any_rule_survives_json(rule: Rule) -> None:
    assert rule_from_json(rule_to_json(rule)) == rule


# --- stored -----------------------------------------------------------------------------------------------------------


def test_subscription_is_saved_changed_listed_and_deleted_within_its_site(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        one = subscriptions.save(connection, SITE, "mine", Rule(), actor="ana", moment=START)
        rule = replace(one.rule, hour=9)
        subscriptions.save(
            connection, SITE, "ours", rule, actor="bo", moment=START + HOUR, subscription_id=one.id, enabled=False
        )
        stored = subscriptions.get(connection, SITE, one.id)
        assert (stored.name, stored.actor, stored.created, stored.updated) == ("ours", "bo", START, START + HOUR)
        assert stored.rule.hour == 9 and not stored.enabled
        assert subscriptions.subscriptions(connection, SITE) == [stored]
        assert subscriptions.subscriptions(connection, "elsewhere") == []
        assert subscriptions.subscriptions(connection, enabled=True) == []
        with pytest.raises(NotFound):
            subscriptions.get(connection, "elsewhere", one.id)
        with pytest.raises(NotFound):
            subscriptions.delete(connection, "elsewhere", one.id)
        subscriptions.delete(connection, SITE, one.id)
        assert subscriptions.subscriptions(connection) == []


def test_rule_that_names_what_does_not_exist_is_not_stored(memory: sa.Engine) -> None:
    with memory.begin() as connection:
        with pytest.raises(HeadwaterError) as raised:
            subscriptions.save(connection, SITE, "x", Rule(channels=("ops",)), actor="a", moment=START)
        assert str(raised.value) == "channels: no channel 'ops'; those that exist: none"
        with pytest.raises(NotFound) as missing:
            subscriptions.save(connection, SITE, "x", Rule(watchlist="core"), actor="a", moment=START)
        assert str(missing.value) == "no watchlist 'core'; those that exist: none"
        with pytest.raises(HeadwaterError, match="name: 1 to 200 characters"):
            subscriptions.save(connection, SITE, " ", Rule(), actor="a", moment=START)


# --- watchlists -------------------------------------------------------------------------------------------------------

COMPANIES = {"NRW": ["norwick"], "Norwick Cement": ["norwick"], "海川": ["haichuan"], "Atlas": ["atlas-a", "atlas-b"]}


def resolve(text: str) -> Sequence[str]:
    return COMPANIES.get(text, [])


def test_watchlist_is_kept_while_a_rule_refers_to_it(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        watchlists.save(connection, SITE, "core", ["b", "a", "b"], actor="ana", moment=START)
        watchlists.save(connection, SITE, "core", ["a", "c"], actor="ana", moment=START)
        assert watchlists.watchlists(connection, SITE) == {"core": ("a", "c")}
        rule = Rule(watchlist="core")
        one = subscriptions.save(connection, SITE, "mine", rule, actor="ana", moment=START)
        with pytest.raises(HeadwaterError, match="is used by mine"):
            watchlists.delete(connection, SITE, "core")
        subscriptions.delete(connection, SITE, one.id)
        watchlists.delete(connection, SITE, "core")
        with pytest.raises(NotFound):
            watchlists.watchlist(connection, SITE, "core")
        with pytest.raises(HeadwaterError, match="has no company"):
            watchlists.save(connection, SITE, "none", [], actor="ana", moment=START)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("list.txt", "NRW # cement\n\n# rest\n海川\n".encode()),
        ("list.txt", "NRW\r\n海川".encode("gb18030")),
        ("list.csv", "\ufeffweight,Ticker\r\n3,NRW\r\n,海川\r\n".encode()),
        ("list.csv", "NRW;x\n海川;y\n".encode()),
        ("list.tsv", "名称\t权重\nNRW\t1\n海川\t2\n".encode("gb18030")),
        ("list.CSV", '"NRW"\n"海川"\n"NRW"\n'.encode()),
    ],
)
def test_watchlist_is_read_from_common_files(name: str, data: bytes) -> None:
    assert read_watchlist(data, name, resolve) == (["norwick", "haichuan"], [])


def test_names_that_are_not_one_company_are_told_with_their_lines() -> None:
    found, problems = read_watchlist(b"NRW\nAtlas\nNobody\n", "list.txt", resolve)
    assert found == ["norwick"]
    assert problems == [
        "list.txt:2: 'Atlas' can be atlas-a, atlas-b; write a ticker",
        "list.txt:3: no company 'Nobody'",
    ]
    with pytest.raises(HeadwaterError) as raised:
        read_watchlist(b"Nobody\n", "list.txt", resolve)
    assert str(raised.value) == "list.txt names no known company\nlist.txt:1: no company 'Nobody'"
    with pytest.raises(HeadwaterError, match="neither UTF-8 nor GB18030"):
        read_watchlist(b"\xff\xff\xff", "list.txt", resolve)


# --- dry run ----------------------------------------------------------------------------------------------------------


def store_change(engine: sa.Engine, one: Incident, change: str, moment: datetime) -> None:
    """What the pipeline stores beside the alerts."""
    shared = {"severity": one.severity, "reason": one.reason, "story_ids": list(one.story_ids)}
    about = {"entity_kind": one.entity_kind, "entity": one.entity, "state": one.state, "opened": one.opened}
    with engine.begin() as connection:
        connection.execute(tables.incidents.delete().where(tables.incidents.c.id == one.id))
        connection.execute(
            tables.incidents.insert().values(
                id=one.id, revision=one.revision, updated=moment, closed=one.closed, memory={}, **about, **shared
            )
        )
        connection.execute(
            tables.incident_changes.insert().values(
                incident_id=one.id, revision=one.revision, change=change, moment=moment, **shared
            )
        )


def incidents(engine: sa.Engine, fire: bool = False) -> None:
    """Two companies over a day: one opens, grows and closes, the other one opens."""
    reason = {"entity_name": "Norwick", "topics": ["litigation"], "languages": ["en"], "source_kinds": ["news"]}
    first = Incident("i1", "company", "norwick", "open", "medium", 1, START, START, None, reason, ())
    steps: list[tuple[Incident, str, datetime]] = [
        (first, "opened", START),
        (replace(first, revision=2, severity="high"), "grew", START + HOUR),
        (replace(first, id="i2", entity="other", opened=START + 2 * HOUR), "opened", START + 2 * HOUR),
        (replace(first, revision=3, state="closed", closed=START + 3 * HOUR), "closed", START + 3 * HOUR),
    ]
    for one, change, moment in steps:
        store_change(engine, one, change, moment)
        if fire:
            with engine.begin() as connection:
                alerting.route(connection, replace(one, updated=moment), change, moment)


def test_dry_run_gives_what_the_rule_would_have_given_and_writes_nothing(engine: sa.Engine) -> None:
    incidents(engine)
    with engine.connect() as connection:
        everything = dry_run(connection, Rule(channels=("ops",)), START, START + 24 * HOUR, site_id=SITE)
        assert [(one["incident_id"], one["revision"]) for one in everything.alerts] == [
            ("i1", 1),
            ("i1", 2),
            ("i2", 1),
            ("i1", 3),
        ]
        assert everything.messages == 4
        grouped = dry_run(connection, Rule(channels=("ops",), group_minutes=90), START, START + 24 * HOUR, site_id=SITE)
        assert len(grouped.alerts) == 4 and grouped.messages == 3
        narrow = dry_run(connection, Rule(min_severity="high"), START, START + 24 * HOUR, site_id=SITE)
        assert [one["revision"] for one in narrow.alerts] == [2, 3]
        assert dry_run(connection, Rule(), START, START + HOUR, site_id=SITE).messages == 0
        assert connection.execute(sa.select(tables.alerts)).all() == []
        with pytest.raises(HeadwaterError, match="more than 2 changes"):
            dry_run(connection, Rule(), START, START + 24 * HOUR, limit=2)


@pytest.mark.parametrize("rule", [Rule(), Rule(quiet=(Quiet(time(9), time(11)),), group_minutes=30, per_hour=1)])
def test_dry_run_equals_what_was_fired(memory: sa.Engine, rule: Rule) -> None:
    with memory.begin() as connection:
        row = {"name": "ops", "site_id": SITE, "kind": "inbox", "options": {}, "enabled": True, "actor": "a"}
        connection.execute(tables.channels.insert().values(**row, updated=START, state="new", reason=""))
        rule = replace(rule, channels=("ops",))
        subscriptions.save(connection, SITE, "dry run", rule, actor="a", moment=START, subscription_id="dry-run")
    incidents(memory, fire=True)
    with memory.connect() as connection:
        fired = [dict(row) for row in connection.execute(sa.select(tables.alerts).order_by("created")).mappings()]
        run = dry_run(connection, rule, START, START + 24 * HOUR, site_id=SITE)
    assert run.alerts == fired and len(fired) == 4


def test_dry_run_knows_the_sites_silences(memory: sa.Engine) -> None:
    incidents(memory)
    with memory.begin() as connection:
        matcher = alerting.Matcher(companies=("norwick",))
        alerting.silence(connection, SITE, matcher, starts=START, ends=START + 24 * HOUR, reason="x", actor="a")
        run = dry_run(connection, Rule(channels=("ops",)), START, START + 24 * HOUR, site_id=SITE)
    values: dict[str, Any] = run.held
    assert values == {"silenced": 3, "": 1} and run.messages == 1
