"""The bundle registry."""

import sqlalchemy as sa
from alembic import op

from headwater.storage.columns import Moment

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "bundles",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("bundle_id", sa.String(64), nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("verdict", sa.JSON),
        sa.Column("created", Moment, nullable=False),
        sa.Column("promoted", Moment),
    )
    op.create_table(
        "bundle_names",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("gate_set", sa.Text),
        sa.Column("generation", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("bundle_names")
    op.drop_table("bundles")
