"""The schema: made from nothing, left alone when it is there, refused when it is from the future."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from tests.support.postgres import PostgresServer
from zlay_py.errors import ConfigError, CorruptionError, LocalError
from zlay_py.state import migrate, schema
from zlay_py.state.accounts import AccountStore
from zlay_py.state.database import Database
from zlay_py.state.hosts import HostStatus, HostStore
from zlay_py.state.identities import IdentityRow, IdentityRowStore
from zlay_py.state.leftovers import Leftover
from zlay_py.state.sqlite import SqliteBackend, connect_writer

MIGRATE = "import sys; from zlay_py.state.database import Database; d = Database(sys.argv[1]); d.migrate(); d.close()"
REVISION = "SELECT version_num FROM alembic_version"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database that nobody has touched."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/relay.sqlite"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.new_url(empty=True)
    yield url
    server.drop(url)


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    opened = Database(empty_url)
    yield opened
    opened.close()


def dump(database: Database) -> list[object]:
    """Everything in it."""
    tables = [name for name in schema.metadata.tables if name != "meta"]
    return [database.rows(f"SELECT * FROM {name} ORDER BY 1") for name in (*tables, "alembic_version")]


def test_an_empty_database_gets_the_tables_of_the_schema(empty: Database, empty_url: str) -> None:
    empty.migrate()
    engine = create_engine(empty_url.replace("postgresql://", "postgresql+psycopg2://"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()
    assert empty.one(REVISION) == (migrate.head(),)


def test_details_that_alembic_does_not_compare_are_as_in_the_schema(sqlite: SqliteBackend, tmp_path: Path) -> None:
    """SQLite: AUTOINCREMENT, WITHOUT ROWID, CHECK and the partial index, by the text that it keeps of them."""
    engine = create_engine(f"sqlite:///{tmp_path}/from-schema.sqlite")
    schema.metadata.create_all(engine)
    asked = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'"
    with engine.connect() as connection:
        expected = {"".join(row[0].split()) for row in connection.execute(text(asked))}
    engine.dispose()
    assert {"".join(row[0].split()) for row in sqlite.rows(asked, ())} == expected


DETAILS = """
SELECT 'column', table_name || '.' || column_name,
  concat_ws(' ', data_type, collation_name, is_nullable, column_default)
  FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
  WHERE connamespace = 'public'::regnamespace
ORDER BY 1, 2
"""


def test_so_they_are_on_a_server(postgres: PostgresServer) -> None:
    """Collations, sequences, CHECK, foreign keys, the partial index."""
    migrated, bare = postgres.new_url(), postgres.new_url(empty=True)
    engine = create_engine(bare.replace("postgresql://", "postgresql+psycopg2://"))
    schema.metadata.create_all(engine)
    engine.dispose()
    expected = postgres.ask(DETAILS, url=bare)
    got = [row for row in postgres.ask(DETAILS, url=migrated) if "alembic" not in str(row)]
    assert got == expected
    texts = [str(row[2]) for row in got if row[0] == "column" and str(row[2]).startswith("text")]
    assert len(texts) > 10
    assert all(words.startswith("text C ") for words in texts), "compared bytewise"
    for url in (migrated, bare):
        postgres.drop(url)


def test_a_second_migration_changes_nothing(database: Database) -> None:
    HostStore(database).upsert("pds.example.com", True, now_us=1)
    before = dump(database)
    database.migrate()
    assert dump(database) == before


def test_a_migration_of_a_current_file_needs_no_lock(sqlite: SqliteBackend) -> None:
    stranger = connect_writer(sqlite.path)
    stranger.execute("BEGIN IMMEDIATE")
    sqlite.migrate()
    stranger.execute("ROLLBACK")
    stranger.close()


def test_rows_outlive_a_restart_and_its_migration(database_url: str) -> None:
    first = Database(database_url)
    first.migrate()
    made = AccountStore(first).create("did:web:a.test", HostStore(first).upsert("a.test", True, now_us=1).id, 2)
    first.close()
    second = Database(database_url)
    second.migrate()
    assert AccountStore(second).get("did:web:a.test") == made
    second.close()


def test_leftovers_of_an_older_version_are_kept(empty: Database, empty_url: str) -> None:
    engine = create_engine(empty_url.replace("postgresql://", "postgresql+psycopg2://"))
    config = Config()
    config.set_main_option("script_location", str(migrate.SCRIPTS))
    numbers = dict.fromkeys(("account_limit", "account_count", "epoch", "created_us", "updated_us"), 0)
    words = {"hostname": "a.test", "tls": True, "status": "active", "trusted": False}
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(schema.hosts.insert().values(id=5, **numbers, **words))
        connection.execute(text("INSERT INTO leftovers (host_id, epoch, runs) VALUES (5, 3, '7-9,11-11')"))
    engine.dispose()
    empty.migrate()
    assert HostStore(empty).leftovers() == [Leftover(5, 3, ((7, 9), (11, 11)))]


def test_identities_of_an_older_version_are_kept_and_are_not_in_doubt(empty: Database, empty_url: str) -> None:
    engine = create_engine(empty_url.replace("postgresql://", "postgresql+psycopg2://"))
    config = Config()
    config.set_main_option("script_location", str(migrate.SCRIPTS))
    row = IdentityRow("did:web:a.test", "ok", b"\x01" + bytes(33), "a.test", "b.test", 7)
    columns = {name: value for name, value in row._asdict().items() if name != "stale"}
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        connection.execute(schema.identities.insert().values(**columns))
    engine.dispose()
    empty.migrate()
    assert IdentityRowStore(empty).load(row.did) == row


def test_many_processes_may_migrate_a_new_database_at_once(empty: Database, empty_url: str) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", MIGRATE, empty_url], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert empty.one(REVISION) == (migrate.head(),)


def test_a_migration_that_fails_leaves_the_database_as_it_was(empty: Database) -> None:
    empty.transaction(lambda cursor: cursor.execute("CREATE TABLE meta (x TEXT)"))  # in the way of our last one
    with pytest.raises(LocalError, match="meta"):
        empty.migrate()
    there = (
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        if empty.sql.name == "sqlite"
        else "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    )
    assert empty.rows(there) == [("meta",)]


def test_a_database_of_a_newer_version_is_refused(database: Database) -> None:
    database.transaction(lambda cursor: cursor.execute("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="9999") as caught:
        database.migrate()
    assert "rd @1" not in str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "relay.sqlite"
    path.write_bytes(b"this is not a database, whatever its name says\n" * 100)
    with pytest.raises(CorruptionError, match=r"relay\.sqlite.*backup"):
        Database(f"sqlite:///{path}")


@pytest.mark.parametrize("highest", [1, 7])
def test_ids_that_the_log_has_are_not_given_out_after_an_old_backup(database: Database, highest: int) -> None:
    """Before the first row, and after some; asked twice, and with a lower one."""
    hosts, accounts = HostStore(database), AccountStore(database)
    for _ in range(2):
        accounts.never_give_out(highest, highest)
    accounts.never_give_out(highest - 1, highest - 1)
    host = hosts.upsert("a.test", True, now_us=1)
    assert host.id == highest + 1
    assert accounts.create("did:plc:a", host.id, 1).uid == highest + 1
    accounts.never_give_out(highest, 0)
    assert accounts.create("did:plc:b", host.id, 1).uid == highest + 2
    accounts.never_give_out(100, 0)
    assert accounts.create("did:plc:c", host.id, 1).uid == 101


def test_rows_that_were_copied_without_their_sequence_are_not_in_the_way(postgres: PostgresServer) -> None:
    """As by logical replication, or a restore of the data alone."""
    url = postgres.new_url()
    postgres.ask(
        "INSERT INTO hosts (id, hostname, tls, status, trusted, account_limit, account_count, epoch, created_us,"
        " updated_us) VALUES (41, 'a.test', true, 'active', false, 1, 1, 0, 1, 1)",
        url=url,
    )
    postgres.ask(
        "INSERT INTO accounts (uid, did, host_id, upstream_status, local_status, applied_seq, created_us)"
        " VALUES (77, 'did:plc:a', 41, 'active', 'active', 0, 1)",
        url=url,
    )
    database = Database(url)
    database.migrate()
    assert HostStore(database).upsert("b.test", True, now_us=1).id == 42
    assert AccountStore(database).create("did:plc:b", 41, 1).uid == 78
    database.close()
    postgres.drop(url)


def test_statuses_of_schema_and_code_are_the_same() -> None:
    assert tuple(HostStatus) == schema.HOST_STATUSES


def test_postgresql_compares_text_bytewise() -> None:
    """Its default collation is the locale's, in which one rev may be smaller than another that is larger in bytes."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in schema.metadata.sorted_tables:
        made = str(CreateTable(table).compile(dialect=dialect))
        assert made.count("TEXT") == made.count('TEXT COLLATE "C"')
