"""A real database for each test, of both kinds one after the other."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.gates import Gate
from zlay_py.state.accounts import AccountStore
from zlay_py.state.database import Database
from zlay_py.state.hosts import HostRow, HostStore
from zlay_py.state.sqlite import SqliteBackend


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def new_database(new_database_url: Callable[[], str]) -> Iterator[Callable[[], Database]]:
    """Opens one more, without rows."""
    opened: list[Database] = []

    def new() -> Database:
        opened.append(Database(new_database_url()))
        return opened[-1]

    yield new
    for database in opened:
        database.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteBackend]:
    """For what is SQLite's alone."""
    opened = Database(f"sqlite:///{tmp_path}/relay.sqlite")
    opened.migrate()
    assert isinstance(opened.backend, SqliteBackend)
    yield opened.backend
    opened.close()


@pytest.fixture
def gates(database: Database) -> Iterator[Callable[[], Gate]]:
    made: list[Gate] = []

    def gate() -> Gate:
        made.append(Gate(database))
        return made[-1]

    yield gate
    for one in made:
        one.close()


@pytest.fixture
def hosts(database: Database) -> HostStore:
    return HostStore(database)


@pytest.fixture
def accounts(database: Database) -> AccountStore:
    return AccountStore(database)


@pytest.fixture
def host(hosts: HostStore) -> HostRow:
    return hosts.upsert("pds.example.com", True, now_us=1)
