"""Plain counters of the way in, read by the metrics server at scrape time: an increment costs an addition."""

from collections import Counter

from zlay_py.atproto.frame import FrameKind
from zlay_py.ingest.outcome import DropReason


class IngestStats:
    """Counts since start. Every kind and reason is present from the start, so a series never appears late."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter(dict.fromkeys(FrameKind, 0))
        self.accepted: Counter[str] = Counter(dict.fromkeys(FrameKind, 0))
        self.dropped: Counter[str] = Counter(dict.fromkeys(DropReason, 0))
        self.verified = 0
        """`#commit` and `#sync` accepted with a checked signature."""
        self.unverified = 0
        """`#commit` passed on before its key was known."""
        self.unproven = 0
        """`#commit` forwarded with a checked signature and no proven inversion."""
        self.discontinuous = 0
        self.undecodable = 0
        """Frames that broke the framing and closed their connection."""
