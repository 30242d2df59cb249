"""Frames that wait for their DID's identity, with the DID's later frames behind them.

One object per lane, so the order of a DID is kept without locks. A DID holds at most 32 frames and waits at
most 10 s; both are the caller's to enforce by what `add` and `expired` tell it.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from zlay_py.ingest.work import Work

FRAMES_PER_DID_MAX = 32
"""More would let one DID that can't be resolved hold much memory; a PDS rarely sends as many in 10 s."""

WAIT_S_MAX = 10.0
"""A resolver that has not answered by then is treated as failed."""


@dataclass(slots=True)
class _Parked:
    since_s: float
    works: list[Work] = field(default_factory=list)


class Parking:
    """The parked frames of one lane, oldest DID first."""

    def __init__(self) -> None:
        self._by_did: OrderedDict[str, _Parked] = OrderedDict()
        self.frames = 0

    def __contains__(self, did: str) -> bool:
        return did in self._by_did

    def __len__(self) -> int:
        return len(self._by_did)

    def open(self, did: str, work: Work, now_s: float) -> None:
        """The DID starts to wait, with this frame as its first."""
        self._by_did[did] = _Parked(now_s, [work])
        self.frames += 1

    def add(self, did: str, work: Work) -> bool:
        """Puts a frame behind the others of its DID; False when there is no room."""
        parked = self._by_did[did]
        if len(parked.works) >= FRAMES_PER_DID_MAX:
            return False
        parked.works.append(work)
        self.frames += 1
        return True

    def take(self, did: str) -> list[Work]:
        """Ends the DID's wait: its frames in order; none if it does not wait."""
        parked = self._by_did.pop(did, None)
        if parked is None:
            return []
        self.frames -= len(parked.works)
        return parked.works

    def expired(self, now_s: float) -> list[str]:
        """The DIDs that have waited too long, oldest first."""
        dids = []
        for did, parked in self._by_did.items():
            if now_s - parked.since_s < WAIT_S_MAX:
                break
            dids.append(did)
        return dids
