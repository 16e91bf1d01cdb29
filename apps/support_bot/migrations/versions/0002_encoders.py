"""Which encoder the passages of a site are embedded with."""

from alembic import op

from headwater.retrieval import tables as retrieval_tables

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    retrieval_tables.add_encoders(op, ("en",))


def downgrade() -> None:
    op.drop_column("index_generations", "encoders")
