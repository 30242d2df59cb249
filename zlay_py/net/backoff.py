"""How long to wait before the next try. Pure: randomness is handed in, nobody sleeps here."""

from collections.abc import Callable


class Backoff:
    """Doubling delays up to a cap, each shortened by a random part, so that many do not come back at once.

    The n-th delay since the last reset lies in `min(cap_s, base_s · 2ⁿ) · (1 - jitter … 1]`.
    """

    def __init__(self, base_s: float, cap_s: float, *, rng: Callable[[], float], jitter: float = 0.5) -> None:
        """`rng` gives numbers in [0, 1), as `random.random` does. `jitter` is a part: 0 none, 1 down to no delay."""
        assert 0 < base_s <= cap_s, "delays grow from the base to the cap"
        assert 0 <= jitter <= 1, "jitter is a part of the delay"
        self._base_s = base_s
        self._cap_s = cap_s
        self._jitter = jitter
        self._rng = rng
        self._full_s = base_s

    def next(self) -> float:
        """The delay before the next try, in seconds."""
        full_s = self._full_s
        self._full_s = min(self._cap_s, full_s * 2)
        return full_s * (1 - self._jitter * self._rng())

    def reset(self) -> None:
        """Things work again: the next delay is a first one."""
        self._full_s = self._base_s
