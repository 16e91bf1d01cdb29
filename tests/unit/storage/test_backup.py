"""A backup is whole although others write meanwhile."""

import sqlite3
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from headwater.errors import Conflict, Unsupported
from headwater.settings import Settings
from headwater.storage import jobs
from headwater.storage.backup import back_up
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate


def test_backup_under_writes_is_consistent_and_never_overwrites(settings: Settings, tmp_path: Path) -> None:
    engine = open_engine(settings, "house")
    migrate(engine, "house")
    jobs.submit(engine, "house", ["first"], actor="ann")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            jobs.submit(engine, "house", ["more"], actor="ann")

    writer = threading.Thread(target=write)
    writer.start()
    target = tmp_path / "copies" / "house.db"
    back_up(engine, target)
    stop.set()
    writer.join()
    copy = sqlite3.connect(target)
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert copy.execute("SELECT count(*) FROM jobs WHERE argv = '[\"first\"]'").fetchone() == (1,)
    assert [path.name for path in target.parent.iterdir() if path.name.startswith(".")] == []
    with pytest.raises(Conflict, match="exists"):
        back_up(engine, target)


def test_postgresql_is_left_to_its_own_tool(house: sa.Engine, tmp_path: Path) -> None:
    if house.dialect.name == "sqlite":
        back_up(house, tmp_path / "x.db")
        assert (tmp_path / "x.db").exists()
        return
    with pytest.raises(Unsupported, match="pg_dump"):
        back_up(house, tmp_path / "x.db")
