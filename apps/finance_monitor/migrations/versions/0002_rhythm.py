"""The rhythm that was fitted last, so that a restart does not fit another one."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # 0001 makes the tables as they are now: only a database from before lacks the column.
    if "rhythm" not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("progress")}:
        op.add_column("progress", sa.Column("rhythm", sa.JSON))


def downgrade() -> None:
    op.drop_column("progress", "rhythm")
