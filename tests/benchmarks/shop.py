"""The sample shop for benchmarks: a prepared state folder and real processes on it, measured from outside."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from harness import ROOT

from headwater.settings import load_settings

_PREPARE_SECONDS = 600
_READY_SECONDS = 90
# Between two looks at /readyz: small against what is measured, and no load on the process that starts.
_LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class Gateway:
    """A gateway that answers; `ready_seconds` from its spawn to the first 200 of /readyz."""

    url: str
    token: str
    process: psutil.Process
    ready_seconds: float

    def megabytes(self) -> float:
        """Resident memory now."""
        return float(self.process.memory_info().rss) / 1e6


def prepared_home() -> Path:
    """A state folder that `headwater support prepare` (what run-app calls) made for the present code; take a copy."""
    digest = hashlib.sha256()
    for folder in ("apps/support_bot", "shared/headwater"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(path.read_bytes())
    kept = ROOT / "build" / "bench" / "shop"
    home = kept / digest.hexdigest()[:16]
    if not (home / "ready").exists():
        shutil.rmtree(kept, ignore_errors=True)
        home.mkdir(parents=True)
        (home / "models").symlink_to(load_settings().folder("models"))
        command = [sys.executable, "-m", "headwater.cli.main", "support", "prepare"]
        subprocess.run(command, env=environment(home), check=True, timeout=_PREPARE_SECONDS)
        (home / "ready").touch()
    return home


@contextmanager
def shop_home() -> Iterator[Path]:
    """A copy of the prepared state folder that may be written to, removed afterwards."""
    prepared = prepared_home()
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as temporary:
        home = Path(temporary) / "home"
        home.mkdir()
        (home / "models").symlink_to((prepared / "models").resolve())
        for folder in ("bundles", "db"):
            shutil.copytree(prepared / folder, home / folder)
        yield home


@contextmanager
def gateway(home: Path) -> Iterator[Gateway]:
    """A gateway process on `home`, as the launcher starts it; stopped afterwards."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (home / "gateway.log").open("ab") as log:
        command = [sys.executable, "-m", "gateway", "--host", "127.0.0.1", "--port", str(port)]
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment(home), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=url, trust_env=False, timeout=5) as client:
            while not answers(client, "/readyz"):
                if process.poll() is not None or time.perf_counter() - started > _READY_SECONDS:
                    raise RuntimeError(f"the gateway did not become ready:\n{(home / 'gateway.log').read_text()}")
                time.sleep(_LOOK_SECONDS)
        seconds = time.perf_counter() - started
        token = (home / "admin.token").read_text().strip()
        yield Gateway(url, token, psutil.Process(process.pid), seconds)
    finally:
        stop(process)


def answers(client: httpx.Client, path: str) -> bool:
    """Whether GET `path` answers 200 now."""
    try:
        return client.get(path).status_code == 200
    except httpx.HTTPError:
        return False


def environment(home: Path) -> dict[str, str]:
    """The environment of a process of that state folder, without settings of the caller's own installation."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return {**kept, "HEADWATER_HOME": str(home)}


def stop(process: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """SIGTERM, then SIGKILL; with every process that it started."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:
        if child.is_running():
            child.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
