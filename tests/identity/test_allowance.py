"""A DID's allowance of look-ups, against a model that counts them."""

from hypothesis import given
from hypothesis import strategies as st

from zlay_py.identity import allowance
from zlay_py.identity.allowance import BURST, REFILL_S, RefreshAllowance


@given(st.lists(st.floats(0, 60), min_size=1, max_size=200))
def test_never_more_than_the_burst_and_what_was_refilled(pauses: list[float]) -> None:
    taken, now_s, granted = RefreshAllowance(), 1_000.0, 0
    for pause_s in pauses:
        now_s += pause_s
        granted += taken.take("did:plc:a", now_s)
        assert granted <= BURST + (now_s - 1_000.0) / REFILL_S + 1e-6


def test_one_did_does_not_use_anothers() -> None:
    taken = RefreshAllowance()
    assert [taken.take("did:plc:a", 0.0) for _ in range(BURST + 1)] == [True] * BURST + [False]
    assert taken.take("did:plc:b", 0.0)
    assert taken.take("did:plc:a", REFILL_S)


def test_what_is_remembered_is_bounded() -> None:
    taken = RefreshAllowance()
    for number in range(allowance.REMEMBERED_MAX + 10):
        taken.take(f"did:plc:{number}", 0.0)
    assert len(taken) == allowance.REMEMBERED_MAX
