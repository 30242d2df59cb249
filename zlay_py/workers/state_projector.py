"""Brings account states from the log into SQL, in batches, with the seq they were applied up to.

SQL may be slow or away: what is not applied yet is pinned in memory, up to a bound; past it the log writer
waits, and through it the sockets.
"""

from collections import deque
from itertools import islice
from typing import NamedTuple

import gevent
from gevent.event import Event

from zlay_py.crashpoints import CrashPoint, Reached, pass_by
from zlay_py.errors import StorageFullError
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import Entry, Record
from zlay_py.ingest.accounts import Accounts, AccountState
from zlay_py.logs import get_logger
from zlay_py.state.accounts import AccountChange, AccountStore
from zlay_py.state.failures import StateUnavailableError
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

BACKLOG_EVENTS_MAX = 200_000
"""Events that SQL may be behind: at 1,000 a second more than three minutes. 430 bytes each here (what changes, never a
payload): 90 MB; in the worst case, each of another account, 70 MB more for the states that they pin."""

BATCH_EVENTS_MAX = 1_000
"""Events applied in one transaction."""

CATCH_UP_BYTES = 4 * 1024 * 1024
"""Read from the log at once when catching up at start."""

RETRY_S_MAX = 10.0
"""Between two tries to reach a database that does not answer."""


class Applied(NamedTuple):
    """One event that the log holds durably: what it changes, and the account state that it pins."""

    seq: int
    change: AccountChange | None
    account: AccountState | None


class StateProjector:
    """The state projection. `applied_seq`: everything up to it is in SQL."""

    def __init__(
        self,
        store: AccountStore,
        accounts: Accounts,
        applied_seq: int,
        *,
        backlog_max: int = BACKLOG_EVENTS_MAX,
        reached: Reached = pass_by,
    ) -> None:
        self.applied_seq = applied_seq
        self._backlog_max = backlog_max
        self._reached = reached
        self.failing = False
        self._store = store
        self._accounts = accounts
        self._backlog: deque[Applied] = deque()
        self._ready = Event()
        self._room = Event()
        self._settled = Event()
        self._settled.set()

    def __len__(self) -> int:
        return len(self._backlog)

    def start(self, supervisor: Supervisor) -> None:
        supervisor.spawn("state-projector", self._run)

    def catch_up(self, event_log: EventLog) -> int:
        """Applies what the log holds beyond `applied_seq`, before any socket is read. Returns the events applied."""
        count = 0
        if self.applied_seq + 1 < event_log.oldest_seq:
            if event_log.oldest_seq < event_log.next_seq:  # an empty log has nothing that could have been missed
                log.warning(
                    "the database is older than the log", applied_seq=self.applied_seq, oldest=event_log.oldest_seq
                )
            self.applied_seq = event_log.oldest_seq - 1
        while records := event_log.read(self.applied_seq + 1, bytes_max=CATCH_UP_BYTES):
            changes = [change for record in records if (change := change_of(record.seq, record)) is not None]
            # before the mark moves over them: an old backup may have no rows for these, and must not make them anew
            self._store.never_give_out(max(record.uid for record in records), max(record.host_id for record in records))
            self._store.apply(changes, records[-1].seq)
            self.applied_seq = records[-1].seq
            self._reached(CrashPoint.CATCH_UP_APPLIED)
            count += len(records)
        return count

    def put(self, batch: list[Applied]) -> None:
        self._backlog.extend(batch)
        self._settled.clear()
        self._ready.set()

    @property
    def full(self) -> bool:
        return len(self._backlog) >= self._backlog_max

    def wait_for_room(self) -> None:
        while self.full:
            self._room.clear()
            self._room.wait()

    def let_go(self, account: AccountState) -> None:
        """Of an event that will never be in the log: its account is no longer pinned by it."""
        self._accounts.unpin(account)

    def drain(self, timeout_s: float) -> bool:
        return bool(self._settled.wait(timeout_s))

    def _run(self) -> None:
        while True:
            if not self._backlog:
                self._settled.set()
                self._ready.clear()
                self._ready.wait()
                continue
            batch = list(islice(self._backlog, BATCH_EVENTS_MAX))
            self._reached(CrashPoint.PROJECTION_BEGUN)
            self._apply(batch)
            self._reached(CrashPoint.PROJECTION_APPLIED)
            for _ in batch:
                self._backlog.popleft()
            self._room.set()

    def _apply(self, batch: list[Applied]) -> None:
        changes = [item.change for item in batch if item.change is not None]
        retry_s = 0.1
        while True:
            try:
                self._store.apply(changes, batch[-1].seq)
            except (StateUnavailableError, StorageFullError) as error:
                if not self.failing:
                    log.error(
                        "the database takes no account states; events go on until as many wait as there is room for",
                        error=str(error),
                        room=self._backlog_max,
                    )
                self.failing = True
                gevent.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_S_MAX)
                continue
            if self.failing:
                log.warning("the database takes account states again", waiting=len(self._backlog))
            self.failing = False
            break
        self.applied_seq = batch[-1].seq
        for item in batch:
            if item.account is not None:
                self._accounts.unpin(item.account)


def change_of(seq: int, source: Entry | Record) -> AccountChange | None:
    """What an event does to its account's row; None for one that changes nothing."""
    delta = source.delta
    if not delta.verified or source.uid == 0:
        return None
    if delta.rev is None and delta.upstream_status is None and delta.local_status is None:
        return None
    return AccountChange(
        uid=source.uid,
        seq=seq,
        upstream_status=delta.upstream_status,
        local_status=delta.local_status,
        rev=delta.rev,
        commit_cid=delta.commit,
        data_cid=delta.data,
    )
