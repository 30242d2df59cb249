"""The tables. `migrations/` makes them; a test compares the two.

Text is compared bytewise everywhere: revs, DIDs and host names order by their ASCII bytes, as the protocol does.
SQLite does so by itself (BINARY); PostgreSQL needs the collation "C" said on every column, or the locale of the
cluster decides whether one rev is newer than another.

`uid` and `hosts.id` stand in the log's records, so neither may ever be given out twice: AUTOINCREMENT, which
remembers the highest one even when its row is gone.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

HOST_STATUSES = ("active", "idle", "offline", "throttled", "banned")
"""`com.atproto.sync.defs#hostStatus`; the closed set of this column."""

ACTIVE = "active"
"""The status of a new host, and of a new account, upstream and local."""

BYTEWISE = Text().with_variant(Text(collation="C"), "postgresql")
ROW_ID = BigInteger().with_variant(Integer(), "sqlite")  # SQLite gives row ids to INTEGER only; it has 64 bits as well

metadata = MetaData()

hosts = Table(
    "hosts",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("hostname", BYTEWISE, nullable=False, unique=True),  # lower case; `localhost:PORT` in development
    Column("tls", Boolean, nullable=False),
    Column("status", BYTEWISE, nullable=False),
    Column("trusted", Boolean, nullable=False),
    Column("account_limit", BigInteger, nullable=False),
    Column("account_count", BigInteger, nullable=False),
    Column("cursor", BigInteger),  # upstream seq: everything up to it is done with; NULL: connect without a cursor
    Column("epoch", BigInteger, nullable=False),  # of the host's seqs; grows with every reset of the cursor
    Column("failure_kind", BYTEWISE),  # why it is offline: a `net.failures.FailureKind`
    Column("sync11_mode", BYTEWISE),  # overrides RELAY_SYNC11 for this host
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),  # of what people and status changes set, not of the cursor
    CheckConstraint(f"status IN ({', '.join(repr(name) for name in HOST_STATUSES)})", name="hosts_status_known"),
    sqlite_autoincrement=True,
)

# What a host will send again although it was judged: see `state.leftovers`. Most hosts have no row.
leftovers = Table(
    "leftovers",
    metadata,
    Column("host_id", BigInteger, ForeignKey("hosts.id", name="leftovers_host"), primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("runs", BYTEWISE, nullable=False),
    Column("judged", BYTEWISE, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("uid", ROW_ID, primary_key=True, autoincrement=True),
    Column("did", BYTEWISE, nullable=False, unique=True),
    Column("host_id", BigInteger, ForeignKey("hosts.id", name="accounts_host"), nullable=False),
    Column("upstream_status", BYTEWISE, nullable=False),
    Column("local_status", BYTEWISE, nullable=False),
    Column("rev", BYTEWISE),
    Column("commit_cid", LargeBinary),
    Column("data_cid", LargeBinary),
    Column("applied_seq", BigInteger, nullable=False),  # our seq of the last event that changed this row
    Column("created_us", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# Taken-down and throttled accounts are few among millions: only they are in this index.
accounts_local_status = Index(
    "accounts_local_status",
    accounts.c.local_status,
    accounts.c.uid,
    sqlite_where=text("local_status <> 'active'"),
    postgresql_where=text("local_status <> 'active'"),
)

identities = Table(
    "identities",
    metadata,
    Column("did", BYTEWISE, primary_key=True),
    Column("state", BYTEWISE, nullable=False),
    Column("signing_key", LargeBinary),
    Column("pds_host", BYTEWISE),
    Column("handle", BYTEWISE),
    Column("resolved_us", BigInteger, nullable=False),
    Column("stale", Boolean, nullable=False),  # in force, and to be asked again
    sqlite_with_rowid=False,  # read by DID only: one tree to walk instead of two
)

domain_bans = Table(
    "domain_bans",
    metadata,
    Column("domain", BYTEWISE, primary_key=True),
    Column("created_us", BigInteger, nullable=False),
)

meta = Table(
    "meta",
    metadata,
    Column("key", BYTEWISE, primary_key=True),
    Column("value", BYTEWISE, nullable=False),
)
