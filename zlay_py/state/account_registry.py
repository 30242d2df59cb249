"""Which accounts exist and where they live: new rows, moves between hosts, and the hosts' counts of both.

A row is on disk before the account's first log record, and a flood of new accounts (the first minutes of a new
relay, a host that joins) comes one frame at a time. So creations share transactions: whoever holds the turn writes
everybody's, and those who waited find theirs done.
"""

from collections import Counter
from collections.abc import Iterable

from gevent.lock import BoundedSemaphore
from sqlalchemy import bindparam, select, update

from zlay_py.state import schema
from zlay_py.state.account_row import AccountRow
from zlay_py.state.database import Cursor, Database
from zlay_py.state.failures import StateRuleError

CREATIONS_MAX = 500
"""Rows made in one transaction: about 20 ms of the writing thread."""

ANY_SEQ = 2**63 - 1
"""Above every applied seq: a move that comes from no log record."""


class AccountRegistry:
    """The writes behind `AccountStore.create` and `.move`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: dict[str, tuple[int, int, str]] = {}
        self._made: dict[str, AccountRow | StateRuleError] = {}
        self._waiting: Counter[str] = Counter()
        self._turn = BoundedSemaphore(1)
        sql, table, hosts = database.sql, schema.accounts, schema.hosts
        columns = [table.c[name] for name in AccountRow._fields]
        self._insert = sql.text(
            sql.insert(table)
            .values(
                did=bindparam("did"),
                host_id=bindparam("host_id"),
                upstream_status=bindparam("upstream_status"),
                local_status=bindparam("local_status"),
                applied_seq=bindparam("applied_seq"),
                created_us=bindparam("created_us"),
            )
            .on_conflict_do_nothing(index_elements=[table.c.did])
            .returning(*columns),
            "did",
            "host_id",
            "upstream_status",
            "local_status",
            "applied_seq",
            "created_us",
        )
        self._by_did = sql.text(select(*columns).where(table.c.did == bindparam("did")), "did")
        self._host_exists = sql.text(select(hosts.c.id).where(hosts.c.id == bindparam("id")), "id")
        self._host_to_leave = sql.text(
            select(table.c.host_id).where(
                table.c.uid == bindparam("of_uid"),
                table.c.applied_seq < bindparam("seq"),
                table.c.host_id != bindparam("new_host_id"),
            ),
            "of_uid",
            "seq",
            "new_host_id",
        )
        self._set_host = sql.text(
            update(table).where(table.c.uid == bindparam("of_uid")).values(host_id=bindparam("new_host_id")),
            "new_host_id",
            "of_uid",
        )
        self._count = sql.text(
            update(hosts)
            .where(hosts.c.id == bindparam("of_id"))
            .values(account_count=hosts.c.account_count + bindparam("more")),
            "more",
            "of_id",
        )

    def __len__(self) -> int:
        """Creations under way: asked for and not written, or written and not fetched."""
        return len(self._asked) + len(self._made)

    def create(self, did: str, host_id: int, now_us: int, local_status: str) -> AccountRow:
        """The row of `did`, made if there is none. Waits for its turn; see `AccountStore.create`."""
        self._asked.setdefault(did, (host_id, now_us, local_status))
        self._waiting[did] += 1
        try:
            with self._turn:
                if did not in self._made:
                    self._write_asked(did)
            made = self._made[did]
        finally:
            self._waiting[did] -= 1
            if not self._waiting[did]:
                # the last one who wanted this row: nothing of it stays behind, whether it was made or not
                del self._waiting[did]
                self._asked.pop(did, None)
                self._made.pop(did, None)
        if isinstance(made, StateRuleError):
            raise StateRuleError(str(made))
        return made

    def move_in(self, cursor: Cursor, moves: Iterable[tuple[int, int, int]]) -> None:
        """Moves accounts, (uid, host id, seq) each, whose row has applied less than `seq`; counts follow."""
        counts: Counter[int] = Counter()
        for uid, host_id, seq in moves:
            row = cursor.execute(self._host_to_leave, (uid, seq, host_id)).fetchone()
            if row is None:
                continue
            cursor.execute(self._set_host, (host_id, uid))
            counts[row[0]] -= 1
            counts[host_id] += 1
        self._add_counts(cursor, counts)

    def _write_asked(self, first: str) -> None:
        """Writes what everybody who waits has asked for, `first` included."""
        batch = {first: self._asked[first]}
        for did, asked in self._asked.items():
            if len(batch) >= CREATIONS_MAX:
                break
            batch[did] = asked
        made = self._database.transaction(lambda cursor: self._create_in(cursor, batch))
        for did, row in made.items():
            self._asked.pop(did, None)
            if did in self._waiting:  # its greenlet may have been killed while we waited for the disk
                self._made[did] = row

    def _create_in(
        self, cursor: Cursor, batch: dict[str, tuple[int, int, str]]
    ) -> dict[str, AccountRow | StateRuleError]:
        """May be repeated: rows that are there stay as they are, and only new ones are counted."""
        made: dict[str, AccountRow | StateRuleError] = {}
        hosts = {host_id for host_id, _, _ in batch.values()}
        unknown = {host_id for host_id in hosts if cursor.execute(self._host_exists, (host_id,)).fetchone() is None}
        wanted = []
        for did, (host_id, now_us, local_status) in batch.items():
            if host_id in unknown:
                made[did] = StateRuleError(f"{did}: there is no host {host_id}")  # must not fail the others' rows
            else:
                wanted.append((did, host_id, schema.ACTIVE, local_status, 0, now_us))
        new = [AccountRow._make(row) for row in cursor.insert_many(self._insert, wanted)]
        made.update((row.did, row) for row in new)
        for did in batch.keys() - made.keys():  # somebody made it before us
            made[did] = AccountRow._make(cursor.execute(self._by_did, (did,)).fetchone())
        self._add_counts(cursor, Counter(row.host_id for row in new))
        return made

    def _add_counts(self, cursor: Cursor, counts: Counter[int]) -> None:
        for host_id, more in counts.items():
            if more:
                cursor.execute(self._count, (more, host_id))
