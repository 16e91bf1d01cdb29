"""Database engines: one SQLite file a database, or one PostgreSQL schema a database."""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from headwater.errors import HeadwaterError, Unavailable
from headwater.settings import Settings

_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_BUSY_MILLISECONDS = 30_000
_WRITE = "headwater_write"
# What SQLite says of the place where it lies, and what helps; every other error is a defect.
_OUTAGES = {
    "database or disk is full": "make room on its disk",
    "disk I/O error": "make room on its disk and check it",
    "attempt to write a readonly database": "allow writing there",
    "unable to open database file": "check that the folder is there and can be written",
    "database is locked": "another process holds it; try again in a moment",
}


class _SqliteEngine(sa.Engine):
    """Takes the write lock at the start of `begin()`.

    A transaction that reads first and writes later fails at once with "database is locked" when another process
    wrote in between, whatever the busy timeout; asking for the lock first makes it wait instead.
    `connect()` still reads beside a writer.
    """

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        with self.connect() as connection, connection.execution_options(**{_WRITE: True}).begin():
            yield connection


def open_engine(settings: Settings, database: str) -> sa.Engine:
    """The engine of `database` ("house", "support", …); make one a process and pass it on.

    Read with `engine.connect()`, write with `engine.begin()` (on SQLite the latter takes the write lock first).
    Raises HeadwaterError for a name or address that is none.
    """
    if not _NAME.fullmatch(database):
        raise HeadwaterError(f"{database!r} is no database name: use lower-case letters, digits and _")
    if settings.database_url:
        return _open_postgresql(settings.database_url, database)
    return _open_sqlite(settings, database)


def outage(error: sa.exc.DBAPIError) -> Unavailable | None:
    """What a person can do about an error of the database; None when it is a defect. Nothing of the data is in it."""
    reason = str(error.orig)
    if reason in _OUTAGES:
        return Unavailable(f"the database cannot be used: {reason}; {_OUTAGES[reason]} (HEADWATER_HOME)")
    if error.connection_invalidated:
        return Unavailable("the connection to the database is lost; check HEADWATER_DATABASE_URL, or try again")
    return None


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection whose reads all see the database as of the first of them; for reading only."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            # Its default shows each statement what was committed before that statement.
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


def _open_sqlite(settings: Settings, database: str) -> sa.Engine:
    path = settings.folder("db") / f"{database}.db"
    made = sa.create_engine(sa.URL.create("sqlite", database=str(path)), connect_args={"check_same_thread": False})
    engine = _SqliteEngine(made.pool, made.dialect, made.url)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    # The driver's own transaction handling would commit before DDL; BEGIN comes from _begin_sqlite alone.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # Two processes that open a new file at once: the switch does not honour the busy timeout.
    deadline = time.monotonic() + _BUSY_MILLISECONDS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _open_postgresql(address: str, database: str) -> sa.Engine:
    url, arguments = _postgresql_url(address)
    engine = sa.create_engine(url, connect_args=arguments, pool_pre_ping=True)

    @event.listens_for(engine, "connect")
    def use_schema(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f'SET search_path TO "{database}", public')
        cursor.execute("SET timezone TO 'UTC'")
        cursor.close()
        connection.commit()

    return engine


def _postgresql_url(address: str) -> tuple[sa.URL, dict[str, Any]]:
    """The pg8000 address of a `postgres://` one; a socket folder (`?host=/run/postgresql`) becomes its socket."""
    try:
        url = sa.make_url(address.replace("postgres://", "postgresql://", 1))
    except sa.exc.ArgumentError:
        raise HeadwaterError(
            "HEADWATER_DATABASE_URL cannot be read; write postgresql://user:password@host:5432/database"
        ) from None
    if url.get_backend_name() != "postgresql":
        raise HeadwaterError(
            f"HEADWATER_DATABASE_URL names {url.get_backend_name()!r}; only postgresql:// is supported "
            "(unset it to use SQLite files)"
        )
    arguments: dict[str, Any] = {}
    folder = url.query.get("host")
    if isinstance(folder, str) and folder.startswith("/"):
        arguments["unix_sock"] = f"{folder}/.s.PGSQL.{url.port or 5432}"
    return url.set(drivername="postgresql+pg8000").difference_update_query(["host"]), arguments
