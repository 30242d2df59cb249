"""Marks and facts about the whole: how far each projection is, and from where a start must scan the log.

A mark only grows, and is written by the transaction whose rows it speaks for: whatever survives a crash, rows and
mark are of the same moment.
"""

from sqlalchemy import BigInteger, bindparam, cast, select

from zlay_py.errors import CorruptionError
from zlay_py.state import schema
from zlay_py.state.database import Cursor, Database
from zlay_py.state.sql import SqlTexts

APPLIED_SEQ_PREFIX = "applied_seq."
"""Followed by the projection's name: `applied_seq.state`."""

STATE_PROJECTION = "state"
"""The account rows."""

CURSOR_CHECKPOINT = "cursor_checkpoint_seq"


def grow_text(sql: SqlTexts) -> str:
    """Sets a mark where it grows. Parameters: key, value (decimal text)."""
    insert = sql.insert(schema.meta).values(key=bindparam("key"), value=bindparam("value"))
    stored, new = cast(schema.meta.c.value, BigInteger), cast(insert.excluded.value, BigInteger)
    statement = insert.on_conflict_do_update(
        index_elements=[schema.meta.c.key], set_={"value": insert.excluded.value}, where=stored < new
    )
    return sql.text(statement, "key", "value")


class OwnMark:
    """A mark that only this process moves: whoever applies knows where it must be, and looks before each move.

    A server may come back as a standby that had not heard of the last transactions, and another relay may have been
    given the same database. Either way rows would go missing without a word.
    """

    def __init__(self, sql: SqlTexts, key: str) -> None:
        table = schema.meta
        self._key = key
        self._grow = grow_text(sql)
        self._get = sql.text(select(table.c.value).where(table.c.key == bindparam("key")), "key")
        self._confirmed: int | None = None
        self._asked = 0

    def grow_in(self, cursor: Cursor, value: int) -> None:
        """Raises CorruptionError where the mark is none that this process can have left there."""
        row = cursor.execute(self._get, (self._key,)).fetchone()
        stored = 0 if row is None else int(row[0])
        if self._confirmed is not None and not self._confirmed <= stored <= self._asked:
            raise CorruptionError(
                f"DATABASE_URL: {self._key} is {stored} in the database, and was left at {self._confirmed}. It has lost"
                " what it had confirmed (a failover to a standby that was behind?): start the relay again, it catches"
                " up from its log. Or another relay uses it: give each a database of its own."
            )
        self._asked = max(self._asked, stored, value)
        cursor.execute(self._grow, (self._key, str(value)))

    def confirm(self, value: int) -> None:
        """The transaction of `grow_in` has returned."""
        self._confirmed = max(self._confirmed or 0, value)


class MetaStore:
    """Every write is a transaction of its own, and may be repeated: a fact is set, a mark only grows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        sql, table = database.sql, schema.meta
        self._get = sql.text(select(table.c.value).where(table.c.key == bindparam("key")), "key")
        insert = sql.insert(table).values(key=bindparam("key"), value=bindparam("value"))
        self._put = sql.text(
            insert.on_conflict_do_update(index_elements=[table.c.key], set_={"value": insert.excluded.value}),
            "key",
            "value",
        )
        self._grow = grow_text(sql)

    def get(self, key: str) -> str | None:
        row = self._database.one(self._get, (key,))
        return None if row is None else str(row[0])

    def put(self, key: str, value: str) -> None:
        """For facts. A mark is set by what it belongs to, or by `save_applied_seq`."""

        def work(cursor: Cursor) -> None:
            cursor.execute(self._put, (key, value))

        self._database.transaction(work)

    def applied_seq(self, projection: str = STATE_PROJECTION) -> int:
        """Everything in the log up to this seq is in that projection; 0 before the first."""
        return int(self.get(APPLIED_SEQ_PREFIX + projection) or 0)

    def save_applied_seq(self, projection: str, seq: int) -> None:
        """For a projection whose rows are not here. Never goes back."""

        def work(cursor: Cursor) -> None:
            cursor.execute(self._grow, (APPLIED_SEQ_PREFIX + projection, str(seq)))

        self._database.transaction(work)

    def cursor_checkpoint(self) -> int:
        """The log seq beyond which a start looks for upstream seqs that no saved cursor covers; 0 before the first."""
        return int(self.get(CURSOR_CHECKPOINT) or 0)
