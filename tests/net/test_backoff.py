from hypothesis import given
from hypothesis import strategies as st

from zlay_py.net.backoff import Backoff


def test_delays_double_up_to_the_cap_and_start_over_after_a_reset() -> None:
    backoff = Backoff(1.0, 60.0, rng=lambda: 0.0)
    assert [backoff.next() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    backoff.reset()
    assert backoff.next() == 1


def test_jitter_takes_off_a_part_of_the_delay() -> None:
    numbers = iter([0.0, 0.5, 0.9])
    backoff = Backoff(10.0, 10.0, rng=lambda: next(numbers), jitter=0.5)
    assert [backoff.next() for _ in range(3)] == [10.0, 7.5, 5.5]


@given(
    st.floats(0.01, 100),
    st.floats(1, 1000),
    st.floats(0, 1),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 2_000),
)
def test_no_delay_leaves_its_bounds_however_often_it_is_asked(
    base_s: float, factor: float, jitter: float, number: float, tries: int
) -> None:
    cap_s = base_s * factor
    backoff = Backoff(base_s, cap_s, rng=lambda: number, jitter=jitter)
    for _ in range(tries):
        assert 0 <= backoff.next() <= cap_s
