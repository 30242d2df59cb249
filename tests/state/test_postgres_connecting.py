"""Where the connections go: names, several addresses, servers that say no in their own words or say nothing at all."""

import struct
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import gevent
import gevent.socket
import pytest

from tests.support.gates import until
from tests.support.postgres import PostgresServer
from zlay_py.errors import ConfigError
from zlay_py.net.failures import FailureKind, failure
from zlay_py.state.backend import Cursor
from zlay_py.state.database import Database, Waits
from zlay_py.state.failures import StateUnavailableError
from zlay_py.state.postgres import PostgresBackend
from zlay_py.state.postgres_connection import Address, Place

QUICK = Waits(lock_s=0.2, read_s=2.0, write_s=2.0, connect_s=0.3, retry_s=0.02)


class FalseServer:
    """Takes connections, and answers each with the same bytes; None: with nothing, and stays."""

    def __init__(self, answer: bytes | None) -> None:
        self.connections: list[gevent.socket.socket] = []
        self._answer = answer
        self._listener = gevent.socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._greenlet = gevent.spawn(self._run)

    def close(self) -> None:
        self._greenlet.kill()
        for each in (self._listener, *self.connections):
            each.close()

    def _run(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            self.connections.append(connection)
            if self._answer is not None:
                connection.recv(1024)
                connection.sendall(self._answer)
                connection.shutdown(gevent.socket.SHUT_WR)


@pytest.fixture
def false_server() -> Iterator[Callable[[bytes | None], FalseServer]]:
    made: list[FalseServer] = []

    def server(answer: bytes | None) -> FalseServer:
        made.append(FalseServer(answer))
        return made[-1]

    yield server
    for one in made:
        one.close()


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    made = postgres.new_url()
    yield made
    postgres.drop(made)


def put(key: str) -> Callable[[Cursor], None]:
    def work(cursor: Cursor) -> None:
        cursor.execute("INSERT INTO meta VALUES (%s, '')", (key,))

    return work


def addresses(name: str) -> list[str]:
    if name == "nowhere.test":
        raise failure(FailureKind.NAME_UNKNOWN, name)
    return {"two.test": ["10.0.0.1", "fd00::1"]}.get(name, [name])


def test_names_are_looked_up_without_libpq() -> None:
    def places(url: str) -> list[Place]:
        return Address(url, addresses).places()

    assert places("postgresql://u@two.test:5433/relay") == [
        Place("two.test", "10.0.0.1", "5433"),
        Place("two.test", "fd00::1", "5433"),
    ]
    assert places("postgresql://u@two.test,10.0.0.3/relay?port=1,2") == [
        Place("two.test", "10.0.0.1", "1"),
        Place("two.test", "fd00::1", "1"),
        Place("10.0.0.3", "10.0.0.3", "2"),
    ]
    assert places("postgresql://u@10.0.0.3,nowhere.test:7/relay?port=7") == [Place("10.0.0.3", "10.0.0.3", "7")]
    assert places("postgresql:///relay?host=/run/postgresql") == [Place("/run/postgresql", "", "")]
    assert places("postgresql:///relay?hostaddr=10.0.0.4&host=db.test") == [Place("db.test", "10.0.0.4", "")]
    with pytest.raises(StateUnavailableError, match=r"nowhere\.test"):
        places("postgresql://u:secret@nowhere.test/relay")


def test_libpq_is_told_name_and_address() -> None:
    address = Address("postgresql://u:secret@two.test:5433/relay?sslmode=verify-full&keepalives_idle=7", addresses)
    told = address.parameters(address.places()[0])
    assert (told["host"], told["hostaddr"], told["port"]) == ("two.test", "10.0.0.1", "5433")
    assert (told["sslmode"], told["keepalives_idle"], told["client_encoding"]) == ("verify-full", "7", "UTF8")
    assert "hostaddr" not in Address("postgresql:///relay?host=/run/postgresql").parameters(Place("/run", "", ""))


@pytest.mark.parametrize("name", [f"{'a' * 70}.test", "nowhere.invalid", "%C3%A4.test", "a..test"])
def test_a_name_that_nobody_has_is_told_as_one(name: str) -> None:
    database = Database(f"postgresql://u@{name}/relay", QUICK)
    with pytest.raises(StateUnavailableError, match="PostgreSQL at "):
        database.one("SELECT 1")
    database.close()


def test_an_address_that_does_not_answer_is_passed_over_and_remembered(
    url: str, false_server: Callable[[bytes | None], FalseServer]
) -> None:
    silent = false_server(None)
    database = Database(url.replace("@127.0.0.1", f"@127.0.0.1:{silent.port},127.0.0.1"), QUICK)
    database.transaction(put("a"))
    with gevent.Timeout(QUICK.connect_s):
        assert database.rows("SELECT key FROM meta") == [("a",)]
    assert len(silent.connections) == 1
    database.close()


def test_all_that_were_asked_are_told_of(false_server: Callable[[bytes | None], FalseServer]) -> None:
    first, second = false_server(None), false_server(b"nonsense")
    database = Database(f"postgresql://u@127.0.0.1:{first.port},127.0.0.1:{second.port}/relay", QUICK)
    with pytest.raises(StateUnavailableError, match=r"no connection within 0\.3 s; .*nonsense|no connection.*; "):
        database.one("SELECT 1")
    database.close()


def test_a_refusal_in_another_encoding_is_one_all_the_same(
    false_server: Callable[[bytes | None], FalseServer],
) -> None:
    """Before a session has an encoding, a server speaks in its own."""
    fields = b"SFATAL\0VFATAL\0C28P01\0M" + "Passwort für »relay« falsch".encode("latin-1") + b"\0\0"
    server = false_server(b"E" + struct.pack("!I", len(fields) + 4) + fields)
    backend = PostgresBackend(f"postgresql://relay@127.0.0.1:{server.port}/relay?sslmode=disable", QUICK)
    with pytest.raises(StateUnavailableError, match="Passwort f"):
        backend.one("SELECT 1", ())
    until(lambda: len(server.connections) > 3)  # and it is looked for again and again
    backend.close()


def test_nothing_is_looked_for_after_the_end(false_server: Callable[[bytes | None], FalseServer]) -> None:
    server = false_server(None)
    backend = PostgresBackend(f"postgresql://relay@127.0.0.1:{server.port}/relay", QUICK)
    failures: list[str] = []

    def read() -> None:
        try:
            backend.one("SELECT 1", ())
        except StateUnavailableError as error:
            failures.append(str(error))

    reader = gevent.spawn(read)
    until(lambda: server.connections)
    backend.close()
    reader.join(10)
    assert len(failures) == 1
    assert backend._connector._probe is None


def test_a_database_of_another_encoding_is_refused(postgres: PostgresServer) -> None:
    postgres.ask("CREATE DATABASE zlay_test_latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    database = Database(postgres.url("zlay_test_latin"))
    with pytest.raises(ConfigError, match="LATIN1; UTF8 is needed"):
        database.migrate()
    database.close()
    postgres.drop(postgres.url("zlay_test_latin"))


def test_an_operator_may_forbid_to_write(url: str, postgres: PostgresServer) -> None:
    """As some do by themselves when a disk is nearly full. It passes, also for those who are connected."""
    database, name = Database(url, QUICK), urlsplit(url).path[1:]
    postgres.ask(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    for _ in range(2):
        with pytest.raises(StateUnavailableError, match="read-only"):
            database.transaction(put("a"))
    postgres.ask(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    database.transaction(put("b"))
    assert database.rows("SELECT key FROM meta") == [("b",)]
    database.close()


def test_two_starts_migrate_once_whatever_isolation_is_the_default(postgres: PostgresServer) -> None:
    url = postgres.new_url(empty=True)
    postgres.ask(f"ALTER DATABASE {urlsplit(url).path[1:]} SET default_transaction_isolation = 'serializable'")
    databases = [Database(url) for _ in range(2)]
    gevent.joinall([gevent.spawn(database.migrate) for database in databases], timeout=30, raise_error=True)
    databases[0].transaction(put("a"))
    for database in databases:
        database.close()
    postgres.drop(url)
