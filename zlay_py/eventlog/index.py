"""A sparse index: where in a segment to start looking for a seq. Owns: the entries, and their file beside a
sealed segment, `evts-<first seq>.idx`.

     0  8 bytes  "zlayindx"
     8  u32      salt of the segment it belongs to
    12  u32      number of entries
    16  u64      bytes of the segment
    24  u32      checksum: CRC-32 of everything else in this file
    28           entries: u64 seq, u64 offset of that seq's record

The file only spares a scan. It is never synced and never trusted: one that is missing, torn or belongs to
another segment is built again, and a reader checks the record that an entry points to before it goes on from there.
"""

import os
from array import array
from bisect import bisect_right
from contextlib import suppress
from pathlib import Path
from struct import Struct
from zlib import crc32

from zlay_py.eventlog.files import FileLayer, storage_error, write_all

# A reader that starts anywhere reads half of this in vain; at 5 kB an event that is 25 records, about 0.1 ms.
INDEX_INTERVAL_BYTES = 256 * 1024
_MAGIC = b"zlayindx"
_HEAD = Struct("<8sIIQ")
_CHECKSUM = Struct("<I")
_ENTRIES_START = _HEAD.size + _CHECKSUM.size
_ENTRY_BYTES = 16


class SparseIndex:
    """At most one entry for each INDEX_INTERVAL_BYTES of the segment."""

    __slots__ = ("_offsets", "_seqs")

    def __init__(self) -> None:
        self._seqs = array("Q")
        self._offsets = array("Q")

    def __len__(self) -> int:
        return len(self._seqs)

    def add(self, seq: int, offset: int) -> None:
        """Offers a record; taken if the last entry is far enough away. Records come in order."""
        if not self._offsets or offset - self._offsets[-1] >= INDEX_INTERVAL_BYTES:
            self._seqs.append(seq)
            self._offsets.append(offset)

    def floor(self, seq: int) -> tuple[int, int] | None:
        """Seq and offset of the last entry that is not above `seq`, or None."""
        at = bisect_right(self._seqs, seq) - 1
        return (self._seqs[at], self._offsets[at]) if at >= 0 else None

    def encode(self, *, salt: int, segment_bytes: int) -> bytes:
        head = _HEAD.pack(_MAGIC, salt, len(self), segment_bytes)
        flat = [number for entry in zip(self._seqs, self._offsets, strict=True) for number in entry]
        entries = Struct(f"<{len(flat)}Q").pack(*flat)
        return head + _CHECKSUM.pack(crc32(entries, crc32(head))) + entries

    @classmethod
    def decode(cls, encoded: bytes, *, salt: int, segment_bytes: int) -> "SparseIndex | None":
        """The index, or None if these bytes are not a whole index of exactly this segment."""
        entries = encoded[_ENTRIES_START:]
        if len(encoded) < _ENTRIES_START or len(entries) % _ENTRY_BYTES:
            return None
        count = len(entries) // _ENTRY_BYTES
        head = encoded[: _HEAD.size]
        if head != _HEAD.pack(_MAGIC, salt, count, segment_bytes):
            return None
        if _CHECKSUM.unpack_from(encoded, _HEAD.size)[0] != crc32(entries, crc32(head)):
            return None
        numbers = Struct(f"<{2 * count}Q").unpack(entries)
        index = cls()
        index._seqs.extend(numbers[0::2])
        index._offsets.extend(numbers[1::2])
        return index


def index_path(segment_path: Path) -> Path:
    return segment_path.with_name(segment_path.name + ".idx")


def store(files: FileLayer, segment_path: Path, index: SparseIndex, *, salt: int, segment_bytes: int) -> None:
    """Writes the index beside its segment, not durably. Raises StorageFullError or StorageFailedError."""
    path = index_path(segment_path)
    encoded = index.encode(salt=salt, segment_bytes=segment_bytes)
    try:
        fd = files.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    except OSError as error:
        raise storage_error(error, f"creating {path}") from error
    try:
        write_all(files, fd, encoded, 0, f"writing {path}")
    finally:
        files.close(fd)


def load(files: FileLayer, segment_path: Path, *, salt: int, segment_bytes: int) -> SparseIndex | None:
    """The stored index, or None where there is none that fits."""
    try:
        fd = files.open(index_path(segment_path), os.O_RDONLY)
    except OSError:
        return None
    try:
        encoded = files.pread(fd, files.size(fd), 0)
    except OSError:
        return None
    finally:
        files.close(fd)
    return SparseIndex.decode(encoded, salt=salt, segment_bytes=segment_bytes)


def remove(files: FileLayer, segment_path: Path) -> None:
    """Removes the index file if there is one; one that stays behind is removed at the next start."""
    with suppress(OSError):
        files.unlink(index_path(segment_path))
