"""Jobs, scheduled runs, leases and users."""

import sqlalchemy as sa
from alembic import op

from headwater.storage.columns import Moment

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("app", sa.String(32), nullable=False),
        sa.Column("argv", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("heavy", sa.Boolean, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("log", sa.Text, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("worker", sa.String(128)),
        sa.Column("pid", sa.Integer),
        sa.Column("heartbeat", Moment),
        sa.Column("submitted", Moment, nullable=False),
        sa.Column("started", Moment),
        sa.Column("ended", Moment),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "submitted"])
    op.create_index("jobs_by_time", "jobs", ["submitted"])
    op.create_table(
        "scheduled_runs",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("due", Moment, primary_key=True),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("recorded", Moment, nullable=False),
    )
    leases = op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(128), nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("term", sa.Integer, nullable=False),
    )
    op.bulk_insert(leases, [{"name": "claims", "holder": "", "expires": 0.0, "term": 0}])
    op.create_table(
        "users",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("created", Moment, nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("disabled", Moment),
    )


def downgrade() -> None:
    for table in ("users", "leases", "scheduled_runs", "jobs"):
        op.drop_table(table)
