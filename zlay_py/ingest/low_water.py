"""How far a host's stream is done with: the mark that may be saved and used as a cursor at the next start.

The mark moves over an upstream seq only when that event and all before it are durable or deliberately
dropped. One object lives as long as one epoch of the host: after a cursor reset the frames still on their
way hold the old object, and so can't move the new mark.
"""

from collections import OrderedDict

FINISHED_PER_FRAME = 32
"""So many frames that are done with, behind one that is not, cost as much as a frame: some 100 bytes each, for seqs."""


class LowWater:
    """`mark`: the last upstream seq with nothing unfinished at or below it; None before the first frame of a host that
    was connected live.
    """

    __slots__ = ("_finished", "_open", "mark", "touched")

    def __init__(self, mark: int | None) -> None:
        self.mark = mark
        self.touched = False
        self._open: OrderedDict[int, int] = OrderedDict()
        self._finished: set[int] = set()

    def begin(self, seq: int, log_seq: int) -> None:
        """A frame was read. `seq` grows from call to call; `log_seq`: the log's current seq at that moment.

        The log record of this frame can only stand above `log_seq`: that bounds what a start has to scan.
        Without a mark, one is set right below this frame: a start after a kill must ask for it, and not go live again.
        No event needs to have that seq: a host sends what is above the cursor.
        """
        if self.mark is None:
            self.mark = seq - 1
            self.touched = True
        self._open[seq] = log_seq

    def done(self, seq: int) -> None:
        """The event is durable or dropped. An unknown or repeated seq changes nothing."""
        if seq not in self._open:
            return
        self._finished.add(seq)
        while self._open:
            first = next(iter(self._open))
            if first not in self._finished:
                return
            del self._open[first]
            self._finished.discard(first)
            self.mark = first
            self.touched = True

    @property
    def unfinished(self) -> int:
        """Frames read and not done with; those that are, and that the mark can't pass yet, count little.

        One frame may wait for our own database for minutes: its host's others are to go on meanwhile.
        """
        finished = len(self._finished)
        return len(self._open) - finished + finished // FINISHED_PER_FRAME

    def scan_floor(self) -> int | None:
        """The log seq above which a finished but unmarked event of this host may stand; None where there is none."""
        for log_seq in self._open.values():
            return log_seq
        return None
