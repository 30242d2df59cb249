"""Identity rows: what the last resolution of a DID gave, in plain columns. What they mean is `identity`'s."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import bindparam, not_, select, true, update

from zlay_py.state import schema
from zlay_py.state.database import Cursor, Database


class IdentityRow(NamedTuple):
    """Fields are named and ordered as the columns. `signing_key`: curve byte and compressed point, 34 bytes."""

    did: str
    state: str
    signing_key: bytes | None
    pds_host: str | None
    handle: str | None
    resolved_us: int
    stale: bool = False


class IdentityRowStore:
    """The identities table. Every method raises what `Database` does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        sql, table = database.sql, schema.identities
        columns = [table.c[name] for name in IdentityRow._fields]
        self._load = sql.text(select(*columns).where(table.c.did == bindparam("did")), "did")
        insert = sql.insert(table).values({name: bindparam(name) for name in IdentityRow._fields})
        self._save = sql.text(
            insert.on_conflict_do_update(
                index_elements=[table.c.did],
                set_={name: insert.excluded[name] for name in IdentityRow._fields if name != "did"},
            ),
            *IdentityRow._fields,
        )
        older = (table.c.did == bindparam("of_did"), table.c.resolved_us <= bindparam("told_us"))
        self._mark = sql.text(
            update(table).where(*older, not_(table.c.stale)).values(stale=true()), "of_did", "told_us"
        )

    def load(self, did: str) -> IdentityRow | None:
        """None: never saved."""
        row = self._database.one(self._load, (did,))
        return None if row is None else IdentityRow._make((*row[:-1], bool(row[-1])))  # SQLite has numbers only

    def save(self, rows: Iterable[IdentityRow]) -> None:
        """All of them in one transaction. The last one saved stands: times are no order, a wall clock may go back.

        Repeatable, as long as nothing newer was saved in between.
        """
        batch = list(rows)

        def work(cursor: Cursor) -> None:
            cursor.executemany(self._save, batch)

        self._database.transaction(work)

    def mark_stale(self, told: Iterable[tuple[str, int]]) -> None:
        """Of each (DID, microseconds since 1970): its row is stale, unless it was asked later than that. Repeatable."""
        batch = list(told)
        if not batch:
            return

        def work(cursor: Cursor) -> None:
            cursor.executemany(self._mark, batch)

        self._database.transaction(work)
