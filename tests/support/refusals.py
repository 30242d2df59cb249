"""Databases that refuse writes: one table of them, or all, as long as somebody else holds the lock."""

import contextlib
from collections.abc import Iterator

from zlay_py.state.database import Cursor, Database, Waits
from zlay_py.state.postgres import PostgresBackend
from zlay_py.state.postgres_connection import connect
from zlay_py.state.sqlite import SqliteBackend, connect_writer


def refuse_writes_to(database: Database, table: str, kind: str) -> None:
    """`kind`: INSERT or UPDATE. Until `allow_writes_to`. The error says "not this one"."""

    def work(cursor: Cursor) -> None:
        if database.sql.name == "sqlite":
            cursor.execute(
                f"CREATE TRIGGER refused BEFORE {kind} ON {table} BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            )
        else:
            cursor.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'not this one'; END $$"
            )
            cursor.execute(f"CREATE TRIGGER refused BEFORE {kind} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()")

    database.transaction(work)


def allow_writes_to(database: Database, table: str) -> None:
    where = "" if database.sql.name == "sqlite" else f" ON {table}"
    database.transaction(lambda cursor: cursor.execute(f"DROP TRIGGER refused{where}"))


@contextlib.contextmanager
def writes_refused(database: Database) -> Iterator[None]:
    """A stranger holds a lock that every write wants. Reads go on."""
    backend = database.backend
    if isinstance(backend, SqliteBackend):
        with contextlib.closing(connect_writer(backend.path)) as stranger:
            stranger.execute("BEGIN IMMEDIATE")
            yield
            stranger.execute("ROLLBACK")
    else:
        assert isinstance(backend, PostgresBackend)
        connection = connect(backend._address, Waits(), writing=True)
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("LOCK TABLE accounts, hosts, identities, meta IN SHARE ROW EXCLUSIVE MODE")
            yield
            cursor.execute("ROLLBACK")
