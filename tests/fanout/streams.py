"""A log, a tail and a broadcaster, all real, and a socket that only remembers."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import cast

import cbor2
import gevent

from zlay_py.atproto import frame
from zlay_py.atproto.frame import FrameKind
from zlay_py.clock import SystemClock
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.delta import Delta
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import Entry, RecordKind, did_hash, verdict_payload
from zlay_py.eventlog.tail import Tail
from zlay_py.fanout.broadcaster import Broadcaster
from zlay_py.net.websocket_server import ServerWebSocket

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
WAIT_S_MAX = 10.0
TAIL_FRAMES = 10


class FakeSocket:
    """Keeps what was sent; after `after` frames it is closed by the peer. `on_send` is called before each chunk."""

    def __init__(self, after: int, on_send: Callable[[], object] = lambda: None) -> None:
        self.received: list[tuple[dict[str, object], dict[str, object]]] = []
        self.closed = False
        self.code: int | None = None
        self.last_heard_s = 0.0
        self.sends = 0
        self.on_closed: Callable[[], None] | None = None
        self._after = after
        self._on_send = on_send

    def send_raw(self, data: bytes) -> None:
        self._on_send()
        self.sends += 1
        position = 0
        while position < len(data):
            assert data[position] == 0x82
            length, position = data[position + 1], position + 2
            if length == 126:
                length, position = int.from_bytes(data[position : position + 2], "big"), position + 2
            self.send_binary(data[position : position + length])
            position += length

    def send_binary(self, data: bytes) -> None:
        decoder = cbor2.CBORDecoder(BytesIO(data))
        self.received.append((decoder.decode(), decoder.decode()))
        self.closed = len(self.received) >= self._after

    def begin_close(self, code: int, _reason: str = "") -> None:
        self.code, self.closed = code, True

    def close(self, code: int, reason: str = "") -> None:
        self.begin_close(code, reason)

    def seqs(self) -> list[object]:
        return [body["seq"] for _, body in self.received if "seq" in body]


class Stream:
    """A log with a tail that is much smaller, and a broadcaster over both."""

    def __init__(self, folder: Path, *, tail_frames: int = TAIL_FRAMES, initial_seq: int = 1) -> None:
        self.corruptions: list[BaseException] = []
        self.tail = Tail(frames_max=tail_frames)
        self.log = EventLog(
            folder, durability=Durability.FLUSH, clock=SystemClock(), tail=self.tail, initial_seq=initial_seq
        )
        self.log.open()
        self.broadcaster = Broadcaster(
            self.log, self.tail, SystemClock(), on_corruption=lambda _, error: self.corruptions.append(error)
        )

    def append(self, count: int, *, verdicts: bool = False, pad: int = 0) -> list[int]:
        return self.log.append([entry(verdict=verdicts and number % 3 == 0, pad=pad) for number in range(count)])

    def rotate(self) -> None:
        """What follows goes into the next segment."""
        self.log._rotate(self.log._segments[-1])

    def drop_all_but_the_newest_segment(self) -> None:
        assert self.log.retain(oldest_time_us=2**62, bytes_max=10**12, hold_seq=self.log.current_seq)

    def serve(self, cursor: int | None, after: int, on_send: Callable[[], object] = lambda: None) -> FakeSocket:
        socket = FakeSocket(after, on_send)
        with gevent.Timeout(WAIT_S_MAX):
            self.broadcaster.serve(cast(ServerWebSocket, socket), cursor, remote="test", user_agent="test")
        return socket


def entry(*, verdict: bool = False, pad: int = 0) -> Entry:
    payload = frame.encode_identity(DID, "2026-01-02T03:04:05.678Z", None, seq=1)
    if pad:
        payload = frame.rewrite(payload, {"future": "x" * pad})
    kind = RecordKind.VERDICT if verdict else RecordKind.IDENTITY
    span = (0, 0) if verdict else frame.seq_span(payload, FrameKind.IDENTITY)
    payload = verdict_payload(1) if verdict else payload
    return Entry(kind, 0, did_hash(DID), 1, 1, 0, 1, payload, span, Delta(verified=True))
