"""How far a host's stream has come: what there is, what may be sent, what was sent, and since when it counts.

    frames   0 ········ sent ········ min(released, gate, end of the epoch) ········ count
                                                       └ nothing is sent beyond

`released` is what the host has emitted by now (a rate keeps it back), `gate` where the directory has to change first.
An epoch ends when all of it was sent to somebody: then its connections are closed and every seq begins anew.
"""

import time
from collections.abc import Callable
from typing import Final

from gevent.event import Event

from tools.simulator.model import Emission, Intent
from tools.simulator.servers import websocket
from tools.simulator.servers.frame_store import FrameStore

NO_GATE: Final = 2**62


class Feed:
    """One host's. `signed_ahead`: all frames are there, and the host "emits" them as somebody reads them."""

    def __init__(self, store: FrameStore, epochs: list[int], *, signed_ahead: bool) -> None:
        """`epochs`: the place of each epoch's first frame. Signed ahead, nothing is released yet."""
        self.store = store
        self.epochs = epochs or [0]
        self.epoch = 0
        """The index in `epochs` of the one that is served now."""
        self.released = 0
        self.gate = NO_GATE
        self.sent = 0
        """Place behind the last frame that was sent to anybody, or skipped by who connected last."""
        self.sent_at_s = 0.0
        """When `sent` became what it is, by the monotonic clock."""
        self.wakes: set[Event] = set()
        """Set whenever something here has changed."""
        self.on_sent: Callable[[], None] = lambda: None
        self._signed_ahead = signed_ahead
        self._on_demand = False
        self._last_epoch: int | None = None

    @property
    def epoch_start(self) -> int:
        return self.epochs[self.epoch]

    @property
    def epoch_end(self) -> int:
        following = self.epoch + 1
        return self.epochs[following] if following < len(self.epochs) else self.store.count

    @property
    def sendable_end(self) -> int:
        return min(self.released, self.gate, self.epoch_end)

    @property
    def last_seq(self) -> int:
        """The highest seq of this epoch, 0 when it has none. Signed ahead, also what is not released yet: a process
        that serves the same files again must know the cursors that the one before it has led to."""
        end = self.epoch_end if self._signed_ahead else self.sendable_end
        return self.store.seq(end - 1) if end > self.epoch_start else 0

    @property
    def live_place(self) -> int:
        """Where a subscription without a cursor begins."""
        place = self.sent if self._on_demand else self.sendable_end
        return max(place, self.epoch_start)

    def place_after(self, cursor: int) -> int | None:
        """None: the cursor is in the future."""
        if cursor > self.last_seq:
            return None
        return self.store.above(cursor, self.epoch_start, self.epoch_end)

    def append(self, emission: Emission) -> None:
        """Emits a frame now. Raises ValueError for a seq that falls: whoever made the steps let others come between."""
        if emission.epoch == self._last_epoch and emission.seq < self.store.seq(self.store.count - 1):
            raise ValueError(f"seq {emission.seq} after {self.store.seq(self.store.count - 1)}: steps out of order")
        if self._last_epoch is not None and emission.epoch != self._last_epoch and self.epochs[-1] != self.store.count:
            self.epochs.append(self.store.count)
        self._last_epoch = emission.epoch
        self.store.append(websocket.message(emission.wire, text=emission.intent is Intent.TEXT), emission.seq)
        self.released = self.store.count
        self._enter_next_epoch()
        self.wake()

    def release(self, count: int) -> None:
        """So many frames of the whole stream are emitted by now."""
        self.released = max(self.released, count)
        self.wake()

    def release_all(self) -> None:
        """Everything, as fast as it is read."""
        self._on_demand = True
        self.release(self.store.count)

    def move_gate(self, gate: int) -> None:
        self.gate = gate
        self.wake()

    def sent_to(self, place: int) -> None:
        """Everything before `place` has been sent to somebody."""
        if place > self.sent:
            self.sent, self.sent_at_s = place, time.monotonic()
            self.on_sent()
            self._enter_next_epoch()

    def forget(self) -> None:
        """Begins a new epoch now, whatever was sent of this one. Raises ValueError for a stream signed ahead."""
        if self._signed_ahead:
            raise ValueError("the stream was signed ahead, and its epochs with it")
        if self.epoch + 1 == len(self.epochs):
            self.epochs.append(self.store.count)
        self.epoch += 1
        self.sent_to(self.epoch_start)
        self.wake()

    def wake(self) -> None:
        for event in self.wakes:
            event.set()

    def _enter_next_epoch(self) -> None:
        while self.epoch + 1 < len(self.epochs) and self.sent >= self.epoch_end:
            self.epoch += 1
            self.wake()
