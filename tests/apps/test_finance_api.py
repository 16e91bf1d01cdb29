"""The monitor's API on a database that its own pipeline filled."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from gateway.app import create_app
from headwater.settings import Settings
from headwater.storage.columns import now
from headwater.storage.engine import open_engine
from headwater.storage.users import create_user

FEED = "https://wire.example/feed.xml"


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
    assert found["backlog"] == {"captures": 18, "taken_up": 18, "articles": 18}
    one = client.get(f"/finance/v1/incidents/{incident['id']}").json()
    assert next(change["change"] for change in one["changes"]) == "opened"
    assert client.get("/finance/v1/incidents/none").status_code == 404


def test_articles_stories_companies_and_trends(client: TestClient) -> None:
    found = client.get("/finance/v1/articles", params={"company": "halden", "label": "negative", "text": "fire"}).json()
    assert [row["title"] for row in found] == ["Halden Group: fire in a foundry, case 2026"]
    article = client.get(f"/finance/v1/articles/{found[0]['id']}").json()
    assert article["revisions"][0]["number"] == 1 and article["companies"][0]["company_id"] == "halden"
    story = client.get(f"/finance/v1/stories/{article['story_id']}").json()
    assert [row["id"] for row in story["articles"]] == [article["id"]]
    assert {row["name"] for row in client.get("/finance/v1/companies").json()} == {"Halden Group", "Orwell Air"}
    trend = client.get("/finance/v1/trends", params={"entity_kind": "company", "entity": "halden"}).json()
    assert sum(window["negative"] for window in trend["series"]) == 4 and trend["ticker"] == "HLD"
    paged = client.get("/finance/v1/articles", params={"limit": 5}).json()
    rest = client.get("/finance/v1/articles", params={"before": paged[-1]["published"], "limit": 500}).json()
    assert len(paged) + len(rest) == 18
    assert client.get("/finance/v1/articles", params={"text": "100%_"}).json() == []


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


def test_what_to_label_next_and_corrections(client: TestClient) -> None:
    article = client.get("/finance/v1/articles", params={"company": "halden"}).json()[0]
    body = {"article_id": article["id"], "company_id": "halden", "value": "neutral"}
    assert client.post("/finance/v1/corrections", json=body).status_code == 201
    assert client.post("/finance/v1/corrections", json={**body, "value": "bad"}).status_code == 400
    assert client.post("/finance/v1/corrections", json={**body, "article_id": "none"}).status_code == 404
    assert isinstance(client.get("/finance/v1/to-label").json(), list)


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
