"""A shared allowance of bytes: those of frames between socket and durable log record."""

from collections import deque
from dataclasses import dataclass, field

from gevent.event import Event

FRAMES_BYTES_MAX = 256 * 1024 * 1024
"""Of all frames in flight together: fifty of the largest, or some fifty thousand of the usual size."""


@dataclass(slots=True, eq=False)
class _Waiter:
    size_bytes: int
    admitted: Event = field(default_factory=Event)


class ByteBudget:
    """`take` waits until the bytes fit. One frame always fits into an empty budget, however large it is.

    First come, first served: bytes that are given back wake those at the front that fit now and nobody else, and a
    small frame never overtakes a large one, which would starve it.
    """

    def __init__(self, bytes_max: int = FRAMES_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.used_bytes = 0
        self._waiters: deque[_Waiter] = deque()

    def take(self, size_bytes: int) -> None:
        if not self._waiters and self._fits(size_bytes):
            self.used_bytes += size_bytes
            return
        waiter = _Waiter(size_bytes)
        self._waiters.append(waiter)
        try:
            waiter.admitted.wait()
        except BaseException:  # killed while it waited: it must neither keep its place nor its bytes
            if waiter.admitted.is_set():
                self.used_bytes -= size_bytes
            else:
                self._waiters.remove(waiter)
            self._admit()
            raise

    def take_at_once(self, size_bytes: int) -> None:
        """For what is in memory already: may go over the maximum, which then keeps new frames out for longer."""
        self.used_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        self.used_bytes -= size_bytes
        self._admit()

    def _fits(self, size_bytes: int) -> bool:
        return not self.used_bytes or self.used_bytes + size_bytes <= self.bytes_max

    def _admit(self) -> None:
        """The bytes are taken here, in the waiters' name: what they wake up to can't be gone again."""
        while self._waiters and self._fits(self._waiters[0].size_bytes):
            waiter = self._waiters.popleft()
            self.used_bytes += waiter.size_bytes
            waiter.admitted.set()
