"""PostgreSQL: reads on a few connections, writes on one of their own, all of them cooperative.

    greenlet   one()/rows() ──▶ Readers ──▶ 4 connections       0.1 ms and a round trip; other greenlets run meanwhile
               transaction() ──▶ Writer ──▶ 1 connection        in the order asked for

The driver waits through gevent (psycogreen), so a slow server costs those who wait for it and nobody else. A
connection on which anything was cut off (a greenlet killed, a time that ran out) is closed and never used again. Where
the connection breaks during COMMIT nobody knows the outcome: see `failures.StateUnavailableError`.

Connect directly or through a pooler in session mode: prepared statements and settings are the session's.
"""

from collections.abc import Callable
from typing import TypeVar, cast

from psycogreen.gevent import patch_psycopg  # type: ignore[import-untyped]

from zlay_py.state import postgres_schema
from zlay_py.state.backend import Cursor, Row, Waits
from zlay_py.state.postgres_connection import Address
from zlay_py.state.postgres_pool import Connector, Readers, Writer
from zlay_py.state.sql import SqlTexts

T = TypeVar("T")


class PostgresBackend:
    """One database of a server, which is not asked before it is needed. Raises ConfigError for a URL that is none."""

    def __init__(self, url: str, waits: Waits) -> None:
        patch_psycopg()
        self.sql = SqlTexts("postgresql")
        self._address = Address(url)
        self._waits = waits
        self._connector = Connector(self._address, waits)
        self._readers = Readers(self._connector)
        self._writer = Writer(self._connector)

    def migrate(self) -> None:
        postgres_schema.upgrade(self._address, self._waits)

    def one(self, text: str, parameters: tuple[object, ...]) -> Row | None:
        return self._readers.run(lambda cursor: cast(Row | None, cursor.execute(text, parameters).fetchone()))

    def rows(self, text: str, parameters: tuple[object, ...]) -> list[Row]:
        return self._readers.run(lambda cursor: cursor.execute(text, parameters).fetchall())

    def transaction(self, work: Callable[[Cursor], T]) -> T:
        return self._writer.run(work)

    def close(self) -> None:
        if self._connector.closed:
            return
        self._connector.closed = True
        self._writer.finish(self._waits.write_s)
        self._connector.close()
        self._readers.close()
