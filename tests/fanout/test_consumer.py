"""What one consumer gets: everything from its cursor on, once, in order, from disk and from memory alike."""

from pathlib import Path

import gevent
import pytest
from gevent import Greenlet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fanout.streams import FakeSocket, Stream
from zlay_py.eventlog.segment import SEGMENT_HEADER_BYTES, DamagedRecordError
from zlay_py.fanout.consumer import CHUNK_BYTES


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
    stream.rotate()
    stream.append(5)
    stream.drop_all_but_the_newest_segment()
    socket = stream.serve(2, after=6)
    assert socket.received[0] == ({"t": "#info", "op": 1}, socket.received[0][1])
    assert socket.received[0][1]["name"] == "OutdatedCursor"
    assert socket.seqs() == list(range(6, 11))


def test_a_closing_relay_turns_consumers_away_with_a_code_that_brings_them_back(stream: Stream) -> None:
    stream.broadcaster.close_all()
    assert stream.serve(0, after=1).code == 1012


def assert_too_slow(socket: FakeSocket) -> None:
    header, body = socket.received[-1]
    assert (header, body["error"], socket.code) == ({"op": -1}, "ConsumerTooSlow", 1008)


def test_who_has_seen_everything_is_live_also_where_nothing_is_kept(tmp_path: Path) -> None:
    stream = Stream(tmp_path, initial_seq=501)
    gevent.spawn(stream.append, 3)
    assert stream.serve(500, after=3).seqs() == [501, 502, 503]
    stream.rotate()
    stream.drop_all_but_the_newest_segment()
    gevent.spawn(stream.append, 2)
    assert stream.serve(503, after=2).seqs() == [504, 505]
    stream.log.close()


def test_who_is_overtaken_by_retention_is_told_so(stream: Stream) -> None:
    """While its first chunk is on its way, what comes after that goes."""
    stream.append(300, pad=1000)
    stream.rotate()
    stream.append(20)

    def drop_once() -> None:
        if len(stream.log.segments) > 1:
            stream.drop_all_but_the_newest_segment()

    socket = stream.serve(0, after=1000, on_send=drop_once)
    seqs = socket.seqs()
    assert 0 < len(seqs) < 300
    assert seqs == list(range(1, len(seqs) + 1))
    assert_too_slow(socket)
    assert not stream.corruptions


def test_a_segment_that_somebody_removed_is_no_crash(stream: Stream) -> None:
    stream.append(5)
    stream.rotate()
    stream.append(20)
    stream.log.segments[0].path.unlink()
    assert_too_slow(stream.serve(1, after=100))


def test_a_damaged_log_is_told_and_the_consumer_turned_away(stream: Stream) -> None:
    stream.append(5)
    stream.rotate()
    stream.append(20)
    path = stream.log.segments[0].path
    data = bytearray(path.read_bytes())
    data[SEGMENT_HEADER_BYTES + 10] ^= 1
    path.write_bytes(data)
    socket = stream.serve(1, after=100)
    assert (socket.received, socket.code, len(stream.broadcaster)) == ([], 1011, 0)
    [error] = stream.corruptions
    assert isinstance(error, DamagedRecordError)
    assert (error.path, error.offset) == (path, SEGMENT_HEADER_BYTES)


@pytest.mark.parametrize("tail_frames", [10, 10_000])
def test_who_catches_up_lets_others_run_after_every_chunk(tmp_path: Path, tail_frames: int) -> None:
    """A peer that takes everything at once, on disk and in the tail."""
    stream = Stream(tmp_path, tail_frames=tail_frames)
    stream.append(500, pad=2000)
    turns: list[int] = []
    turn = 0

    def others() -> None:
        nonlocal turn
        while True:
            turn += 1
            gevent.sleep(0)

    other: Greenlet[[], None] = gevent.spawn(others)
    gevent.sleep(0)
    socket = stream.serve(0, after=500, on_send=lambda: turns.append(turn))
    other.kill()
    stream.log.close()
    assert socket.sends >= 500 * 2000 // CHUNK_BYTES
    assert len(set(turns)) == socket.sends


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
