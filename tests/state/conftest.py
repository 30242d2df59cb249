"""A real SQLite file for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from zlay_py.state.accounts import AccountStore
from zlay_py.state.database import Database
from zlay_py.state.hosts import HostRow, HostStore


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without rows, to be copied: a migration takes longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "relay.sqlite"
    made = Database(f"sqlite:///{path}")
    made.migrate()
    made.close()
    return path


@pytest.fixture
def database(tmp_path: Path, empty_file: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{shutil.copy(empty_file, tmp_path)}")
    yield opened
    opened.close()


@pytest.fixture
def hosts(database: Database) -> HostStore:
    return HostStore(database)


@pytest.fixture
def accounts(database: Database) -> AccountStore:
    return AccountStore(database)


@pytest.fixture
def host(hosts: HostStore) -> HostRow:
    return hosts.upsert("pds.example.com", True, now_us=1)
