"""A cursor of psycopg2 that does what the stores ask of any: returns itself, and takes many rows in few round trips."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from psycopg2.extras import execute_batch, execute_values

from zlay_py.state.backend import Row
from zlay_py.state.postgres_connection import PostgresConnection

ROWS_MAX = 100
"""Of one round trip: 30 kB of text."""

_VALUES = re.compile(r"VALUES (\((?:%s, )*%s\))")


class PostgresCursor:
    """See `backend.Cursor`. Statements are those of `SqlTexts`: `%s` for a value, `%%` for a percent sign."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    @property
    def status(self) -> str | None:
        """What the server called that which it did: `COMMIT`, or `ROLLBACK` although it was told to commit."""
        return self._cursor.statusmessage

    def execute(self, text: str, parameters: Sequence[Any] = ()) -> "PostgresCursor":
        self._cursor.execute(text, parameters)
        return self

    def executemany(self, text: str, rows: Iterable[Sequence[Any]]) -> None:
        """Prepared once for each connection: parsing and planning cost more than a change to one row."""
        batch = list(rows)
        if batch:
            call = f"EXECUTE {self._prepare(text)} ({', '.join(['%s'] * len(batch[0]))})"
            execute_batch(self._cursor, call, batch, page_size=ROWS_MAX)

    def insert_many(self, text: str, rows: Iterable[Sequence[Any]]) -> list[Row]:
        values = _VALUES.findall(text)
        assert len(values) == 1, f"not one list of values: {text}"
        batch = list(rows)
        if not batch:
            return []
        text = text.replace(values[0], "%s", 1)
        returned: list[Row] = execute_values(
            self._cursor, text, batch, template=values[0], page_size=ROWS_MAX, fetch=True
        )
        return returned

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    def close(self) -> None:
        self._cursor.close()

    def _prepare(self, text: str) -> str:
        """The name of the statement in this session. It outlives transactions, also those that are taken back."""
        prepared = self._connection.prepared
        name = prepared.get(text)
        if name is None:
            name = f"zlay_{len(prepared)}"
            first, *others = text.split("%s")
            numbered = first + "".join(f"${number}{part}" for number, part in enumerate(others, start=1))
            self._cursor.execute(f"PREPARE {name} AS {numbered.replace('%%', '%')}")  # values travel in EXECUTE
            prepared[text] = name
        return name
