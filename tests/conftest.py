"""Shared fixtures. What is started for them lives in `tests/support`."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.postgres import NOT_INSTALLED, PostgresServer, binaries, private_server
from zlay_py.state.database import Database

PROJECT_ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """The public vectors and the recorded corpus, or a skip that says what is missing."""
    folder = Path(os.environ.get("ZLAY_FIXTURES") or PROJECT_ROOT.parent / "shared" / "fixtures")
    if not folder.is_dir():
        pytest.skip(f"no fixtures folder at {folder} (set ZLAY_FIXTURES)")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The session's server. A test that stops or breaks a server takes one of its own: `broken_postgres`."""
    named = os.environ.get("ZLAY_TEST_DATABASE_URL")
    if named:
        server = PostgresServer(None, named)
        yield server
        server.drop_template()
        return
    if binaries() is None:
        pytest.skip(NOT_INSTALLED)
    with private_server() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database without rows, to be copied: a migration takes longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "relay.sqlite"
    made = Database(f"sqlite:///{path}")
    made.migrate()
    made.close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database_url(
    request: pytest.FixtureRequest, tmp_path: Path, migrated_file: Path
) -> Iterator[Callable[[], str]]:
    """Makes databases without rows, of this version; each test that uses it runs on both kinds."""
    made: list[str] = []
    if request.param == "sqlite":

        def sqlite() -> str:
            made.append(f"sqlite:///{tmp_path / f'relay-{len(made)}.sqlite'}")
            shutil.copy(migrated_file, made[-1].removeprefix("sqlite:///"))
            return made[-1]

        yield sqlite
        return
    server: PostgresServer = request.getfixturevalue("postgres")

    def postgresql() -> str:
        made.append(server.new_url())
        return made[-1]

    yield postgresql
    for url in made:
        server.drop(url)


@pytest.fixture
def database_url(new_database_url: Callable[[], str]) -> str:
    """One such database."""
    return new_database_url()
