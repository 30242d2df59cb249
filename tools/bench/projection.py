"""Account states from the log into SQL: the projector's greenlet, the change of each event, and the SQL itself.

With SQLite all of it is CPU of the relay's process, the writing thread's too. A PostgreSQL server's own is not in it.
"""

from random import Random
from typing import NamedTuple

from gevent.pool import Pool

from tools.bench.measure import folder_in_memory, least_us
from zlay_py.atproto import syntax
from zlay_py.clock import SystemClock
from zlay_py.eventlog.delta import Delta
from zlay_py.eventlog.record import Entry, RecordKind
from zlay_py.ingest.accounts import Accounts
from zlay_py.state.accounts import AccountStore
from zlay_py.state.database import Database
from zlay_py.state.hosts import HostStore
from zlay_py.state.meta import MetaStore
from zlay_py.workers.state_projector import Applied, StateProjector, change_of
from zlay_py.workers.supervisor import Supervisor

BATCH = 400
"""What the log writer brings at once at most."""

HOST = "bench.example.com"
FIRST_REV_US = 1_750_000_000_000_000
WAIT_S_MAX = 120.0


class Size(NamedTuple):
    accounts: int
    events: int


def measure(size: Size, rounds: int, database_url: str | None) -> dict[str, object]:
    """µs of CPU per event."""
    with folder_in_memory() as folder:
        found: dict[str, object] = {"accounts": size.accounts, "events": size.events}
        found["sqlite"] = _measure(Database(f"sqlite:///{folder / 'relay.sqlite'}"), size, rounds)
        if database_url is not None:
            found["database_url"] = _measure(Database(database_url), size, rounds)
        return found


def _measure(database: Database, size: Size, rounds: int) -> float:
    database.migrate()
    try:
        return _Bench(database, size).run(rounds)
    finally:
        database.close()


class _Bench:
    def __init__(self, database: Database, size: Size) -> None:
        self._size = size
        self._store = AccountStore(database)
        self._random = Random(1)
        hosts = HostStore(database)
        others = [row.hostname for row in hosts.all() if row.hostname != HOST]
        assert not others, f"a database of its own is needed for benchmarks, not one that knows {others[0]}"
        host = hosts.upsert(HOST, True, now_us=1)
        self._uids = _create(self._store, host.id, size.accounts)
        self._seq = MetaStore(database).applied_seq()
        clock = SystemClock()
        self._projector = StateProjector(self._store, Accounts(self._store, clock), self._seq)
        self._deaths: list[BaseException] = []
        self._supervisor = Supervisor(lambda _name, error: self._deaths.append(error))
        self._projector.start(self._supervisor)

    def run(self, rounds: int) -> float:
        best = float("inf")
        try:
            for _ in range(rounds):
                written = self._written()
                best = min(best, least_us(lambda: self._project(written), len(written), 1))  # noqa: B023
                self._check(written)
        finally:
            self._supervisor.stop(1.0)
        return best

    def _written(self) -> list[tuple[int, Entry]]:
        """The next events of accounts in any order, as the log writer has them."""
        found = []
        for _ in range(self._size.events):
            self._seq += 1
            rev = syntax.tid_from(FIRST_REV_US + self._seq, 1)
            cids = self._random.randbytes(36), self._random.randbytes(36)
            delta = Delta(verified=True, inverted=True, rev=rev, commit=cids[0], data=cids[1])
            uid = self._random.choice(self._uids)
            found.append((self._seq, Entry(RecordKind.COMMIT, uid, 0, 1, self._seq, 0, 0, b"", (0, 0), delta)))
        return found

    def _project(self, written: list[tuple[int, Entry]]) -> None:
        for first in range(0, len(written), BATCH):
            batch = written[first : first + BATCH]
            self._projector.put([Applied(seq, change_of(seq, entry), None) for seq, entry in batch])
        assert self._projector.drain(WAIT_S_MAX), self._deaths

    def _check(self, written: list[tuple[int, Entry]]) -> None:
        assert self._projector.applied_seq == written[-1][0]
        last = {entry.uid: entry.delta for _, entry in written}
        for uid in list(last)[:100]:
            row = self._store.by_uid(uid)
            assert row is not None
            assert (row.rev, row.commit_cid, row.data_cid) == (last[uid].rev, last[uid].commit, last[uid].data)


def _create(store: AccountStore, host_id: int, count: int) -> list[int]:
    """Accounts, by many greenlets at once: they share transactions."""

    def one(number: int) -> int:
        return store.create(f"did:web:a{number}.example.com", host_id, 1).uid

    return list(Pool(500).imap(one, range(count)))
