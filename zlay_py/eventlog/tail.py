"""The newest events in memory, as the bytes that go to consumers. Owns: the live edge, and waking who waits for it.

A consumer is a cursor: it asks for what follows its seq, gets one piece of bytes to send, and comes back with the
seq after it. Nothing is kept for it here, so a slow consumer costs nothing, and one that falls out of the tail
reads the segments. Positions are seqs; a seq without a frame (a verdict, a gap after a jump) is passed over.

Used by one thread: the hub's. Nothing in here gives up the hub but `wait`.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from gevent import Timeout
from gevent.event import Event

# About 80 s of the network at 600 events/s; at 5 kB an event the byte bound (RELAY_HISTORY_MB) ends it earlier.
FRAMES_MAX = 50_000
BYTES_MAX = 128 * 1024 * 1024
# Joined pieces that consumers at the same place share. At the live edge there is one; those behind it are few.
SHARED_CHUNK_BYTES_MAX = 64 * 1024
SHARED_CHUNKS_MAX = 64
# Evicted entries stay in the lists until this many have gathered, so that evicting one costs nothing.
_COMPACT_AT = 4096


class TailChunk(NamedTuple):
    """Whole WebSocket frames, joined. `next_seq` is where to go on, above every seq up to there that is not sent.
    Without frames, `first_seq` is only where the reader was."""

    first_seq: int
    next_seq: int
    data: bytes
    frames: int


class Tail:
    """Frames with the seqs from `base_seq` to `tip_seq`, bounded by number and bytes, whichever ends first."""

    def __init__(self, *, frames_max: int = FRAMES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self._published = Event()
        self.start(next_seq=1)

    def start(self, next_seq: int) -> None:
        """Empties the tail and puts it where the log goes on: what is below is in the segments."""
        self.base_seq, self.tip_seq = next_seq, next_seq - 1
        # Parallel lists; everything below `_head` is evicted.
        self._seqs: list[int] = []
        self._frames: list[bytes] = []
        self._head = 0
        self._bytes = 0
        # Keyed by the seq of the first frame and the reader's bytes_max. A full one stays right for ever; one that
        # ended at the tip would be right too, but too short once there is more.
        self._full_chunks: dict[tuple[int, int], TailChunk] = {}
        self._tip_chunks: dict[tuple[int, int], TailChunk] = {}

    def __len__(self) -> int:
        """The number of frames."""
        return len(self._seqs) - self._head

    @property
    def held_bytes(self) -> int:
        return self._bytes

    def publish(self, frames: Sequence[tuple[int, bytes]], tip_seq: int) -> None:
        """Adds frames in the order of their seqs, all above the tip and up to `tip_seq`, and wakes who waits.

        An empty frame is a seq that is never sent.
        """
        for seq, frame in frames:
            if frame:
                self._seqs.append(seq)
                self._frames.append(frame)
                self._bytes += len(frame)
        self.tip_seq = tip_seq
        self._evict()
        self._tip_chunks.clear()
        # One event per batch: setting it costs the same however many wait, and the next batch gets a fresh one.
        published, self._published = self._published, Event()
        published.set()

    def _evict(self) -> None:
        while self._bytes > self._bytes_max or len(self) > self._frames_max:
            self._bytes -= len(self._frames[self._head])
            self.base_seq = self._seqs[self._head] + 1
            self._frames[self._head] = b""
            self._head += 1
        if self._head >= _COMPACT_AT:
            del self._seqs[: self._head], self._frames[: self._head]
            self._head = 0

    def read(self, from_seq: int, bytes_max: int) -> TailChunk | None:
        """Frames with a seq of at least `from_seq`, up to `bytes_max` bytes, or one if that alone is more.

        None: `from_seq` is below `base_seq`, read the segments. Without frames: there is nothing to send yet.
        """
        if from_seq < self.base_seq:
            return None
        if from_seq > self.tip_seq:
            return TailChunk(from_seq, from_seq, b"", 0)
        at = bisect_left(self._seqs, from_seq, self._head)
        if at == len(self._seqs):
            return TailChunk(from_seq, self.tip_seq + 1, b"", 0)
        key = (self._seqs[at], bytes_max)
        return self._tip_chunks.get(key) or self._full_chunks.get(key) or self._join(at, key)

    def _join(self, at: int, key: tuple[int, int]) -> TailChunk:
        first_seq, bytes_max = key
        size, end = len(self._frames[at]), at + 1
        while end < len(self._frames) and size + len(self._frames[end]) <= bytes_max:
            size += len(self._frames[end])
            end += 1
        at_tip = end == len(self._frames)
        next_seq = self.tip_seq + 1 if at_tip else self._seqs[end]
        chunk = TailChunk(first_seq, next_seq, b"".join(self._frames[at:end]), end - at)
        if size <= SHARED_CHUNK_BYTES_MAX:
            shared = self._tip_chunks if at_tip else self._full_chunks
            shared[key] = chunk
            if len(shared) > SHARED_CHUNKS_MAX:
                del shared[next(iter(shared))]
        return chunk

    def wait(self, seq: int, timeout_s: float | None) -> bool:
        """Until the log has reached `seq`: True, at once if it has already. False: `timeout_s` passed first."""
        if self.tip_seq >= seq:
            return True
        timeout = Timeout.start_new(timeout_s)
        try:
            while self.tip_seq < seq:
                self._published.wait()
        except Timeout as passed:
            if passed is not timeout:
                raise
        finally:
            timeout.close()
        return self.tip_seq >= seq
