"""The mark never stands above an unfinished event."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from zlay_py.ingest.low_water import LowWater


def test_the_mark_waits_for_the_first_unfinished_event() -> None:
    water = LowWater(None)
    for seq in (3, 5, 9):
        water.begin(seq, log_seq=100 + seq)
    water.done(5)
    assert (water.mark, water.scan_floor()) == (None, 103)
    water.done(3)
    assert (water.mark, water.scan_floor()) == (5, 109)
    water.done(9)
    assert water.mark == 9
    assert water.scan_floor() is None
    assert water.unfinished == 0


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
