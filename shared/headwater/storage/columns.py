"""Column types that read and write alike on SQLite and PostgreSQL."""

from datetime import UTC, datetime

import sqlalchemy as sa


def now() -> datetime:
    """The present moment in UTC, with its time zone."""
    return datetime.now(UTC)


class Moment(sa.TypeDecorator[datetime]):
    """A point in time: written as UTC, read back with its time zone (SQLite would drop it)."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; use headwater.storage.columns.now()")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)
