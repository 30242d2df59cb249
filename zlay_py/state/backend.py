"""What the stores need of a database, whichever it is: statements with parameters, one row, rows, a transaction."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from zlay_py.state.sql import SqlTexts

T = TypeVar("T")

Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Waits:
    """How long what may take, in seconds. What takes longer ends with StateUnavailableError."""

    lock_s: float = 10.0
    """A write waits for a stranger's lock: a backup, a shell."""
    read_s: float = 4.0
    """A read from a server, from the wait for a free connection to the answer. The lane of its frame stands still
    meanwhile, and a parked frame may need two of them within its ten seconds."""
    write_s: float = 60.0
    """A whole transaction on a server: 200 times what the largest one takes there."""
    connect_s: float = 3.0
    """To reach a server and log in: less than a read has altogether."""
    retry_s: float = 0.5
    """Between two looks whether a server that was away is back."""


class Cursor(Protocol):
    """What the work of a transaction is given. A DBAPI cursor, with the differences between the drivers taken out."""

    @property
    def rowcount(self) -> int:
        """Rows that the last `execute` changed."""

    def execute(self, text: str, parameters: Sequence[Any] = ..., /) -> "Cursor": ...

    def executemany(self, text: str, rows: Iterable[Sequence[Any]], /) -> object:
        """The statement for each row, in their order; not a round trip for each."""

    def insert_many(self, text: str, rows: Iterable[Sequence[Any]], /) -> list[Row]:
        """The same for an `INSERT … VALUES (…) … RETURNING …`; gives what came back, in the order of the rows.

        No two rows may be in each other's way: PostgreSQL refuses to update a row twice in one statement.
        """

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Backend(Protocol):
    """One database. Its methods are those of `state.database.Database`, which says what they promise."""

    sql: SqlTexts

    def migrate(self) -> None: ...

    def one(self, text: str, parameters: tuple[object, ...]) -> Row | None: ...

    def rows(self, text: str, parameters: tuple[object, ...]) -> list[Row]: ...

    def transaction(self, work: Callable[[Cursor], T]) -> T: ...

    def close(self) -> None: ...
