"""A segment: one file of the log, `evts-<first seq>`. Owns: its file header and the walk over its records.

     0  8 bytes  "zlayevts"
     8  u32      version, 1
    12  u32      salt               random; every checksum in this file starts from it
    16  u64      first seq          as in the name; the first record has this seq or a later one
    24  u64      created            µs since 1970
    32  u64      previous first seq                    ┐
    40  u64      previous last seq                     │ the segment before this one, as it was sealed;
    48  u64      previous time of the last record, µs  │ first seq 0: there is none on this disk
    56  u64      previous bytes                        ┘
    64  u32      checksum: CRC-32 of bytes 0 to 64
    68           records

Each header says how the segment before it ended. So a start finds a missing or shortened segment, and retention
knows the age of every segment's last event, without reading any but the newest.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from zlay_py.crashpoints import CrashPoint, Reached, pass_by
from zlay_py.errors import CorruptionError
from zlay_py.eventlog.files import FileLayer, storage_error, sync_dir, sync_file, write_all
from zlay_py.eventlog.index import SparseIndex
from zlay_py.eventlog.record import Record, RecordInvalidError, decode, size_at

VERSION = 1
_MAGIC = b"zlayevts"
_HEADER = Struct("<8sIIQQQQQQ")
_CHECKSUM = Struct("<I")
SEGMENT_HEADER_BYTES = _HEADER.size + _CHECKSUM.size
# One read of a scan; also the most a scan keeps in memory, apart from a record that is larger.
SCAN_CHUNK_BYTES = 1024 * 1024
_NAME = re.compile(r"evts-([1-9][0-9]{0,15})")
_HELP = "run `zlay log verify` to see what can be read, and restore the file from a backup"


class DamagedRecordError(CorruptionError):
    """The bytes at `offset` of `path` are not the record that was written there."""

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        super().__init__(f"{path}: damaged at offset {offset}: {reason}; {_HELP}")
        self.path = path
        self.offset = offset
        self.reason = reason


class DamagedSegmentError(CorruptionError):
    """A segment's file header, size or neighbours are wrong."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}; {_HELP}")
        self.path = path
        self.reason = reason


class Sealed(NamedTuple):
    """How a segment ended. All zero but perhaps `last_seq`: there is none before; `last_seq` is then the highest seq
    that may have been given out in segments that were removed by hand."""

    first_seq: int
    last_seq: int
    last_time_us: int
    size_bytes: int


class SegmentHeader(NamedTuple):
    salt: int
    first_seq: int
    created_us: int
    previous: Sealed

    def encode(self) -> bytes:
        head = _HEADER.pack(_MAGIC, VERSION, self.salt, self.first_seq, self.created_us, *self.previous)
        return head + _CHECKSUM.pack(crc32(head))

    @classmethod
    def decode(cls, path: Path, encoded: bytes) -> "SegmentHeader":
        """Raises DamagedSegmentError."""
        if len(encoded) < SEGMENT_HEADER_BYTES:
            raise DamagedSegmentError(path, "the file ends inside its header")
        magic, version, salt, first_seq, created_us, *previous = _HEADER.unpack_from(encoded)
        if magic != _MAGIC or _CHECKSUM.unpack_from(encoded, _HEADER.size)[0] != crc32(encoded[: _HEADER.size]):
            raise DamagedSegmentError(path, "the file's header is damaged")
        if version != VERSION:
            raise DamagedSegmentError(path, f"written in format {version}, this program reads format {VERSION}")
        if path.name != segment_name(first_seq):
            raise DamagedSegmentError(path, f"the file's header says it is {segment_name(first_seq)}")
        return cls(salt, first_seq, created_us, Sealed(*previous))


@dataclass(slots=True, eq=False)
class Segment:
    """What is known of one segment. `end`, `last_seq` and `last_time_us` cover what readers may see; with no record
    in it, the last two are the previous segment's. `index` is None until somebody needs it."""

    path: Path
    header: SegmentHeader
    end: int
    last_seq: int
    last_time_us: int
    index: SparseIndex | None = None

    @property
    def first_seq(self) -> int:
        return self.header.first_seq

    @property
    def empty(self) -> bool:
        return self.end == SEGMENT_HEADER_BYTES

    def sealed(self) -> Sealed:
        return Sealed(self.first_seq, self.last_seq, self.last_time_us, self.end)


def segment_name(first_seq: int) -> str:
    return f"evts-{first_seq}"


def segment_first_seq(name: str) -> int | None:
    """The first seq that a file name states, or None if it is no segment's name."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def create(files: FileLayer, directory: Path, header: SegmentHeader, reached: Reached = pass_by) -> tuple[Segment, int]:
    """A new, empty, durable segment and its file, open for writing. Raises StorageFullError, after which nothing of
    it is left, or StorageFailedError."""
    path = directory / segment_name(header.first_seq)
    doing = f"creating {path}"
    try:
        # Never over an existing file: a name that is taken would mean a seq that is given twice.
        fd = files.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    except OSError as error:
        raise storage_error(error, doing) from error
    try:
        write_all(files, fd, header.encode(), 0, doing)
        reached(CrashPoint.SEGMENT_HEADED)
        sync_file(files, fd, doing)
        reached(CrashPoint.SEGMENT_NAMED)
        sync_dir(files, directory, doing)
    except BaseException:
        files.close(fd)
        # If this fails too, the next attempt says so by its O_EXCL, and the next start clears it away.
        with suppress(OSError):
            files.unlink(path)
        raise
    seen = header.previous
    return Segment(path, header, SEGMENT_HEADER_BYTES, seen.last_seq, seen.last_time_us, SparseIndex()), fd


def read_start(files: FileLayer, path: Path) -> tuple[bytes, int]:
    """The bytes where the file's header should be, and the file's size. Raises StorageFailedError."""
    with open_for_reading(files, path) as fd:
        try:
            return files.pread(fd, SEGMENT_HEADER_BYTES, 0), files.size(fd)
        except OSError as error:
            raise storage_error(error, f"reading {path}") from error


@contextmanager
def open_for_reading(files: FileLayer, path: Path) -> Iterator[int]:
    """The file's descriptor. Raises StorageFailedError."""
    try:
        fd = files.open(path, os.O_RDONLY)
    except OSError as error:
        raise storage_error(error, f"opening {path}") from error
    try:
        yield fd
    finally:
        files.close(fd)


def walk(
    files: FileLayer, fd: int, path: Path, salt: int, start: int, end: int, chunk_bytes: int = SCAN_CHUNK_BYTES
) -> Iterator[tuple[Record, int]]:
    """Each record from offset `start` to offset `end`, and the offset after it. Raises DamagedRecordError or
    StorageFailedError."""
    position, last_seq, wanted = start, 0, chunk_bytes
    while position < end:
        asked = min(wanted, end - position)
        try:
            buffer = files.pread(fd, asked, position)
        except OSError as error:
            raise storage_error(error, f"reading {path} at offset {position}") from error
        at = 0
        try:
            while (found := decode(buffer, at, salt)) is not None:
                record, after = found
                if record.seq <= last_seq:
                    raise RecordInvalidError(f"seq {record.seq} after seq {last_seq}")
                yield record, position + after
                last_seq, at = record.seq, after
            size = size_at(buffer, at)
        except RecordInvalidError as error:
            raise DamagedRecordError(path, position + at, str(error)) from error
        position += at
        wanted = max(chunk_bytes, size or 0)
        if (size is not None and size > end - position) or (at == 0 and len(buffer) < asked):
            raise DamagedRecordError(path, position, "the file ends inside the record")
        if at == 0 and size is None:
            # Not even a header fits between here and `end`, unless the chunk was absurdly small.
            raise DamagedRecordError(path, position, "the file ends inside the record's header")
