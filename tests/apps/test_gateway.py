"""The gateway as a process of its own, with a scheduler beside it."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from headwater.settings import Settings


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a module as a process under the test's settings; kills what is left at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start_module(*argv: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{argv[0]}.log").open("ab") as log:
            started.append(subprocess.Popen([sys.executable, "-m", *argv], stdout=log, stderr=log))
        return started[-1]

    yield start_module
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def gateway(start: Callable[..., subprocess.Popen[bytes]], settings: Settings) -> Iterator[httpx.Client]:
    """A client of a running gateway, with the admin's token."""
    port = free_port()
    start("gateway", "--port", str(port))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
        wait_for(lambda: answers(client))
        client.headers["Authorization"] = f"Bearer {(settings.home / 'admin.token').read_text().strip()}"
        yield client


def test_gateway_names_its_user_and_manages_others(gateway: httpx.Client) -> None:
    assert gateway.get("/v1/me").json()["role"] == "admin"
    made = gateway.post("/v1/users", json={"name": "ann", "role": "viewer"})
    assert made.status_code == 201
    ann = {"Authorization": f"Bearer {made.json()['token']}"}
    assert gateway.get("/v1/me", headers=ann).json()["name"] == "ann"
    assert gateway.get("/v1/users", headers=ann).status_code == 403
    renewed = gateway.post("/v1/users/ann/token").json()["token"]
    assert gateway.get("/v1/me", headers=ann).status_code == 401
    assert gateway.delete("/v1/users/ann").status_code == 204
    assert gateway.get("/v1/me", headers={"Authorization": f"Bearer {renewed}"}).status_code == 401


def test_submitted_job_is_run_by_the_scheduler_and_its_log_is_read_through_the_gateway(
    gateway: httpx.Client, start: Callable[..., subprocess.Popen[bytes]], settings: Settings
) -> None:
    start("scheduler")
    missing = str(settings.home / "runs" / "nothing.csv")
    job = gateway.post("/v1/jobs", json={"argv": ["evaluate", "no-such-bundle", "--data", missing]}).json()
    assert (job["actor"], job["heavy"]) == ("admin", True)
    wait_for(lambda: gateway.get(f"/v1/jobs/{job['id']}").json()["state"] == "failed")
    ended = gateway.get(f"/v1/jobs/{job['id']}").json()
    log = gateway.get(f"/v1/jobs/{job['id']}/log?tail=5000")
    assert log.headers["content-type"].startswith("text/plain")
    assert ended["message"] in log.text
    assert gateway.post(f"/v1/jobs/{job['id']}/cancel").status_code == 409
    assert [row["id"] for row in gateway.get("/v1/jobs?state=failed").json()] == [job["id"]]


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["doctor"], "cannot be submitted over HTTP"),
        (["support", "../../etc/passwd"], "cannot be submitted over HTTP"),
        (["tune", "classify", "--train", "/etc/passwd"], "--train '/etc/passwd' is outside of"),
        (["tune", "classify", "--train=pyproject.toml"], "--train 'pyproject.toml' is outside of"),
        (["evaluate", "x", "--data", "{home}/admin.token"], "admin.token' is outside of"),
        (["tune", "classify", "--config={home}/runs/any.yaml"], "--config cannot be used over HTTP"),
    ],
)
def test_command_that_could_reach_the_servers_files_is_refused(
    gateway: httpx.Client, settings: Settings, argv: list[str], reason: str
) -> None:
    response = gateway.post("/v1/jobs", json={"argv": [word.format(home=settings.home) for word in argv]})
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert reason in response.json()["detail"]
    assert gateway.get("/v1/jobs").json() == []


def test_roles_bound_what_a_viewer_may_submit_cancel_and_read(gateway: httpx.Client) -> None:
    token = gateway.post("/v1/users", json={"name": "ann", "role": "viewer"}).json()["token"]
    viewer = {"Authorization": f"Bearer {token}"}
    job = gateway.post("/v1/jobs", json={"argv": ["tune", "classify"]}).json()
    assert gateway.post("/v1/jobs", json={"argv": ["tune", "classify"]}, headers=viewer).status_code == 403
    assert gateway.post(f"/v1/jobs/{job['id']}/cancel", headers=viewer).status_code == 403
    assert gateway.get(f"/v1/jobs/{job['id']}/log", headers=viewer).status_code == 403
    assert gateway.get(f"/v1/jobs/{job['id']}", headers=viewer).json()["state"] == "queued"
    assert gateway.get(f"/v1/jobs/{job['id']}", headers={"Authorization": ""}).status_code == 401
    assert gateway.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelled"


def test_two_gateways_and_a_scheduler_share_one_state(database_settings: Settings, tmp_path: Path) -> None:
    """SQLite and PostgreSQL: what one gateway takes in, the other shows, and any of them hands out the same users."""
    ports = [free_port(), free_port()]
    commands = [("gateway", "--port", str(port)) for port in ports] + [("scheduler",)]
    with (tmp_path / "log").open("wb") as log:
        started = [subprocess.Popen([sys.executable, "-m", *words], stdout=log, stderr=log) for words in commands]
    clients = [httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) for port in ports]
    try:
        for client in clients:
            wait_for(lambda client=client: answers(client))
            token = (database_settings.home / "admin.token").read_text().strip()
            client.headers["Authorization"] = f"Bearer {token}"
        first, second = clients
        job = first.post("/v1/jobs", json={"argv": ["tune", "classify"]}).json()
        wait_for(lambda: second.get(f"/v1/jobs/{job['id']}").json()["state"] == "failed")
    finally:
        for client in clients:
            client.close()
        for process in started:
            process.kill()
            process.wait()


def test_termination_ends_the_gateway_within_the_launchers_patience(
    start: Callable[..., subprocess.Popen[bytes]],
) -> None:
    port = free_port()
    process = start("gateway", "--port", str(port))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        wait_for(lambda: answers(client))
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        assert time.monotonic() - begun < 3
        assert not answers(client)


def test_taken_port_is_an_error_for_the_launchers_gateway_and_given_way_to_by_serve(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        strict = start("gateway", "--port", str(taken))
        assert strict.wait(30) != 0
        assert f"port {taken}" in (tmp_path / "gateway.log").read_text()
        start("headwater.cli.main", "serve", "--port", str(taken))
        log = tmp_path / "headwater.cli.main.log"
        wait_for(lambda: "gateway on http" in log.read_text())
        port = int(log.read_text().split("gateway on http://127.0.0.1:")[1].split()[0])
        assert port > taken
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            wait_for(lambda: answers(client))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition did not come"
        time.sleep(0.05)
