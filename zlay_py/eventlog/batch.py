"""A batch on its way into a segment. Owns: turning entries into records and frames, and writing them in pieces.

A piece is written as soon as its records are made: 64 events of 5 kB stay in the processor's cache between the
splice, the checksum and the copy into the kernel, and 400 do not (measured: 2 µs and 7 µs an event).
"""

from collections.abc import Sequence
from typing import NamedTuple

from zlay_py.atproto.frame import splice
from zlay_py.crashpoints import CrashPoint, Reached, pass_by
from zlay_py.errors import LocalError
from zlay_py.eventlog.files import FileLayer, write_all
from zlay_py.eventlog.record import Entry, RecordKind, encode
from zlay_py.eventlog.segment import Segment
from zlay_py.eventlog.wire import websocket_frame

PIECE_RECORDS_MAX = 64
# A piece is joined before it is written (one buffer goes into the kernel faster than two hundred), so this bounds
# the copy where events are large: one record of up to 5 MB may come on top.
PIECE_BYTES_MAX = 1024 * 1024


class EntryInvalidError(LocalError):
    """An entry that can't be a record: a number that does not fit, a text that is too long, a seq that is not where
    it should be. Nothing of its batch is in the log."""


class Written(NamedTuple):
    """`end`: offset behind the last record. `places`: seq and offset of the first record of each piece. `frames`: seq
    and ready bytes of every record."""

    end: int
    last_seq: int
    last_time_us: int
    places: list[tuple[int, int]]
    frames: list[tuple[int, bytes]]


def write_batch(
    files: FileLayer,
    fd: int,
    segment: Segment,
    entries: Sequence[Entry],
    first_seq: int,
    synced_bytes: int,
    reached: Reached = pass_by,
) -> Written:
    """Writes all entries behind the segment's end; nothing but the file is changed.

    Raises EntryInvalidError, StorageFullError or StorageFailedError, and may then have written a part.
    """
    salt, offset, seq = segment.header.salt, segment.end, first_seq
    places: list[tuple[int, int]] = []
    frames: list[tuple[int, bytes]] = []
    doing = f"appending to {segment.path}"
    parts: list[bytes] = []
    piece_bytes = 0
    for entry in entries:
        payload = entry.payload
        try:
            if entry.kind is not RecordKind.VERDICT:
                payload = splice(payload, entry.seq_span, seq)
            head, delta = encode(entry, seq, payload, synced_bytes, salt)
            frames.append((seq, websocket_frame(entry.kind, payload)))
        except Exception as error:
            raise EntryInvalidError(f"entry {seq - first_seq} of the batch: {error}") from error
        if not parts:
            places.append((seq, offset))
        parts += (head, payload, delta)
        piece_bytes += len(head) + len(payload) + len(delta)
        seq += 1
        if piece_bytes >= PIECE_BYTES_MAX or len(parts) == 3 * PIECE_RECORDS_MAX:
            write_all(files, fd, b"".join(parts), offset, doing)
            offset += piece_bytes
            parts, piece_bytes = [], 0
            reached(CrashPoint.PIECE_WRITTEN)
    if parts:
        write_all(files, fd, b"".join(parts), offset, doing)
    return Written(offset + piece_bytes, seq - 1, entries[-1].time_us, places, frames)
