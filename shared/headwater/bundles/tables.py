"""The registry's tables, in the house database."""

import sqlalchemy as sa

from headwater.storage.columns import Moment

metadata = sa.MetaData()

bundles = sa.Table(
    "bundles",
    metadata,
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

bundle_names = sa.Table(
    "bundle_names",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("gate_set", sa.Text),
    sa.Column("generation", sa.Integer, nullable=False),
)
