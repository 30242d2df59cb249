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
from zlay_py.errors import StorageFullError
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import Entry
from zlay_py.ingest.accounts import AccountState
from zlay_py.ingest.work import Work
from zlay_py.logs import get_logger
from zlay_py.workers.byte_budget import ByteBudget
from zlay_py.workers.state_projector import Applied, StateProjector
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

BATCH_EVENTS_MAX = 400
"""Events of one group commit (as in zlay): about 2 MB, some milliseconds of encoding."""

SYNC_INTERVAL_S = 1.0
"""In flush mode: what a loss of power may lose of events that were sent already."""

FULL_RETRY_S = 1.0
"""Between two tries to write a batch to a full disk."""


class _Pending(NamedTuple):
    entry: Entry
    account: AccountState | None
    work: Work | None


class LogWriter:
    """`put` never waits: what it holds is bounded by the byte budget that every frame was admitted under."""

    def __init__(self, event_log: EventLog, projector: StateProjector, budget: ByteBudget, clock: Clock) -> None:
        self.on_append: Callable[[float], object] = lambda _seconds: None
        """Called with the time that each batch took."""
        self.full = False
        """The disk took nothing at the last try. `/_ready` says so."""
        self._log = event_log
        self._projector = projector
        self._budget = budget
        self._clock = clock
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
        """Waits until all that was put is durable; False when that took too long (a full disk)."""
        return bool(self._settled.wait(timeout_s))

    def _run(self) -> None:
        while True:
            if self._unsynced and self._clock.monotonic_s() - self._synced_s >= SYNC_INTERVAL_S:
                self._sync()
            if not self._pending:
                if not self._unsynced:
                    self._settled.set()
                self._ready.clear()
                self._ready.wait(SYNC_INTERVAL_S if self._unsynced else None)
                continue
            self._projector.wait_for_room()
            batch = [self._pending.popleft() for _ in range(min(len(self._pending), BATCH_EVENTS_MAX))]
            seqs = self._append(batch)
            self._finish(batch, seqs)
            gevent.sleep(0)

    def _append(self, batch: list[_Pending]) -> list[int]:
        entries = [pending.entry for pending in batch]
        while True:
            start_s = self._clock.monotonic_s()
            try:
                seqs = self._log.append(entries)
            except StorageFullError as error:
                if not self.full:
                    log.error("the disk is full: no event is taken until there is space", detail=str(error))
                self.full = True
                gevent.sleep(FULL_RETRY_S)
                continue
            if self.full:
                log.warning("the disk has space again: events are taken")
            self.full = False
            self.on_append(self._clock.monotonic_s() - start_s)
            return seqs

    def _finish(self, batch: list[_Pending], seqs: list[int]) -> None:
        """Budget back, marks forward, projector told. In flush mode marks wait for the next fsync."""
        for seq, pending in zip(seqs, batch, strict=True):
            self._unsynced.append((seq, pending))
            if pending.work is not None:
                self._budget.give_back(pending.work.size_bytes)
        self._settle_durable()

    def _sync(self) -> None:
        """Only flush mode leaves anything to do here."""
        self._log.sync()
        self._synced_s = self._clock.monotonic_s()
        self._settle_durable()

    def _settle_durable(self) -> None:
        """Tells the projector, and moves the hosts' marks, of what the disk is sure of: never of more."""
        durable_seq = self._log.durable_seq
        applied = []
        while self._unsynced and self._unsynced[0][0] <= durable_seq:
            seq, pending = self._unsynced.popleft()
            applied.append(Applied(seq, pending.entry, pending.account))
            if pending.work is not None:
                pending.work.done()
        if applied:
            self._projector.put(applied)
