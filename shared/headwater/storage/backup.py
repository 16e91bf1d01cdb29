"""A copy of a SQLite database that is in use, as one consistent file."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from headwater.errors import Conflict, Unsupported


def back_up(engine: sa.Engine, target: Path) -> None:
    """Copy the database to the new file `target` while others read and write.

    Raises Conflict when `target` exists, Unsupported for PostgreSQL, which has its own tool for it.
    """
    if engine.dialect.name != "sqlite":
        raise Unsupported("backups are made of SQLite databases only; for PostgreSQL use pg_dump")
    if target.exists():
        raise Conflict(f"{target} exists; name a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    partial.unlink(missing_ok=True)
    with engine.connect() as connection, closing(sqlite3.connect(partial)) as copy:
        source = connection.connection.dbapi_connection
        if not isinstance(source, sqlite3.Connection):
            raise TypeError(f"expected the sqlite3 driver, found {type(source)}")
        source.backup(copy)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(target)
