"""Ids that the log has and the database has forgotten: after an old copy of it was put back."""

from zlay_py.state import schema
from zlay_py.state.database import Cursor, Database
from zlay_py.state.postgres_schema import RAISE_SEQUENCE


def raise_id_floors(database: Database, uid: int, host_id: int) -> None:
    """Every uid and host id that is given out from now on is above these. Raises what `transaction` does.

    May be repeated: a floor that is higher already stays.
    """
    floors = (
        (schema.accounts.name, schema.accounts.c.uid.name, uid),
        (schema.hosts.name, schema.hosts.c.id.name, host_id),
    )

    def postgresql(cursor: Cursor) -> None:
        for floor in floors:
            cursor.execute(RAISE_SEQUENCE, floor + floor)

    def sqlite(cursor: Cursor) -> None:
        # AUTOINCREMENT's own table, made to be written (sqlite.org/autoinc.html); it has no row before the first id
        for table, _, highest in floors:
            cursor.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (highest, table))
            if not cursor.rowcount:
                cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, highest))

    if uid or host_id:
        database.transaction(sqlite if database.sql.name == "sqlite" else postgresql)
