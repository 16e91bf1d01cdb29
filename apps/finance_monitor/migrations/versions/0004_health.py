"""When each entry was judged, and an index that lists of companies over a long time are read from."""

import sqlalchemy as sa
from alembic import op

from finance_monitor.tables import judged

revision = "0004"
down_revision = "0003"
_INDEX = "windows_by_kind"


def upgrade() -> None:
    # 0001 makes the tables as they are now: only a database from before lacks these.
    inspector = sa.inspect(op.get_bind())
    if not inspector.has_table("judged"):
        judged.create(op.get_bind())
    if _INDEX not in {index["name"] for index in inspector.get_indexes("windows")}:
        op.create_index(_INDEX, "windows", ["entity_kind", "width", "start", "entity", "stories"])


def downgrade() -> None:
    op.drop_index(_INDEX, "windows")
    op.drop_table("judged")
