"""Leftovers: what a host will send again although the log has it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "leftovers",
        sa.Column(
            "host_id",
            sa.BigInteger,
            sa.ForeignKey("hosts.id", name="leftovers_host"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("runs", BYTEWISE, nullable=False),
    )
