"""A consumer that reads for as long as a test lasts: over every end of the relay, from the last seq that it saw."""

from collections.abc import Iterator
from time import monotonic
from urllib.parse import urlsplit

import gevent
import gevent.socket
import websocket
from gevent.event import Event

from tools.simulator.oracle import normalise
from tools.simulator.oracle.judge import Received, Session

RETRY_S = 0.05
ANSWER_S_MAX = 30.0


def received(wire: bytes, session: int) -> Received:
    kind, seq = normalise.peek(wire)
    return Received(seq, kind, wire, session)


class Watcher:
    """`sessions`: every connection, as the judge wants them."""

    def __init__(self, url: str) -> None:
        self.sessions: list[Session] = []
        self.last_seq = 0
        self._url = url
        self._grown = Event()
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        self._greenlet.kill()

    def wait_beyond(self, seq: int, timeout_s: float) -> bool:
        """False: nothing beyond this seq came in this time."""
        until_s = monotonic() + timeout_s
        while self.last_seq <= seq and monotonic() < until_s:
            self._grown.clear()
            self._grown.wait(until_s - monotonic())
        return self.last_seq > seq

    def _run(self) -> None:
        while True:
            try:
                socket = connect(f"{self._url}?cursor={self.last_seq}")
            except (OSError, websocket.WebSocketException):
                gevent.sleep(RETRY_S)
                continue
            session = Session(cursor=self.last_seq)
            self.sessions.append(session)
            try:
                for wire in frames(socket):
                    session.append(received(wire, len(self.sessions) - 1))
                    self.last_seq = max(self.last_seq, session[-1].seq)
                    self._grown.set()
            except (OSError, websocket.WebSocketException):
                pass
            finally:
                socket.shutdown()  # type: ignore[no-untyped-call]


def connect(url: str) -> websocket.WebSocket:
    """Killed meanwhile, it leaves no socket open, which the library's own connecting does: a later test would fail."""
    address = urlsplit(url)
    inner = gevent.socket.socket()
    try:
        inner.settimeout(ANSWER_S_MAX)
        inner.connect((address.hostname, address.port))
        return websocket.create_connection(url, timeout=ANSWER_S_MAX, socket=inner)
    except BaseException:
        inner.close()
        raise


def frames(socket: websocket.WebSocket) -> Iterator[bytes]:
    """Until the relay ends the connection."""
    while True:
        data = socket.recv()
        if not isinstance(data, bytes) or not data:
            return
        yield data


def read_all(url: str, last_seq: int) -> Session:
    """What a fresh consumer gets from cursor 0, up to and with this seq."""
    socket = connect(f"{url}?cursor=0")
    final = Session(cursor=0)
    try:
        for wire in frames(socket):
            final.append(received(wire, -1))
            if final[-1].seq >= last_seq:
                break
    finally:
        socket.shutdown()  # type: ignore[no-untyped-call]
    return final
