"""The index's tables; an app's first migration calls `create(op)` so that they lie in the app's own database."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from headwater.storage.columns import Moment

metadata = sa.MetaData()

documents = sa.Table(
    "documents",
    metadata,
    sa.Column("site_id", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(200), primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("sections", sa.JSON, nullable=False),
    sa.Column("content_hash", sa.String(64), nullable=False),
    sa.Column("updated", Moment, nullable=False),
    sa.Column("actor", sa.String(64), nullable=False),
)

chunks = sa.Table(
    "chunks",
    metadata,
    sa.Column("row", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("site_id", sa.String(64), nullable=False),
    sa.Column("document_id", sa.String(200), nullable=False),
    sa.Column("id", sa.String(40), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("start", sa.Integer, nullable=False),
    sa.Column("end", sa.Integer, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("section", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("encoder", sa.String(64), nullable=False),
    sa.Column("vector", sa.LargeBinary, nullable=False),
    sa.Index("chunks_by_document", "site_id", "document_id"),
    # A row number must never come back: other processes tell old from new rows by it.
    sqlite_autoincrement=True,
)

generations = sa.Table(
    "index_generations",
    metadata,
    sa.Column("site_id", sa.String(64), primary_key=True),
    sa.Column("generation", sa.Integer, nullable=False),
    # {group of languages: id of the encoder that its passages are embedded with}; changes with the generation.
    sa.Column("encoders", sa.JSON),
)


def create(op: Any) -> None:
    """Create the tables from a migration (`op` is alembic's)."""
    metadata.create_all(op.get_bind())


def add_encoders(op: Any, languages: Sequence[str]) -> None:
    """Add `encoders` to a database from before it (a new one has it). `languages`: those with an encoder of their own.

    Passages of several encoders in one group: the commonest is searched with, the others wait for re-embedding.
    """
    connection = op.get_bind()
    if any(column["name"] == "encoders" for column in sa.inspect(connection).get_columns(generations.name)):
        return
    op.add_column(generations.name, sa.Column("encoders", sa.JSON))
    table = chunks.c
    count = sa.func.count()
    group = sa.case((table.language.in_(languages), table.language), else_="*")
    query = sa.select(table.site_id, group, table.encoder).group_by(table.site_id, group, table.encoder)
    found: dict[str, dict[str, str]] = {}
    for site, key, encoder in connection.execute(query.order_by(count)).all():
        found.setdefault(site, {})[key] = encoder
    for site, encoders in found.items():
        connection.execute(generations.update().where(generations.c.site_id == site).values(encoders=encoders))
