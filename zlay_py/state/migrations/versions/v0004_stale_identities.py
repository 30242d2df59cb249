"""Identities know that they are to be asked again: a kill must not make what an `#identity` has put in doubt sure."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
COLUMNS = "did, state, signing_key, pds_host, handle, resolved_us"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":  # millions of rows stay where they are
        op.add_column("identities", sa.Column("stale", sa.Boolean, nullable=False, server_default=sa.false()))
        op.alter_column("identities", "stale", server_default=None)
        return
    # not ALTER TABLE: of a column added by that, SQLite keeps another text than of a table made with it
    op.rename_table("identities", "identities_before")
    op.create_table(
        "identities",
        sa.Column("did", BYTEWISE, primary_key=True),
        sa.Column("state", BYTEWISE, nullable=False),
        sa.Column("signing_key", sa.LargeBinary),
        sa.Column("pds_host", BYTEWISE),
        sa.Column("handle", BYTEWISE),
        sa.Column("resolved_us", sa.BigInteger, nullable=False),
        sa.Column("stale", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO identities ({COLUMNS}, stale) SELECT {COLUMNS}, 0 FROM identities_before")  # noqa: S608
    op.drop_table("identities_before")
