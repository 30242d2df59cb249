"""Migrations on a server, and that its sequences are ahead of the rows.

BIGSERIAL never gives an id out twice, also over crashes; but what copies rows does not always copy sequences:
logical replication does not, nor does a dump of data alone. So every start looks.
"""

import contextlib
from functools import partial

import psycopg2
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import NullPool

from zlay_py.errors import ConfigError
from zlay_py.state import migrate, schema
from zlay_py.state.backend import Waits
from zlay_py.state.postgres_connection import Address, PostgresConnection, connect
from zlay_py.state.postgres_errors import translate

LOCK = 0x7A6C61795F7079
""""zlay_py": the key of the advisory lock that a migration holds. Such locks are of one database."""

MIGRATION_S_MAX = 3600.0
"""For each statement of a migration, and for the wait for another process's: an index on millions of rows takes
minutes."""


def upgrade(address: Address, waits: Waits) -> None:
    """Brings the database to `migrate.head()`. Raises ConfigError for one of a newer version, StateUnavailableError."""
    long = Waits(MIGRATION_S_MAX, waits.read_s, MIGRATION_S_MAX, waits.connect_s, waits.retry_s)
    open_connection = partial(connect, address, long, writing=True)
    try:
        with contextlib.closing(open_connection()) as connection:
            current = revision_of(connection)
            if current == migrate.head():
                raise_sequences(connection)
                return
        engine = create_engine("postgresql+psycopg2://", creator=partial(_by_hand, open_connection), poolclass=NullPool)
        event.listen(engine, "begin", _lock)
        try:
            migrate.upgrade(engine, address.where)
        finally:
            engine.dispose()
        with contextlib.closing(open_connection()) as connection:
            raise_sequences(connection)
    except psycopg2.errors.DuplicateTable as error:
        raise ConfigError(
            f"DATABASE_URL: {address.where} holds tables that are not zlay_py's: {str(error).splitlines()[0]}"
        ) from error
    except psycopg2.Error as error:
        raise translate(error, address.where) from error


def revision_of(connection: PostgresConnection) -> str | None:
    """The revision a database is at; None for a new one. Raises psycopg2.Error."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('alembic_version')")
        row = cursor.fetchone()
        if row is None or row[0] is None:
            return None
        cursor.execute("SELECT version_num FROM alembic_version")
        row = cursor.fetchone()
    return None if row is None else str(row[0])


def raise_sequences(connection: PostgresConnection) -> None:
    """No id that a row has is given out again."""
    with connection.cursor() as cursor:
        for table, column in ((schema.accounts, "uid"), (schema.hosts, "id")):
            cursor.execute(f"SELECT coalesce(max({column}), 0) FROM {table.name}")  # noqa: S608  names of ours
            row = cursor.fetchone()
            assert row is not None
            cursor.execute(RAISE_SEQUENCE, (table.name, column, row[0], table.name, column, row[0]))


RAISE_SEQUENCE = (
    "SELECT setval(pg_get_serial_sequence(%s, %s), %s)"
    " WHERE coalesce(pg_sequence_last_value(pg_get_serial_sequence(%s, %s)::regclass), 0) < %s"
)
"""Parameters: table, column, highest id that is in use; and the three again."""


def _by_hand(open_connection: partial[PostgresConnection]) -> PostgresConnection:
    """Alembic's transaction is SQLAlchemy's, which expects the driver to begin it."""
    connection = open_connection()
    connection.autocommit = False
    return connection


def _lock(connection: Connection) -> None:
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
