"""One consumer: a cursor and a greenlet that pulls from the tail, or from the segments when it is behind.

Nothing is queued on its behalf. Chunks are joined once per place and shared with every other consumer there.
"""

from dataclasses import dataclass
from functools import partial

import gevent

from zlay_py.atproto import frame
from zlay_py.clock import Clock
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.tail import Tail
from zlay_py.fanout import cursor as cursor_rules
from zlay_py.net.websocket_frames import CloseCode
from zlay_py.net.websocket_server import ServerWebSocket, WebSocketClosedError

CHUNK_BYTES = 64 * 1024
"""Sent by one call at the live edge: a dozen frames. The tail shares joined pieces up to this size."""

DISK_CHUNK_BYTES = 256 * 1024
"""Read from a segment at once, when behind the tail."""

PING_AFTER_S = 30.0
"""A connection on which nothing went out for this long is pinged (event-stream practice: 30 s)."""

SILENT_S_MAX = 90.0
"""No pong and nothing else from a pinged peer for this long: it is gone."""


@dataclass(slots=True, eq=False)
class Consumer:
    """One downstream connection. `position`: the next seq it is to get."""

    id: int
    remote: str
    user_agent: str
    connected_us: int
    cursor: int | None
    socket: ServerWebSocket
    position: int = 0
    frames_sent: int = 0
    bytes_sent: int = 0

    def run(self, event_log: EventLog, tail: Tail, clock: Clock) -> None:
        """Serves until the peer leaves, is found dead, or is told to go; then raises WebSocketClosedError."""
        start = cursor_rules.decide(self.cursor, oldest_seq=event_log.oldest_seq, current_seq=event_log.current_seq)
        if start.future:
            self._refuse("FutureCursor", f"cursor {self.cursor} is above the current seq {event_log.current_seq}")
            return
        if start.outdated:
            info = frame.encode_info("OutdatedCursor", f"the oldest event kept has seq {start.position}")
            self.socket.send_binary(info)
        self.position = start.position
        # a peer that leaves while there is nothing to send must not be kept until the next event, or ping
        self.socket.on_closed = partial(gevent.kill, gevent.getcurrent(), WebSocketClosedError("the peer left"))
        try:
            while not self.socket.closed:
                if not self._send_next(event_log, tail):
                    self._idle(tail, clock)
        finally:
            self.socket.on_closed = None

    def _send_next(self, event_log: EventLog, tail: Tail) -> bool:
        """Sends one chunk; False when there is nothing at this place yet."""
        chunk = tail.read(self.position, CHUNK_BYTES)
        if chunk is None:
            return self._send_from_disk(event_log, tail)
        if chunk.next_seq == self.position:
            return False
        self._send(chunk.data, chunk.frames)
        self.position = chunk.next_seq
        return True

    def _send_from_disk(self, event_log: EventLog, tail: Tail) -> bool:
        if self.position < event_log.oldest_seq:
            self._refuse("ConsumerTooSlow", "older than what is kept")
            return True
        chunk = event_log.read_chunk(self.position, bytes_max=DISK_CHUNK_BYTES)
        if chunk.next_seq == self.position:  # nothing from here to the tail: a jump, or what was there is dropped
            self.position = tail.base_seq
            return True
        self._send(chunk.data, chunk.frames)
        self.position = chunk.next_seq
        return True

    def _send(self, data: bytes, frames: int) -> None:
        if not data:
            return
        self.socket.send_raw(data)
        self.frames_sent += frames
        self.bytes_sent += len(data)

    def _idle(self, tail: Tail, clock: Clock) -> None:
        if tail.wait(self.position, PING_AFTER_S):
            return
        if clock.monotonic_s() - self.socket.last_heard_s > SILENT_S_MAX:
            self.socket.abort()
        else:
            self.socket.ping()

    def _refuse(self, name: str, message: str) -> None:
        """An error frame, then the end (event-stream spec: close after an error frame)."""
        self.socket.on_closed = None
        self.socket.send_binary(frame.encode_error(name, message))
        self.socket.close(CloseCode.POLICY, name)
