"""One consumer: a cursor and a greenlet that pulls from the tail, or from the segments when it is behind.

Nothing is queued on its behalf. Chunks are joined once per place and shared with every other consumer there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import gevent

from zlay_py.atproto import frame
from zlay_py.clock import Clock
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.reader import RecordsGoneError
from zlay_py.eventlog.tail import Tail
from zlay_py.fanout import cursor as cursor_rules
from zlay_py.net.websocket_frames import CloseCode
from zlay_py.net.websocket_server import ServerWebSocket, WebSocketClosedError

CHUNK_BYTES = 64 * 1024
"""Sent by one call: a dozen frames. The tail shares joined pieces up to this size. From a segment it takes half a
millisecond, and gevent looks at the sockets after fifty such turns, however many consumers catch up."""

PING_AFTER_S = 30.0
"""A connection for which nothing came for this long is pinged (event-stream practice: 30 s). While events flow there
is no need: a dead peer acknowledges nothing, and the socket ends that after `WebSocketLimits.write_stall_s`."""

SILENT_S_MAX = 90.0
"""Nothing at all from a peer for this long after it was pinged: it is gone. Without a ping its silence means nothing,
consumers have nothing to say."""


@dataclass(slots=True, eq=False)
class Consumer:
    """One downstream connection. `position`: the next seq it is to get. `cursor`: what it asked for."""

    log: EventLog
    tail: Tail
    clock: Clock
    socket: ServerWebSocket
    id: int
    remote: str
    user_agent: str
    connected_us: int
    cursor: int | None
    ping_after_s: float = PING_AFTER_S
    position: int = 0
    frames_sent: int = 0
    bytes_sent: int = 0
    _pinged_s: float | None = None
    """When the oldest ping left after which nothing was heard."""
    _interrupt: Callable[[BaseException], object] | None = None
    """Throws into this consumer's greenlet. Set while that waits for the next event, and for nothing else."""

    def run(self) -> None:
        """Serves until the peer leaves, is found dead, or is told to go; then returns or raises WebSocketClosedError.

        Raises CorruptionError or StorageFailedError where the log can't be read.
        """
        start = cursor_rules.decide(self.cursor, oldest_seq=self.log.oldest_seq, current_seq=self.log.current_seq)
        if start.future:
            self._refuse("FutureCursor", f"cursor {self.cursor} is above the current seq {self.log.current_seq}")
            return
        if start.outdated:
            info = frame.encode_info("OutdatedCursor", f"the oldest event kept has seq {start.position}")
            self.socket.send_binary(info)
        self.position = start.position
        try:
            while not self.socket.closed:
                if self._caught_up():
                    self._idle()
                else:
                    self._send_next()
        except RecordsGoneError:
            self._refuse("ConsumerTooSlow", f"seq {self.position} is no longer kept")

    def _caught_up(self) -> bool:
        return self.position > self.tail.tip_seq

    def _send_next(self) -> None:
        """Sends one chunk."""
        chunk = self.tail.read(self.position, CHUNK_BYTES)
        if chunk is None:
            chunk = self.log.read_chunk(self.position, bytes_max=CHUNK_BYTES)
        if chunk.next_seq == self.position:  # no record from here to the tail: seqs that were skipped
            self.position = self.tail.base_seq
            return
        if chunk.data:
            self.socket.send_raw(chunk.data)
            self.frames_sent += chunk.frames
            self.bytes_sent += len(chunk.data)
        self.position = chunk.next_seq
        if not self._caught_up():
            gevent.sleep(0)  # a peer that takes all at once would have the hub to itself until it has caught up

    def _idle(self) -> None:
        """Waits for the next event; looks after the connection when none comes."""
        if self._wait():
            return
        now_s = self.clock.monotonic_s()
        if self._pinged_s is None or self.socket.last_heard_s > self._pinged_s:
            self._pinged_s = now_s
        elif now_s - self._pinged_s >= SILENT_S_MAX:
            self.socket.abort()
            return
        self.socket.ping()

    def _wait(self) -> bool:
        """False: `ping_after_s` passed without an event. Raises WebSocketClosedError as soon as the connection ends:
        who leaves while there is nothing to send must not be kept until the next event, or ping."""
        self._interrupt = gevent.getcurrent().throw
        self.socket.on_closed = self._on_closed
        try:
            return self.socket.closed or self.tail.wait(self.position, self.ping_after_s)
        finally:
            self.socket.on_closed = None
            self._interrupt = None

    def _on_closed(self) -> None:
        # Later, by the hub: this is also called by greenlets that close a socket, and they have to get on.
        gevent.get_hub().loop.run_callback(self._wake)

    def _wake(self) -> None:
        # An event may have come first. Then the greenlet is somewhere else, and finds out by itself.
        if self._interrupt is not None:
            self._interrupt(WebSocketClosedError("the connection ended while nothing was sent"))

    def _refuse(self, name: str, message: str) -> None:
        """An error frame, then the end (event-stream spec: close after an error frame)."""
        self.socket.send_binary(frame.encode_error(name, message))
        self.socket.close(CloseCode.POLICY, name)
