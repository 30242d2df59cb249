"""The mark never stands above an unfinished event."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from zlay_py.ingest.low_water import FINISHED_PER_FRAME, LowWater


def test_the_mark_waits_for_the_first_unfinished_event() -> None:
    water = LowWater(None)
    for seq in (3, 5, 9):
        water.begin(seq, log_seq=100 + seq)
    water.done(5)
    assert (water.mark, water.scan_floor()) == (2, 103)
    water.done(3)
    assert (water.mark, water.scan_floor()) == (5, 109)
    water.done(9)
    assert water.mark == 9
    assert water.scan_floor() is None
    assert water.unfinished == 0


def test_a_live_start_has_a_mark_right_below_its_first_frame() -> None:
    """A kill before that frame is done must bring it back, and not a live start without it."""
    water = LowWater(None)
    water.begin(7, log_seq=1)
    assert (water.mark, water.touched) == (6, True)
    water.touched = False
    water.begin(12, log_seq=1)
    water.done(12)
    assert (water.mark, water.touched) == (6, False), "only the first frame sets it, and it waits for that one"
    water.done(7)
    assert (water.mark, water.touched) == (12, True)


def test_frames_that_are_done_with_count_little_while_one_holds_the_mark() -> None:
    """A host must not stand still because one of its accounts waits; what is remembered stays within a bound."""
    water = LowWater(0)
    water.begin(1, log_seq=1)
    for seq in range(2, 2 + 10 * FINISHED_PER_FRAME):
        water.begin(seq, log_seq=seq)
        water.done(seq)
    assert (water.mark, water.unfinished) == (0, 1 + 10)
    water.done(1)
    assert (water.mark, water.unfinished) == (1 + 10 * FINISHED_PER_FRAME, 0)


def test_a_known_mark_is_not_touched_by_a_frame_that_begins() -> None:
    water = LowWater(3)
    water.begin(9, log_seq=1)
    assert (water.mark, water.touched) == (3, False)


@given(st.lists(st.integers(1, 10_000), unique=True, min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_the_mark_equals_the_model_in_any_order_of_finishing(seqs: list[int], random: Random) -> None:
    """Model: the largest read seq below which (and at which) everything is finished."""
    order = sorted(seqs)
    water = LowWater(0)
    for seq in order:
        water.begin(seq, log_seq=seq)
    finishing = list(order)
    random.shuffle(finishing)
    finished: set[int] = set()
    for seq in finishing:
        water.done(seq)
        water.done(seq)  # a second time changes nothing
        finished.add(seq)
        prefix = 0
        for candidate in order:
            if candidate not in finished:
                break
            prefix = candidate
        assert water.mark == prefix
        assert water.unfinished <= len(order)
    assert water.unfinished == 0
