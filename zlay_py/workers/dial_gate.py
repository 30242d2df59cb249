"""Paces the dialling of thousands of hosts, so that a start does not stall the hub or the resolver."""

from types import TracebackType

import gevent
from gevent.lock import BoundedSemaphore

from zlay_py.clock import Clock

HANDSHAKES_MAX = 64
"""Handshakes at a time. A TLS handshake costs about a millisecond of CPU; DNS and the peer take the rest."""

DIALS_PER_S_MAX = 50.0
"""3,000 hosts are dialled within a minute."""


class DialGate:
    """A context manager around one dial: waits for its turn and for a free place."""

    def __init__(self, clock: Clock, *, dials_per_s: float = DIALS_PER_S_MAX, at_once: int = HANDSHAKES_MAX) -> None:
        self._clock = clock
        self._gap_s = 1.0 / dials_per_s
        self._next_s = 0.0
        self._places = BoundedSemaphore(at_once)

    def __enter__(self) -> None:
        now_s = self._clock.monotonic_s()
        turn_s = max(now_s, self._next_s)
        self._next_s = turn_s + self._gap_s
        if turn_s > now_s:
            gevent.sleep(turn_s - now_s)
        self._places.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._places.release()
