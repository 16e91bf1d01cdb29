"""The house's tables as queries use them; the versions under `migrations/` make them."""

import sqlalchemy as sa

from headwater.storage.columns import Moment

metadata = sa.MetaData()

jobs = sa.Table(
    "jobs",
    metadata,
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
    sa.Column("deadline_seconds", sa.Float),
    sa.Index("jobs_by_state", "state", "submitted"),
    sa.Index("jobs_by_time", "submitted"),
)

scheduled_runs = sa.Table(
    "scheduled_runs",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("due", Moment, primary_key=True),
    sa.Column("job_id", sa.String(32), nullable=False),
    sa.Column("recorded", Moment, nullable=False),
    sa.Column("first_due", Moment),
    sa.Column("windows", sa.Integer, nullable=False, server_default="1"),
    sa.Column("outcome", sa.String(16), nullable=False, server_default="run"),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
)

schedules = sa.Table(
    "schedules",
    metadata,
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

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(128), nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
    sa.Column("term", sa.Integer, nullable=False),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("created", Moment, nullable=False),
    sa.Column("created_by", sa.String(64), nullable=False),
    sa.Column("disabled", Moment),
)
