"""What one consumer gets: everything from its cursor on, once, in order, from disk and from memory alike."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import cast

import cbor2
import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    """Keeps what was sent; `after` frames it is closed by the peer."""

    def __init__(self, after: int) -> None:
        self.received: list[tuple[dict[str, object], dict[str, object]]] = []
        self.closed = False
        self.code: int | None = None
        self.last_heard_s = 0.0
        self._after = after

    def send_raw(self, data: bytes) -> None:
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

    def close(self, code: int, _reason: str = "") -> None:
        self.code, self.closed = code, True

    def seqs(self) -> list[object]:
        return [body["seq"] for _, body in self.received if "seq" in body]


class Stream:
    """A log with a tail that is much smaller, and a broadcaster over both."""

    def __init__(self, folder: Path) -> None:
        self.tail = Tail(frames_max=TAIL_FRAMES)
        self.log = EventLog(folder, durability=Durability.FLUSH, clock=SystemClock(), tail=self.tail)
        self.log.open()
        self.broadcaster = Broadcaster(self.log, self.tail, SystemClock())

    def append(self, count: int, *, verdicts: bool = False) -> list[int]:
        return self.log.append([entry(verdict=verdicts and number % 3 == 0) for number in range(count)])

    def serve(self, cursor: int | None, after: int) -> FakeSocket:
        socket = FakeSocket(after)
        with gevent.Timeout(WAIT_S_MAX):
            self.broadcaster.serve(cast(ServerWebSocket, socket), cursor, remote="test", user_agent="test")
        return socket


def entry(*, verdict: bool = False) -> Entry:
    payload = frame.encode_identity(DID, "2026-01-02T03:04:05.678Z", None, seq=1)
    kind = RecordKind.VERDICT if verdict else RecordKind.IDENTITY
    span = (0, 0) if verdict else frame.seq_span(payload, FrameKind.IDENTITY)
    payload = verdict_payload(1) if verdict else payload
    return Entry(kind, 0, did_hash(DID), 1, 1, 0, 1, payload, span, Delta(verified=True))


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    made = Stream(tmp_path)
    yield made
    made.log.close()


def test_from_the_beginning_through_disk_and_tail(stream: Stream) -> None:
    stream.append(50)
    assert stream.serve(0, after=50).seqs() == list(range(1, 51))


def test_live_starts_with_the_next_event(stream: Stream) -> None:
    stream.append(20)
    gevent.spawn(stream.append, 5)
    assert stream.serve(None, after=5).seqs() == list(range(21, 26))


def test_the_seq_after_the_last_is_live_and_anything_above_is_refused(stream: Stream) -> None:
    stream.append(20)
    gevent.spawn(stream.append, 1)
    assert stream.serve(21, after=1).seqs() == [21]
    refused = stream.serve(23, after=5)
    assert refused.received[0] == ({"op": -1}, {"error": "FutureCursor", "message": refused.received[0][1]["message"]})
    assert refused.code == 1008


def test_an_old_cursor_is_told_so_before_the_oldest_event(stream: Stream) -> None:
    stream.append(5)
    stream.log._rotate(stream.log._segments[-1])
    stream.append(5)
    stream.log.retain(oldest_time_us=2**62, bytes_max=10**12, hold_seq=5)
    socket = stream.serve(2, after=6)
    assert socket.received[0] == ({"t": "#info", "op": 1}, socket.received[0][1])
    assert socket.received[0][1]["name"] == "OutdatedCursor"
    assert socket.seqs() == list(range(6, 11))


def test_a_closing_relay_turns_consumers_away_with_a_code_that_brings_them_back(stream: Stream) -> None:
    stream.broadcaster.close_all()
    assert stream.serve(0, after=1).code == 1012


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.integers(0, 40),
    more=st.lists(st.integers(1, 15), max_size=5),
    cursor=st.integers(1, 40),
    verdicts=st.booleans(),
)
def test_any_cursor_gets_what_is_at_or_above_it_once_while_events_arrive(
    tmp_path_factory: pytest.TempPathFactory, first: int, more: list[int], cursor: int, verdicts: bool
) -> None:
    """Model: the seqs of sent events >= cursor, in order."""
    stream = Stream(tmp_path_factory.mktemp("log"))
    try:
        if first:
            stream.append(first, verdicts=verdicts)
        cursor = min(cursor, stream.log.current_seq + 1)
        sent = [number + 1 for number in range(first) if not (verdicts and number % 3 == 0)]
        expected = [seq for seq in sent if seq >= cursor]
        last = first
        for count in more:
            expected += [last + number + 1 for number in range(count) if not (verdicts and number % 3 == 0)]
            last += count
        expected = [seq for seq in expected if seq >= cursor]
        if not expected:
            return

        def live() -> None:
            for count in more:
                stream.append(count, verdicts=verdicts)
                gevent.sleep(0)

        writer = gevent.spawn(live)
        assert stream.serve(cursor, after=len(expected)).seqs() == expected
        writer.join()
    finally:
        stream.log.close()
