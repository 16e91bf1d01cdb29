"""The migrated house database, on SQLite and on a real PostgreSQL in turn."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from headwater.settings import Settings
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate


@pytest.fixture
def house(database_settings: Settings) -> Iterator[sa.Engine]:
    """The migrated house database of either kind."""
    engine = open_engine(database_settings, "house")
    migrate(engine, "house")
    yield engine
    engine.dispose()
