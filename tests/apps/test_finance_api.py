"""The monitor's API on a database that its own pipeline filled."""

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from finance_monitor import tables
from finance_monitor.setup import world_folder
from gateway.app import create_app
from headwater.settings import Settings
from headwater.storage.columns import now
from headwater.storage.engine import open_engine
from headwater.storage.users import create_user

FEED = "https://wire.example/feed.xml"


@pytest.fixture
def settings(database_settings: Settings) -> Settings:
    """On SQLite and on PostgreSQL."""
    return database_settings


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    _fill(settings)
    with TestClient(create_app(settings)) as client:
        token = (settings.home / "admin.token").read_text().strip()
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def _fill(settings: Settings) -> None:
    """Bad news about Halden in the last hours over two quiet weeks, by the pipeline with models that go by words."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(
        "finance_desk", Path(__file__).parents[1] / "unit" / "finance_monitor" / "conftest.py"
    )
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from finance_monitor import channels, subscriptions
    from finance_monitor.companies import Gazetteer, write_gazetteer
    from finance_monitor.pipeline import Pipeline
    from finance_monitor.sources import put_source, sources_path
    from finance_monitor.subscriptions import Rule
    from finance_monitor.worker import gazetteer_path
    from headwater.storage.migrations import migrate

    write_gazetteer(gazetteer_path(settings), module.COMPANIES)
    put_source(sources_path(settings), {"id": "wire", "name": "The Wire", "url": FEED})
    engine = open_engine(settings, "finance")
    migrate(engine, "finance")
    moment = now()
    with engine.begin() as connection:
        address = {"url": "http://127.0.0.1:9/inbox"}
        channels.save(connection, settings.site, "inbox", "inbox", address, actor="test", moment=moment)
        subscriptions.save(connection, settings.site, "all", Rule(channels=("inbox",)), actor="test", moment=moment)
    pipeline = Pipeline(engine, module.WordModels(), Gazetteer(module.COMPANIES))
    desk = module.Desk(settings, engine, pipeline, lambda: pipeline)
    for day in range(1, 15):
        desk.publish(f"b{day}", f"Orwell Air opens route number {day * 37}", at=moment - timedelta(days=day))
    for number, what in enumerate(("loss of power", "recall of valves", "fire in a foundry", "sued by a rival")):
        text = f"{what} {number} " + " ".join(f"word{number}{i}" for i in range(60))
        at = moment - timedelta(hours=4 - number)
        desk.publish(f"s{number}", f"Halden Group: {what}, case {number * 1013}", text, at=at)
    desk.run(moment)
    engine.dispose()


def test_overview_names_the_incident_and_the_company(client: TestClient) -> None:
    found = client.get("/finance/v1/overview").json()
    incident = next(row for row in found["incidents"] if row["entity"] == "halden")
    assert incident["state"] == "open" and "Halden Group" in incident["reason"]["text"]["zh"]
    assert found["companies"][0]["name"] == "Halden Group" and found["companies"][0]["negative"] >= 3
    assert found["backlog"] == {"captures": 18, "taken_up": 18, "judged": 18, "articles": 18}
    assert found["day"]["negative"] == 4 and found["source_kinds"][0]["source_kind"] == "news"
    one = client.get(f"/finance/v1/incidents/{incident['id']}").json()
    assert next(change["change"] for change in one["changes"]) == "opened"
    assert client.get("/finance/v1/incidents/none").status_code == 404


def test_articles_stories_companies_and_trends(client: TestClient) -> None:
    found = client.get(
        "/finance/v1/articles", params={"company": "halden", "label": "negative", "text": "fire"}
    ).json()["articles"]
    assert [row["title"] for row in found] == ["Halden Group: fire in a foundry, case 2026"]
    article = client.get(f"/finance/v1/articles/{found[0]['id']}").json()
    assert article["revisions"][0]["number"] == 1 and article["companies"][0]["company_id"] == "halden"
    story = client.get(f"/finance/v1/stories/{article['story_id']}").json()
    assert [row["id"] for row in story["articles"]] == [article["id"]]
    assert {row["name"] for row in client.get("/finance/v1/companies").json()} == {"Halden Group", "Orwell Air"}
    trend = client.get("/finance/v1/trends", params={"entity_kind": "company", "entity": "halden"}).json()
    assert sum(window["negative"] for window in trend["series"]) == 4 and trend["ticker"] == "HLD"
    company = client.get("/finance/v1/companies/halden").json()
    assert company["ticker"] == "HLD" and company["articles"][0]["company_negative"] == 0.9
    assert company["topics"] == [{"topic": "recall-safety", "articles": 1, "negative": 1}]
    assert client.get("/finance/v1/companies/nobody").status_code == 404


def test_stories_are_counted_by_market_session(client: TestClient) -> None:
    asked = {"entity_kind": "company", "entity": "halden", "since": "2025-12-01T00:00:00Z"}
    found = client.get("/finance/v1/trends/sessions", params=asked).json()
    assert found["market"] == "XLON"
    windows = found["windows"]
    assert sum(window["negative"] for window in windows) == 4
    assert all(a["end"] == b["start"] and a["open"] != b["open"] for a, b in pairwise(windows))
    unknown = client.get("/finance/v1/trends/sessions", params={**asked, "market": "NOWHERE"})
    assert unknown.status_code == 400 and "NOWHERE" in unknown.json()["detail"]
    topic = {"entity_kind": "topic", "entity": "recall-safety"}
    assert client.get("/finance/v1/trends/sessions", params=topic).status_code == 400


def test_every_article_is_found_once_page_by_page(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finance_monitor.queries._STRETCH", 4)  # many stretches
    for query in ({}, {"company": "orwell"}, {"text": "case"}, {"topic": "recall-safety"}, {"source": "wire"}):
        found, after = [], {}
        while after is not None:
            page = client.get("/finance/v1/articles", params={**query, "limit": 5, **after}).json()
            found, after = found + page["articles"], page["next"]
        moments = [row["published"] for row in found]
        wanted = {"company": 14, "text": 4, "topic": 1}.get(next(iter(query), ""), 18)
        assert len({row["id"] for row in found}) == len(found) == wanted and moments == sorted(moments, reverse=True)
    assert client.get("/finance/v1/articles", params={"text": "100%_"}).json() == {"articles": [], "next": None}


def test_rare_words_are_searched_for_a_while_and_then_from_the_cursor(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finance_monitor.queries._STRETCH", 4)
    monkeypatch.setattr("finance_monitor.queries._SEARCH_SECONDS", -1.0)
    page = client.get("/finance/v1/articles", params={"text": "number 518"}).json()  # 14 days old
    assert page["articles"] == [] and page["next"]["before"]
    calls = 0
    while not page["articles"] and page["next"]:
        page = client.get("/finance/v1/articles", params={"text": "number 518", **page["next"]}).json()
        calls += 1
    assert [row["title"] for row in page["articles"]] == ["Orwell Air opens route number 518"] and calls >= 3


def test_rules_are_tried_out_before_they_are_kept(client: TestClient) -> None:
    tried = client.post("/finance/v1/subscriptions/dry-run", json={"rule": {"companies": ["halden"]}}).json()
    assert len(tried["alerts"]) >= 1
    assert (
        client.post("/finance/v1/subscriptions/dry-run", json={"rule": {"companies": ["orwell"]}}).json()["alerts"]
        == []
    )
    bad = client.post("/finance/v1/subscriptions", json={"name": "x", "rule": {"channels": ["none"]}})
    assert bad.status_code == 400 and "no channel 'none'" in bad.json()["detail"]
    made = client.post("/finance/v1/subscriptions", json={"name": "mine", "rule": {"channels": ["inbox"]}}).json()
    assert made["name"] in {one["name"] for one in client.get("/finance/v1/subscriptions").json()}
    assert client.delete(f"/finance/v1/subscriptions/{made['id']}").status_code == 204


def test_acknowledging_silencing_and_exporting(client: TestClient) -> None:
    (incident, *_) = client.get("/finance/v1/incidents").json()
    address = f"/finance/v1/incidents/{incident['id']}/acknowledgement"
    assert client.post(address, json={"reason": ""}).status_code == 400
    assert client.post(address, json={"reason": "I call them"}).status_code == 204
    (shown, *_) = client.get("/finance/v1/incidents").json()
    assert shown["acknowledged"]["reason"] == "I call them" and shown["acknowledged"]["actor"] == "admin"
    made = client.post("/finance/v1/silences", json={"companies": ["halden"], "hours": 2, "reason": "known"})
    assert made.status_code == 201 and len(client.get("/finance/v1/silences").json()) == 1
    for name, start in (("alerts.csv", b"\xef\xbb\xbf"), ("incidents.xlsx", b"PK")):
        answer = client.get(f"/finance/v1/exports/{name}")
        assert answer.status_code == 200 and (answer.content.startswith(start) or b"," in answer.content)
    assert client.get("/finance/v1/exports/passwords.csv").status_code == 404


def test_sources_are_listed_changed_and_removed(client: TestClient) -> None:
    (wire,) = client.get("/finance/v1/sources").json()
    assert wire["url"] == FEED and wire["health"]["crawls"] == 0
    assert (
        client.put("/finance/v1/sources", json={"url": "https://two.example/rss", "every": "2h"}).json()["every"]
        == 7200
    )
    wrong = client.put("/finance/v1/sources", json={"url": "two.example"})
    assert wrong.status_code == 400 and "'two.example'" in wrong.json()["detail"]
    assert client.delete("/finance/v1/sources/wire").status_code == 204
    assert client.post("/finance/v1/sources/wire/crawl").status_code == 404
    assert client.post("/finance/v1/sources/two-example-rss/crawl").status_code == 202


def test_corrections_become_examples_as_the_model_reads_them(client: TestClient) -> None:
    article = client.get("/finance/v1/articles", params={"company": "halden", "text": "recall"}).json()["articles"][0]
    body = {"article_id": article["id"], "company_id": "halden", "value": "neutral"}
    assert client.post("/finance/v1/corrections", json={**body, "value": "positive"}).status_code == 201
    assert client.post("/finance/v1/corrections", json=body).status_code == 201  # the last word counts
    topics = {**body, "company_id": "", "field": "topics", "value": "recall-safety|litigation"}
    assert client.post("/finance/v1/corrections", json=topics).status_code == 201
    for wrong in ({"value": "bad"}, {"company_id": "orwell"}, {"field": "topics", "company_id": "", "value": "gossip"}):
        assert client.post("/finance/v1/corrections", json={**body, **wrong}).status_code == 400, wrong
    assert client.post("/finance/v1/corrections", json={**body, "article_id": "none"}).status_code == 404

    assert [row["value"] for row in client.get("/finance/v1/corrections").json()][1:] == ["neutral", "positive"]
    sentiment = list(csv.DictReader(io.StringIO(client.get("/finance/v1/exports/sentiment.csv").text)))
    assert [(row["text"], row["label"]) for row in sentiment] == [
        ("this company: recall of valves, case 1013", "neutral")
    ]
    (topic,) = csv.DictReader(io.StringIO(client.get("/finance/v1/exports/topics.csv").text))
    assert topic["label"] == "recall-safety|litigation" and topic["text"].startswith("Halden Group: recall of valves")


def test_what_to_label_next_is_unsure_spread_over_sources_and_not_corrected(
    client: TestClient, settings: Settings
) -> None:
    engine = open_engine(settings, "finance")
    found = client.get("/finance/v1/articles", params={"limit": 18}).json()["articles"]
    with engine.begin() as connection:
        for number, row in enumerate(found[4:]):
            unsure = {"positive": 0.3, "neutral": 0.36 + number / 100, "negative": 0.34}
            mine = tables.mentions.c.article_id == row["id"]
            connection.execute(tables.mentions.update().where(mine).values(unsure))
            other = tables.articles.c.id == row["id"]
            where = "mill" if number == 9 else "wire"
            # Each a story of its own: of one story a single article is asked for.
            values = {"source_id": where, "story_id": f"story-{number}"}
            connection.execute(tables.articles.update().where(other).values(values))
    listed = client.get("/finance/v1/to-label").json()
    assert len(listed) == 14 and [row["source_id"] for row in listed[:3]] == ["wire", "mill", "wire"]
    first = {"article_id": listed[0]["article_id"], "company_id": listed[0]["company_id"], "value": "neutral"}
    assert client.post("/finance/v1/corrections", json=first).status_code == 201
    assert listed[0]["article_id"] not in {row["article_id"] for row in client.get("/finance/v1/to-label").json()}


def test_a_watchlist_comes_from_a_file_of_tickers_and_names(client: TestClient) -> None:
    file = {"file": ("mine.csv", b"ticker,weight\nHLD,2\nXYZ,1\n")}
    kept = client.post("/finance/v1/watchlists/mine/file", files=file).json()
    assert kept["companies"] == ["halden"] and "XYZ" in kept["problems"][0]
    assert client.put("/finance/v1/watchlists/two", json={"companies": ["Orwell Air", "LSE:HLD"]}).status_code == 200
    assert client.get("/finance/v1/watchlists").json() == {"mine": ["halden"], "two": ["orwell", "halden"]}
    wrong = client.put("/finance/v1/watchlists/two", json={"companies": ["Nobody"]})
    assert wrong.status_code == 400 and "'Nobody'" in wrong.json()["detail"]
    assert client.delete("/finance/v1/watchlists/two").status_code == 204


def test_the_inbox_is_read_newest_first_without_a_line_that_is_being_written(
    client: TestClient, settings: Settings
) -> None:
    assert client.get("/finance/v1/inbox").json() == []
    world_folder(settings).mkdir(parents=True)
    (world_folder(settings) / "inbox.jsonl").write_text('{"id": 1}\n{"id": 2}\n{"id": ', encoding="utf-8")
    assert client.get("/finance/v1/inbox").json() == [{"id": 2}, {"id": 1}]


def test_health_of_a_source_tells_crawls_captures_and_latency(client: TestClient, settings: Settings) -> None:
    engine = open_engine(settings, "finance")
    figures = {"requests": 10, "not_modified": 4, "errors": 1}
    row = {"source_id": "wire", "started": now(), "ended": now(), "figures": figures, "retry_at": None}
    with engine.begin() as connection:
        connection.execute(tables.crawls.insert().values(id="c1", outcome="partial", reason="it broke off", **row))
    health = client.get("/finance/v1/sources").json()[0]["health"]
    assert health["last"]["reason"] == "it broke off" and health["not_modified_share"] == 0.4 and health["errors"] == 1
    assert health["new_by_day"] == [0, 0, 0, 0, 0, 0, 18] and health["latency"]["found"] > 3_600
    assert health["last_failure"]["id"] == "c1" and health["unjudged"] == {"count": 0, "reason": "", "moment": None}


def test_health_of_a_source_tells_each_stage_and_what_was_put_aside(client: TestClient, settings: Settings) -> None:
    engine = open_engine(settings, "finance")
    message = {"state": "sent", "key": "m1", "content": {"kind": "alert"}, "alert_ids": [], "group_key": ""}
    message |= {"channel": "inbox", "site_id": settings.site, "subscription_id": "", "merged_into": "", "reason": ""}
    with engine.begin() as connection:
        entry = connection.execute(sa.select(tables.journal).where(tables.journal.c.capture_id.is_not(None))).first()
        assert entry is not None
        later = tables.judged.update().where(tables.judged.c.sequence > 0)
        connection.execute(later.values(moment=entry.moment + timedelta(seconds=2)))
        aside = {"capture_id": entry.capture_id, "moment": entry.moment}
        connection.execute(
            tables.unjudged.insert(),
            [{"sequence": 901, "reason": "first", **aside}, {"sequence": 902, "reason": "TypeError: none", **aside}],
        )
        change = connection.execute(sa.select(tables.incident_changes)).first()
        assert change is not None
        at = {"planned": change.moment, "due": change.moment, "created": now(), "worker": "", "attempts": 1}
        told = {"incident_id": change.incident_id, "revision": change.revision, **message, **at}
        connection.execute(tables.outbox.delete())
        connection.execute(tables.outbox.insert().values(updated=change.moment + timedelta(seconds=7), **told))
    health = client.get("/finance/v1/sources").json()[0]["health"]
    assert health["latency"]["judged"] == 2 and health["latency"]["sent"] == 7 and health["latency"]["read"] >= 0
    assert health["unjudged"]["count"] == 2 and health["unjudged"]["reason"] == "TypeError: none"


def test_what_a_search_finds_is_taken_along_in_both_forms(client: TestClient) -> None:
    asked = {"company": "halden", "text": "fire"}
    text = client.get("/finance/v1/exports/articles.csv", params=asked).content.decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["title"] == "Halden Group: fire in a foundry, case 2026" and row["company_label"] == "negative"
    sheet = client.get("/finance/v1/exports/articles.xlsx", params={"days": 7})
    assert sheet.content[:2] == b"PK" and sheet.headers["content-disposition"].endswith('"articles.xlsx"')
    every = client.get("/finance/v1/exports/articles.csv").content.decode("utf-8-sig")
    assert len(list(csv.DictReader(io.StringIO(every)))) == 18
    assert client.get("/finance/v1/exports/articles.pdf").status_code in (404, 422)


def test_a_closed_incident_has_its_worst_moment_beside_its_last_words(client: TestClient, settings: Settings) -> None:
    engine = open_engine(settings, "finance")
    with engine.begin() as connection:
        opened = connection.execute(
            sa.select(tables.incident_changes).where(tables.incident_changes.c.change == "opened")
        ).first()
        assert opened is not None
        identity, reason = opened.incident_id, opened.reason
        is_it = tables.incidents.c.id == identity
        connection.execute(tables.incident_changes.delete().where(tables.incident_changes.c.incident_id == identity))
        steps = (("opened", "low", 4.0), ("grew", "high", 9.0), ("grew", "high", 6.0), ("closed", "high", 0.1))
        for revision, (change, severity, score) in enumerate(steps, 1):
            at = {"incident_id": identity, "revision": revision, "moment": opened.moment + timedelta(hours=revision)}
            said = {"severity": severity, "reason": {**reason, "score": score}, "story_ids": []}
            connection.execute(tables.incident_changes.insert().values(change=change, **at, **said))
        connection.execute(tables.incidents.update().where(is_it).values(state="closed", closed=opened.moment))
    peak = client.get(f"/finance/v1/incidents/{identity}").json()["peak"]
    assert (peak["severity"], peak["reason"]["score"]) == ("high", 9.0)
    assert {row["id"]: row["peak"] for row in client.get("/finance/v1/incidents").json()}[identity] == peak


def test_a_user_is_forgotten_and_what_they_decided_stays(client: TestClient) -> None:
    (incident, *_) = client.get("/finance/v1/incidents").json()
    reason = {"reason": "I call them"}
    assert client.post(f"/finance/v1/incidents/{incident['id']}/acknowledgement", json=reason).status_code == 204
    assert set(client.get("/finance/v1/subjects/admin").json()) == {"acknowledgements"}
    assert client.delete("/finance/v1/subjects/admin").json() == {"erased": 1}
    assert client.get("/finance/v1/subjects/admin").json() == {}
    assert client.get("/finance/v1/incidents").json()[0]["acknowledged"]["actor"] == "erased"


def test_scoring_without_models_says_what_to_do(client: TestClient) -> None:
    answer = client.post("/finance/v1/score", json={"texts": ["Halden falls"]})
    assert answer.status_code == 503 and "headwater finance prepare" in answer.json()["detail"]


def test_roles_are_asked_for(client: TestClient, settings: Settings) -> None:
    house = open_engine(settings, "house")
    token = create_user(house, "vera", "viewer", actor="test")
    client.headers["Authorization"] = f"Bearer {token if isinstance(token, str) else token[1]}"
    assert client.get("/finance/v1/overview").status_code == 200
    assert client.put("/finance/v1/sources", json={"url": "https://two.example/rss"}).status_code == 403
    assert client.post("/finance/v1/score", json={"texts": ["x"]}).status_code == 403
    del client.headers["Authorization"]
    assert client.get("/finance/v1/overview").status_code == 401
