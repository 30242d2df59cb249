"""The tail against a list of frames, its sharing, and its waiters."""

from typing import Any

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlay_py.eventlog.tail import SHARED_CHUNK_BYTES_MAX, SHARED_CHUNKS_MAX, Tail, TailChunk

# Batches of frames; 0 bytes is a verdict, and each batch starts some seqs after the last one.
BATCHES = st.lists(st.tuples(st.integers(1, 3), st.lists(st.integers(0, 40), max_size=6)), max_size=12)


def fill(tail: Tail, batches: list[tuple[int, list[int]]]) -> list[tuple[int, bytes]]:
    seq, frames = tail.tip_seq, []
    for step, sizes in batches:
        seq += step - 1
        batch = [(seq + place, bytes([seq % 256]) * size) for place, size in enumerate(sizes, 1)]
        seq += len(batch)
        tail.publish(batch, seq)
        frames += [frame for frame in batch if frame[1]]
    return frames


@given(BATCHES, st.integers(1, 12), st.integers(1, 150), st.integers(1, 60))
def test_a_walk_over_the_tail_gives_its_newest_frames_in_order(
    batches: list[tuple[int, list[int]]], frames_max: int, bytes_max: int, read_bytes_max: int
) -> None:
    tail = Tail(frames_max=frames_max, bytes_max=bytes_max)
    frames = fill(tail, batches)
    held = [frame for frame in frames if frame[0] >= tail.base_seq]
    assert len(tail) == len(held) <= frames_max
    assert tail.held_bytes == sum(len(frame) for _, frame in held) <= bytes_max
    # Nothing was dropped that had room.
    older = [frame for frame in frames if frame[0] < tail.base_seq]
    if older:
        assert len(held) == frames_max or tail.held_bytes + len(older[-1][1]) > bytes_max
    position, data, count = tail.base_seq, b"", 0
    while position <= tail.tip_seq:
        chunk = tail.read(position, read_bytes_max)
        assert chunk is not None
        assert chunk.next_seq > position
        assert len(chunk.data) <= read_bytes_max or chunk.frames == 1
        position, data, count = chunk.next_seq, data + chunk.data, count + chunk.frames
    assert (data, count) == (b"".join(frame for _, frame in held), len(held))
    assert position == tail.tip_seq + 1


@given(BATCHES, st.integers(1, 40), st.integers(1, 100))
def test_any_seq_is_a_position(batches: list[tuple[int, list[int]]], from_seq: int, bytes_max: int) -> None:
    tail = Tail(bytes_max=100)
    frames = fill(tail, batches)
    chunk = tail.read(from_seq, bytes_max)
    if from_seq < tail.base_seq:
        assert chunk is None
        return
    assert chunk is not None
    wanted = [frame for frame in frames if from_seq <= frame[0] < chunk.next_seq]
    assert chunk.data == b"".join(frame for _, frame in wanted)
    assert chunk.frames == len(wanted)
    assert chunk.first_seq == (wanted[0][0] if wanted else from_seq)


def test_an_empty_tail_answers_at_its_start_only() -> None:
    tail = Tail()
    tail.start(50)
    assert tail.read(49, 100) is None
    assert tail.read(50, 100) == TailChunk(50, 50, b"", 0)
    assert (tail.base_seq, tail.tip_seq) == (50, 49)


def test_a_verdict_at_the_tip_moves_the_reader_over_it() -> None:
    tail = Tail()
    tail.publish([(1, b"one"), (2, b"")], 2)
    assert tail.read(1, 100) == TailChunk(1, 3, b"one", 1)
    assert tail.read(2, 100) == TailChunk(2, 3, b"", 0)


def test_readers_at_the_same_place_share_one_join() -> None:
    tail = Tail()
    tail.publish([(seq, b"x" * 1000) for seq in range(1, 101)], 100)
    full, tip = tail.read(1, 10_000), tail.read(95, 10_000)
    assert full is not None
    assert tip is not None
    assert tail.read(1, 10_000) is full
    assert tail.read(95, 10_000) is tip
    assert tail.read(1, 20_000) is not full
    tail.publish([(101, b"y")], 101)
    assert tail.read(1, 10_000) is full
    longer = tail.read(95, 10_000)
    assert longer is not None
    assert longer.data == tip.data + b"y"


def test_shared_chunks_are_bounded() -> None:
    tail = Tail()
    size = SHARED_CHUNK_BYTES_MAX // 2
    tail.publish([(seq, b"x" * size) for seq in range(1, 200)], 199)
    for bytes_max in (2 * size, 3 * size):
        for seq in range(1, 190):
            tail.read(seq, bytes_max)
    assert len(tail._full_chunks) == SHARED_CHUNKS_MAX
    assert all(len(chunk.data) <= SHARED_CHUNK_BYTES_MAX for chunk in tail._full_chunks.values())


def test_a_frame_beyond_the_readers_budget_comes_alone() -> None:
    tail = Tail()
    tail.publish([(1, b"x" * 500), (2, b"y")], 2)
    assert tail.read(1, 10) == TailChunk(1, 2, b"x" * 500, 1)


def test_waiting_for_what_is_there_does_not_wait() -> None:
    tail = Tail()
    tail.publish([(1, b"one")], 1)
    assert tail.wait(1, 0)


def test_a_thousand_waiters_wake_at_one_batch() -> None:
    tail = Tail()
    waiters = [gevent.spawn(tail.wait, 1, 60) for _ in range(1000)]
    gevent.idle()
    tail.publish([(1, b"one")], 1)
    gevent.joinall(waiters, timeout=60, raise_error=True)
    assert all(waiter.value is True for waiter in waiters)


def test_a_waiter_sleeps_through_batches_below_its_seq() -> None:
    tail = Tail()
    waiter = gevent.spawn(tail.wait, 3, 60)
    for seq in (1, 2):
        gevent.idle()
        tail.publish([(seq, b"x")], seq)
    gevent.idle()
    assert not waiter.ready()
    tail.publish([(3, b"")], 3)
    assert waiter.get(timeout=60) is True


def test_a_wait_that_is_not_answered_ends() -> None:
    assert Tail().wait(1, 0.001) is False


def test_another_timeout_around_a_wait_passes_through() -> None:
    tail = Tail()
    with pytest.raises(gevent.Timeout) as raised, gevent.Timeout(0.001):
        tail.wait(1, 60)
    assert raised.value.seconds == 0.001


def test_the_lists_behind_the_tail_do_not_grow() -> None:
    tail = Tail(frames_max=10)
    for seq in range(1, 20_001):
        tail.publish([(seq, b"x")], seq)
    lists: list[Any] = [tail._seqs, tail._frames]
    assert all(len(values) < 5000 for values in lists)
    assert tail.base_seq == 19_991
