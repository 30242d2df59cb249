"""The database handle: one interface over the two databases that there are.

Reads of SQLite are done on the spot; those of a server give up the hub while they wait, and other greenlets run:
whoever reads must not rely on what it knew before. Writes go one after the other, in the order in which they were
asked for, through one connection that nothing else uses; the greenlet waits, the hub goes on.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from zlay_py.errors import ConfigError
from zlay_py.state.backend import Backend, Cursor, Row, Waits
from zlay_py.state.postgres import PostgresBackend
from zlay_py.state.sqlite import SqliteBackend

__all__ = ["Cursor", "Database", "Row", "Waits"]

T = TypeVar("T")

POSTGRESQL = ("postgresql://", "postgres://")


class Database:
    """One database. To be made and used on the hub's thread, after any fork.

    `url`: `sqlite:///relative/path`, `sqlite:////absolute/path`, or an address of PostgreSQL as libpq takes it,
    `postgresql://user:password@host:port/name` (a server is not asked before it is needed). Raises ConfigError for
    any other, and for a path that can't be opened; CorruptionError for a file that is no database.
    """

    def __init__(self, url: str, waits: Waits = Waits()) -> None:  # noqa: B008  it is frozen
        self.backend: Backend
        if url.startswith(POSTGRESQL):
            self.backend = PostgresBackend(url, waits)
        else:
            self.backend = SqliteBackend(_sqlite_path(url), waits)
        self.sql = self.backend.sql

    def migrate(self) -> None:
        """Brings the schema up to date. To be called at start, before there is other work: SQLite's blocks the hub.

        Safe to call again, and in two processes at once. Raises ConfigError for a schema of a newer version.
        """
        self.backend.migrate()

    def one(self, text: str, parameters: tuple[object, ...] = ()) -> Row | None:
        """The first row. For point reads.

        Sees every transaction that has returned. Raises StateUnavailableError, CorruptionError, and StateRuleError
        for a statement that is wrong.
        """
        return self.backend.one(text, parameters)

    def rows(self, text: str, parameters: tuple[object, ...] = ()) -> list[Row]:
        """All rows, as `one`. For pages with a LIMIT: 1,000 rows take about 2 ms."""
        return self.backend.rows(text, parameters)

    def transaction(self, work: Callable[[Cursor], T]) -> T:
        """Runs `work` as one transaction; returns its value once that is on disk.

        Transactions run in the order in which they were asked for, and each sees all before it. A greenlet that is
        killed while it waits does not stop its transaction. `work` runs in another thread or greenlet, and does
        nothing but SQL. Raises StorageFullError or StateUnavailableError (try again), StateRuleError,
        StorageFailedError, CorruptionError, and what `work` raises.
        """
        return self.backend.transaction(work)

    def close(self) -> None:
        """Waits for the transactions that were asked for, then closes. A second call does nothing."""
        self.backend.close()


def _sqlite_path(url: str) -> Path:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError("DATABASE_URL is not a database URL; sqlite:///path is one") from error
    if parsed.get_backend_name() != "sqlite":
        raise ConfigError(
            f"DATABASE_URL: {parsed.drivername} is not supported; sqlite:///path and postgresql://user@host/name are"
        )
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigError("DATABASE_URL: a database in memory is lost at every stop; name a file")
    return Path(parsed.database)
