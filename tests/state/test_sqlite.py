"""What is SQLite's alone: the writing thread, the file, its locks and its result codes."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from gevent.pool import Pool

from zlay_py.errors import CorruptionError, StorageFailedError, StorageFullError
from zlay_py.state.backend import Cursor
from zlay_py.state.database import Database, Waits
from zlay_py.state.failures import StateUnavailableError
from zlay_py.state.sqlite import SqliteBackend, connect_writer, translate


def put(cursor: Cursor) -> None:
    cursor.execute("INSERT INTO meta VALUES ('a', '')")


def keys(sqlite: SqliteBackend) -> list[str]:
    return [row[0] for row in sqlite.rows("SELECT key FROM meta", ())]


def test_writes_run_in_one_thread_that_is_not_the_hubs(sqlite: SqliteBackend) -> None:
    threads = Pool(20).map(lambda _: sqlite.transaction(lambda _: threading.get_native_id()), range(40))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_native_id()


def test_a_transaction_is_on_disk_when_it_returns(sqlite: SqliteBackend) -> None:
    assert sqlite.transaction(lambda cursor: cursor.execute("PRAGMA synchronous").fetchone()) == (2,), "FULL"
    assert sqlite.transaction(lambda cursor: cursor.execute("PRAGMA journal_mode").fetchone()) == ("wal",)


def test_a_locked_database_is_unavailable_and_then_works(tmp_path: Path) -> None:
    sqlite = SqliteBackend(tmp_path / "relay.sqlite", Waits(lock_s=0.05))
    sqlite.migrate()
    with closing(connect_writer(sqlite.path)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateUnavailableError, match="locked"):
            sqlite.transaction(put)
        assert keys(sqlite) == [], "reads go on"
        stranger.execute("ROLLBACK")
    sqlite.transaction(put)
    assert keys(sqlite) == ["a"]
    sqlite.close()


def test_a_full_disk_loses_nothing_and_the_same_batch_goes_in_later(sqlite: SqliteBackend) -> None:
    def limit(pages: int) -> None:
        sqlite.transaction(lambda cursor: cursor.execute(f"PRAGMA max_page_count={pages}").fetchone())

    batch = [(f"{number}", "x" * 1000) for number in range(100)]

    def work(cursor: Cursor) -> None:
        cursor.executemany("INSERT INTO meta VALUES (?, ?)", batch)

    limit(1)  # SQLite makes it the size that the file has
    with pytest.raises(StorageFullError):
        sqlite.transaction(work)
    assert keys(sqlite) == []
    limit(1_000_000)
    sqlite.transaction(work)
    assert len(keys(sqlite)) == 100


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, StorageFullError),
        (sqlite3.SQLITE_IOERR_FSYNC, StorageFailedError),
        (sqlite3.SQLITE_CORRUPT_VTAB, CorruptionError),
        (sqlite3.SQLITE_NOTADB, CorruptionError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StateUnavailableError),
        (sqlite3.SQLITE_CANTOPEN, StateUnavailableError),
    ],
)
def test_result_codes_become_what_the_caller_must_do(code: int, kind: type[Exception]) -> None:
    error = sqlite3.OperationalError("words")
    error.sqlite_errorcode = code
    failure = translate(error, "/data/relay.sqlite")
    assert type(failure) is kind
    assert "/data/relay.sqlite" in str(failure)


def test_the_folder_is_made(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/deep/down/relay.sqlite")
    database.migrate()
    database.close()
    assert (tmp_path / "deep/down/relay.sqlite").is_file()
