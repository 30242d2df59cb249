"""Drops old segments of the log: by age, and by the disk budget."""

import gevent

from zlay_py.clock import Clock
from zlay_py.eventlog.log import EventLog
from zlay_py.logs import get_logger
from zlay_py.workers.state_projector import StateProjector
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

INTERVAL_S = 60.0
"""Between two looks at the segments: small against any retention window."""


class Retention:
    """Never drops what the state projection has not applied."""

    def __init__(
        self,
        event_log: EventLog,
        projector: StateProjector,
        clock: Clock,
        *,
        retention_hours: float,
        budget_bytes: int,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._log = event_log
        self._projector = projector
        self._clock = clock
        self._retention_us = int(retention_hours * 3_600_000_000)
        self._budget_bytes = budget_bytes
        self._interval_s = interval_s

    def start(self, supervisor: Supervisor) -> None:
        supervisor.spawn("retention", self._run)

    def once(self) -> int:
        """Returns the number of segments dropped."""
        dropped = self._log.retain(
            self._clock.now_us() - self._retention_us, self._budget_bytes, self._projector.applied_seq
        )
        if dropped:
            log.info("old segments dropped", segments=len(dropped), oldest_seq=self._log.oldest_seq)
        return len(dropped)

    def _run(self) -> None:
        while True:
            gevent.sleep(self._interval_s)
            self.once()
