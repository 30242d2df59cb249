"""A shared allowance of bytes: those of frames between socket and durable log record."""

from gevent.event import Event

FRAMES_BYTES_MAX = 256 * 1024 * 1024
"""Of all frames in flight together: fifty of the largest, or some fifty thousand of the usual size."""


class ByteBudget:
    """`take` waits until the bytes fit. One frame always fits into an empty budget, however large it is."""

    def __init__(self, bytes_max: int = FRAMES_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.used_bytes = 0
        self._room = Event()

    def take(self, size_bytes: int) -> None:
        while self.used_bytes and self.used_bytes + size_bytes > self.bytes_max:
            self._room.clear()
            self._room.wait()
        self.used_bytes += size_bytes

    def take_at_once(self, size_bytes: int) -> None:
        """For what is in memory already: may go over the maximum, which then keeps new frames out for longer."""
        self.used_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        self.used_bytes -= size_bytes
        self._room.set()
