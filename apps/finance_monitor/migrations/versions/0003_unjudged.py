"""Entries of the journal that could not be judged, and why."""

import sqlalchemy as sa
from alembic import op

from finance_monitor.tables import unjudged

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # 0001 makes the tables as they are now: only a database from before lacks this one.
    if not sa.inspect(op.get_bind()).has_table("unjudged"):
        unjudged.create(op.get_bind())


def downgrade() -> None:
    op.drop_table("unjudged")
