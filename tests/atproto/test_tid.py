import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlay_py.atproto.tid import CLOCK_ID_MAX, TIME_US_MAX, is_tid, tid_from, tid_time_us
from zlay_py.errors import SyntaxInvalidError

ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"

times_us = st.integers(min_value=0, max_value=TIME_US_MAX)
clock_ids = st.integers(min_value=0, max_value=CLOCK_ID_MAX)


def tid_number(tid: str) -> int:
    """The 64-bit number, digit by digit: another way than the code's."""
    number = 0
    for character in tid:
        number = number * 32 + ALPHABET.index(character)
    return number


@given(times_us, clock_ids)
def test_time_round_trips(time_us: int, clock_id: int) -> None:
    tid = tid_from(time_us, clock_id)
    assert is_tid(tid)
    assert tid_time_us(tid) == time_us
    assert tid_number(tid) == time_us << 10 | clock_id


@given(st.tuples(times_us, clock_ids), st.tuples(times_us, clock_ids))
def test_text_order_is_the_order_of_time_then_clock(one: tuple[int, int], two: tuple[int, int]) -> None:
    assert (tid_from(*one) < tid_from(*two)) == (one < two)


@given(st.from_regex("[2-7a-j][2-7a-z]{12}", fullmatch=True))
def test_every_tid_is_the_one_of_its_parts(tid: str) -> None:
    time_us = tid_time_us(tid)
    assert time_us == tid_number(tid) >> 10
    if time_us <= TIME_US_MAX:
        assert tid_from(time_us, tid_number(tid) & CLOCK_ID_MAX) == tid
    else:  # well formed, but of a time that no writer can have: from the year 2255 on
        assert tid[0] >= "c"


def test_known_values() -> None:
    assert tid_from(0, 0) == "2222222222222"
    assert tid_from(TIME_US_MAX, CLOCK_ID_MAX) == "bzzzzzzzzzzzz"
    assert tid_from(1, 0) == "2222222222322"
    assert tid_from(0, 1) == "2222222222223"
    # 2023-06-30, an example record key of the specification.
    assert tid_time_us("3jzfcijpj2z2a") == 1_688_137_381_887_007


@pytest.mark.parametrize("time_us", [-1, TIME_US_MAX + 1])
def test_a_time_of_ours_that_does_not_fit_is_an_error(time_us: int) -> None:
    with pytest.raises(ValueError, match="time_us"):
        tid_from(time_us, 0)


@pytest.mark.parametrize("clock_id", [-1, CLOCK_ID_MAX + 1])
def test_a_clock_identifier_of_ours_that_does_not_fit_is_an_error(clock_id: int) -> None:
    with pytest.raises(ValueError, match="clock_id"):
        tid_from(0, clock_id)


@pytest.mark.parametrize(
    "value",
    ["", "3jzfcijpj2z2", "3jzfcijpj2z2aa", "3jzfcijpj2z2a\n", "kjzfcijpj2z2a", "3JZFCIJPJ2Z2A", "3jzfcijpj2z21",
     None, 3, b"3jzfcijpj2z2a", "٣jzfcijpj2z2a"],
)  # fmt: skip
def test_what_is_no_tid(value: object) -> None:
    assert not is_tid(value)


@given(st.text())
def test_any_text_gives_a_time_or_our_error(text: str) -> None:
    try:
        time_us = tid_time_us(text)
    except SyntaxInvalidError:
        assert not is_tid(text)
    else:
        assert 0 <= time_us < 2**54
