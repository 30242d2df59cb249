"""A consumer that puts down all that a relay sends: over reconnects, resuming by its cursor, in memory or in a file.

Built on websocket-client. Runs as a greenlet (`start`), in the foreground (`run`), or as a process of its own:

    python -m tools.simulator.oracle.recording ws://HOST:3000/xrpc/com.atproto.sync.subscribeRepos FILE [--cursor N]

The file stays readable after a kill: whoever reads it ignores a last record that is not whole.
"""

import argparse
import os
import socket
import struct
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import gevent
import websocket
from gevent.event import Event

from tools.simulator.oracle.normalise import JUNK, KINDS, peek
from tools.simulator.oracle.readings import Received, Session

CONNECT_S_MAX = 10.0
PAUSE_S_FIRST, PAUSE_S_MAX = 0.05, 1.0
"""Between attempts to connect: a relay that starts again is to be caught early."""

RECEIVE_BYTES = 1 << 18
"""Taken from the kernel at once: websocket-client asks for the few bytes of a head, then for some more."""

RECORD = struct.Struct(">BIQI")
"""Kind, session, seq (of `OPENED`: 1 + cursor, 0 without one), bytes of the frame that follows."""
RECORDED = (*KINDS, "#info", "error", JUNK)
OPENED = 255


class BufferedSocket:
    """As much of a socket as websocket-client needs, with few calls into the kernel."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self._data = b""
        self._at = 0

    def recv(self, count: int) -> bytes:
        if self._at == len(self._data):
            self._data, self._at = self._inner.recv(RECEIVE_BYTES), 0
        part = self._data[self._at : self._at + count]
        self._at += len(part)
        return part

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def connect(url: str, cursor: int | None, *, timeout_s: float = CONNECT_S_MAX) -> websocket.WebSocket:
    """A connection to a relay's firehose. Raises OSError or a WebSocketException."""
    parts = urlsplit(url)
    inner = socket.create_connection((parts.hostname or "", parts.port or 80), timeout_s)
    query = "" if cursor is None else f"?cursor={cursor}"
    try:
        inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return websocket.create_connection(
            url + query, timeout=timeout_s, socket=BufferedSocket(inner), skip_utf8_validation=True
        )
    except BaseException:
        inner.close()
        raise


def receive(connection: websocket.WebSocket) -> bytes | None:
    """The next message; None when the relay closes. Raises OSError or a WebSocketException."""
    data = connection.recv()
    if not data:
        return None
    return data.encode() if isinstance(data, str) else data


class Recorder:
    """Follows one relay. `cursor`: where the first connection begins; None: live. `path`: of a file instead of memory.

    `count` and `last_seq` tell how far it is.
    """

    def __init__(self, url: str, *, cursor: int | None = 0, path: Path | None = None) -> None:
        self.count = 0
        self.last_seq = 0
        self.connections = 0
        """That were made so far."""
        self._url, self._cursor = url, cursor
        self._sessions: list[Session] = []
        self._received: list[Received] = []
        self._path = path
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self._offsets = array("Q")
        self._size = 0
        self._news, self._stopped = Event(), Event()
        self._connection: websocket.WebSocket | None = None
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def start(self) -> None:
        self._greenlet = gevent.spawn(self.run)

    def stop(self) -> None:
        """What has been read by now is put down."""
        self._stopped.set()
        if self._greenlet is not None:
            self._greenlet.kill()
        self._close()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def run(self) -> None:
        """Connects again and again, until stopped."""
        pause_s = PAUSE_S_FIRST
        while not self._stopped.is_set():
            before = self.count
            try:
                self._follow()
            except (OSError, websocket.WebSocketException):
                pass  # a relay that is killed, or not there yet: what came until then counts
            finally:
                self._close()
            pause_s = PAUSE_S_FIRST if self.count > before else min(pause_s * 2, PAUSE_S_MAX)
            self._stopped.wait(pause_s)

    def sessions(self) -> list[Session]:
        """What each connection gave."""
        return list(self._sessions) if self._path is None else read_recording(self._path)

    def since(self, count: int) -> Iterator[Received]:
        """All but the first `count` frames."""
        if self._path is None:
            yield from self._received[count:]
        elif count < self.count:
            for record in _records(self._path, self._offsets[count]):
                if isinstance(record, Received):
                    yield record

    def wait_beyond(self, count: int, timeout_s: float) -> bool:
        """Until there are more frames than that. False: not in this time."""
        ends_at = time.monotonic() + timeout_s
        while self.count <= count and (left_s := ends_at - time.monotonic()) > 0:
            self._news.clear()
            self._news.wait(left_s)
        return self.count > count

    def _follow(self) -> None:
        cursor = self.last_seq or self._cursor
        connection = self._connection = connect(self._url, cursor)
        connection.settimeout(None)
        session = self.connections
        self.connections += 1
        if self._file is None:
            self._sessions.append(Session(cursor=cursor))
        self._write(OPENED, session, 0 if cursor is None else cursor + 1, b"")
        while (wire := receive(connection)) is not None:
            kind, seq = peek(wire)
            if self._file is None:
                one = Received(seq, kind, wire, session)
                self._received.append(one)
                self._sessions[-1].append(one)
            else:
                self._offsets.append(self._size)
                self._write(RECORDED.index(kind), session, seq, wire)
            self.count += 1
            self.last_seq = max(self.last_seq, seq)
            self._news.set()

    def _write(self, kind: int, session: int, seq: int, wire: bytes) -> None:
        if self._file is not None:
            data = RECORD.pack(kind, session, seq, len(wire)) + wire
            self._size += len(data)
            while data:
                data = data[os.write(self._file, data) :]

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.shutdown()  # type: ignore[no-untyped-call]  # closes the socket without a farewell
            self._connection = None


def read_until(url: str, *, cursor: int | None = 0, until_seq: int | None = None, idle_s: float = 2.0) -> Session:
    """A fresh reading: up to `until_seq`, or until nothing has come for so long, or the relay ends it."""
    session = Session(cursor=cursor)
    connection = connect(url, cursor)
    try:
        connection.settimeout(idle_s)
        while until_seq is None or not session or session[-1].seq < until_seq:
            wire = receive(connection)
            if wire is None:
                break
            kind, seq = peek(wire)
            session.append(Received(seq, kind, wire))
    except (TimeoutError, websocket.WebSocketTimeoutException, websocket.WebSocketConnectionClosedException):
        pass
    finally:
        connection.shutdown()  # type: ignore[no-untyped-call]
    return session


def read_recording(path: Path) -> list[Session]:
    """What a recorder has put into a file so far, by session."""
    sessions: list[Session] = []
    for record in _records(path, 0):
        if isinstance(record, Received):
            sessions[-1].append(record)
        else:
            sessions.append(record)
    return sessions


def _records(path: Path, offset: int) -> Iterator[Received | Session]:
    with path.open("rb") as file:
        file.seek(offset)
        while len(head := file.read(RECORD.size)) == RECORD.size:
            kind, session, seq, size = RECORD.unpack(head)
            wire = file.read(size)
            if len(wire) < size:
                return
            yield (
                Session(cursor=seq - 1 if seq else None)
                if kind == OPENED
                else Received(seq, RECORDED[kind], wire, session)
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="Records a relay's firehose until it is ended.")
    parser.add_argument("url")
    parser.add_argument("file", type=Path)
    parser.add_argument("--cursor", type=int, default=0, help="where the first connection begins; -1: live")
    arguments = parser.parse_args()
    cursor = None if arguments.cursor < 0 else arguments.cursor
    recorder = Recorder(arguments.url, cursor=cursor, path=arguments.file)
    try:
        recorder.run()
    except KeyboardInterrupt:
        recorder.stop()


if __name__ == "__main__":
    main()
