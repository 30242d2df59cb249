"""Account rows: uid ⇄ DID, host, statuses, and the last rev, commit and data CID.

Three kinds of write, with three owners:
- `create` and `move` are decided by host authority and are on disk before the account's next log record;
- `set_local_status` is decided by people, and on disk before the log says so;
- `apply` is the projection of the log: late, in batches, repeatable.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Select, Text, and_, bindparam, case, cast, func, literal_column, or_, select, update

from zlay_py.state import meta, schema
from zlay_py.state.account_registry import ANY_SEQ, AccountRegistry
from zlay_py.state.account_row import AccountRow
from zlay_py.state.database import Cursor, Database
from zlay_py.state.id_floor import raise_id_floors
from zlay_py.state.sql import SqlTexts

__all__ = ["AccountChange", "AccountRow", "AccountStore"]

PAGE_ROWS_MAX = 10_000
"""Rows of one page at most: 20 ms of the hub."""

DIDS_AT_ONCE = 500
"""Asked for by one statement, which has as many placeholders."""


class AccountChange(NamedTuple):
    """What the log record `seq` does to the row `uid`; None leaves a column as it is.

    `rev`, `commit_cid` and `data_cid` (36 raw bytes each) go together. `host_id` only for a record that itself says
    where the account lives: `AccountStore.move` has usually done it long before.
    """

    uid: int
    seq: int
    host_id: int | None = None
    upstream_status: str | None = None
    local_status: str | None = None
    rev: str | None = None
    commit_cid: bytes | None = None
    data_cid: bytes | None = None


class AccountStore:
    """The accounts table. Every method raises what `Database` does, and every write may be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._registry = AccountRegistry(database)
        sql, table = database.sql, schema.accounts
        rows = select(*(table.c[name] for name in AccountRow._fields))
        self._by_did = sql.text(rows.where(table.c.did == bindparam("did")), "did")
        self._by_uid = sql.text(rows.where(table.c.uid == bindparam("uid")), "uid")
        places = [f"uid_{number}" for number in range(DIDS_AT_ONCE)]
        some = table.c.uid.in_([bindparam(place) for place in places])
        self._dids = sql.text(select(table.c.uid, table.c.did).where(some), *places)
        self._page = sql.page(rows.where(table.c.uid > bindparam("after")).order_by(table.c.uid), "after")
        self._local_page = sql.page(_local_page(rows), "local_status", "after")
        self._set_local_status = sql.text(
            update(table).where(table.c.uid == bindparam("of_uid")).values(local_status=bindparam("new_status")),
            "new_status",
            "of_uid",
        )
        self._apply_change = _apply_text(sql)
        self._mark = meta.OwnMark(sql, meta.APPLIED_SEQ_PREFIX + meta.STATE_PROJECTION)

    @property
    def creating(self) -> int:
        """Creations under way: as many as there are greenlets in `create`, at most."""
        return len(self._registry)

    def get(self, did: str) -> AccountRow | None:
        row = self._database.one(self._by_did, (did,))
        return None if row is None else AccountRow._make(row)

    def by_uid(self, uid: int) -> AccountRow | None:
        row = self._database.one(self._by_uid, (uid,))
        return None if row is None else AccountRow._make(row)

    def dids(self, uids: Iterable[int]) -> dict[int, str]:
        """The DIDs of many accounts, by uid. An unknown uid is not in it."""
        known: dict[int, str] = {}
        wanted = iter(uids)
        while some := list(islice(wanted, DIDS_AT_ONCE)):
            some += some[-1:] * (DIDS_AT_ONCE - len(some))
            known.update((uid, did) for uid, did in self._database.rows(self._dids, tuple(some)))
        return known

    def page(self, after_uid: int, limit: int) -> list[AccountRow]:
        """Up to `limit` rows in order of uid, beginning beyond `after_uid`."""
        return self._rows(self._page, (after_uid, min(limit, PAGE_ROWS_MAX)))

    def page_of_local_status(self, local_status: str, after_uid: int, limit: int) -> list[AccountRow]:
        """The same of the accounts with one local status other than `active`: takedowns, throttled ones."""
        return self._rows(self._local_page, (local_status, after_uid, min(limit, PAGE_ROWS_MAX)))

    def create(self, did: str, host_id: int, now_us: int, *, local_status: str = schema.ACTIVE) -> AccountRow:
        """The account's row, made now unless there is one; on disk when this returns.

        A row that exists is returned as it is, with its own host. New rows are counted in `hosts.account_count`.
        Calls of many greenlets share transactions. Repeating it finds the row. Raises what `Database.transaction` does.
        """
        return self.get(did) or self._registry.create(did, host_id, now_us, local_status)

    def never_give_out(self, uid: int, host_id: int) -> None:
        """Ids up to these stand in the log: where the rows are an old backup's, they must not be given to others."""
        raise_id_floors(self._database, uid, host_id)

    def move(self, uid: int, host_id: int) -> None:
        """The account lives at this host now: row and both hosts' counts, in one transaction.

        Repeating it changes nothing: only an account that lives elsewhere is moved and counted.
        """
        self._database.transaction(lambda cursor: self._registry.move_in(cursor, [(uid, host_id, ANY_SEQ)]))

    def set_local_status(self, uid: int, local_status: str) -> bool:
        """What we decided about the account ourselves; False if there is no such account. Repeatable: it is set."""

        def work(cursor: Cursor) -> bool:
            return cursor.execute(self._set_local_status, (local_status, uid)).rowcount == 1

        return self._database.transaction(work)

    def apply(self, changes: Iterable[AccountChange], applied_seq: int) -> None:
        """Brings log records into the rows, and the mark `applied_seq.state` with them, in one transaction.

        A change is applied only where its seq is above the row's `applied_seq`, so a batch may come again, whole,
        in part or with more; the changes of one account are in the order of their seqs. A rev is adopted, with its
        CIDs, only where it grows. The mark never goes back. Raises what `Database.transaction` does, and
        CorruptionError where the mark is not where we left it.
        """
        batch = tuple(changes)
        self._database.transaction(lambda cursor: self._apply(cursor, batch, applied_seq))
        self._mark.confirm(applied_seq)

    def _apply(self, cursor: Cursor, batch: Sequence[AccountChange], applied_seq: int) -> None:
        self._mark.grow_in(cursor, applied_seq)
        moves = [(change.uid, change.host_id, change.seq) for change in batch if change.host_id is not None]
        if moves:
            self._registry.move_in(cursor, moves)
        cursor.executemany(self._apply_change, map(_apply_parameters, batch))

    def _rows(self, text: str, parameters: tuple[object, ...]) -> list[AccountRow]:
        return [AccountRow._make(row) for row in self._database.rows(text, parameters)]


def _local_page(rows: Select[Any]) -> Select[Any]:
    column = schema.accounts.c.local_status
    return rows.where(
        column == bindparam("local_status"),
        # not a condition but a hint: without it SQLite can't know that the partial index has all the rows
        column != literal_column(f"'{schema.ACTIVE}'"),
        schema.accounts.c.uid > bindparam("after"),
    ).order_by(schema.accounts.c.uid)


def _apply_text(sql: SqlTexts) -> str:
    """One change. Its parameters come from `_apply_parameters`."""
    row = schema.accounts.c
    new_rev = cast(bindparam("new_rev"), Text)  # where nothing else says what it is, a server must be told
    grows = and_(new_rev.is_not(None), or_(row.rev.is_(None), row.rev < new_rev))
    statement = (
        update(schema.accounts)
        .where(row.uid == bindparam("of_uid"), row.applied_seq < bindparam("seq"))
        .values(
            upstream_status=func.coalesce(bindparam("new_upstream_status"), row.upstream_status),
            local_status=func.coalesce(bindparam("new_local_status"), row.local_status),
            rev=case((grows, new_rev), else_=row.rev),
            commit_cid=case((grows, bindparam("new_commit_cid")), else_=row.commit_cid),
            data_cid=case((grows, bindparam("new_data_cid")), else_=row.data_cid),
            applied_seq=bindparam("seq"),
        )
    )
    return sql.text(statement, *APPLY_ORDER)


APPLY_ORDER = (
    "new_upstream_status",
    "new_local_status",
    *("new_rev", "new_rev", "new_rev"),
    *("new_rev", "new_rev", "new_commit_cid"),
    *("new_rev", "new_rev", "new_data_cid"),
    "seq",
    "of_uid",
    "seq",
)


def _apply_parameters(change: AccountChange) -> tuple[object, ...]:
    """In APPLY_ORDER."""
    uid, seq, _host_id, upstream_status, local_status, rev, commit_cid, data_cid = change
    return (
        upstream_status,
        local_status,
        *(rev, rev, rev),
        *(rev, rev, commit_cid),
        *(rev, rev, data_cid),
        seq,
        uid,
        seq,
    )
