"""What makes a stream suspicious, and how a frame that can't be taken is stepped over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlay_py.errors import NetError
from zlay_py.net.failures import FailureKind
from zlay_py.workers.dialler import DOUBTFUL_HANDSHAKE_S_MAX, HANDSHAKE_S_MAX, handshake_s
from zlay_py.workers.host_stream import (
    POISON_HASHES_MAX,
    STUCK_CONNECTIONS,
    USELESS_FRAMES_MAX,
    ConnectionSeqs,
    PoisonMemory,
    StuckPlace,
)


def test_only_the_first_event_may_repeat_the_cursor() -> None:
    seqs = ConnectionSeqs(7)
    assert seqs.is_cursor(7)
    assert not seqs.is_cursor(7)
    later = ConnectionSeqs(7)
    later.new()
    assert not later.is_cursor(7), "not after newer ones"


def test_repeats_of_the_cursor_are_no_sign_of_a_reset() -> None:
    seqs = ConnectionSeqs(7)
    seqs.repeated(7)
    assert not seqs.below
    seqs.repeated(6)
    assert seqs.below


def test_poison_is_known_again_until_too_many_others_came() -> None:
    memory = PoisonMemory()
    assert not memory.met_before(b"bad")
    for number in range(POISON_HASHES_MAX - 1):
        assert not memory.met_before(b"%d" % number)
    assert memory.met_before(b"bad")
    for number in range(POISON_HASHES_MAX):
        memory.met_before(b"other %d" % number)
    assert not memory.met_before(b"bad")


@pytest.mark.parametrize("inclusive", [False, True])
@given(
    events=st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=12, unique_by=lambda event: event[0]),
    start=st.integers(0, 20),
)
def test_stepping_loses_no_good_event_and_passes_every_bad_one(
    inclusive: bool, events: list[tuple[int, bool]], start: int
) -> None:
    """A host with any gaps and any frames that can't be taken, of either meaning of the cursor."""
    stream = sorted(events)
    wanted = [seq for seq, good in stream if good and seq > start]
    place, last_read, read = StuckPlace(), start, list[int]()
    for _ in range(40 * (STUCK_CONNECTIONS + 2)):
        cursor = last_read + place.steps(last_read)
        for seq, good in stream:
            if seq < cursor or (seq == cursor and not inclusive) or (good and seq <= last_read):
                continue
            if not good:
                place.failed(FailureKind.TOO_LARGE, last_read)
                break
            last_read = seq
            read.append(seq)
    assert read == wanted


def test_other_failures_and_a_live_start_are_no_place_to_be_stuck_at() -> None:
    place = StuckPlace()
    for _ in range(STUCK_CONNECTIONS):
        place.failed(FailureKind.CLOSED, 5)
        place.failed(FailureKind.TOO_LARGE, None)
    assert (place.steps(5), place.steps(None)) == (0, 0)
    for _ in range(STUCK_CONNECTIONS):
        place.failed(FailureKind.TEXT_FRAME, 5)
    assert (place.steps(5), place.steps(6)) == (1, 0)
    place.forget()
    assert place.steps(5) == 0


def test_useless_frames_in_a_row_are_bounded_and_an_event_makes_up_for_them() -> None:
    seqs = ConnectionSeqs(None)
    for _ in range(3):
        for _ in range(USELESS_FRAMES_MAX - 1):
            seqs.useless()
        seqs.new()
    for _ in range(USELESS_FRAMES_MAX - 1):
        seqs.useless()
    with pytest.raises(NetError) as refused:
        seqs.useless()
    assert refused.value.kind == FailureKind.POLICY


def test_a_host_that_failed_gets_less_time_but_the_whole_time_again_now_and_then() -> None:
    times = [handshake_s(failures) for failures in range(5)]
    assert times == [HANDSHAKE_S_MAX, *[DOUBTFUL_HANDSHAKE_S_MAX] * 3, HANDSHAKE_S_MAX]
