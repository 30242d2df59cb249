"""The one writer of the event log: takes what has gathered, makes it durable, then lets the others know.

Group commit without a timer: while one batch is on its way to the disk the next one gathers. A disk that is
full stops nothing but the intake: the batch is kept and tried again, the lanes fill, the sockets are not read.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import gevent
from gevent.event import Event

from zlay_py.clock import Clock
from zlay_py.crashpoints import CrashPoint, Reached, pass_by
from zlay_py.errors import StorageFullError
from zlay_py.eventlog.batch import EntryInvalidError
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import Entry
from zlay_py.ingest.accounts import AccountState
from zlay_py.ingest.work import Work
from zlay_py.logs import get_logger
from zlay_py.workers.byte_budget import ByteBudget
from zlay_py.workers.state_projector import Applied, StateProjector, change_of
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

BATCH_EVENTS_MAX = 400
"""Events of one group commit (as in zlay): about 2 MB, some milliseconds of encoding."""

SYNC_INTERVAL_S = 1.0
"""In flush mode: what a loss of power may lose of events that were sent already."""

UNSYNCED_EVENTS_MAX = 1_000
"""Events in flush mode that wait for the next fsync: half of the unfinished frames that one host may have, so that a
single busy host is not held up by the interval."""

FULL_RETRY_S = 1.0
"""Between two tries to write a batch to a full disk."""


class _Pending(NamedTuple):
    entry: Entry
    account: AccountState | None
    work: Work | None


class LogWriter:
    """`put` never waits: what it holds is bounded by the byte budget that every frame was admitted under.

    In flush mode a record waits for the next fsync before the host's mark, the projector and the budget hear of it.
    """

    def __init__(
        self,
        event_log: EventLog,
        projector: StateProjector,
        budget: ByteBudget,
        clock: Clock,
        *,
        full_retry_s: float = FULL_RETRY_S,
        reached: Reached = pass_by,
    ) -> None:
        self.on_append: Callable[[float], object] = lambda _seconds: None
        """Called with the time that each batch took."""
        self.full = False
        """The disk took nothing at the last try. `/_ready` says so."""
        self._log = event_log
        self._projector = projector
        self._budget = budget
        self._clock = clock
        self._full_retry_s = full_retry_s
        self._reached = reached
        self._synced_s = clock.monotonic_s()
        self._pending: deque[_Pending] = deque()
        self._unsynced: deque[tuple[int, _Pending]] = deque()
        self._ready = Event()
        self._settled = Event()
        self._settled.set()

    def __len__(self) -> int:
        return len(self._pending)

    def start(self, supervisor: Supervisor) -> None:
        supervisor.spawn("log-writer", self._run)

    def put(self, entry: Entry, account: AccountState | None, work: Work | None) -> None:
        """Queues one entry. Entries of one DID must be put in their order. `work` is None for what we say ourselves."""
        self._pending.append(_Pending(entry, account, work))
        self._settled.clear()
        self._ready.set()

    def drain(self, timeout_s: float) -> bool:
        """Waits until all that was put is durable, in flush mode too; False when that took too long (a full disk)."""
        return bool(self._settled.wait(timeout_s))

    def _run(self) -> None:
        while True:
            if self._sync_due():
                self._sync()
            if not self._pending:
                if not self._unsynced:
                    self._settled.set()
                self._ready.clear()
                self._ready.wait(SYNC_INTERVAL_S if self._unsynced else None)
                continue
            if self._projector.full:
                if self._unsynced:  # the wait may be long: what was sent must not lie unsynced meanwhile
                    self._sync()
                self._projector.wait_for_room()
            self._write([self._pending.popleft() for _ in range(min(len(self._pending), BATCH_EVENTS_MAX))])
            gevent.sleep(0)

    def _write(self, batch: list[_Pending]) -> None:
        """Appends the batch. An entry that can't be a record is left out, and the others keep their order.

        Halves are tried until the bad one stands alone: a bug that one frame brings out must not end the relay, and
        end it again with every start, when the host sends that frame once more.
        """
        try:
            seqs = self._append([pending.entry for pending in batch])
        except EntryInvalidError as error:
            if len(batch) == 1:
                self._leave_out(batch[0], error)
                return
            half = len(batch) // 2
            self._write(batch[:half])
            self._write(batch[half:])
            return
        self._unsynced.extend(zip(seqs, batch, strict=True))
        self._settle_durable()

    def _append(self, entries: list[Entry]) -> list[int]:
        while True:
            start_s = self._clock.monotonic_s()
            try:
                seqs = self._log.append(entries)
            except StorageFullError as error:
                if not self.full:
                    log.error("the disk is full: no event is taken until there is space", detail=str(error))
                self.full = True
                if self._unsynced:  # in flush mode: what was sent must not lie unsynced for as long as that takes
                    self._sync()
                gevent.sleep(self._full_retry_s)
                continue
            if self.full:
                log.warning("the disk has space again: events are taken")
            self.full = False
            self.on_append(self._clock.monotonic_s() - start_s)
            return seqs

    def _leave_out(self, pending: _Pending, error: EntryInvalidError) -> None:
        entry = pending.entry
        log.error(
            "an event can't be logged, a bug of ours: it is dropped",
            error=str(error)[:300],
            kind=entry.kind.name,
            uid=entry.uid,
            host_id=entry.host_id,
            upstream_seq=entry.upstream_seq,
            payload_bytes=len(entry.payload),
        )
        if pending.account is not None:
            self._projector.let_go(pending.account)
        self._work_done(pending)

    def _sync_due(self) -> bool:
        if len(self._unsynced) >= UNSYNCED_EVENTS_MAX:
            return True
        return bool(self._unsynced) and self._clock.monotonic_s() - self._synced_s >= SYNC_INTERVAL_S

    def _sync(self) -> None:
        """Only flush mode leaves anything to do here."""
        self._log.sync()
        self._synced_s = self._clock.monotonic_s()
        self._settle_durable()

    def _settle_durable(self) -> None:
        """Budget back, marks forward, projector told, of what the disk is sure of: never of more."""
        durable_seq = self._log.durable_seq
        applied = []
        while self._unsynced and self._unsynced[0][0] <= durable_seq:
            seq, pending = self._unsynced.popleft()
            applied.append(Applied(seq, change_of(seq, pending.entry), pending.account))
            self._work_done(pending)
        if applied:
            self._reached(CrashPoint.MARKS_MOVED)
            self._projector.put(applied)

    def _work_done(self, pending: _Pending) -> None:
        if pending.work is not None:
            self._budget.give_back(pending.work.size_bytes)
            pending.work.done()
