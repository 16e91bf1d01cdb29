"""Schema migrations: Alembic run from Python, one folder of numbered versions a database.

How an app gets its tables: declare them in `<app>/tables.py`, write `<app>/migrations/versions/0001_<what>.py` with
`revision = "0001"` and `down_revision = None` (the next file: "0002" and "0001", and so on; the revision is always
the file's number), whose `upgrade()` calls `op.create_table(...)`, and name the package in pyproject.toml under
`[project.entry-points."headwater.databases"]`. `migrate(engine, "<database>")` does the rest.
A shared package adds the house's tables as the next number in this folder (bundles), or lends an app's migration the
functions that make them (retrieval).
"""

import importlib.util
import re
import sqlite3
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import sqlalchemy as sa

from headwater.errors import Conflict, NotFound

_HERE = Path(__file__).parent
_VERSION = re.compile(r"(\d{4})_\w+\.py")
_GROUP = "headwater.databases"


@dataclass(frozen=True)
class SchemaState:
    """The version a database is at (None: no tables yet) and the newest one that this installation has."""

    database: str
    current: str | None
    newest: str

    @property
    def up_to_date(self) -> bool:
        return self.current == self.newest


def databases() -> list[str]:
    """Names of the databases of the installed packages, the house first."""
    names = {point.name for point in entry_points(group=_GROUP) if _package_folder(point.value) is not None}
    return ["house", *sorted(names - {"house"})]


def schema_state(engine: sa.Engine, database: str) -> SchemaState:
    """Compare the database with the installed versions; changes nothing. Raises NotFound for an unknown name."""
    with engine.connect() as connection:
        return SchemaState(database, _current(connection), _newest(_versions_folder(database)))


def migrate(engine: sa.Engine, database: str) -> SchemaState:
    """Bring the database to the newest version; safe when several processes do it at once, quick when it is there.

    All steps are one transaction: a failure leaves the old version. Raises Conflict when the database is newer than
    this installation, NotFound for an unknown name.
    """
    folder = _versions_folder(database)
    newest = _newest(folder)
    with engine.connect() as connection:
        state = SchemaState(database, _current(connection), newest)
    if state.up_to_date:
        return state
    if state.current is not None and state.current > newest:
        raise Conflict(
            f"the database {database!r} is at version {state.current}, newer than this installation's {newest}; "
            "install the newer Headwater again, or restore a backup from before"
        )
    if engine.dialect.name == "sqlite":
        _migrate_sqlite(engine, folder)
    else:
        _migrate_postgresql(engine, database, folder)
    return SchemaState(database, newest, newest)


def _versions_folder(database: str) -> Path:
    if database == "house":
        return _HERE / "versions"
    for point in entry_points(group=_GROUP, name=database):
        folder = _package_folder(point.value)
        if folder is not None:
            return folder
    raise NotFound(f"no installed app has a database {database!r}; there is: {', '.join(databases())}")


def _package_folder(package: str) -> Path | None:
    """The package's version files; None when it is not installed or keeps no database."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "migrations" / "versions"
    return folder if folder.is_dir() else None


def _newest(folder: Path) -> str:
    numbers = [match.group(1) for path in folder.glob("*.py") if (match := _VERSION.fullmatch(path.name))]
    if not numbers:
        raise NotFound(f"{folder} holds no version file such as 0001_start.py; reinstall Headwater")
    return max(numbers)


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(sa.text("SELECT max(version_num) FROM alembic_version")).scalar()
    return version


def _migrate_sqlite(engine: sa.Engine, folder: Path) -> None:
    # Copying a table with foreign keys on would delete the rows that refer to it. A connection of its own, since
    # the switch has no effect inside a transaction; the driver's connection, since SQLAlchemy would begin one.
    with engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        if not isinstance(driver, sqlite3.Connection):
            raise TypeError(f"expected the sqlite3 driver, found {type(driver)}")
        driver.execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.execution_options(headwater_write=True).begin():
                _upgrade(connection, folder)
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                if broken is not None:
                    raise Conflict(f"after the migration in {folder} a row of {broken[0]!r} refers to nothing")
        finally:
            driver.execute("PRAGMA foreign_keys=ON")


def _migrate_postgresql(engine: sa.Engine, database: str, folder: Path) -> None:
    with engine.begin() as connection:
        # Held until commit: a second process waits here and then finds nothing left to do. One lock for all
        # databases, since CREATE SCHEMA of two schemas at once can fail as well.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7463219)")
        connection.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{database}"')
        _upgrade(connection, folder)


def _upgrade(connection: sa.Connection, folder: Path) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    # ConfigParser reads % as interpolation; a folder name may hold one.
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("version_locations", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
