"""One line every few minutes that answers "is it working?" without a metrics server."""

import gevent

from zlay_py.eventlog.log import EventLog
from zlay_py.fanout.broadcaster import Broadcaster
from zlay_py.ingest.stats import IngestStats
from zlay_py.logs import get_logger
from zlay_py.workers.slurper import Slurper
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

INTERVAL_S = 300.0
"""Twelve lines an hour."""


class Summary:
    """What came in and went out since the last line."""

    def __init__(self, stats: IngestStats, slurper: Slurper, event_log: EventLog, broadcaster: Broadcaster) -> None:
        self._stats = stats
        self._slurper = slurper
        self._log = event_log
        self._broadcaster = broadcaster
        self._before = (0, 0, 0)

    def start(self, supervisor: Supervisor) -> None:
        supervisor.spawn("summary", self._run)

    def once(self) -> None:
        now = (self._stats.received.total(), self._stats.accepted.total(), self._stats.dropped.total())
        received, emitted, dropped = (later - earlier for later, earlier in zip(now, self._before, strict=True))
        self._before = now
        log.info(
            "summary",
            hosts_connected=self._slurper.connected(),
            hosts=len(self._slurper.subscribers),
            received=received,
            emitted=emitted,
            dropped=dropped,
            consumers=len(self._broadcaster),
            seq=self._log.current_seq,
        )

    def _run(self) -> None:
        while True:
            gevent.sleep(INTERVAL_S)
            self.once()
