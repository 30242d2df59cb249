"""Saves the hosts' marks every few seconds and at the end: where a start connects again."""

import gevent

from zlay_py.errors import StorageFullError
from zlay_py.eventlog.log import EventLog
from zlay_py.logs import get_logger
from zlay_py.state.failures import StateUnavailableError
from zlay_py.state.hosts import CursorRow, HostStore
from zlay_py.workers.host_registry import HostRegistry
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

SAVE_INTERVAL_S = 4.0
"""As the reference relay: what a crash makes a start read again, and recognise, is this much."""


class CursorSaver:
    """`save` writes every mark that moved, and the log seq from which a start must look for events beyond the marks."""

    def __init__(self, hosts: HostStore, registry: HostRegistry, event_log: EventLog) -> None:
        self._hosts = hosts
        self._registry = registry
        self._log = event_log

    def start(self, supervisor: Supervisor) -> None:
        supervisor.spawn("cursor-saver", self._run)

    def save(self) -> int:
        """Returns the number of marks written. All in one transaction."""
        checkpoint = self._log.durable_seq
        rows, touched = [], []
        for host in self._registry:
            floor = host.water.scan_floor()
            if floor is not None:
                checkpoint = min(checkpoint, floor)
            if host.water.touched and host.water.mark is not None:
                rows.append(CursorRow(host.id, host.epoch, host.water.mark))
                touched.append(host.water)
                host.water.touched = False
        try:
            self._hosts.save_cursors(rows, checkpoint)
        except BaseException:
            for water in touched:
                water.touched = True
            raise
        return len(rows)

    def _run(self) -> None:
        while True:
            gevent.sleep(SAVE_INTERVAL_S)
            try:
                self.save()
            except (StateUnavailableError, StorageFullError) as error:
                log.error("the hosts' cursors could not be saved; tried again", error=str(error))
