"""The handle: where statements run, what a transaction is, which error is whose."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import gevent
import pytest
from gevent.event import Event
from gevent.pool import Pool

from zlay_py.errors import ConfigError, CorruptionError, StorageFailedError, StorageFullError
from zlay_py.state.database import Cursor, Database
from zlay_py.state.failures import StateRuleError, StateUnavailableError, translate
from zlay_py.state.meta import MetaStore
from zlay_py.state.sqlite import connect_writer


def put(key: str, value: str = "") -> Callable[[Cursor], None]:
    def work(cursor: Cursor) -> None:
        cursor.execute("INSERT INTO meta VALUES (?, ?)", (key, value))

    return work


def keys(database: Database) -> list[str]:
    return [row[0] for row in database.rows("SELECT key FROM meta ORDER BY rowid")]


def test_writes_run_in_one_thread_that_is_not_the_hubs(database: Database) -> None:
    threads = Pool(20).map(lambda _: database.transaction(lambda _: threading.get_native_id()), range(40))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_native_id()


def test_the_hub_goes_on_while_a_transaction_runs(database: Database) -> None:
    """The transaction waits for something that only another greenlet can do."""
    may_end = os.pipe()
    writer = gevent.spawn(database.transaction, lambda _: os.read(may_end[0], 1))
    gevent.spawn(os.write, may_end[1], b"x")
    assert writer.get(timeout=10) == b"x"
    os.close(may_end[0])
    os.close(may_end[1])


def test_a_transaction_is_on_disk_and_readable_when_it_returns(database: Database) -> None:
    assert database.transaction(lambda cursor: cursor.execute("PRAGMA synchronous").fetchone()) == (2,), "FULL"
    assert database.transaction(lambda cursor: cursor.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    database.transaction(put("a"))
    assert keys(database) == ["a"]


def test_transactions_run_in_the_order_in_which_they_were_asked_for(database: Database) -> None:
    gevent.joinall([gevent.spawn(database.transaction, put(f"{number:03}")) for number in range(50)], raise_error=True)
    assert keys(database) == [f"{number:03}" for number in range(50)]


def test_an_error_takes_back_the_whole_transaction(database: Database) -> None:
    def work(cursor: Cursor) -> None:
        cursor.execute("INSERT INTO meta VALUES ('a', '')")
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        database.transaction(work)
    with pytest.raises(StateRuleError, match="UNIQUE"):
        database.transaction(lambda cursor: cursor.executemany("INSERT INTO meta VALUES (?, '')", [("b",), ("b",)]))
    database.transaction(put("c"))
    assert keys(database) == ["c"]


def test_errors_of_transactions_are_not_printed(database: Database, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StateRuleError):
        database.transaction(lambda cursor: cursor.executemany("INSERT INTO meta VALUES (?, '')", [("b",), ("b",)]))
    assert capfd.readouterr().err == ""


def test_a_killed_greenlet_does_not_stop_its_transaction(database: Database) -> None:
    may_end = os.pipe()
    started = gevent.get_hub().loop.async_()
    begun = Event()
    started.start(begun.set)

    def work(cursor: Cursor) -> None:
        cursor.execute("INSERT INTO meta VALUES ('a', '')")
        started.send()
        os.read(may_end[0], 1)

    writer = gevent.spawn(database.transaction, work)
    assert begun.wait(10)
    writer.kill()
    os.write(may_end[1], b"x")
    database.transaction(put("b"))
    assert keys(database) == ["a", "b"]
    started.close()
    os.close(may_end[0])
    os.close(may_end[1])


def test_a_read_leaves_no_snapshot_behind(database: Database) -> None:
    """`one` takes the first of many rows; a statement left open would go on seeing the table as it was."""
    for key in "abc":
        database.transaction(put(key))
    assert database.one("SELECT key FROM meta ORDER BY key") == ("a",)
    database.transaction(lambda cursor: cursor.execute("DELETE FROM meta"))
    assert database.one("SELECT key FROM meta ORDER BY key") is None


def test_the_reading_connection_can_not_write(database: Database) -> None:
    with pytest.raises(StateUnavailableError, match="readonly"):
        database.rows("DELETE FROM meta")


def test_a_locked_database_is_unavailable_and_then_works(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/relay.sqlite", busy_s=0.05)
    database.migrate()
    with closing(connect_writer(database.path)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateUnavailableError, match="locked"):
            database.transaction(put("a"))
        assert keys(database) == [], "reads go on"
        stranger.execute("ROLLBACK")
    database.transaction(put("a"))
    assert keys(database) == ["a"]
    database.close()


def test_a_full_disk_loses_nothing_and_the_same_batch_goes_in_later(database: Database) -> None:
    def limit(pages: int) -> None:
        database.transaction(lambda cursor: cursor.execute(f"PRAGMA max_page_count={pages}").fetchone())

    batch = [(f"{number}", "x" * 1000) for number in range(100)]

    def work(cursor: Cursor) -> None:
        cursor.executemany("INSERT INTO meta VALUES (?, ?)", batch)

    limit(1)  # SQLite makes it the size that the file has
    with pytest.raises(StorageFullError):
        database.transaction(work)
    assert keys(database) == []
    limit(1_000_000)
    database.transaction(work)
    assert len(keys(database)) == 100


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


@pytest.mark.parametrize(
    "url",
    [
        "",
        "relay.sqlite",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://root:secret@db/relay",
        "postgresql+psycopg2://relay:secret@db/relay",
        "sqlite:////proc/nowhere/relay.sqlite",
    ],
)
def test_other_urls_are_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL") as caught:
        Database(url)
    assert "secret" not in str(caught.value)


def test_the_folder_is_made(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/deep/down/relay.sqlite")
    database.migrate()
    database.close()
    assert (tmp_path / "deep/down/relay.sqlite").is_file()


def test_close_waits_for_what_was_asked_for(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/relay.sqlite")
    database.migrate()
    writers = [gevent.spawn(database.transaction, put(f"{number}")) for number in range(20)]
    gevent.idle()
    database.close()
    gevent.joinall(writers, raise_error=True)
    database.close()
    with pytest.raises(StateUnavailableError, match="closed"):
        database.transaction(put("late"))
    with closing(sqlite3.connect(tmp_path / "relay.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM meta").fetchone() == (20,)


COUNT_FOR_EVER = """
import sys
from zlay_py.state.database import Database
from zlay_py.state.meta import MetaStore
database = Database(sys.argv[1])
database.migrate()
meta = MetaStore(database)
number = 0
while True:
    number += 1
    meta.save_applied_seq("state", number)
    print(number, flush=True)
"""


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", COUNT_FOR_EVER, f"sqlite:///{tmp_path}/relay.sqlite"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()


def test_kill_9_loses_no_transaction_that_returned(counting: subprocess.Popen[str], tmp_path: Path) -> None:
    assert counting.stdout is not None
    told = 0
    while told < 50:
        told = int(counting.stdout.readline())
    counting.send_signal(signal.SIGKILL)
    counting.wait()
    told = max([told, *(int(line) for line in counting.stdout.read().split())])
    counting.stdout.close()
    database = Database(f"sqlite:///{tmp_path}/relay.sqlite")
    database.migrate()
    assert MetaStore(database).applied_seq() in (told, told + 1)
    database.close()
