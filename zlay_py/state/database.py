"""The database handle: reads here and now, writes one after the other in a thread of their own.

    hub thread     one()/rows() ──▶ reading connection                    6-8 us for a row by its key
                   transaction() ──▶ ThreadPool(1) ──▶ writing connection    waits, and the hub goes on

A write costs 20-50 us a row and an fsync, which would stop every greenlet; a read by key costs less than handing
it to a thread. The writing thread sees nothing of gevent: no patched lock, no pool, no logging, only the driver.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar, cast

from gevent.threadpool import ThreadPool
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from zlay_py.errors import ConfigError
from zlay_py.state import migrate, sqlite
from zlay_py.state.failures import StateUnavailableError, translate
from zlay_py.state.sql import SqlTexts

T = TypeVar("T")

Cursor: TypeAlias = sqlite3.Cursor
"""What the work of a transaction is given: a DBAPI cursor in the writing thread."""

Row: TypeAlias = tuple[Any, ...]


@dataclass(slots=True)
class _Job(Generic[T]):
    """One transaction on its way through the thread. Errors travel in it: the pool would print every one it sees."""

    work: Callable[[Cursor], T]
    values: list[T] = field(default_factory=list)
    error: Exception | None = None


class Database:
    """One database. To be made and used on the hub's thread, after any fork.

    `url`: `sqlite:///relative/path` or `sqlite:////absolute/path`. Raises ConfigError for any other, and for a
    path that can't be opened; CorruptionError for a file that is no database. `busy_s`: how long a write waits for a
    stranger's lock.
    """

    def __init__(self, url: str, *, busy_s: float = sqlite.WRITER_BUSY_S) -> None:
        self.path = _sqlite_path(url)
        self.sql = SqlTexts("sqlite")
        self._busy_s = busy_s
        self._writer: sqlite3.Connection | None = None
        self._pool = ThreadPool(1)
        self._closed = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._reader = sqlite.connect_reader(self.path)
        except OSError as error:
            raise ConfigError(f"DATABASE_URL: {self.path.parent}: {error.strerror}") from error
        except sqlite3.Error as error:
            failure = translate(error, str(self.path))
            if isinstance(failure, StateUnavailableError):
                raise ConfigError(f"DATABASE_URL: {failure}") from error
            raise failure from error

    def migrate(self) -> None:
        """Brings the schema up to date. To be called at start, before the hub has other work: it blocks.

        Safe to call again, and in two processes at once. Raises ConfigError for a schema of a newer version.
        """
        try:
            migrate.upgrade(self.path)
        except sqlite3.Error as error:
            raise translate(error, str(self.path)) from error

    def one(self, text: str, parameters: tuple[object, ...] = ()) -> Row | None:
        """The first row, read on the spot. For point reads: the hub waits."""
        try:
            return cast(Row | None, self._reader.execute(text, parameters).fetchone())
        except sqlite3.Error as error:
            raise translate(error, str(self.path)) from error

    def rows(self, text: str, parameters: tuple[object, ...] = ()) -> list[Row]:
        """All rows, read on the spot. For pages with a LIMIT: 1,000 rows take about 2 ms."""
        try:
            return self._reader.execute(text, parameters).fetchall()
        except sqlite3.Error as error:
            raise translate(error, str(self.path)) from error

    def transaction(self, work: Callable[[Cursor], T]) -> T:
        """Runs `work` in the writing thread as one transaction; returns its value once that is on disk.

        The greenlet waits; transactions run in the order in which they were asked for. A greenlet that is killed
        while it waits does not stop its transaction. Raises StorageFullError or StateUnavailableError (nothing was
        changed: try again), StateRuleError, StorageFailedError, CorruptionError, and what `work` raises.
        """
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
        """Waits for the transactions that were asked for, then closes. A second call does nothing."""
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
                self._writer = sqlite.connect_writer(self.path, self._busy_s)
            job.values.append(sqlite.in_transaction(self._writer, job.work))
        except Exception as error:
            job.error = error

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _sqlite_path(url: str) -> Path:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError("DATABASE_URL is not a database URL; sqlite:///path is one") from error
    if parsed.get_backend_name() != "sqlite":
        raise ConfigError(f"DATABASE_URL: {parsed.drivername} is not supported by this version; sqlite:///path is")
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigError("DATABASE_URL: a database in memory is lost at every stop; name a file")
    return Path(parsed.database)
