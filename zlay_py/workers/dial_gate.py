"""Paces the dialling of thousands of hosts, so that a start does not stall the hub or the resolver."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import gevent
from gevent.lock import BoundedSemaphore

from zlay_py.clock import Clock

HANDSHAKES_MAX = 64
"""Handshakes at a time. A TLS handshake costs about a millisecond of CPU; DNS and the peer take the rest."""

DIALS_PER_S_MAX = 50.0
"""3,000 hosts within a minute, if they answer within 1.3 s on average (64 places, 50 dials a second), or within 0.6 s
while the doubtful ones hold all the places they may. A dead host that is not known as such yet holds its place until
its handshake times out, and makes a start that much longer."""


class DialGate:
    """Waits for a free place and for a turn. Hosts that could not be reached the last time share half of the places."""

    def __init__(
        self,
        clock: Clock,
        *,
        dials_per_s: float = DIALS_PER_S_MAX,
        at_once: int = HANDSHAKES_MAX,
        sleep: Callable[[float], object] = gevent.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._gap_s = 1.0 / dials_per_s
        self._next_s = 0.0
        self._places = BoundedSemaphore(at_once)
        self._doubtful = BoundedSemaphore(max(1, at_once // 2))

    @contextmanager
    def place(self, *, doubtful: bool) -> Iterator[None]:
        """Around one dial. `doubtful`: the last dial of this host failed."""
        # the turn comes last: who waits for a place must not hold a turn that others could use
        with self._doubtful if doubtful else nullcontext(), self._places:
            self._wait_for_turn()
            yield

    def _wait_for_turn(self) -> None:
        now_s = self._clock.monotonic_s()
        turn_s = max(now_s, self._next_s)
        self._next_s = turn_s + self._gap_s
        if turn_s > now_s:
            self._sleep(turn_s - now_s)
