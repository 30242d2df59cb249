"""What a start finds on the disk, and what it makes of it.

Owns: finding the segments, checking that none is missing or shortened, telling a torn tail from damage, and
cutting the first. Refuses to own: where seqs go on (`ceiling.decide_start`) and reading old segments (a start
reads the newest one only; the others are checked when they are read, and by `zlay log verify`).

The rule for a bad record in the newest segment: if it lies below an offset that was once durable, it is damage
and the start stops; otherwise it is a write that a crash interrupted, and the file is cut there. What was durable is
known from the ceiling file and from every later record that can still be read (`synced_bytes`). A loss of power may
well leave later pages of one unsynced batch readable and an earlier one not, so "something valid follows"
alone would prove nothing.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from zlay_py.errors import CorruptionError, StorageFailedError
from zlay_py.eventlog.ceiling import CEILING_NEW_NAME, Ceiling
from zlay_py.eventlog.delta import DELTA_BYTES_MAX
from zlay_py.eventlog.files import FileLayer, storage_error, sync_dir, sync_file, write_all
from zlay_py.eventlog.index import SparseIndex
from zlay_py.eventlog.record import HEADER_BYTES, RecordKind, header_glimpse, header_is_valid
from zlay_py.eventlog.segment import (
    SCAN_CHUNK_BYTES,
    SEGMENT_HEADER_BYTES,
    DamagedRecordError,
    DamagedSegmentError,
    Segment,
    SegmentHeader,
    open_for_reading,
    read_start,
    segment_first_seq,
    segment_name,
    walk,
)

# A peer may have filled a torn payload with bytes that look like the start of a record. Checking them costs a
# read each; past this many bytes a start gives up and says so, instead of hanging.
WITNESS_READ_BYTES_MAX = 256 * 1024 * 1024
# The first eight bytes of a record, flags and kind, at any offset.
_LOOKS_LIKE_A_RECORD = re.compile(
    rb"(?=[\x00\x01]\x00\x00\x00[" + b"".join(re.escape(bytes((kind,))) for kind in RecordKind) + rb"]\x00\x00\x00)"
)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `EventLog.open` did. `clean`: the log was closed properly, or is new. `jumped`: seqs were skipped up to the
    ceiling. `bytes_cut`: the torn tail. `oldest_seq`: the lowest seq that is still here."""

    next_seq: int
    bytes_cut: int
    clean: bool
    jumped: bool
    oldest_seq: int
    segments: int


class Scan(NamedTuple):
    """`bytes_cut`: how many bytes behind the segment's end are a torn write. `durable_bytes`: how much of the file was
    durable before this start, by what the ceiling file and the records say."""

    bytes_cut: int
    durable_bytes: int


def find_segments(files: FileLayer, directory: Path, state: Ceiling | None) -> list[Segment]:
    """All segments, oldest first, the newest not yet scanned (`end` is its size). Removes what a crash left behind.

    Raises DamagedSegmentError where a segment is missing, shortened or not ours, or StorageFailedError.
    """
    try:
        names = files.list_dir(directory)
    except OSError as error:
        raise storage_error(error, f"listing {directory}") from error
    first_seqs = sorted(seq for name in names if (seq := segment_first_seq(name)) is not None)
    if first_seqs and _is_debris(files, directory, first_seqs[-1], state):
        _remove(files, directory, segment_name(first_seqs.pop()))
        sync_dir(files, directory, f"removing an unfinished segment from {directory}")
    for name in _leftovers(names, first_seqs):
        _remove(files, directory, name)
    segments: list[Segment] = []
    for first_seq in first_seqs:
        path = directory / segment_name(first_seq)
        encoded, size = read_start(files, path)
        header = SegmentHeader.decode(path, encoded)
        if segments:
            _seal(segments[-1], header, path)
        segments.append(Segment(path, header, size, header.previous.last_seq, header.previous.last_time_us))
    return segments


def _is_debris(files: FileLayer, directory: Path, first_seq: int, state: Ceiling | None) -> bool:
    """True for a newest segment whose creation never finished. Records are added only once the header is durable,
    so a file that is no longer than a header, without a valid one, has never held any."""
    path = directory / segment_name(first_seq)
    encoded, size = read_start(files, path)
    try:
        SegmentHeader.decode(path, encoded)
    except DamagedSegmentError:
        # The ceiling file names a segment only after that segment was durable.
        if size <= SEGMENT_HEADER_BYTES and (state is None or first_seq > state.segment):
            return True
        raise
    return False


def _leftovers(names: Iterable[str], first_seqs: list[int]) -> list[str]:
    wanted = {segment_name(first_seq) + ".idx" for first_seq in first_seqs}
    return [
        name
        for name in names
        if name == CEILING_NEW_NAME or (name.startswith("evts-") and name.endswith(".idx") and name not in wanted)
    ]


def _remove(files: FileLayer, directory: Path, name: str) -> None:
    path = directory / name
    try:
        files.unlink(path)
    except OSError as error:
        raise storage_error(error, f"removing {path}") from error


def _seal(older: Segment, newer_header: SegmentHeader, newer_path: Path) -> None:
    """Fills in how `older` ended, from the header that was written when it was sealed."""
    said = newer_header.previous
    if said.first_seq != older.first_seq:
        raise DamagedSegmentError(newer_path, f"the segment before it should be {segment_name(said.first_seq)}")
    if said.size_bytes != older.end:
        raise DamagedSegmentError(older.path, f"the file has {older.end} bytes and was sealed with {said.size_bytes}")
    older.last_seq, older.last_time_us = said.last_seq, said.last_time_us


def scan_newest(
    files: FileLayer, segment: Segment, state: Ceiling | None, *, witness_bytes_max: int = WITNESS_READ_BYTES_MAX
) -> Scan:
    """Reads and checks every record of the newest segment; its `end` becomes the end of the last good one.

    Nothing is changed on the disk. Raises DamagedRecordError, DamagedSegmentError or StorageFailedError.
    """
    size, segment.end, segment.index = segment.end, SEGMENT_HEADER_BYTES, SparseIndex()
    # Not even the header, unless the ceiling file says so: who made the segment may have died of its fsync.
    durable = state.durable_bytes if state is not None and state.segment == segment.first_seq else 0
    if size < durable:
        raise DamagedSegmentError(segment.path, f"the file has {size} bytes, of which {durable} were durable once")
    with open_for_reading(files, segment.path) as fd:
        try:
            for record, after in walk(files, fd, segment.path, segment.header.salt, SEGMENT_HEADER_BYTES, size):
                if record.seq < segment.first_seq:
                    raise DamagedRecordError(segment.path, segment.end, f"seq {record.seq} below the segment's first")
                segment.index.add(record.seq, segment.end)
                segment.end, segment.last_seq, segment.last_time_us = after, record.seq, record.time_us
                durable = max(durable, record.synced_bytes)
        except DamagedRecordError as damage:
            if damage.offset < durable or _was_durable(files, fd, segment, damage, size, witness_bytes_max):
                raise
    return Scan(size - segment.end, durable)


def _was_durable(
    files: FileLayer, fd: int, segment: Segment, damage: DamagedRecordError, size: int, budget_bytes: int
) -> bool:
    """True if a whole record behind the damage says that the damaged one was durable when it was written itself.

    Raises CorruptionError when there is more to check than `budget_bytes`, or StorageFailedError.
    """
    salt = segment.header.salt
    for position in range(damage.offset + 1, size, SCAN_CHUNK_BYTES):
        chunk = _pread(files, fd, segment.path, min(SCAN_CHUNK_BYTES + HEADER_BYTES - 1, size - position), position)
        for match in _LOOKS_LIKE_A_RECORD.finditer(chunk):
            header = chunk[match.start() : match.start() + HEADER_BYTES]
            if len(header) < HEADER_BYTES:
                break
            at = position + match.start()
            seen = header_glimpse(header)
            end = at + seen.record_bytes
            possible = seen.seq > segment.last_seq and end <= size and seen.delta_bytes <= DELTA_BYTES_MAX
            if not (possible and damage.offset < seen.synced_bytes <= at):
                continue
            budget_bytes -= seen.delta_bytes + HEADER_BYTES
            if budget_bytes < 0:
                raise CorruptionError(f"{damage}; too much behind it looks like a record to tell how it came about")
            delta = _pread(files, fd, segment.path, seen.delta_bytes, end - seen.delta_bytes)
            if header_is_valid(header, delta, salt):
                return True
    return False


def _pread(files: FileLayer, fd: int, path: Path, size: int, offset: int) -> bytes:
    try:
        return files.pread(fd, size, offset)
    except OSError as error:
        raise storage_error(error, f"reading {path} at offset {offset}") from error


def open_newest(files: FileLayer, path: Path) -> int:
    """The newest segment's file, open for writing. Raises StorageFailedError."""
    try:
        return files.open(path, os.O_RDWR)
    except OSError as error:
        raise storage_error(error, f"opening {path}") from error


def write_again(files: FileLayer, fd: int, segment: Segment, start: int) -> None:
    """Writes the bytes from `start` to the segment's end over themselves and makes the file durable.

    A process whose fsync failed may have left bytes that can be read and are not on the disk: the kernel takes their
    pages for clean, and only a new write makes a new fsync mean anything. Raises StorageFullError or
    StorageFailedError.
    """
    doing = f"opening {segment.path}"
    for position in range(start, segment.end, SCAN_CHUNK_BYTES):
        chunk = _pread(files, fd, segment.path, min(SCAN_CHUNK_BYTES, segment.end - position), position)
        write_all(files, fd, chunk, position, doing)
    sync_file(files, fd, doing)


def cut(files: FileLayer, fd: int, size: int, path: Path) -> None:
    """Cuts the file, durably: bytes of a write that failed must not come back after a loss of power, when their seqs
    may belong to something else. Raises StorageFailedError."""
    doing = f"cutting {path} to {size} bytes"
    try:
        files.truncate(fd, size)
    except OSError as error:
        # For lack of space, too: whoever is told that the disk is full may rely on the bytes being gone.
        raise StorageFailedError(f"{doing}: {error}") from error
    sync_file(files, fd, doing)
