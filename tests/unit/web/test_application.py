"""What each service that speaks HTTP gets from headwater.web."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from headwater.settings import Settings
from headwater.storage import leases
from headwater.storage.schedules import SCHEDULER_LEASE
from headwater.storage.users import disable_user
from headwater.web import build_app, open_context
from headwater.web.limits import RateLimiter

JSON = "application/json"
PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/conflict", 409, "the gate refused version 3"),
        ("GET", "/nowhere", 404, "nothing at /nowhere"),
        ("DELETE", "/conflict", 405, "DELETE is not possible at /conflict"),
        ("GET", "/editors", 401, "Authorization: Bearer"),
    ],
)
def test_every_refusal_is_a_problem_document_with_the_requests_id(
    client: TestClient, method: str, path: str, status: int, detail: str
) -> None:
    response = client.request(method, path)
    assert response.status_code == response.json()["status"] == status
    assert response.headers["content-type"] == PROBLEM
    assert detail in response.json()["detail"]
    assert response.json()["instance"] == f"urn:request:{response.headers['x-request-id']}"


def test_invalid_body_is_named_by_place_without_repeating_it(client: TestClient) -> None:
    wrong = client.post("/echo", json={"text": ["my card is 4111111111111111"]})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["place"] == "body.text"
    assert "4111" not in wrong.text
    broken = client.post("/echo", content='{"text": 4111', headers={"Content-Type": JSON})
    assert broken.status_code == 400
    assert "not valid JSON" in broken.json()["detail"]


def test_defect_gives_an_id_and_neither_its_text_nor_frames_while_the_log_holds_the_frames(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    response = client.get("/defect/jane-doe", headers={"X-Request-ID": "call-7"})
    assert response.status_code == 500
    assert response.json()["instance"] == "urn:request:call-7"
    assert "jane-doe" not in response.text
    assert "Traceback" not in response.text
    assert "call-7 unexpected RuntimeError" in caplog.text
    assert "in defect" in caplog.text
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("headwater")]
    assert not any("jane-doe" in line for line in ours)
    assert any("GET /defect/{text} 500" in line for line in ours)


def test_body_above_the_limit_is_refused_whether_or_not_it_says_its_length(
    client_for: Callable[..., TestClient],
) -> None:
    client = client_for(max_document_bytes=10_000)  # and a million for the form around it
    body = b"x" * 1_010_001
    assert client.post("/size", content=body[:-1]).json() == 1_010_000
    stated = client.post("/size", content=body)
    streamed = client.post("/size", content=iter([body[:600_000], body[600_000:]]))
    as_json = client.post("/echo", content=iter([b'{"text": "', body, b'"}']), headers={"Content-Type": JSON})
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + body + b"\r\n--x--"
    as_form = client.post("/upload", content=iter([form]), headers={"Content-Type": "multipart/form-data; boundary=x"})
    for response in (stated, streamed, as_json, as_form):
        assert response.status_code == 413
        assert response.headers["content-type"] == PROBLEM
        assert "1,010,000 bytes" in response.json()["detail"]


def test_roles_open_routes_from_theirs_on(client: TestClient, token_for: Callable[[str], dict[str, str]]) -> None:
    assert client.get("/editors", headers=token_for("analyst")).status_code == 403
    assert client.get("/editors", headers=token_for("admin")).status_code == 200
    editor = token_for("editor")
    assert client.get("/editors", headers=editor).status_code == 200
    disable_user(client.app.state.context.engine("house"), "a-editor")
    assert client.get("/editors", headers=editor).status_code == 401
    assert client.get("/editors", headers={"Authorization": "Bearer nonsense"}).status_code == 401


def test_address_above_its_rate_waits_while_a_user_and_the_health_routes_do_not(
    client_for: Callable[..., TestClient],
) -> None:
    client = client_for(requests_per_minute=3)
    statuses = [client.get("/conflict").status_code for _ in range(5)]
    assert statuses == [409, 409, 409, 429, 429]
    refused = client.get("/conflict", headers={"Authorization": "Bearer guess"})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 21
    assert client.get("/healthz").status_code == 200
    token = (client.app.state.context.settings.home / "admin.token").read_text().strip()
    assert client.get("/conflict", headers={"Authorization": f"Bearer {token}"}).status_code == 409


def test_rate_is_refilled_evenly_and_kept_for_each_address() -> None:
    moment = [0.0]
    limiter = RateLimiter(60, clock=lambda: moment[0])
    assert [limiter.seconds_to_wait("a") for _ in range(60)] == [0.0] * 60
    assert limiter.seconds_to_wait("a") == pytest.approx(1.0)
    assert limiter.seconds_to_wait("b") == 0.0
    moment[0] = 1.01
    assert limiter.seconds_to_wait("a") == 0.0
    assert limiter.seconds_to_wait("a") > 0.9


def test_requests_above_the_concurrent_limit_are_asked_to_come_again(settings: Settings) -> None:
    context = open_context(settings.model_copy(update={"max_concurrent_requests": 1}))
    app = build_app(context, "test")
    entered, leave = threading.Event(), threading.Event()

    @app.get("/slow")
    def slow() -> str:
        entered.set()
        leave.wait(10)
        return "answered"

    with TestClient(app) as client:
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(client.get("/slow").status_code))
        thread.start()
        assert entered.wait(10)
        refused = client.get("/slow")
        leave.set()
        thread.join(10)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert answers == [200]
        assert client.get("/slow").status_code == 200


def test_stream_sends_named_events_with_json_on_one_line(client: TestClient) -> None:
    response = client.get("/stream/well")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert parse(response.text) == [("sentence", {"text": "Zwei\nZeilen 退款"}), ("done", {})]


@pytest.mark.parametrize(("ending", "status"), [("error", 413), ("defect", 500)])
def test_stream_that_breaks_off_says_so(client: TestClient, ending: str, status: int) -> None:
    events = parse(client.get(f"/stream/{ending}").text)
    assert [name for name, _ in events] == ["sentence", "error"]
    assert events[-1][1]["status"] == status
    assert "secret words" not in json.dumps(events)


def test_readiness_names_what_is_missing_and_follows_a_warm_up_that_fails_first(settings: Settings) -> None:
    context = open_context(settings)
    present = threading.Event()

    def load() -> None:
        if not present.is_set():
            raise RuntimeError("no version in production")

    context.add_warm_up("intents", load)
    with TestClient(build_app(context, "test")) as client:
        wait_for(lambda: "no version in production" in client.get("/readyz").text)
        assert client.get("/readyz").status_code == 503
        assert client.get("/readyz").json()["waiting"] == {"intents": "no version in production"}
        assert client.get("/healthz").status_code == 200
        present.set()
        wait_for(lambda: client.get("/readyz").status_code == 200)


def test_a_silent_scheduler_is_said_apart_from_readiness(client: TestClient) -> None:
    answer = client.get("/jobsz")
    assert answer.status_code == 503 and "scheduler has not been heard of yet" in answer.json()["detail"]
    assert client.get("/readyz").status_code == 200
    leases.acquire(client.app.state.context.engine("house"), SCHEDULER_LEASE, "test", 10)
    assert client.get("/jobsz").json() == {"status": "ok", "alarms": []}


def test_metrics_count_requests_by_route_template(client: TestClient) -> None:
    for name in ("a", "b"):
        client.get(f"/defect/{name}")
    wanted = 'headwater_request_seconds_count{method="GET",route="/defect/{text}",status="500"} 2.0'
    assert wanted in client.get("/metrics").text


def test_responses_carry_security_headers_and_cors_only_for_named_sites(client_for: Callable[..., TestClient]) -> None:
    client = client_for(allowed_origins=["https://shop.example"])
    response = client.get("/conflict", headers={"Origin": "https://shop.example"})
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    other = client.get("/conflict", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def parse(text: str) -> list[tuple[str, object]]:
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come"
        time.sleep(0.03)


def test_body_that_stops_coming_gives_its_place_back(
    client_for: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    from headwater.web import limits

    monkeypatch.setattr(limits, "_BODY_SECONDS", 0.2)

    async def send_half() -> None:
        sent: list[dict[str, object]] = []
        waiting = iter([{"type": "http.request", "body": b'{"te', "more_body": True}])

        async def receive() -> dict[str, object]:
            for message in waiting:
                return message
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json"), (b"host", b"x")]
        scope = {"type": "http", "method": "POST", "path": "/echo", "raw_path": b"/echo", "query_string": b""}
        scope |= {"headers": headers, "http_version": "1.1", "scheme": "http", "root_path": ""}
        await client_for().app(scope, receive, send)
        assert sent[0]["status"] == 408
        assert b"stopped coming" in sent[1]["body"]

    asyncio.run(asyncio.wait_for(send_half(), 5))


def test_full_disk_is_said_and_a_defect_in_a_statement_is_not(settings: Settings) -> None:
    context = open_context(settings)
    app = build_app(context, "test")
    engine = context.engine("house")

    @app.get("/write")
    def write() -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite's own way to a full disk
            connection.exec_driver_sql("CREATE TABLE filler AS SELECT randomblob(1000000) AS data")

    @app.get("/wrong")
    def wrong() -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT secret FROM nowhere")

    with TestClient(app) as client:
        full = client.get("/write")
        assert full.status_code == 503
        assert "database or disk is full; make room on its disk" in full.json()["detail"]
        defect = client.get("/wrong")
        assert defect.status_code == 500
        assert "nowhere" not in defect.text


def test_nul_in_an_address_is_refused(client: TestClient) -> None:
    assert client.get("/defect/a%00b").status_code == 400
    assert client.get("/conflict?x=%00").status_code == 400
