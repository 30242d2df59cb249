"""How often a DID that is known may be asked about again. Pure: the clock is handed in.

Owns: a small burst per key, refilled slowly. A key is a DID, the asking host, and what the question is about: of each
host its own, or one could use up another's; and failed checks apart from `#identity`, or frames with bad signatures
would keep us from noticing that a key was rotated.
A burst, because an account's life has such moments (a migration is a document, a key and a handle within seconds,
each with a commit signed by the newest key); slowly, because a host that sends bad signatures, or `#identity` without
end, must not make us flood the directory.
"""

from collections import OrderedDict

BURST = 5
"""Look-ups of one DID in a row."""

REFILL_S = 10.0
"""For one more."""

REMEMBERED_MAX = 100_000
"""Keys that have used some of theirs, about 15 MB. The one that asked longest ago is forgotten first."""


class RefreshAllowance:
    """`take` says whether one more look-up may be made now."""

    def __init__(self, *, burst: int = BURST, refill_s: float = REFILL_S) -> None:
        self._burst = burst
        self._refill_s = refill_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, key: str, now_s: float) -> bool:
        left, at_s = self._left.get(key, (float(self._burst), now_s))
        left = min(float(self._burst), left + (now_s - at_s) / self._refill_s)
        allowed = left >= 1.0
        self._left[key] = (left - 1.0 if allowed else left, now_s)
        self._left.move_to_end(key)
        if len(self._left) > REMEMBERED_MAX:
            self._left.popitem(last=False)
        return allowed
