"""Named places where a crash must be survivable, each with what the next start owes. The log calls `reached` with
them; production hands in nothing, and the crash tests kill their own process there.
"""

from collections.abc import Callable
from enum import StrEnum


class CrashPoint(StrEnum):
    # The ceiling is durable, nothing above the old one was given out: the next start may skip seqs, no more.
    CEILING_RAISED = "ceiling_raised"
    # All bytes of a batch are with the kernel, none is acknowledged: the next start keeps whole records or cuts.
    BATCH_WRITTEN = "batch_written"
    # The batch is as durable as the mode asks, the writer has not heard of it: the next start has all of it.
    BATCH_DURABLE = "batch_durable"
    # Readers can see the batch, the seqs are not yet given back: as above.
    BATCH_PUBLISHED = "batch_published"
    # The old segment is durable and nothing is to be added to it: the next start adds to it.
    SEGMENT_SEALED = "segment_sealed"
    # The new segment is durable and empty, the ceiling file names the old one: the next start goes on in the new one.
    SEGMENT_CREATED = "segment_created"
    # A start has decided where to go on, and has cut nothing yet: the next start comes to the same or a higher seq.
    START_DECIDED = "start_decided"
    # The tail is cut: the next start finds nothing to cut, and must still not go back below where this one was.
    TAIL_CUT = "tail_cut"
    # Everything is durable, the clean mark is not written: the next start is an unclean one that lost nothing.
    CLOSE_SYNCED = "close_synced"


Reached = Callable[[CrashPoint], None]


def pass_by(point: CrashPoint) -> None:
    """What production hands in: nothing happens."""
    del point
