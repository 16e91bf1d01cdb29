"""From captures to incidents and queued alerts: once each, in order, as it was known then."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from finance_monitor import alerting, subscriptions, trends
from finance_monitor.articles import canonical_url
from finance_monitor.journaling import judge_again, take_up
from finance_monitor.pipeline import MOST_ASIDE, Pipeline, pending
from finance_monitor.replay import alert_lines, replay
from finance_monitor.subscriptions import Rule
from finance_monitor.tables import (
    alerts,
    articles,
    captures,
    contributions,
    incident_changes,
    incidents,
    journal,
    outbox,
    revisions,
    stories,
    unjudged,
    windows,
)
from headwater.errors import Unavailable

Desk = Any  # of this folder's conftest, which cannot be imported by name
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SURGE = ("loss of power", "recall of valves", "fire in the foundry", "sued by a supplier", "breach of its permit")


def surge(desk: Desk, start: datetime = NOON) -> None:
    """Bad news about Halden on one day, each of another event, over a quiet background."""
    for day in range(1, 15):
        desk.publish(f"b{day}", f"Orwell Air opens route number {day * 37}", at=start - timedelta(days=day))
    for number, what in enumerate(SURGE):
        text = f"{what} {number} " + " ".join(f"word{number}{i}" for i in range(60))
        desk.publish(f"s{number}", f"Halden Group: {what}, case {number * 1013}", text, at=start + number * HOUR)


def test_a_surge_opens_one_incident_and_queues_its_alerts(desk: Desk) -> None:
    surge(desk)
    changes = [change for applied in desk.run(NOON + 6 * HOUR) for change in applied.changes]
    opened = [row for row in desk.rows(incidents) if row["entity_kind"] == "company"]
    assert len(opened) == 1 and opened[0]["entity"] == "halden" and opened[0]["state"] == "open"
    assert (opened[0]["id"], "opened") in changes
    reason = opened[0]["reason"]
    assert reason["stories_negative"] >= 3 and reason["p_value"] < 1e-3 and reason["models"] == {"sentiment": "words-1"}
    assert "Halden Group" in reason["text"]["en"] and reason["stories"][0]["sentence"]
    sent = [row for row in desk.rows(outbox) if row["incident_id"] == opened[0]["id"]]
    assert {row["revision"] for row in sent} == {row["revision"] for row in desk.rows(incident_changes)}
    assert len(desk.rows(alerts)) == len(desk.rows(incident_changes))


def test_applying_the_journal_again_changes_nothing(desk: Desk) -> None:
    surge(desk)
    desk.run(NOON + 6 * HOUR)
    before = {table.name: desk.rows(table) for table in (articles, windows, incidents, outbox, contributions)}
    for entry in desk.rows(journal):
        assert desk.pipeline.apply(entry).state == "known"
    assert before == {table.name: desk.rows(table) for table in (articles, windows, incidents, outbox, contributions)}


def test_articles_are_read_ahead_and_once_each(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, str]] = []
    models = type(desk.models)
    plain = models.read

    def noted(self: Any, title: str, *rest: Any) -> Any:
        read.append((title, threading.current_thread().name.split("_")[0]))
        return plain(self, title, *rest)

    monkeypatch.setattr(models, "read", noted)
    titles = [f"Halden Group opens plant number {number}" for number in range(8)]
    for number, title in enumerate(titles):
        desk.publish(number, title)
    desk.run()
    assert sorted(read) == [(title, "read") for title in titles]
    assert [row["title"] for row in desk.rows(articles)] == titles


def test_what_was_read_ahead_by_former_models_is_read_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        desk.publish(number, f"Halden Group opens plant number {number}")
    take_up(desk.engine, NOON)
    entries = pending(desk.engine, 10)
    desk.pipeline.read_ahead(entries)
    monkeypatch.setattr(type(desk.models), "ids", lambda self: {"sentiment": "words-2"})
    for entry in entries:
        desk.pipeline.advance(entry)
    assert {row["models"]["sentiment"] for row in desk.rows(revisions)} == {"words-2"}


def test_nothing_read_ahead_is_kept_of_what_was_known(desk: Desk) -> None:
    for number in range(4):
        desk.publish(number, f"Halden Group opens plant number {number}", "The same words.")
        desk.publish(f"again {number}", f"Halden Group opens plant number {number}", "The same words.")
    desk.run()
    assert len(desk.rows(articles)) == 4 and not desk.pipeline._ahead


def test_a_reprint_counts_once(desk: Desk) -> None:
    text = "Halden Group lost power at its Leeds works on Monday. " + " ".join(f"detail{i}" for i in range(50))
    desk.publish(1, "Fire at Halden Group works", text)
    desk.publish(2, "Fire at Halden Group works, says firm", text[:420], at=NOON + HOUR)
    desk.run(NOON + 2 * HOUR)
    assert len(desk.rows(articles)) == 2 and len(desk.rows(stories)) == 1 and desk.rows(stories)[0]["size"] == 2
    with desk.engine.connect() as connection:
        (day,) = trends.series(connection, "company", "halden", NOON, NOON + HOUR)
    assert (day["articles"], day["stories"], day["negative"]) == (2, 1, 1)


def test_stories_are_counted_in_the_market_session_or_before_it(desk: Desk) -> None:
    opens, closes = NOON - 3 * HOUR, NOON + 2 * HOUR
    for number, moment in enumerate((opens - HOUR, opens, NOON, closes)):
        desk.publish(number, f"Halden Group recall number {number * 1013}", f"other words {number} " * 9, at=moment)
    desk.run(closes + 2 * HOUR)
    bounds = [(opens - 9 * HOUR, opens, False), (opens, closes, True), (closes, closes + 9 * HOUR, False)]
    with desk.engine.connect() as connection:
        found = trends.in_windows(connection, "company", "halden", bounds)
        assert trends.in_windows(connection, "company", "halden", []) == []
        assert all(row["articles"] == 0 for row in trends.in_windows(connection, "all", "all", bounds, "comment"))
    assert [row["articles"] for row in found] == [1, 2, 1]
    assert [row["open"] for row in found] == [False, True, False]


def test_a_correction_is_a_revision_and_moves_the_counts(desk: Desk) -> None:
    desk.publish(1, "Halden Group recall widens")
    desk.run(NOON + HOUR)
    desk.publish(1, "Halden Group says there is no such thing", "Corrected: it was another company.")
    assert [applied.state for applied in desk.run(NOON + 2 * HOUR)][-1] == "revised"
    (article,) = desk.rows(articles)
    assert article["revision"] == 2 and article["label"] == "neutral"
    assert [row["title"] for row in sorted(desk.rows(revisions), key=lambda row: row["number"])] == [
        "Halden Group recall widens",
        "Halden Group says there is no such thing",
    ]
    with desk.engine.connect() as connection:
        (day,) = trends.series(connection, "company", "halden", NOON, NOON + HOUR)
        (topic,) = trends.series(connection, "topic", "recall-safety", NOON, NOON + HOUR)
    assert (day["stories"], day["negative"], day["negative_weight"]) == (1, 0, 0)
    assert topic["stories"] == 0


def test_the_same_article_by_guid_by_address_and_by_content_is_one(desk: Desk) -> None:
    desk.publish(1, "Halden Group opens a mill", "The same text.")
    desk.publish(1, "Halden Group opens a mill", "The same text.", guid="all guids were changed")
    desk.publish(1, "Halden Group opens a mill", "The same text.", url="https://wire.example/news/1?utm_source=x#top")
    desk.publish(9, "Halden Group opens a mill", "The same text.", url="https://wire.example/moved/9", guid="")
    desk.run(NOON + HOUR)
    assert len(desk.rows(articles)) == 1 and len(desk.rows(revisions)) == 1
    assert len(desk.rows(captures)) == 4


def test_one_guid_for_everything_does_not_make_one_article(desk: Desk) -> None:
    for number in range(3):
        desk.publish(number, f"Orwell Air story {number}", f"Text {number}.", guid="the same for all")
    desk.run(NOON + HOUR)
    assert len(desk.rows(articles)) == 3


def test_dates_from_the_future_and_from_long_ago_are_taken_as_first_seen(desk: Desk) -> None:
    desk.publish(1, "Orwell Air sells a jet", at=NOON + timedelta(hours=20))
    desk.publish(2, "Orwell Air sells two jets", at=NOON - timedelta(days=400))
    desk.run(NOON + HOUR)
    assert {row["published"] for row in desk.rows(articles)} == {NOON + HOUR}
    assert {row["date_method"] for row in desk.rows(revisions)} == {"feed published", "first seen"}


def test_a_failure_in_the_middle_leaves_the_entry_unapplied_and_memory_as_it_was(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    surge(desk)
    real = alerting.route

    def fail(*args: Any) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(alerting, "route", fail)
    with pytest.raises(OSError, match="disk full"):
        desk.run(NOON + 6 * HOUR)
    assert desk.rows(incidents) == [] and desk.rows(outbox) == []
    monkeypatch.setattr(alerting, "route", real)
    desk.run(NOON + 6 * HOUR)
    assert [row["entity"] for row in desk.rows(incidents) if row["entity_kind"] == "company"] == ["halden"]
    assert len(desk.rows(articles)) == len(desk.rows(captures))


def test_a_restart_goes_on_as_if_there_had_been_none(desk: Desk) -> None:
    surge(desk)
    for moment in range(7):
        desk.pipeline = desk.make()
        desk.run(NOON + moment * HOUR)
    assert len(desk.rows(articles)) == len(desk.rows(captures))
    assert len([row for row in desk.rows(incidents) if row["entity_kind"] == "company"]) == 1


def test_an_incident_closes_after_a_quiet_day(desk: Desk) -> None:
    surge(desk)
    desk.run(NOON + 6 * HOUR)
    for hours in range(7, 24 * 5, 2):
        desk.run(NOON + hours * HOUR)
    assert {row["state"] for row in desk.rows(incidents)} == {"closed"}
    first, *_, last = sorted(desk.rows(incident_changes), key=lambda row: row["revision"])
    assert last["change"] == "closed" and "a day has passed" in last["reason"]["text"]["en"]
    days = [row["reason"]["baseline"]["days"] for row in (first, last)]
    assert days[1] - days[0] == (last["moment"].date() - first["moment"].date()).days > 0


def test_old_stories_that_come_late_count_at_once_in_what_is_usual(desk: Desk) -> None:
    surge(desk)
    desk.run(NOON + 6 * HOUR)
    for number, what in enumerate(SURGE * 4):
        title = f"Halden Group: {what}, case {number * 7919}"
        desk.publish(f"old{number}", title, f"{what} {number}", at=NOON - timedelta(days=5 + number % 9))
    for number, what in enumerate(SURGE * 3):
        text = " ".join(f"new{number}{i}" for i in range(60))
        desk.publish(f"more{number}", f"Halden Group: {what}, file {number * 6367}", text, at=NOON + 7 * HOUR)
    desk.run(NOON + 8 * HOUR)
    (halden,) = [row["id"] for row in desk.rows(incidents) if row["entity_kind"] == "company"]
    changes = sorted(desk.rows(incident_changes), key=lambda row: row["revision"])
    first, *_, last = [row for row in changes if row["incident_id"] == halden]
    assert last["change"] == "grew" and last["moment"].date() == first["moment"].date()
    assert last["reason"]["baseline"]["mean"] > 2 * first["reason"]["baseline"]["mean"]


def test_replay_gives_the_same_bytes(desk: Desk) -> None:
    surge(desk)
    for hours in (1, 3, 6, 30, 60, 90):
        desk.run(NOON + hours * HOUR)
    live = alert_lines(desk.engine)
    again = replay(desk.settings, desk.engine, desk.models, desk.gazetteer, alert_age=timedelta(days=30))
    assert live and again.alerts == live
    part = replay(
        desk.settings, desk.engine, desk.models, desk.gazetteer, end=NOON + 6 * HOUR, alert_age=timedelta(days=30)
    )
    assert part.alerts == live[: len(part.alerts)] and 0 < len(part.alerts) < len(live)


def test_a_replay_tells_nothing_by_a_rule_that_was_not_made_yet(desk: Desk) -> None:
    surge(desk)
    desk.run(NOON + 6 * HOUR)
    with desk.engine.begin() as connection:
        rule, made = Rule(channels=("inbox",)), NOON + 8 * HOUR
        subscriptions.save(connection, "shop", "late", rule, actor="test", moment=made, subscription_id="late")
    desk.publish("more", "Halden Group: another fire and a recall, case 77", "flames " * 30, at=NOON + 9 * HOUR)
    for hours in (9, 40, 70):
        desk.run(NOON + hours * HOUR)
    live = alert_lines(desk.engine)
    assert any('"subscription_id": "late"' in line for line in live)
    again = replay(desk.settings, desk.engine, desk.models, desk.gazetteer, alert_age=timedelta(days=30))
    assert again.alerts == live


def test_what_is_not_known_yet_moves_nothing(desk: Desk) -> None:
    """The canary: bad news that is captured now, though dated within the past, must not be seen by earlier entries."""
    surge(desk)
    desk.run(NOON + 6 * HOUR)
    age = timedelta(days=30)
    before = replay(desk.settings, desk.engine, desk.models, desk.gazetteer, end=NOON + 6 * HOUR, alert_age=age)
    for number in range(8):
        desk.publish(f"canary{number}", f"Halden Group sued again {number}", f"canary {number}", at=NOON)
    desk.run(NOON + 8 * HOUR)
    after = replay(desk.settings, desk.engine, desk.models, desk.gazetteer, end=NOON + 6 * HOUR, alert_age=age)
    assert after.alerts == before.alerts
    assert "canary" not in "".join(after.alerts)


def test_an_old_article_is_taken_in_after_newer_ones_and_its_correction_stays_in_its_story(desk: Desk) -> None:
    desk.publish(1, "Orwell Air opens a route")
    desk.run(NOON)
    long_ago = NOON - timedelta(days=20)
    desk.publish(2, "Halden Group recall widens", at=long_ago)
    assert "new" in [applied.state for applied in desk.run(NOON + HOUR)]
    before = {row["id"]: row["story_id"] for row in desk.rows(articles)}
    desk.publish(2, "Halden Group recall widens", "Corrected: two valves.", at=long_ago)
    assert "revised" in [applied.state for applied in desk.run(NOON + 2 * HOUR)]
    assert {row["id"]: row["story_id"] for row in desk.rows(articles)} == before


class Breaks:
    """The models, of which one text brings a part down."""

    def __init__(self, models: Any) -> None:
        self.models = models

    def __getattr__(self, name: str) -> Any:
        return getattr(self.models, name)

    def read(self, title: str, *rest: Any) -> Any:
        if "poison" in title:
            raise ZeroDivisionError(f"no token in {title!r}")
        return self.models.read(title, *rest)


def test_what_cannot_be_judged_is_put_aside_with_its_reason_and_stops_nothing(desk: Desk) -> None:
    desk.publish(1, "Orwell Air opens a route")
    desk.publish(2, "Halden poison")
    desk.publish(3, "Orwell Air opens another route")
    desk.pipeline = Pipeline(desk.engine, Breaks(desk.models), desk.gazetteer)  # type: ignore[arg-type]
    assert [applied.state for applied in desk.run()] == ["new", "unjudged", "new", "tick"]
    (aside,) = desk.rows(unjudged)
    assert aside["capture_id"] == 2 and aside["reason"] == "ZeroDivisionError: no token in 'Halden poison'"
    assert {row["title"] for row in desk.rows(articles)} == {
        "Orwell Air opens a route",
        "Orwell Air opens another route",
    }
    assert desk.run() == [], "the watermark has moved past it"
    # A later version that can read it finds it in a replay, since the capture is there.
    again = replay(desk.settings, desk.engine, desk.models, desk.gazetteer)
    assert again.entries == 4


def test_what_was_put_aside_is_judged_again_once_the_fault_is_mended(desk: Desk) -> None:
    desk.publish(1, "Halden poison")
    desk.publish(2, "Orwell Air opens a route")
    desk.pipeline = Pipeline(desk.engine, Breaks(desk.models), desk.gazetteer)  # type: ignore[arg-type]
    assert [applied.state for applied in desk.run()] == ["unjudged", "new", "tick"]
    desk.pipeline = desk.make()
    assert judge_again(desk.engine, NOON) == 1
    assert desk.rows(unjudged) == []
    assert [applied.state for applied in desk.run()] == ["new"]
    assert {row["title"] for row in desk.rows(articles)} == {"Halden poison", "Orwell Air opens a route"}
    assert judge_again(desk.engine, NOON) == 0
    assert replay(desk.settings, desk.engine, desk.models, desk.gazetteer).entries == 3, "each capture once, one tick"


def test_the_last_of_the_journal_is_judged_again_too(desk: Desk) -> None:
    desk.publish(1, "Orwell Air opens a route")
    desk.run()
    desk.publish(2, "Halden poison")
    desk.pipeline = Pipeline(desk.engine, Breaks(desk.models), desk.gazetteer)  # type: ignore[arg-type]
    assert [applied.state for applied in desk.run()] == ["unjudged"], "no tick behind it"
    desk.pipeline = desk.make()
    assert judge_again(desk.engine, NOON) == 1
    assert [applied.state for applied in desk.run()] == ["new"]


def test_when_nothing_can_be_judged_judging_waits_instead_of_putting_everything_aside(desk: Desk) -> None:
    desk.publish(1, "Orwell Air opens a route")
    for number in range(2, 2 * MOST_ASIDE):
        desk.publish(number, f"Halden poison {number}")
    desk.pipeline = Pipeline(desk.engine, Breaks(desk.models), desk.gazetteer)  # type: ignore[arg-type]
    for _ in range(2):  # a restart does not put more aside
        with pytest.raises(
            Unavailable, match=r"the last 5 articles could not be judged, and capture 7 .*poison 7.*judge-again"
        ):
            desk.run()
        assert len(desk.rows(unjudged)) == MOST_ASIDE
        desk.pipeline = Pipeline(desk.engine, Breaks(desk.models), desk.gazetteer)  # type: ignore[arg-type]
    desk.pipeline = desk.make()
    judge_again(desk.engine, NOON + 2 * HOUR)
    desk.run()
    assert len(desk.rows(articles)) == 2 * MOST_ASIDE - 1


def test_a_database_that_is_away_is_no_reason_to_put_anything_aside(desk: Desk) -> None:
    class Away(Breaks):
        def read(self, title: str, *rest: Any) -> Any:
            raise sa.exc.OperationalError("select", {}, OSError("the server closed the connection"))

    desk.publish(1, "Orwell Air opens a route")
    desk.pipeline = Pipeline(desk.engine, Away(desk.models), desk.gazetteer)  # type: ignore[arg-type]
    with pytest.raises(sa.exc.OperationalError):
        desk.run()
    assert desk.rows(unjudged) == [] and desk.rows(articles) == []
    desk.pipeline = desk.make()
    assert [applied.state for applied in desk.run()] == ["new", "tick"]


def test_old_incidents_in_the_history_of_a_new_source_are_not_told(desk: Desk) -> None:
    surge(desk, NOON - timedelta(days=20))
    desk.pipeline = desk.make(timedelta(days=3))
    desk.run(NOON)
    assert len(desk.rows(incidents)) >= 1 and desk.rows(outbox) == []


def test_captures_that_become_visible_late_are_taken_up_at_the_next_tick(desk: Desk) -> None:
    """Their ids are lower than those of others that were taken up before."""

    def publish(number: int, capture_id: int) -> None:
        desk.publish(number, f"Orwell Air opens route number {number}")
        own = captures.c.guid == f"guid-{number}"
        with desk.engine.begin() as connection:
            connection.execute(captures.update().where(own).values(id=capture_id))

    def taken(minutes: int) -> list[int]:
        desk.run(NOON + timedelta(minutes=minutes))
        return [row["capture_id"] for row in desk.rows(journal) if row["capture_id"] is not None]

    publish(1, 1_000)
    assert taken(0) == [1_000]
    publish(2, 900)
    publish(3, 700)
    assert taken(1) == [1_000, 900]
    assert taken(6) == [1_000, 900, 700]
    assert len(desk.rows(articles)) == 3 and taken(20) == [1_000, 900, 700]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://www.Wire.example:80/a/?utm_source=x&b=2&a=1#top", "https://wire.example/a?a=1&b=2"),
        ("https://wire.example/a?fbclid=1", "https://wire.example/a/"),
    ],
)
def test_one_page_has_one_canonical_address(one: str, other: str) -> None:
    assert canonical_url(one) == canonical_url(other)
    assert canonical_url("https://wire.example/story?id=1") != canonical_url("https://wire.example/story?id=2")
