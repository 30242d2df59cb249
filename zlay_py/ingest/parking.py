"""Frames that can't be judged yet, with their DID's later frames behind them.

One object per lane, so the order of a DID is kept without locks. What a DID waits for decides how it ends: the
answer to its own question, ten seconds, or, for our own database, as long as it takes.

How much may wait is bounded for each host, by its reader (`workers.subscriber`), which stops to read: to drop a frame
because others came before it would lose good events of whoever sends many at once.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from zlay_py.ingest.outcome import Need
from zlay_py.ingest.work import Work

WAIT_S_MAX = 10.0
"""A resolver that has not answered by then is treated as failed."""


@dataclass(slots=True)
class Parked:
    """One DID's frames. `asker`: the host whose frame came first, and for which the question was asked."""

    need: Need
    asker: str
    since_s: float
    answered: bool = False
    """It only waits for its lane now, which our own database may hold up."""
    works: list[Work] = field(default_factory=list)


class Parking:
    """The parked frames of one lane, oldest DID first."""

    def __init__(self) -> None:
        self._by_did: OrderedDict[str, Parked] = OrderedDict()
        self.frames = 0
        self.frames_for_database = 0

    def __contains__(self, did: str) -> bool:
        return did in self._by_did

    def __len__(self) -> int:
        return len(self._by_did)

    def open(self, did: str, need: Need, work: Work, now_s: float) -> None:
        """The DID starts to wait, with this frame as its first."""
        self._by_did[did] = Parked(need, work.host.name, now_s)
        self._count(self._by_did[did], work)

    def add(self, did: str, work: Work) -> None:
        """Puts a frame behind the others of its DID."""
        self._count(self._by_did[did], work)

    def answers(self, did: str, asker: str, *, refreshed: bool) -> bool:
        """Does a look-up for that host, which was or was not a refresh, answer what the DID waits for?

        From then on its time is no longer the resolver's, and does not run out.
        """
        parked = self._by_did.get(did)
        if parked is None or parked.need is Need.DATABASE or parked.asker != asker:
            return False
        if not refreshed and parked.need is not Need.IDENTITY:
            return False
        parked.answered = True
        return True

    def wait_for_database(self, did: str) -> None:
        """Its question can't be asked while our database is away: from now on it waits for that."""
        parked = self._by_did.get(did)
        if parked is not None and parked.need is not Need.DATABASE:
            parked.need = Need.DATABASE
            self.frames_for_database += len(parked.works)

    def take(self, did: str) -> list[Work]:
        """Ends the DID's wait: its frames in order; none if it does not wait."""
        parked = self._by_did.pop(did, None)
        if parked is None:
            return []
        self.frames -= len(parked.works)
        if parked.need is Need.DATABASE:
            self.frames_for_database -= len(parked.works)
        return parked.works

    def expired(self, now_s: float) -> list[str]:
        """The DIDs that have waited too long for somebody else, oldest first."""
        return [
            did
            for did, parked in self._by_did.items()
            if parked.need is not Need.DATABASE and not parked.answered and now_s - parked.since_s >= WAIT_S_MAX
        ]

    def needs_database(self, did: str) -> bool:
        parked = self._by_did.get(did)
        return parked is not None and parked.need is Need.DATABASE

    def for_database(self) -> list[str]:
        """The DIDs that wait for our own database, oldest first."""
        return [did for did, parked in self._by_did.items() if parked.need is Need.DATABASE]

    def _count(self, parked: Parked, work: Work) -> None:
        parked.works.append(work)
        self.frames += 1
        self.frames_for_database += parked.need is Need.DATABASE
