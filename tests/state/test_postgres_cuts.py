"""A connection that is cut at any point: what returned is there once, what did not is there once or not at all, and
nobody gets another's answer."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import gevent
import gevent.socket
import pytest
from gevent.pool import Group, Pool

from tests.support.gates import until
from tests.support.postgres import PostgresServer
from zlay_py.state.accounts import AccountRow, AccountStore
from zlay_py.state.backend import Cursor
from zlay_py.state.database import Database, Waits
from zlay_py.state.failures import StateUnavailableError
from zlay_py.state.hosts import HostStore
from zlay_py.state.postgres import PostgresBackend

WAITS = Waits(lock_s=1.0, read_s=5.0, write_s=5.0, connect_s=2.0, retry_s=0.01)
CUTS_MAX = 100

T = TypeVar("T")


class Wire:
    """Between us and a server. The `cut_after`-th piece that comes is the last; it gets through if `through` is set."""

    def __init__(self, port: int) -> None:
        self.pieces = 0
        self.cut_after = -1
        self.through = False
        self._target = port
        self._listener = gevent.socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._greenlets = Group()
        self._greenlets.spawn(self._run)

    def cut(self, after: int, *, through: bool) -> None:
        self.pieces, self.cut_after, self.through = 0, after, through

    def close(self) -> None:
        self._greenlets.kill()
        self._listener.close()

    def _run(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = gevent.socket.create_connection(("127.0.0.1", self._target))
            for one, other in ((near, far), (far, near)):
                self._greenlets.spawn(self._pump, one, other)

    def _pump(self, source: gevent.socket.socket, sink: gevent.socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                self.pieces += 1
                last = self.pieces == self.cut_after
                if not last or self.through:
                    sink.sendall(data)
                if last:
                    break
        except OSError:
            pass
        finally:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(gevent.socket.SHUT_RDWR)
                end.close()


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    made = postgres.new_url()
    yield made
    postgres.drop(made)


@pytest.fixture
def wire(url: str) -> Iterator[Wire]:
    made = Wire(int(url.partition("@")[2].partition(":")[2].partition("/")[0]))
    yield made
    made.close()


@pytest.fixture
def database(url: str, wire: Wire) -> Iterator[Database]:
    place = url.partition("@")[2].partition("/")[0]
    opened = Database(url.replace(place, f"127.0.0.1:{wire.port}") + "?sslmode=disable", WAITS)
    yield opened
    opened.close()


def every_cut(wire: Wire, database: Database, attempt: Callable[[], object]) -> int:
    """Does it with the wire cut ever later, until it comes through without a cut: with the connection that is there,
    and with one to be made. Returns how many cuts there were."""
    assert isinstance(database.backend, PostgresBackend)
    cuts = 0
    for through in (False, True):
        for new in (False, True):
            for after in range(1, CUTS_MAX):
                wire.cut(-1, through=True)
                again(lambda: database.transaction(lambda _: None))
                if new:
                    database.backend._writer._disconnect()
                wire.cut(after, through=through)
                attempt()
                if wire.pieces < after:
                    break
                cuts += 1
            else:
                raise AssertionError("it never came through")
    wire.cut(-1, through=True)
    again(lambda: database.transaction(lambda _: None))
    return cuts


def again(work: Callable[[], T]) -> T:
    """As the loops do it."""
    with gevent.Timeout(30):
        while True:
            try:
                return work()
            except StateUnavailableError:
                gevent.sleep(WAITS.retry_s)


def test_a_transaction_is_there_if_it_returned_and_once_if_it_did_not(
    database: Database, wire: Wire, postgres: PostgresServer, url: str
) -> None:
    returned: list[str] = []
    asked: list[str] = []

    def attempt() -> None:
        asked.append(f"{len(asked):03}")
        key = asked[-1]

        def work(cursor: Cursor) -> None:
            cursor.executemany("INSERT INTO meta VALUES (%s, %s)", [(key, ""), (f"{key} too", "")])
            cursor.execute("SELECT 1")

        try:
            database.transaction(work)
            returned.append(key)
        except StateUnavailableError:
            pass

    assert every_cut(wire, database, attempt) > 40
    idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE '%%transaction%%'"
    until(lambda: postgres.ask(idle, url=url) == [(0,)])
    found = [str(row[0]) for row in database.rows("SELECT key FROM meta ORDER BY ctid")]
    whole = [key for key in found if not key.endswith("too")]
    assert set(returned) <= set(whole) <= set(asked)
    assert found == [name for key in whole for name in (key, f"{key} too")], "in their order, and none by half"
    assert whole == sorted(whole)


def test_rows_are_made_and_counted_once_though_each_is_asked_for_until_it_is_told(
    database: Database, wire: Wire
) -> None:
    hosts, accounts = HostStore(database), AccountStore(database)
    host = hosts.upsert("a.test", True, now_us=1)
    made: list[AccountRow] = []

    def attempt() -> None:
        did = f"did:plc:{len(made)}"
        made.append(again(lambda: accounts.create(did, host.id, 1)))

    assert every_cut(wire, database, attempt) > 40
    assert accounts.page(0, 1_000) == made
    assert [row.account_count for row in hosts.all()] == [len(made)]


def test_nobody_gets_the_answer_to_another_question(database: Database, wire: Wire) -> None:
    def ask(number: int) -> int | None:
        try:
            row = database.one("SELECT %s::bigint", (number,))
        except StateUnavailableError:
            return None
        assert row is not None
        return int(row[0])

    answered = 0
    for after in range(1, 40):
        wire.cut(after, through=after % 2 == 0)
        answers = Pool(20).map(ask, range(20))
        assert all(answer in (None, number) for number, answer in enumerate(answers))
        answered += sum(answer is not None for answer in answers)
        again(lambda: database.one("SELECT 1"))
    assert answered > 200
