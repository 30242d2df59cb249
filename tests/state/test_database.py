"""The handle: what a transaction is, whichever database takes it, and which error is whose."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import gevent
import pytest

from tests.support.gates import Gate
from zlay_py.errors import ConfigError
from zlay_py.state.database import Cursor, Database
from zlay_py.state.failures import StateRuleError, StateUnavailableError
from zlay_py.state.meta import MetaStore

Gates = Callable[[], Gate]


def put(key: str, value: str = "") -> Callable[[Cursor], None]:
    def work(cursor: Cursor) -> None:
        cursor.execute(f"INSERT INTO meta VALUES ('{key}', '{value}')")

    return work


def keys(database: Database) -> list[str]:
    """In the order in which they were put."""
    order = "rowid" if database.sql.name == "sqlite" else "ctid"
    return [row[0] for row in database.rows(f"SELECT key FROM meta ORDER BY {order}")]


def twice_the_same(cursor: Cursor) -> None:
    put("b")(cursor)
    put("b")(cursor)


def test_the_hub_goes_on_while_a_transaction_runs(database: Database, gates: Gates) -> None:
    """The transaction waits for something that only another greenlet can do."""
    gate = gates()
    writer = gevent.spawn(database.transaction, gate.hold)
    assert gate.reached.wait(10)
    assert keys(database) == [], "and so do reads"
    gevent.spawn(gate.open)
    writer.get(timeout=10)


def test_a_transaction_is_readable_when_it_returns_and_not_before(database: Database, gates: Gates) -> None:
    gate = gates()

    def work(cursor: Cursor) -> str:
        put("a")(cursor)
        gate.hold()
        return "done"

    writer = gevent.spawn(database.transaction, work)
    assert gate.reached.wait(10)
    assert keys(database) == []
    gate.open()
    assert writer.get(timeout=10) == "done"
    assert keys(database) == ["a"]


def test_transactions_run_in_the_order_in_which_they_were_asked_for(database: Database) -> None:
    gevent.joinall([gevent.spawn(database.transaction, put(f"{number:03}")) for number in range(50)], raise_error=True)
    assert keys(database) == [f"{number:03}" for number in range(50)]


def test_an_error_takes_back_the_whole_transaction(database: Database) -> None:
    def work(cursor: Cursor) -> None:
        put("a")(cursor)
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        database.transaction(work)
    with pytest.raises(StateRuleError, match=r"(?i)unique"):
        database.transaction(twice_the_same)
    database.transaction(put("c"))
    assert keys(database) == ["c"]


def test_errors_of_transactions_are_not_printed(database: Database, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StateRuleError):
        database.transaction(twice_the_same)
    assert capfd.readouterr().err == ""


def test_a_killed_greenlet_does_not_stop_its_transaction(database: Database, gates: Gates) -> None:
    gate = gates()

    def work(cursor: Cursor) -> None:
        put("a")(cursor)
        gate.hold()

    writer = gevent.spawn(database.transaction, work)
    assert gate.reached.wait(10)
    writer.kill()
    gate.open()
    database.transaction(put("b"))
    assert keys(database) == ["a", "b"]


def test_a_read_leaves_no_snapshot_behind(database: Database) -> None:
    """`one` takes the first of many rows; a statement left open would go on seeing the table as it was."""
    for key in "abc":
        database.transaction(put(key))
    assert database.one("SELECT key FROM meta ORDER BY key") == ("a",)
    database.transaction(lambda cursor: cursor.execute("DELETE FROM meta"))
    assert database.one("SELECT key FROM meta ORDER BY key") is None


def test_what_reads_can_not_write(database: Database) -> None:
    with pytest.raises(StateUnavailableError, match=r"(?i)read-?only"):
        database.rows("DELETE FROM meta")


def test_a_wrong_statement_is_a_bug_and_breaks_nothing(database: Database) -> None:
    for _ in range(10):
        with pytest.raises((StateRuleError, StateUnavailableError)):  # SQLite calls it an operational error
            database.one("SELECT nothing FROM meta")
        with pytest.raises((StateRuleError, StateUnavailableError)):
            database.transaction(lambda cursor: cursor.execute("SELECT nothing FROM meta"))
    database.transaction(put("a"))
    assert keys(database) == ["a"]


def test_bytes_booleans_and_numbers_come_back_as_they_went(database: Database) -> None:
    data = bytes(range(256))

    def work(cursor: Cursor) -> None:
        cursor.execute("CREATE TABLE kinds (id BIGINT, data " + ("BLOB" if sqlite else "BYTEA") + ", word TEXT)")
        text = "INSERT INTO kinds VALUES (?, ?, ?)"
        text = text if sqlite else text.replace("?", "%s")
        cursor.execute(text, (2**63 - 1, data, 'it\'s 100 % \\ "é"'))
        cursor.executemany(text, [(1, None, None), (2, data, "%s")])

    sqlite = database.sql.name == "sqlite"
    database.transaction(work)
    assert database.rows("SELECT id, data, word FROM kinds ORDER BY id") == [
        (1, None, None),
        (2, data, "%s"),
        (2**63 - 1, data, 'it\'s 100 % \\ "é"'),
    ]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "relay.sqlite",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://root:secret@db/relay",
        "postgresql+psycopg2://relay:secret@db/relay",
        "postgresql://relay:secret%@db/relay",
        "postgresql://relay:x@db/relay?password=secret&nonsense=1",
        "sqlite:////proc/nowhere/relay.sqlite",
    ],
)
def test_other_urls_are_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL") as caught:
        Database(url)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(caught.value.__cause__)


def test_close_waits_for_what_was_asked_for(database_url: str) -> None:
    database = Database(database_url)
    writers = [gevent.spawn(database.transaction, put(f"{number}")) for number in range(20)]
    gevent.idle()
    database.close()
    gevent.joinall(writers, raise_error=True)
    database.close()
    with pytest.raises(StateUnavailableError, match="closed"):
        database.transaction(put("late"))
    again = Database(database_url)
    assert len(keys(again)) == 20
    again.close()


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
def counting(database_url: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", COUNT_FOR_EVER, database_url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()


def test_kill_9_loses_no_transaction_that_returned(counting: subprocess.Popen[str], database_url: str) -> None:
    assert counting.stdout is not None
    told = 0
    while told < 50:
        told = int(counting.stdout.readline())
    counting.send_signal(signal.SIGKILL)
    counting.wait()
    told = max([told, *(int(line) for line in counting.stdout.read().split())])
    counting.stdout.close()
    database = Database(database_url)
    database.migrate()
    # a server may still be at what it was sent
    found = database.transaction(lambda cursor: cursor.execute("SELECT value FROM meta FOR UPDATE").fetchone()) if (
        database.sql.name != "sqlite"
    ) else (str(MetaStore(database).applied_seq()),)  # fmt: skip
    assert int(found[0]) in (told, told + 1)
    database.close()
