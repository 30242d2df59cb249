"""What is remembered of a host's stream beside its place: seqs that don't grow, frames that break it. No I/O here."""

from collections import OrderedDict
from hashlib import sha256

from zlay_py.errors import NetError
from zlay_py.net.failures import FailureKind

REPEATED_FRAMES_MAX = 100
"""Seqs in a row that do not grow: after so many the connection is closed (atproto event-stream spec)."""

USELESS_FRAMES_MAX = 1_000
"""Frames in a row without a new event of a kind we know (unknown kind, #info, no seq, skipped poison): the connection
is closed. A host with nothing to say is silent; each of these costs us a decoding."""

POISON_HASHES_MAX = 16
"""Of undecodable frames remembered per host. Met again, such a frame is skipped instead of closing once more."""

STUCK_CONNECTIONS = 3
"""Connections in a row that a frame we can't take ended right behind the same seq: we begin to step over it."""

STUCK_KINDS = frozenset({FailureKind.TOO_LARGE, FailureKind.TEXT_FRAME, FailureKind.DECODE})
"""Failures that one frame of the host's is to blame for, and that therefore come back at the same place."""


class ConnectionSeqs:
    """The seqs of one connection: they must grow, and events must come."""

    def __init__(self, start: int | None) -> None:
        """`start`: the last seq that was read before."""
        self.grew = False
        self.below = False
        """A seq below `start` came."""
        self._start = start
        self._may_repeat = start
        self._repeated = 0
        self._useless = 0

    def new(self) -> None:
        """An event with a seq above all before."""
        self.grew = True
        self._may_repeat = None
        self._repeated = self._useless = 0

    def is_cursor(self, seq: int) -> bool:
        """True once, before anything else: some hosts count the cursor's own event in."""
        first = seq == self._may_repeat
        if first:
            self._may_repeat = None
        return first

    def repeated(self, seq: int) -> None:
        """An event with a seq not above the last. Raises NetError(POLICY) after too many."""
        self.below = self.below or (self._start is not None and seq < self._start)
        self._repeated += 1
        if self._repeated >= REPEATED_FRAMES_MAX:
            raise NetError(FailureKind.POLICY, f"{self._repeated} seqs in a row that do not grow")

    def useless(self) -> None:
        """A frame that is no event we know. Raises NetError(POLICY) after too many."""
        self._useless += 1
        if self._useless >= USELESS_FRAMES_MAX:
            raise NetError(FailureKind.POLICY, f"{self._useless} frames in a row without a new event")


class PoisonMemory:
    """Hashes of a host's undecodable frames, the latest few."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[bytes, None] = OrderedDict()

    def met_before(self, message: bytes) -> bool:
        """Whether these bytes were seen; they are from now on."""
        digest = sha256(message).digest()
        known = digest in self._hashes
        self._hashes[digest] = None
        self._hashes.move_to_end(digest)
        if len(self._hashes) > POISON_HASHES_MAX:
            self._hashes.popitem(last=False)
        return known


class StuckPlace:
    """The seq behind which a frame comes that we can't take, and how far beyond that seq to connect.

    Such a frame was never decoded, so its own seq is unknown: it is the first above the last one that was read, and
    seqs have gaps. Therefore the cursor goes up by one per connection that ends in the same way, until something
    else comes. That loses no other event: while the bad frame still comes first, the cursor is below it. It costs
    one connection per seq of the gap, at the pace of the back-off; a host with wide gaps may hang at it for long.
    """

    def __init__(self) -> None:
        self.kind: str | None = None
        """Of the last such failure."""
        self._behind: int | None = None
        self._connections = 0

    def failed(self, kind: str, last_read: int | None) -> None:
        """A connection ended. Without a seq there is no place to be stuck at: the next connection is live."""
        if kind not in STUCK_KINDS or last_read is None:
            return
        if last_read != self._behind:
            self._behind, self._connections = last_read, 0
        self.kind = kind
        self._connections += 1

    def steps(self, last_read: int | None) -> int:
        """What to add to the cursor; 0 unless stuck behind `last_read`."""
        if last_read is None or last_read != self._behind:
            return 0
        return max(0, self._connections - STUCK_CONNECTIONS + 1)

    def forget(self) -> None:
        self._behind, self._connections = None, 0
