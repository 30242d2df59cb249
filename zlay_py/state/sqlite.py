"""SQLite as this project wants it: a connection that only reads, on the hub; one that writes, in a thread.

    hub thread     one()/rows() ──▶ reading connection                    6-8 us for a row by its key
                   transaction() ──▶ ThreadPool(1) ──▶ writing connection    waits, and the hub goes on

A write costs 20-50 us a row and an fsync, which would stop every greenlet; a read by key costs less than handing
it to a thread. The writing thread sees nothing of gevent: no patched lock, no pool, no logging, only the driver.

Durability is `synchronous=FULL` for every transaction. NORMAL would do for the projections alone: a power cut
would take back whole transactions, newest first, rows together with their applied seq, and the log has the rest.
But the same file holds what the log *refers to* and can't restore: with NORMAL a uid or host id that stands in
fsynced log records could vanish and be given to another account or host; a cursor reset could lose its epoch;
a takedown could come undone; and the log drops segments by the applied seq it was told. One extra fsync per
transaction, off the hub, at some tens of transactions a second, is the price.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from gevent.threadpool import ThreadPool
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import NullPool

from zlay_py.errors import ConfigError, CorruptionError, LocalError, StorageFailedError, StorageFullError
from zlay_py.state import migrate
from zlay_py.state.backend import Cursor, Row, Waits
from zlay_py.state.failures import StateRuleError, StateUnavailableError
from zlay_py.state.sql import SqlTexts

T = TypeVar("T")

READER_BUSY_S = 1.0
"""Reads wait for nobody in WAL mode but a recovery. The hub stands still meanwhile: short."""

CACHE_KIB = 65_536
"""Page cache of each of the two connections: about 100,000 account rows and the upper levels of every index."""

WAL_PAGES_MAX = 16_384
"""64 MiB of log before it is copied into the file: random updates hit the same pages again, and cost one copy."""

VERSION_MIN = (3, 35, 0)
"""RETURNING (sqlite.org/lang_returning.html)."""

_PRIMARY_CODE_MASK = 0xFF
"""SQLite's extended result codes carry the primary one in the low byte (sqlite.org/rescode.html)."""


class SqliteCursor(sqlite3.Cursor):
    """Without a server there are no round trips to save: many is one after the other."""

    def insert_many(self, text: str, rows: Iterable[Sequence[Any]]) -> list[Row]:
        returned: list[Row] = []
        for row in rows:
            returned += self.execute(text, row).fetchall()
        return returned


@dataclass(slots=True)
class _Job(Generic[T]):
    """One transaction on its way through the thread. Errors travel in it: the pool would print every one it sees."""

    work: Callable[[Cursor], T]
    values: list[T] = field(default_factory=list)
    error: Exception | None = None


class SqliteBackend:
    """One file. Raises ConfigError where it can't be opened, CorruptionError where it is no database."""

    def __init__(self, path: Path, waits: Waits) -> None:
        self.path = path
        self.sql = SqlTexts("sqlite")
        self._busy_s = waits.lock_s
        self._writer: sqlite3.Connection | None = None
        self._pool = ThreadPool(1)
        self._closed = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._reader = connect_reader(path)
        except OSError as error:
            raise ConfigError(f"DATABASE_URL: {path.parent}: {error.strerror}") from error
        except sqlite3.Error as error:
            failure = translate(error, str(path))
            if isinstance(failure, StateUnavailableError):
                raise ConfigError(f"DATABASE_URL: {failure}") from error
            raise failure from error

    def migrate(self) -> None:
        try:
            upgrade(self.path)
        except sqlite3.Error as error:
            raise translate(error, str(self.path)) from error

    def one(self, text: str, parameters: tuple[object, ...]) -> Row | None:
        try:
            return cast(Row | None, self._reader.execute(text, parameters).fetchone())
        except sqlite3.Error as error:
            raise translate(error, str(self.path)) from error

    def rows(self, text: str, parameters: tuple[object, ...]) -> list[Row]:
        try:
            return self._reader.execute(text, parameters).fetchall()
        except sqlite3.Error as error:
            raise translate(error, str(self.path)) from error

    def transaction(self, work: Callable[[Cursor], T]) -> T:
        if self._closed:
            raise StateUnavailableError(f"{self.path}: closed")
        job = _Job(work)
        self._pool.spawn(self._run, job).get()
        if isinstance(job.error, sqlite3.Error):
            raise translate(job.error, str(self.path)) from job.error
        if job.error is not None:
            raise job.error
        return job.values[0]

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._pool.spawn(self._close_writer).get()
        self._pool.kill()
        self._reader.close()

    def _run(self, job: _Job[T]) -> None:
        """In the writing thread, always the same one: its connection refuses any other."""
        try:
            if self._writer is None:
                self._writer = connect_writer(self.path, self._busy_s)
            job.values.append(in_transaction(self._writer, job.work))
        except Exception as error:
            job.error = error

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()


def connect_writer(path: Path, busy_s: float = Waits.lock_s) -> sqlite3.Connection:
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


def in_transaction(connection: sqlite3.Connection, work: Callable[[Cursor], T]) -> T:
    """BEGIN IMMEDIATE, `work`, COMMIT; ROLLBACK and the error if anything fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        value = work(connection.cursor(SqliteCursor))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk makes SQLite roll back by itself
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise
    return value


def upgrade(path: Path) -> None:
    """Brings the file to `migrate.head()`. Raises sqlite3.Error, and ConfigError where a newer version was here.

    SQLite's DDL is transactional, and so is BEGIN IMMEDIATE: the second of two processes waits there for the first.
    """
    if revision_of(path) == migrate.head():
        return  # without a write lock: a start must not wait for a backup that is running
    engine = create_engine("sqlite://", creator=lambda: connect_writer(path), poolclass=NullPool)
    event.listen(engine, "begin", _begin_immediate)
    try:
        migrate.upgrade(engine, str(path))
    finally:
        engine.dispose()


def revision_of(path: Path) -> str | None:
    """The revision a database is at; None for a new one. Raises sqlite3.Error."""
    with contextlib.closing(connect_writer(path)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
                return None
            raise
    return None if row is None else str(row[0])


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def translate(error: sqlite3.Error, where: str) -> LocalError:
    """Our error for one of SQLite's. `where`: the database file, for the message."""
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE_MASK
    if code == sqlite3.SQLITE_FULL:
        return StorageFullError(f"{where}: {error}")
    if code == sqlite3.SQLITE_IOERR:
        return StorageFailedError(f"{where}: {error}")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CorruptionError(f"{where}: {error}. Stop the relay and put a backup of this file in its place.")
    if isinstance(error, sqlite3.OperationalError):
        return StateUnavailableError(f"{where}: {error}")
    return StateRuleError(f"{where}: {error}")
