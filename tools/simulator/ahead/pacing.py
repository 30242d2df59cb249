"""Releases frames that were signed ahead at so many per second over all hosts, in the order of the world."""

import os
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import gevent

from tools.simulator.ahead.streams import ORDER
from tools.simulator.servers.feed import Feed

TICK_S: Final = 0.01
"""Between two releases, where more than one frame is due in that time."""
RATE_MIN: Final = 0.001
RATE_MAX: Final = 1_000_000.0
_ENTRY_BYTES: Final = 2


class Pacer:
    """`play` starts it, and changes the rate of one that runs."""

    def __init__(self, folder: Path, feeds: Sequence[Feed]) -> None:
        self._feeds = feeds
        self._descriptor = os.open(folder / ORDER, os.O_RDONLY)
        self._count = os.fstat(self._descriptor).st_size // _ENTRY_BYTES
        self.released = 0
        """Frames so far."""
        self.rate: float | None = None
        """Events per second; None: as fast as they are read."""
        self._running: gevent.Greenlet[[float], None] | None = None

    def play(self, rate: float | None) -> None:
        """None: everything at once, as fast as it is read; there is no way back from that. Raises ValueError."""
        check_rate(rate)
        self._halt()
        self.rate = rate
        if rate is not None:
            self._running = gevent.spawn(self._run, rate)
            return
        self.released = self._count
        for feed in self._feeds:
            feed.release_all()

    def close(self) -> None:
        self._halt()
        os.close(self._descriptor)

    def _halt(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running = None

    def _run(self, rate: float) -> None:
        began_s, began_at = time.monotonic(), self.released
        while self.released < self._count:
            gevent.sleep(max(TICK_S, began_s + (self.released - began_at + 1) / rate - time.monotonic()))
            due = began_at + int((time.monotonic() - began_s) * rate)
            self._release(min(due, self._count))

    def _release(self, due: int) -> None:
        if due <= self.released:
            return
        data = os.pread(self._descriptor, (due - self.released) * _ENTRY_BYTES, self.released * _ENTRY_BYTES)
        for host, count in Counter(array("H", data)).items():
            self._feeds[host].release(self._feeds[host].released + count)
        self.released = due


def check_rate(rate: float | None) -> None:
    """Raises ValueError for one that nothing can be sent at."""
    if rate is not None and not RATE_MIN <= rate <= RATE_MAX:
        raise ValueError(f"a rate of {rate} events/s is not within {RATE_MIN} to {RATE_MAX:.0f}")
