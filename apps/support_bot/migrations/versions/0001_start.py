"""The index's tables, conversations and turns."""

from alembic import op

from headwater.retrieval import tables as retrieval_tables
from support_bot.tables import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    retrieval_tables.create(op)
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    metadata.drop_all(op.get_bind())
    retrieval_tables.metadata.drop_all(op.get_bind())
