"""Migrations on SQLite and PostgreSQL, alone and several at once."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from headwater.errors import Conflict, HeadwaterError, NotFound
from headwater.settings import Settings
from headwater.storage import migrations, tables
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate, schema_state

MIGRATE = """
from headwater.settings import Settings
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate
print(migrate(open_engine(Settings(), "house"), "house").current)
"""


def test_first_migration_makes_the_tables_and_the_second_finds_nothing_to_do(database_settings: Settings) -> None:
    engine = open_engine(database_settings, "house")
    assert schema_state(engine, "house").current is None
    assert migrate(engine, "house").up_to_date
    assert set(tables.metadata.tables) <= set(sa.inspect(engine).get_table_names())
    assert migrate(engine, "house") == schema_state(engine, "house")


def test_declared_tables_and_migrated_tables_are_the_same(house: sa.Engine) -> None:
    def is_declared(item: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
        return kind != "table" or name in tables.metadata.tables

    with house.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_declared, "compare_type": True})
        differences = compare_metadata(context, tables.metadata)
    assert differences == []


def test_four_processes_that_migrate_at_once_all_succeed(database_settings: Settings) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", MIGRATE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    newest = schema_state(open_engine(database_settings, "house"), "house").newest
    for process in started:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert output.strip() == newest


def test_failing_step_leaves_the_old_version_whole(
    database_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = version_files(tmp_path)
    monkeypatch.setattr(migrations, "_versions_folder", lambda database: folder)
    engine = open_engine(database_settings, "shelf")
    migrate(engine, "shelf")
    write_version(
        folder, "0002", 'op.create_table("half", sa.Column("id", sa.Integer))\n    raise RuntimeError("power cut")'
    )
    with pytest.raises(RuntimeError, match="power cut"):
        migrate(engine, "shelf")
    assert schema_state(engine, "shelf").current == "0001"
    assert "half" not in sa.inspect(engine).get_table_names()


def test_altering_a_table_by_batch_keeps_the_rows_that_refer_to_it(
    database_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = version_files(tmp_path)
    monkeypatch.setattr(migrations, "_versions_folder", lambda database: folder)
    engine = open_engine(database_settings, "shelf")
    migrate(engine, "shelf")
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO shelves (id, name) VALUES (1, 'top')")
        connection.exec_driver_sql("INSERT INTO books (id, shelf) VALUES (7, 1)")
    step = 'with op.batch_alter_table("shelves") as batch:\n        batch.alter_column("name", new_column_name="title")'
    write_version(folder, "0002", step)
    migrate(engine, "shelf")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT id FROM books").scalars().all() == [7]
        assert connection.exec_driver_sql("SELECT title FROM shelves").scalars().all() == ["top"]


def test_database_that_is_newer_than_the_installation_is_refused(house: sa.Engine) -> None:
    with house.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Conflict, match="version 9999, newer than"):
        migrate(house, "house")


def test_unknown_database_is_named_with_those_that_exist(house: sa.Engine) -> None:
    with pytest.raises(NotFound, match=r"'attic'.*house"):
        migrate(house, "attic")


@pytest.mark.parametrize("name", ["", "House", "../house", "a" * 40])
def test_name_that_could_leave_the_folder_is_refused(settings: Settings, name: str) -> None:
    with pytest.raises(HeadwaterError, match="no database name"):
        open_engine(settings, name)


@pytest.mark.parametrize(("address", "reason"), [("mysql://host/x", "only postgresql"), ("nonsense", "cannot be read")])
def test_address_of_another_engine_is_refused_without_showing_the_password(
    settings: Settings, address: str, reason: str
) -> None:
    with pytest.raises(HeadwaterError, match=reason):
        open_engine(settings.model_copy(update={"database_url": address}), "house")


def test_reading_and_then_writing_waits_for_another_writer(house: sa.Engine) -> None:
    """Two transactions that both read before they write: neither fails, no update is lost."""
    code = MIGRATE + textwrap.dedent("""
        import sqlalchemy as sa
        from headwater.storage.tables import leases
        engine = open_engine(Settings(), "house")
        for _ in range(100):
            with engine.begin() as connection:
                query = sa.select(leases.c.term).where(leases.c.name == "counter").with_for_update()
                term = connection.execute(query).scalar_one()
                connection.execute(leases.update().where(leases.c.name == "counter").values(term=term + 1))
    """)
    with house.begin() as connection:
        connection.execute(tables.leases.insert().values(name="counter", holder="", expires=0, term=0))
    started = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    with house.connect() as connection:
        query = sa.select(tables.leases.c.term).where(tables.leases.c.name == "counter")
        assert connection.execute(query).scalar_one() == 300


def version_files(tmp_path: Path) -> Path:
    folder = tmp_path / "100% shelf" / "versions"
    folder.mkdir(parents=True)
    write_version(
        folder,
        "0001",
        'op.create_table("shelves", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))\n    '
        'op.create_table("books", sa.Column("id", sa.Integer, primary_key=True), '
        'sa.Column("shelf", sa.Integer, sa.ForeignKey("shelves.id", ondelete="CASCADE")))',
    )
    return folder


def write_version(folder: Path, number: str, body: str) -> None:
    before = None if number == "0001" else f"{int(number) - 1:04d}"
    header = f"import sqlalchemy as sa\nfrom alembic import op\nrevision = {number!r}\ndown_revision = {before!r}\n"
    (folder / f"{number}_step.py").write_text(f"{header}def upgrade():\n    {body}\n")
