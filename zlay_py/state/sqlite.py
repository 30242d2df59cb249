"""SQLite connections as this project wants them: one that only reads, on the hub; one that writes, in a thread.

Durability is `synchronous=FULL` for every transaction. NORMAL would do for the projections alone: a power cut
would take back whole transactions, newest first, rows together with their applied seq, and the log has the rest.
But the same file holds what the log *refers to* and can't restore: with NORMAL a uid or host id that stands in
fsynced log records could vanish and be given to another account or host; a cursor reset could lose its epoch;
a takedown could come undone; and the log drops segments by the applied seq it was told. One extra fsync per
transaction, off the hub, at some tens of transactions a second, is the price.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from zlay_py.errors import ConfigError

T = TypeVar("T")

WRITER_BUSY_S = 10.0
"""How long a write waits for a stranger's lock (a backup, the sqlite3 shell) before StateUnavailableError."""

READER_BUSY_S = 1.0
"""Reads wait for nobody in WAL mode but a recovery. The hub stands still meanwhile: short."""

CACHE_KIB = 65_536
"""Page cache of each of the two connections: about 100,000 account rows and the upper levels of every index."""

WAL_PAGES_MAX = 16_384
"""64 MiB of log before it is copied into the file: random updates hit the same pages again, and cost one copy."""

VERSION_MIN = (3, 35, 0)
"""RETURNING (sqlite.org/lang_returning.html)."""


def connect_writer(path: Path, busy_s: float = WRITER_BUSY_S) -> sqlite3.Connection:
    """Opens, and creates if need be. To be used by the calling native thread only. Raises sqlite3.Error."""
    return _connect(path, busy_s)


def connect_reader(path: Path) -> sqlite3.Connection:
    """The same, for SELECTs only: a write through it is an error. Every statement sees the newest commit."""
    connection = _connect(path, READER_BUSY_S)
    connection.execute("PRAGMA query_only=ON")
    return connection


def _connect(path: Path, busy_s: float) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < VERSION_MIN:
        wanted = ".".join(map(str, VERSION_MIN))
        raise ConfigError(f"Python's SQLite is {sqlite3.sqlite_version}; {wanted} or newer is needed")
    # isolation_level=None: the driver begins no transaction behind our back
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES_MAX}")
        connection.execute(f"PRAGMA journal_size_limit={WAL_PAGES_MAX * 4096}")
    except BaseException:
        connection.close()
        raise
    return connection


def in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Cursor], T]) -> T:
    """BEGIN IMMEDIATE, `work`, COMMIT; ROLLBACK and the error if anything fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        value = work(connection.cursor())
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk makes SQLite roll back by itself
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise
    return value
