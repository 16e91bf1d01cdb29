"""The registry over HTTP, on bundles that lie on disk."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from gateway.app import create_app
from headwater.bundles import Manifest, write_bundle
from headwater.settings import Settings


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        token = (settings.home / "admin.token").read_text().strip()
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def register(client: TestClient, folder: Path, *, report: bool) -> None:
    """One more version of "weights": a matrix, the kind of bundle that needs no model."""
    folder.mkdir()
    (folder / "weights.json").write_text(json.dumps([0.25, folder.name]))
    files = {"weights.json": folder / "weights.json"}
    if report:
        (folder / "report.json").write_text('{"ndcg": 0.4}')
        files["report.json"] = folder / "report.json"
    bundle = write_bundle(folder / "bundle", Manifest("matrix", "weights.json", base="none"), files)
    client.app.state.context.registry.add("weights", bundle, actor="test")


def test_registered_versions_are_shown_with_manifest_and_report(client: TestClient, tmp_path: Path) -> None:
    assert client.get("/v1/registry").json() == []
    register(client, tmp_path / "first", report=False)
    register(client, tmp_path / "second", report=True)
    assert client.get("/v1/registry").json() == [{"name": "weights", "production": None}]
    versions = client.get("/v1/registry/weights").json()
    assert [(row["version"], row["stage"]) for row in versions] == [(2, "candidate"), (1, "candidate")]
    first, second = (client.get(f"/v1/registry/weights/{number}").json() for number in (1, 2))
    assert first["manifest"]["kind"] == "matrix"
    assert first["report"] is None
    assert second["report"] == {"ndcg": 0.4}
    client.app.state.context.registry.set_production("weights", 1, expected=None, actor="test")
    assert client.get("/v1/registry").json()[0]["production"]["version"] == 1


def test_unknown_names_and_versions_are_not_found_and_an_altered_bundle_is_named(
    client: TestClient, tmp_path: Path, settings: Settings
) -> None:
    assert client.get("/v1/registry/nothing").status_code == 404
    register(client, tmp_path / "first", report=False)
    assert client.get("/v1/registry/weights/9").status_code == 404
    assert client.get("/v1/registry/weights/x").status_code == 422
    (file,) = (settings.home / "bundles").rglob("weights.json")
    file.write_text("[9]")
    altered = client.get("/v1/registry/weights/1")
    assert altered.status_code == 400
    assert "weights.json" in altered.json()["detail"]


def test_promotion_and_rollback_are_submitted_in_the_editors_name_and_refused_to_others(
    client: TestClient, tmp_path: Path
) -> None:
    register(client, tmp_path / "first", report=False)
    tokens = {
        role: client.post("/v1/users", json={"name": f"a-{role}", "role": role}).json()["token"]
        for role in ("analyst", "editor")
    }
    editor, analyst = ({"Authorization": f"Bearer {tokens[role]}"} for role in ("editor", "analyst"))
    promoted = client.post("/v1/registry/weights/1/promote", json={"new_labels": True}, headers=editor)
    assert (promoted.status_code, promoted.json()["actor"], promoted.json()["heavy"]) == (202, "a-editor", False)
    assert promoted.json()["argv"] == ["registry", "promote", "weights@1", "--new-labels"]
    rolled = client.post("/v1/registry/weights/rollback", headers=editor)
    assert rolled.json()["argv"] == ["registry", "rollback", "weights"]
    assert client.post("/v1/registry/weights/7/promote", json={}, headers=editor).status_code == 404
    assert client.post("/v1/registry/weights/1/promote", json={}, headers=analyst).status_code == 403
    assert client.post("/v1/registry/weights/rollback", headers=analyst).status_code == 403
    assert len(client.get("/v1/jobs").json()) == 2


def test_registry_needs_a_user(client: TestClient) -> None:
    assert client.get("/v1/registry", headers={"Authorization": ""}).status_code == 401
