"""The schema: made from nothing, left alone when it is there, refused when it is from the future."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from zlay_py.errors import ConfigError, CorruptionError, LocalError
from zlay_py.state import migrate, schema
from zlay_py.state.accounts import AccountStore
from zlay_py.state.database import Database
from zlay_py.state.hosts import HostStatus, HostStore
from zlay_py.state.sqlite import connect_writer

MIGRATE = "import sys; from zlay_py.state.database import Database; d = Database(sys.argv[1]); d.migrate(); d.close()"


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_an_empty_file_gets_the_tables_of_the_schema(database: Database) -> None:
    engine = create_engine(f"sqlite:///{database.path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    engine.dispose()
    assert migrate.revision_of(database.path) == migrate.head()


def test_details_that_alembic_does_not_compare_are_as_in_the_schema(database: Database, tmp_path: Path) -> None:
    """AUTOINCREMENT, WITHOUT ROWID, CHECK and the partial index, by the text SQLite keeps of them."""
    engine = create_engine(f"sqlite:///{tmp_path}/from-schema.sqlite")
    schema.metadata.create_all(engine)
    engine.dispose()

    def texts(path: Path) -> set[str]:
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute(
                "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'"
            )
            return {"".join(row[0].split()) for row in rows}

    assert texts(database.path) == texts(tmp_path / "from-schema.sqlite")


def test_a_second_migration_changes_nothing(database: Database) -> None:
    HostStore(database).upsert("pds.example.com", True, now_us=1)
    before = dump(database.path)
    database.migrate()
    assert dump(database.path) == before


def test_a_migration_of_a_current_file_needs_no_lock(database: Database) -> None:
    with closing(connect_writer(database.path)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        database.migrate()
        stranger.execute("ROLLBACK")


def test_rows_outlive_a_restart_and_its_migration(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/relay.sqlite"
    first = Database(url)
    first.migrate()
    made = AccountStore(first).create("did:web:a.test", HostStore(first).upsert("a.test", True, now_us=1).id, 2)
    first.close()
    second = Database(url)
    second.migrate()
    assert AccountStore(second).get("did:web:a.test") == made
    second.close()


def test_many_processes_may_migrate_a_new_file_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/relay.sqlite"
    processes = [
        subprocess.Popen([sys.executable, "-c", MIGRATE, url], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert migrate.revision_of(tmp_path / "relay.sqlite") == migrate.head()


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "relay.sqlite"
    with closing(connect_writer(path)) as stranger:
        stranger.execute("CREATE TABLE meta (x)")  # in the way of the last table of the first version
    before = dump(path)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(LocalError, match="meta"):
        database.migrate()
    database.close()
    assert dump(path) == before


def test_a_file_of_a_newer_version_is_refused(database: Database) -> None:
    with closing(connect_writer(database.path)) as stranger:
        stranger.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="9999"):
        database.migrate()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "relay.sqlite"
    path.write_bytes(b"this is not a database, whatever its name says\n" * 100)
    with pytest.raises(CorruptionError, match=r"relay\.sqlite.*backup"):
        Database(f"sqlite:///{path}")


def test_statuses_of_schema_and_code_are_the_same() -> None:
    assert tuple(HostStatus) == schema.HOST_STATUSES


def test_postgresql_compares_text_bytewise() -> None:
    """Its default collation is the locale's, in which one rev may be smaller than another that is larger in bytes."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in schema.metadata.sorted_tables:
        text = str(CreateTable(table).compile(dialect=dialect))
        assert text.count("TEXT") == text.count('TEXT COLLATE "C"')
    assert "BIGSERIAL" in str(CreateTable(schema.accounts).compile(dialect=dialect))
    assert "WHERE local_status <> 'active'" in str(CreateIndex(schema.accounts_local_status).compile(dialect=dialect))
