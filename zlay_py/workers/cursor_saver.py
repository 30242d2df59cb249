"""Saves the hosts' marks every few seconds and at the end: where a start connects again."""

from collections.abc import Callable, Iterable

import gevent

from zlay_py.crashpoints import CrashPoint, Reached, pass_by
from zlay_py.errors import StorageFullError
from zlay_py.eventlog.log import EventLog
from zlay_py.ingest.low_water import LowWater
from zlay_py.logs import get_logger
from zlay_py.state.failures import StateUnavailableError
from zlay_py.state.hosts import CursorRow, HostStore
from zlay_py.state.leftovers import Leftover
from zlay_py.workers.host_registry import HostRegistry
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

SAVE_INTERVAL_S = 4.0
"""As the reference relay: what a crash makes a start read again, and recognise, is this much."""


class CursorSaver:
    """`save` writes every mark that moved, and the log seq from which a start must look for events beyond the marks.

    `leftovers`: what this start found beyond the marks. The checkpoint passes its records at the first save, so it is
    saved along with it, less what the marks have passed since. A host that is not crawled now keeps its own.
    `stored`: what the database holds of them. `save_first`: brings to the database what must be there before the
    checkpoint passes the records that tell of it; raises as `save` does.
    """

    def __init__(
        self,
        hosts: HostStore,
        registry: HostRegistry,
        event_log: EventLog,
        *,
        leftovers: Iterable[Leftover],
        stored: Iterable[Leftover],
        save_first: Callable[[], object] = lambda: None,
        save_interval_s: float = SAVE_INTERVAL_S,
        reached: Reached = pass_by,
    ) -> None:
        self._hosts = hosts
        self._registry = registry
        self._log = event_log
        self._save_first = save_first
        self._save_interval_s = save_interval_s
        self._reached = reached
        self._leftovers = {leftover.host_id: leftover for leftover in leftovers}
        self._stored = {leftover.host_id: leftover for leftover in stored}

    def start(self, supervisor: Supervisor) -> None:
        supervisor.spawn("cursor-saver", self._run)

    def save(self) -> int:
        """Returns the number of marks written. All in one transaction. Raises what `Database.transaction` does."""
        checkpoint = self._log.durable_seq  # what comes while we wait may tell of things that are not saved
        self._save_first()
        # all of one moment: nothing here gives up the hub before the transaction
        rows: list[CursorRow] = []
        touched: list[LowWater] = []
        for host in self._registry:
            floor = host.water.scan_floor()
            if floor is not None:
                checkpoint = min(checkpoint, floor)
            if host.water.touched and host.water.mark is not None:
                rows.append(CursorRow(host.id, host.epoch, host.water.mark))
                touched.append(host.water)
                host.water.touched = False
        self._leftovers = left = self._still_left()
        changed = [leftover for leftover in left.values() if self._stored.get(leftover.host_id) != leftover]
        changed += [gone._replace(runs=(), judged=()) for gone in self._stored.values() if gone.host_id not in left]
        self._reached(CrashPoint.CURSORS_CHOSEN)
        try:
            self._hosts.save_cursors(rows, checkpoint, changed)
        except BaseException:
            for water in touched:
                water.touched = True
            raise
        self._stored = left
        self._reached(CrashPoint.CURSORS_SAVED)
        return len(rows)

    def _still_left(self) -> dict[int, Leftover]:
        """The leftovers less what is at or below their host's mark.

        Not less what the host has sent again: above an unfinished frame the mark does not move, and the next start
        would read those seqs once more.
        """
        left = {}
        for host_id, leftover in self._leftovers.items():
            host = self._registry.get(host_id)
            if host is not None:
                if host.epoch != leftover.epoch:
                    continue
                leftover = leftover.above(host.water.mark or 0)
            if not leftover.empty:
                left[host_id] = leftover
        return left

    def _run(self) -> None:
        failing = False
        while True:
            gevent.sleep(self._save_interval_s)
            try:
                self.save()
            except (StateUnavailableError, StorageFullError) as error:
                if not failing:  # once: the database may be away for hours
                    log.error("the hosts' cursors could not be saved; tried every few seconds", error=str(error))
                failing = True
            else:
                if failing:
                    log.warning("the hosts' cursors are saved again")
                failing = False
