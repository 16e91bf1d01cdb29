"""Who may import whom, and that processes which serve never load what only training needs."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {
    "torch",
    "transformers",
    "sentence_transformers",
    "peft",
    "accelerate",
    "onnx",
    "streamlit",
    "pandas",
    "sklearn",
}

# Each does its whole work on the sample shop, since most imports happen with the first question or job.
GATEWAY = """
import time
from starlette.testclient import TestClient
from gateway.app import create_app
from headwater.settings import load_settings
settings = load_settings()
with TestClient(create_app(settings)) as client:
    deadline = time.monotonic() + 60
    while (ready := client.get("/readyz")).status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ready.status_code == 200, ready.text
    for message, language in (("How long does a refund take?", "en"), ("退款多久能到账？", "zh")):
        reply = client.post("/support/v1/chat", json={"message": message})
        assert reply.status_code == 200 and reply.json()["language"] == language, reply.text
        assert reply.json()["citations"], reply.text
    admin = {"Authorization": f"Bearer {(settings.home / 'admin.token').read_text().strip()}"}
    assert client.post("/v1/jobs", json={"argv": ["tune", "classify"]}, headers=admin).status_code == 202
    page = ("zips.md", b"# Zips\\n\\nWe mend zips in Keswick for 18 pounds.")
    added = client.post("/support/v1/documents", files={"file": page}, headers=admin)
    assert added.status_code == 201, added.text
"""
SCHEDULER = """
import threading
from headwater.settings import load_settings
from headwater.storage import jobs
from scheduler.main import Scheduler
scheduler = Scheduler(load_settings())
job = jobs.submit(scheduler.engine, "house", ["models", "list"], actor="test")
thread = threading.Thread(target=lambda: [*jobs.watch(scheduler.engine, job.id)] and scheduler.stopping.set())
thread.start()
scheduler.run()
thread.join()
ended = jobs.get(scheduler.engine, job.id)
assert ended.state == "done", ended
"""
COMMAND_LINE = """
from click.testing import CliRunner
from headwater.cli.main import cli
assert CliRunner().invoke(cli, ["--help"]).exit_code == 0
"""
SHOW = "\nimport sys; print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))"


def test_imports_point_downwards() -> None:
    found = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-1000:]


@pytest.mark.models
@pytest.mark.parametrize(("name", "code"), [("gateway", GATEWAY), ("scheduler", SCHEDULER)])
def test_process_that_serves_loads_neither_training_nor_dashboard_packages(
    name: str, code: str, shop_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_HOME", str(shop_home))
    monkeypatch.delenv("HEADWATER_DATABASE_URL", raising=False)
    loaded = modules_after(code)
    assert {"headwater", name} <= loaded
    assert not HEAVY & loaded


@pytest.mark.usefixtures("settings")
def test_help_loads_no_package_that_takes_long() -> None:
    loaded = modules_after(COMMAND_LINE)
    slow = HEAVY | {"sqlalchemy", "fastapi", "onnxruntime", "faiss", "numpy", "alembic", "tokenizers", "pydantic"}
    assert not slow & loaded


def modules_after(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code + SHOW], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    return set(line.split()[1:])
