"""Records from the segments, by seq. Owns: the files that are open for reading and the memory of where readers
stopped. Refuses to own: which segments there are and how far they may be read (the log says, for each call).

A read is a plain `pread` and does not give up the hub, so within one call nothing is appended, rotated or removed.
Between two calls anything may happen; a caller states a seq each time, never a position.
"""

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from zlay_py.errors import LocalError
from zlay_py.eventlog import index as index_file
from zlay_py.eventlog.files import FileLayer, storage_error
from zlay_py.eventlog.index import SparseIndex
from zlay_py.eventlog.record import Record
from zlay_py.eventlog.segment import SCAN_CHUNK_BYTES, SEGMENT_HEADER_BYTES, DamagedRecordError, Segment, walk

# Consumers far apart read different segments; one beyond these is opened again and its index loaded again, which
# costs less than a millisecond. An index of a full segment takes 16 kB.
OPEN_FILES_MAX = 64
# One entry for each consumer that is catching up, with room for as many again.
RESUME_POINTS_MAX = 4096
# One pread: below this mostly overhead, and much above it each buffer is fresh memory, which costs twice as much.
READ_CHUNK_BYTES = 64 * 1024


class RecordsGoneError(LocalError):
    """Records from the wanted seq on existed and were removed. Start again at the log's `oldest_seq`."""


@dataclass(slots=True)
class _OpenSegment:
    fd: int
    index: SparseIndex | None = None


class SegmentReader:
    def __init__(self, files: FileLayer) -> None:
        self._files = files
        self._open: OrderedDict[int, _OpenSegment] = OrderedDict()
        # (first seq of the segment, wanted seq) → the offset where a read ended just below the wanted seq.
        self._resume: OrderedDict[tuple[int, int], int] = OrderedDict()

    def read(self, segments: Sequence[Segment], from_seq: int, bytes_max: int) -> list[Record]:
        """Records with a seq of at least `from_seq`, in order, skipping none, up to `bytes_max` bytes of them, or one
        if that alone is more. Empty: there are none yet.

        Raises RecordsGoneError, DamagedRecordError, StorageFailedError.
        """
        if not segments:
            return []
        if max(from_seq, 1) <= segments[0].header.previous.last_seq:
            raise RecordsGoneError(f"seq {from_seq} is no longer here, the log starts at {segments[0].first_seq}")
        records: list[Record] = []
        first = max(bisect_right(segments, from_seq, key=_first_seq) - 1, 0)
        for segment in islice(segments, first, None):
            if bytes_max <= 0:
                break
            if segment.last_seq >= from_seq and not segment.empty:
                bytes_max = self._read_segment(segment, from_seq, bytes_max, records)
        return records

    def _read_segment(self, segment: Segment, from_seq: int, bytes_max: int, records: list[Record]) -> int:
        """Appends to `records`, and returns what is left of `bytes_max`."""
        opened = self._opened(segment)
        before = start = self._start(segment, opened, from_seq)
        for record, after in self._walk(segment, opened.fd, start, READ_CHUNK_BYTES):
            if record.seq >= from_seq:
                records.append(record)
                bytes_max -= after - before
                if bytes_max <= 0:
                    self._remember(segment, record.seq + 1, after)
                    return bytes_max
            before = after
        self._remember(segment, segment.last_seq + 1, segment.end)
        return bytes_max

    def _walk(self, segment: Segment, fd: int, start: int, chunk_bytes: int) -> Iterator[tuple[Record, int]]:
        return walk(self._files, fd, segment.path, segment.header.salt, start, segment.end, chunk_bytes)

    def _start(self, segment: Segment, opened: _OpenSegment, from_seq: int) -> int:
        """The offset of a record at or below the first one that is wanted."""
        resume = self._resume.get((segment.first_seq, from_seq))
        if resume is not None:
            return resume
        if from_seq <= segment.first_seq:
            return SEGMENT_HEADER_BYTES
        index = segment.index or opened.index
        if index is None:
            index = opened.index = self._load_index(segment) or self._build_index(segment, opened.fd)
        entry = index.floor(from_seq)
        if entry is not None and not self._holds(segment, opened.fd, *entry):
            index = opened.index = self._build_index(segment, opened.fd)
            entry = index.floor(from_seq)
        return SEGMENT_HEADER_BYTES if entry is None else entry[1]

    def _holds(self, segment: Segment, fd: int, seq: int, offset: int) -> bool:
        """True if the record with this seq is at this offset. An index is a hint, and this is where it is checked."""
        try:
            found = next(self._walk(segment, fd, offset, READ_CHUNK_BYTES), None)
        except DamagedRecordError:
            return False
        return found is not None and found[0].seq == seq

    def _load_index(self, segment: Segment) -> SparseIndex | None:
        return index_file.load(self._files, segment.path, salt=segment.header.salt, segment_bytes=segment.end)

    def _build_index(self, segment: Segment, fd: int) -> SparseIndex:
        """By a scan of the whole segment, about 0.2 s, and stored so that it stays the only one."""
        index, before = SparseIndex(), SEGMENT_HEADER_BYTES
        for record, after in self._walk(segment, fd, before, SCAN_CHUNK_BYTES):
            index.add(record.seq, before)
            before = after
        with suppress(LocalError):
            # No room, or a read-only disk: this process has the index, and the next one builds it again.
            index_file.store(self._files, segment.path, index, salt=segment.header.salt, segment_bytes=segment.end)
        return index

    def _remember(self, segment: Segment, next_seq: int, offset: int) -> None:
        self._resume[(segment.first_seq, next_seq)] = offset
        if len(self._resume) > RESUME_POINTS_MAX:
            self._resume.popitem(last=False)

    def _opened(self, segment: Segment) -> _OpenSegment:
        opened = self._open.get(segment.first_seq)
        if opened is not None:
            self._open.move_to_end(segment.first_seq)
            return opened
        try:
            opened = _OpenSegment(self._files.open(segment.path, os.O_RDONLY))
        except FileNotFoundError as error:
            raise RecordsGoneError(f"{segment.path} was removed") from error
        except OSError as error:
            raise storage_error(error, f"opening {segment.path}") from error
        self._open[segment.first_seq] = opened
        if len(self._open) > OPEN_FILES_MAX:
            self._files.close(self._open.popitem(last=False)[1].fd)
        return opened

    def forget(self, segment: Segment) -> None:
        """Closes the file of a segment that is being removed, so that its space comes free."""
        opened = self._open.pop(segment.first_seq, None)
        if opened is not None:
            self._files.close(opened.fd)

    def close(self) -> None:
        while self._open:
            self._files.close(self._open.popitem()[1].fd)
        self._resume.clear()


def _first_seq(segment: Segment) -> int:
    return segment.first_seq
