"""Host rows: what is crawled, how it is allowed to behave, and where its stream goes on.

The cursor is written by `save_cursors` and `bump_epoch` only, the status by `set_status` and `unban` only: a saver
that knows nothing of an admin's block must not be able to lift it.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple

from zlay_py.state import meta, schema
from zlay_py.state.database import Cursor, Database
from zlay_py.state.failures import StateRuleError
from zlay_py.state.host_texts import COLUMNS, HostTexts
from zlay_py.state.leftovers import Leftover, LeftoverTable

ACCOUNT_LIMIT_DEFAULT = 100
"""Accounts of a host that nobody vouches for, as in the reference relay."""

CURSOR_MAX = 2**63 - 1
"""The column's. A host may claim larger seqs; a lower mark only makes it send something again."""

PAGE_ROWS_MAX = 10_000
"""Rows of one page at most: 20 ms of the hub."""


class HostStatus(StrEnum):
    """`com.atproto.sync.defs#hostStatus`."""

    ACTIVE = "active"
    IDLE = "idle"
    OFFLINE = "offline"
    THROTTLED = "throttled"
    BANNED = "banned"


class HostRow(NamedTuple):
    """Fields are named and ordered as the columns. Times in microseconds since 1970."""

    id: int
    hostname: str
    tls: bool
    status: HostStatus
    trusted: bool
    account_limit: int
    account_count: int
    cursor: int | None
    epoch: int
    failure_kind: str | None
    sync11_mode: str | None
    created_us: int
    updated_us: int


assert HostRow._fields == COLUMNS


class NewHost(NamedTuple):
    """A host to be made if it is not known. `cursor`: upstream seq to start from; None: live."""

    hostname: str
    tls: bool
    trusted: bool = False
    account_limit: int = ACCOUNT_LIMIT_DEFAULT
    cursor: int | None = None


class CursorRow(NamedTuple):
    """A host's low-water mark: every upstream seq of this epoch up to `cursor` is done with."""

    host_id: int
    epoch: int
    cursor: int


class HostStore:
    """The hosts table. Every method raises what `Database` does.

    Every write may be repeated. After a repetition, a False may mean that the first one has done it already.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._texts = HostTexts(database.sql)
        self._leftovers = LeftoverTable(database)
        self._grow_mark = meta.grow_text(database.sql)

    def get(self, hostname: str) -> HostRow | None:
        row = self._database.one(self._texts.by_name, (hostname,))
        return None if row is None else _host(row)

    def by_id(self, host_id: int) -> HostRow | None:
        row = self._database.one(self._texts.by_id, (host_id,))
        return None if row is None else _host(row)

    def all(self) -> list[HostRow]:
        """Every host, in order of id: some thousands of rows, for a start."""
        return [_host(row) for row in self._database.rows(self._texts.all)]

    def page(self, after_id: int, limit: int) -> list[HostRow]:
        """Up to `limit` rows in order of id, beginning beyond `after_id`."""
        return [_host(row) for row in self._database.rows(self._texts.page, (after_id, min(limit, PAGE_ROWS_MAX)))]

    def count_by_status(self) -> dict[HostStatus, int]:
        """How many hosts have each status; those of none are not in it."""
        return {HostStatus(status): int(count) for status, count in self._database.rows(self._texts.count_by_status)}

    def created_since(self, since_us: int) -> int:
        """How many hosts are new since then: what a daily limit on new hosts is held against."""
        row = self._database.one(self._texts.created_since, (since_us,))
        assert row is not None
        return int(row[0])

    def upsert(
        self,
        hostname: str,
        tls: bool,
        trusted: bool = False,
        account_limit: int = ACCOUNT_LIMIT_DEFAULT,
        cursor: int | None = None,
        *,
        now_us: int,
    ) -> HostRow:
        """The row of a host, made now if there is none.

        For a known host `tls` is taken over and `trusted` only ever granted; cursor, status and limits stay what
        they became since: every start names the same hosts again.
        """
        return self.upsert_many([NewHost(hostname, tls, trusted, account_limit, cursor)], now_us=now_us)[0]

    def upsert_many(self, hosts: Iterable[NewHost], *, now_us: int) -> list[HostRow]:
        """The same for many, in one transaction; none at all where every host is known as it is named."""
        wanted = list(hosts)
        known = [self.get(host.hostname) for host in wanted]
        if any(_differs(host, row) for host, row in zip(wanted, known, strict=True)):
            return self._database.transaction(lambda cursor: self._upsert_in(cursor, wanted, now_us))
        return [row for row in known if row is not None]

    def set_status(self, host_id: int, status: HostStatus, failure_kind: str | None, now_us: int) -> bool:
        """What the subscriber found, or an admin's ban. False, and nothing changed, for a banned or unknown host."""
        row = self.by_id(host_id)
        if row is None or row.status is HostStatus.BANNED:
            return False
        if (row.status, row.failure_kind) == (status, failure_kind):
            return True  # an unreachable host says so every hour; no fsync for that
        return self._change(self._texts.set_status, (status.value, failure_kind, now_us, host_id))

    def unban(self, host_id: int, now_us: int) -> bool:
        """The only way out of BANNED, to ACTIVE. False if the host was not banned."""
        return self._change(self._texts.unban, (HostStatus.ACTIVE.value, now_us, host_id))

    def set_account_limit(self, host_id: int, account_limit: int, now_us: int) -> bool:
        """False for an unknown host."""
        return self._change(self._texts.set_account_limit, (account_limit, now_us, host_id))

    def set_sync11_mode(self, host_id: int, mode: str | None, now_us: int) -> bool:
        """Overrides the setting for one host; None: the setting again. False for an unknown host."""
        return self._change(self._texts.set_sync11_mode, (mode, now_us, host_id))

    def leftovers(self) -> list[Leftover]:
        """What `save_cursors` last said of each host that had something left over."""
        return self._leftovers.all()

    def save_cursors(self, rows: Iterable[CursorRow], checkpoint_seq: int, leftovers: Iterable[Leftover] = ()) -> None:
        """Saves marks, the log seq from which a start scans for what lies beyond them, and what lies beyond them
        below that seq (`leftovers`: of hosts where it changed; an empty one: nothing any more), in one transaction.

        A mark only grows, and one of another epoch than the row's is ignored: frames that were on their way when
        the cursor was reset can't move the new one. Repeatable: marks and checkpoint grow, leftovers are replaced.
        """
        changed = list(leftovers)
        marks = [(mark := min(row.cursor, CURSOR_MAX), row.host_id, row.epoch, mark) for row in rows]

        def work(cursor: Cursor) -> None:
            # first: it waits for one of these whose COMMIT is still under way although we gave it up
            cursor.execute(self._grow_mark, (meta.CURSOR_CHECKPOINT, str(checkpoint_seq)))
            cursor.executemany(self._texts.save_cursor, marks)
            self._leftovers.save_in(cursor, changed)

        self._database.transaction(work)

    def bump_epoch(self, host_id: int, from_epoch: int, cursor: int | None) -> int:
        """Resets the cursor (None: connect without one) and begins the epoch after `from_epoch`, in one transaction.

        Returns the new epoch. Where that has begun already, nothing is changed and all is well: it was this caller,
        who could not be told. Raises StateRuleError for an unknown host, and for one in any other epoch.
        """
        new_epoch = from_epoch + 1

        def work(dbapi: Cursor) -> int:
            if dbapi.execute(self._texts.begin_epoch, (cursor, host_id, from_epoch)).rowcount == 0:
                row = dbapi.execute(self._texts.epoch, (host_id,)).fetchone()
                if row is None:
                    raise StateRuleError(f"there is no host {host_id}")
                if row[0] != new_epoch:
                    raise StateRuleError(f"host {host_id} is in epoch {row[0]}, and was to leave {from_epoch}")
            return new_epoch

        return self._database.transaction(work)

    def _change(self, text: str, parameters: tuple[object, ...]) -> bool:
        return self._database.transaction(lambda cursor: cursor.execute(text, parameters).rowcount == 1)

    def _upsert_in(self, cursor: Cursor, hosts: list[NewHost], now_us: int) -> list[HostRow]:
        rows: dict[str, HostRow] = {}
        for wave in _waves(hosts):
            changed = cursor.insert_many(self._texts.insert, (_new_row(host, now_us) for host in wave))
            rows |= {row.hostname: row for row in map(_host, changed)}
        for host in hosts:
            if host.hostname not in rows:  # known as it is named: nothing to write
                rows[host.hostname] = _host(cursor.execute(self._texts.by_name, (host.hostname,)).fetchone())
        return [rows[host.hostname] for host in hosts]


def _waves(hosts: list[NewHost]) -> list[list[NewHost]]:
    """In their order, with no host twice in one wave: see `Cursor.insert_many`. A list that repeats none is one."""
    waves: list[dict[str, NewHost]] = []
    for host in hosts:
        if not waves or host.hostname in waves[-1]:
            waves.append({})
        waves[-1][host.hostname] = host
    return [list(wave.values()) for wave in waves]


def _new_row(host: NewHost, now_us: int) -> tuple[object, ...]:
    start = None if host.cursor is None else min(host.cursor, CURSOR_MAX)
    row = (host.hostname, host.tls, schema.ACTIVE, host.trusted, host.account_limit, 0, start, 0, None, None)
    return (*row, now_us, now_us)


def _differs(host: NewHost, row: HostRow | None) -> bool:
    return row is None or row.tls != host.tls or (host.trusted and not row.trusted)


def _host(row: tuple[Any, ...]) -> HostRow:
    number, hostname, tls, status, trusted, *rest = row
    return HostRow(number, hostname, bool(tls), HostStatus(status), bool(trusted), *rest)
