"""The support bot's tables: the index's, and conversations."""

import sqlalchemy as sa

from headwater.storage.columns import Moment

metadata = sa.MetaData()

conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("site_id", sa.String(64), nullable=False),
    sa.Column("subject", sa.String(200)),
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("started", Moment, nullable=False),
    sa.Column("updated", Moment, nullable=False),
    sa.Index("conversations_by_time", "site_id", "updated"),
)

turns = sa.Table(
    "turns",
    metadata,
    sa.Column("conversation_id", sa.String(32), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("question", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("path", sa.String(16), nullable=False),
    sa.Column("intent", sa.String(64)),
    sa.Column("confidence", sa.Float, nullable=False),
    sa.Column("citations", sa.JSON, nullable=False),
    sa.Column("milliseconds", sa.Float, nullable=False),
    sa.Column("feedback", sa.Integer),
    sa.Column("feedback_reason", sa.Text),
    sa.Column("asked", Moment, nullable=False),
)
