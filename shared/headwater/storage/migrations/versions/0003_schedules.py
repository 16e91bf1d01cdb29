"""Deadlines of jobs, the windows that each scheduled run stands for, and the schedules that are in force."""

import sqlalchemy as sa
from alembic import op

from headwater.storage.columns import Moment

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("deadline_seconds", sa.Float))
    op.add_column("scheduled_runs", sa.Column("first_due", Moment))
    op.add_column("scheduled_runs", sa.Column("windows", sa.Integer, nullable=False, server_default="1"))
    op.add_column("scheduled_runs", sa.Column("outcome", sa.String(16), nullable=False, server_default="run"))
    op.add_column("scheduled_runs", sa.Column("reason", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "schedules",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("app", sa.String(32), nullable=False),
        sa.Column("argv", sa.JSON, nullable=False),
        sa.Column("cron", sa.String(128)),
        sa.Column("every_seconds", sa.Float),
        sa.Column("deadline_seconds", sa.Float),
        sa.Column("resident", sa.Boolean, nullable=False),
        sa.Column("missed", sa.String(16), nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("recorded", Moment, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("schedules")
    for column in ("reason", "outcome", "windows", "first_due"):
        op.drop_column("scheduled_runs", column)
    op.drop_column("jobs", "deadline_seconds")
