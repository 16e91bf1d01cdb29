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

GATEWAY = """
from starlette.testclient import TestClient
from gateway.app import create_app
from headwater.settings import load_settings
with TestClient(create_app(load_settings())) as client:
    assert client.get("/healthz").status_code == 200
    import time
    deadline = time.monotonic() + 20
    while client.get("/readyz").status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
"""
SCHEDULER = """
import threading
from headwater.settings import load_settings
from scheduler.main import Scheduler
scheduler = Scheduler(load_settings())
threading.Timer(1.0, scheduler.stopping.set).start()
scheduler.run()
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


@pytest.mark.parametrize(("name", "code"), [("gateway", GATEWAY), ("scheduler", SCHEDULER)])
@pytest.mark.usefixtures("settings")
def test_process_that_serves_loads_neither_training_nor_dashboard_packages(name: str, code: str) -> None:
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
