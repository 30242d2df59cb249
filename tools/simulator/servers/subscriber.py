"""One connection of a consumer: frames out, many at once; pings answered between them; a closed peer noticed."""

from contextlib import suppress
from typing import Final

import gevent
from gevent import socket as gsocket
from gevent.event import Event

from tools.simulator.servers import websocket
from tools.simulator.servers.feed import Feed
from tools.simulator.servers.outages import Fault, FaultBoard

CHUNK_BYTES_MAX: Final = 256 * 1024
"""Frames of one system call. The larger, the longer a fault waits to begin."""
SEND_BUFFER_BYTES: Final = 512 * 1024
"""Of the kernel, which doubles it: how far "sent" runs ahead of what the consumer has read."""
_READ_BYTES: Final = 4096
_DRIP_S: Final = 0.05


class Subscriber:
    """Runs in the connection's greenlet until either side ends it. `place`: of the first frame to send."""

    def __init__(self, sock: gsocket.socket, feed: Feed, place: int, faults: FaultBoard) -> None:
        self._sock = sock
        self._feed = feed
        self._place = place
        self._faults = faults
        self._epoch = feed.epoch
        self._wake = Event()
        self._frames = websocket.ClientFrames()
        self._pong: bytes | None = None
        self._close: bytes | None = None
        self._gone = False

    def run(self, rest: bytes) -> None:
        """`rest`: what the client sent behind its handshake."""
        reader = gevent.spawn(self._read, rest)
        self._feed.wakes.add(self._wake)
        try:
            self._sock.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_SNDBUF, SEND_BUFFER_BYTES)
            self._feed.sent_to(self._place)
            while not self._gone:
                self._wake.clear()
                if not self._step():
                    self._wake.wait()
        except OSError:
            return  # the consumer is gone
        finally:
            self._feed.wakes.discard(self._wake)
            reader.kill()

    def drop(self) -> None:
        """Ends the connection without a close frame, in the middle of a message where it is in one."""
        self._gone = True
        with suppress(OSError):
            self._sock.shutdown(gsocket.SHUT_RDWR)
        self._wake.set()

    def look(self) -> None:
        """Something has changed that may let it go on."""
        self._wake.set()

    def _step(self) -> bool:
        """Does one thing. False: there is nothing to do now."""
        if self._faults.amount(Fault.STALL) is not None:
            return False
        if self._pong is not None:
            pong, self._pong = self._pong, None
            self._sock.sendall(websocket.head(websocket.PONG, len(pong)) + pong)
            return True
        if self._close is not None:
            self._sock.sendall(websocket.head(websocket.CLOSE, len(self._close)) + self._close)
            self._gone = True
            return True
        if self._epoch != self._feed.epoch:
            self.drop()
            return True
        if self._faults.amount(Fault.HOLD) is not None or self._place >= self._feed.sendable_end:
            return False
        rate = self._faults.amount(Fault.DRIP)
        data, behind = self._feed.store.read(
            self._place, self._feed.sendable_end, CHUNK_BYTES_MAX if rate is None else 1
        )
        if rate is None:
            self._sock.sendall(data)
        else:
            self._drip(data)
        self._place = behind
        self._feed.sent_to(behind)
        gevent.sleep(0)
        return True

    def _drip(self, data: bytes) -> None:
        """One message. Another rate, and other faults, take effect within it."""
        position = 0
        while position < len(data):
            while self._faults.amount(Fault.STALL) is not None and not self._gone:
                self._wake.clear()
                self._wake.wait()
            rate = self._faults.amount(Fault.DRIP)
            piece = len(data) if rate is None else max(1, int(rate * _DRIP_S))
            self._sock.sendall(data[position : position + piece])
            position += piece
            if rate is not None:
                gevent.sleep(max(_DRIP_S, 1 / rate))

    def _read(self, rest: bytes) -> None:
        with suppress(OSError, websocket.ClientFrameError):
            data = rest or self._sock.recv(_READ_BYTES)
            while data:
                for frame in self._frames.feed(data):
                    self._take(frame)
                data = self._sock.recv(_READ_BYTES)
        self.drop()

    def _take(self, frame: websocket.ClientFrame) -> None:
        if frame.opcode == websocket.PING:
            self._pong = frame.payload
        elif frame.opcode == websocket.CLOSE:
            self._close = frame.payload[:125]
        self._wake.set()
