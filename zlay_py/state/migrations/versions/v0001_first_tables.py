"""Hosts, accounts, identities, domain bans, meta."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_hosts()
    _create_accounts()
    op.create_table(
        "identities",
        sa.Column("did", BYTEWISE, primary_key=True),
        sa.Column("state", BYTEWISE, nullable=False),
        sa.Column("signing_key", sa.LargeBinary),
        sa.Column("pds_host", BYTEWISE),
        sa.Column("handle", BYTEWISE),
        sa.Column("resolved_us", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "domain_bans",
        sa.Column("domain", BYTEWISE, primary_key=True),
        sa.Column("created_us", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "meta",
        sa.Column("key", BYTEWISE, primary_key=True),
        sa.Column("value", BYTEWISE, nullable=False),
    )


def _create_hosts() -> None:
    op.create_table(
        "hosts",
        sa.Column("id", ROW_ID, primary_key=True, autoincrement=True),
        sa.Column("hostname", BYTEWISE, nullable=False, unique=True),
        sa.Column("tls", sa.Boolean, nullable=False),
        sa.Column("status", BYTEWISE, nullable=False),
        sa.Column("trusted", sa.Boolean, nullable=False),
        sa.Column("account_limit", sa.BigInteger, nullable=False),
        sa.Column("account_count", sa.BigInteger, nullable=False),
        sa.Column("cursor", sa.BigInteger),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("failure_kind", BYTEWISE),
        sa.Column("sync11_mode", BYTEWISE),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("updated_us", sa.BigInteger, nullable=False),
        sa.CheckConstraint("status IN ('active', 'idle', 'offline', 'throttled', 'banned')", name="hosts_status_known"),
        sqlite_autoincrement=True,
    )


def _create_accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("uid", ROW_ID, primary_key=True, autoincrement=True),
        sa.Column("did", BYTEWISE, nullable=False, unique=True),
        sa.Column("host_id", sa.BigInteger, sa.ForeignKey("hosts.id", name="accounts_host"), nullable=False),
        sa.Column("upstream_status", BYTEWISE, nullable=False),
        sa.Column("local_status", BYTEWISE, nullable=False),
        sa.Column("rev", BYTEWISE),
        sa.Column("commit_cid", sa.LargeBinary),
        sa.Column("data_cid", sa.LargeBinary),
        sa.Column("applied_seq", sa.BigInteger, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "accounts_local_status",
        "accounts",
        ["local_status", "uid"],
        sqlite_where=sa.text("local_status <> 'active'"),
        postgresql_where=sa.text("local_status <> 'active'"),
    )
