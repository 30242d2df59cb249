"""Ctrl-C, TERM and a closed terminal as something to wait for: no exception ever starts in the middle of anything.

A handler that called `threading.Event.set` could meet the lock that the interrupted `wait` holds; a pipe has none.
"""

import os
import select
import signal
from contextlib import suppress
from types import FrameType

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Made once, first of all. The first signal asks for the end, a second one for the end at once."""

    def __init__(self) -> None:
        self._received: list[int] = []
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        for number in WATCHED:
            signal.signal(number, self._on_signal)

    @property
    def count(self) -> int:
        return len(self._received)

    @property
    def terminal_closed(self) -> bool:
        """Nobody can read anything any more."""
        return signal.SIGHUP in self._received

    @property
    def hurry(self) -> bool:
        return self.count > 1 or self.terminal_closed

    def wait(self, timeout_s: float) -> None:
        """For that long, or until the next signal."""
        ready, _, _ = select.select([self._reader], [], [], timeout_s)
        if ready:
            os.read(self._reader, 1)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # as `signal.signal` calls it
        self._received.append(number)
        with suppress(BlockingIOError):  # thousands of signals that nobody has looked at: one more changes nothing
            os.write(self._writer, b"!")
