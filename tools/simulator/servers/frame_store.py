"""Ready WebSocket bytes of one host's whole stream, on disk: a file of messages and an index of (seq, end).

Memory does not grow with the messages: 16 bytes per frame while they come, none when they were signed ahead (the index
is mapped then).
"""

import mmap
import os
import tempfile
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Final

INDEX_SUFFIX: Final = ".index"
FRAMES_SUFFIX: Final = ".frames"


class FrameStore:
    """Frames by their place, from 0. Seqs are those of the host, and never fall within an epoch."""

    def __init__(self, descriptor: int, index: Sequence[int], mapped: mmap.mmap | None = None) -> None:
        """`index`: seq and end of each frame in turn. Takes the descriptor."""
        self._descriptor = descriptor
        self._index = index
        self._growing = index if isinstance(index, array) else None
        self._mapped = mapped
        self.count = len(index) // 2

    @classmethod
    def temporary(cls) -> "FrameStore":
        """Empty, to be appended to; gone when it is closed, or with the process."""
        descriptor, name = tempfile.mkstemp(prefix="simulator-", suffix=FRAMES_SUFFIX)
        Path(name).unlink()
        return cls(descriptor, array("Q"))

    @classmethod
    def open(cls, frames: Path) -> "FrameStore":
        """What a `StreamWriter` wrote, with its index beside it. Raises OSError, ValueError."""
        with frames.with_suffix(INDEX_SUFFIX).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) if size else None
        index: Sequence[int] = array("Q") if mapped is None else memoryview(mapped).cast("Q")
        if len(index) % 2:
            raise ValueError(f"{frames}: the index is torn")
        store = cls(os.open(frames, os.O_RDONLY), index, mapped)
        if os.fstat(store._descriptor).st_size != store.end(store.count - 1):
            store.close()
            raise ValueError(f"{frames}: not as long as its index says")
        return store

    def append(self, message: bytes, seq: int) -> None:
        """One whole WebSocket message."""
        assert self._growing is not None, "a store that was signed ahead does not grow"
        end = self.end(self.count - 1)
        written = os.pwrite(self._descriptor, message, end)
        if written != len(message):
            raise OSError(f"only {written} of {len(message)} bytes could be written")
        self._growing.extend((seq, end + len(message)))
        self.count += 1

    def seq(self, place: int) -> int:
        return self._index[2 * place]

    def end(self, place: int) -> int:
        """In bytes. Of place -1: where the first frame begins."""
        return 0 if place < 0 else self._index[2 * place + 1]

    def above(self, seq: int, first: int, last: int) -> int:
        """The first place in [first, last) with a higher seq, or `last`."""
        return bisect_right(range(last), seq, lo=first, key=self.seq)

    def read(self, first: int, last: int, bytes_max: int) -> tuple[bytes, int]:
        """Whole messages from `first` on, at least one, below `last`; and the place behind them."""
        start = self.end(first - 1)
        behind = max(bisect_right(range(last), start + bytes_max, lo=first, key=self.end), first + 1)
        size = self.end(behind - 1) - start
        data = os.pread(self._descriptor, size, start)
        if len(data) != size:
            raise OSError(f"frames {first} to {behind} are no longer in their file")
        return data, behind

    def close(self) -> None:
        os.close(self._descriptor)
        if self._mapped is not None:
            assert isinstance(self._index, memoryview)
            self._index.release()
            self._mapped.close()
        self._index, self.count = (), 0
