"""Leftovers know the accounts whose events they are: what was dropped among them must not be judged anew."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    # not ALTER TABLE: of a column added by that, SQLite keeps another text than of a table made with it
    op.execute("CREATE TABLE leftovers_before AS SELECT host_id, epoch, runs FROM leftovers")
    op.drop_table("leftovers")
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
        sa.Column("judged", BYTEWISE, nullable=False),
    )
    op.execute(
        "INSERT INTO leftovers (host_id, epoch, runs, judged) SELECT host_id, epoch, runs, '' FROM leftovers_before"
    )
    op.drop_table("leftovers_before")
