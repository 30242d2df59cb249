"""Core statements made into text once, for the DBAPI to run thousands of times a second.

SQLAlchemy builds and names every statement; running one through it costs ten times what SQLite needs to answer
it, so the stores keep the text and hand it to the driver themselves. Values always travel as parameters.
"""

from typing import Any

from sqlalchemy import Dialect, Executable, Select, Table, bindparam, literal_column
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg2
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.sql.compiler import SQLCompiler


class SqlTexts:
    """Compiles for one database. `name`: "sqlite" or "postgresql"."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._dialect: Dialect
        if name == "sqlite":
            self._dialect = pysqlite.dialect(paramstyle="qmark")
        else:
            self._dialect = psycopg2.dialect(paramstyle="format")  # type: ignore[no-untyped-call]

    def text(self, statement: Executable, *parameters: str) -> str:
        """The statement with positional placeholders.

        `parameters`: the names of its bind parameters in the order of the placeholders, repetitions included.
        They are compared with what came out, so that a changed statement can't silently swap two values.
        """
        compiled = statement.compile(dialect=self._dialect)  # type: ignore[attr-defined]
        assert isinstance(compiled, SQLCompiler)
        order = tuple(compiled.positiontup or ())
        assert order == parameters, f"placeholders are {order}, the caller names {parameters}: {compiled}"
        return str(compiled)

    def page(self, rows: Select[Any], *parameters: str) -> str:
        """The same for a SELECT of at most `rows` rows, which is the last parameter."""
        # SQLite's dialect puts a parameter for OFFSET after LIMIT unless it is told what stands there
        return self.text(rows.limit(bindparam("rows")).offset(literal_column("0")), *parameters, "rows")

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that can say ON CONFLICT."""
        return sqlite.insert(table) if self.name == "sqlite" else postgresql.insert(table)
