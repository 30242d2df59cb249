"""One record of the log: header, extension, payload, state delta. All integers little-endian.

     0  u32  flags             outside the checksums: a takedown sets them in place later
     4  u32  kind
     8  u32  length            bytes of the payload
    12  u64  uid               0 where the account has no row
    20  u64  seq               the relay's own                     ─ up to here zlay's header, 28 bytes
    28  u32  delta length      bytes of the state delta
    32  u32  host id
    36  u32  upstream epoch
    40  u64  upstream seq
    48  u64  time              µs since 1970
    56  u64  DID hash
    64  u64  synced bytes      how much of this file was known to be durable when this record was written
    72  u32  payload checksum
    76  u32  header checksum   over 0 to 76 with flags zero, then the delta
    80       payload           with the relay's seq already in it
             delta

Checksums are CRC-32 that start from the segment's salt (a random number in its file header). A payload is
remote data: without the salt a peer could put a whole record with a valid checksum inside one, and a file block
that once belonged to a deleted segment could pass for one of this segment (SQLite salts its WAL for that).

`synced bytes` tells a torn tail from a damaged middle: whatever lies below a number that a later record
states was on the disk once, so if it can't be read now, something other than a crash has happened to it.

A verdict record judges an event that was logged before its signature could be checked. It has a seq of its
own and is never sent; its payload is the judged seq as u64, and `delta.verified` says how it turned out.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from hashlib import sha256
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from zlay_py.atproto.frame import FRAME_BYTES_MAX
from zlay_py.errors import CorruptionError
from zlay_py.eventlog import delta as delta_codec
from zlay_py.eventlog.delta import DELTA_BYTES_MAX, Delta

_CHECKED = Struct("<IIIQQIIIQQQQI")
_HEADER_CHECKSUM = Struct("<I")
_HEADER = Struct("<IIIQQIIIQQQQII")
_JUDGED_SEQ = Struct("<Q")
_CHECKED_BYTES = _CHECKED.size
HEADER_BYTES = _HEADER.size
# A spliced seq takes at most eight bytes more than the one it replaces.
PAYLOAD_BYTES_MAX = FRAME_BYTES_MAX + 8
RECORD_BYTES_MAX = HEADER_BYTES + PAYLOAD_BYTES_MAX + DELTA_BYTES_MAX
# atproto.com/specs/event-stream: sequence numbers fit a JavaScript number.
SEQ_MAX = 2**53 - 1


class RecordKind(IntEnum):
    """The first four as in the reference relay's log; 2 and 3 were kinds of events that no longer exist."""

    COMMIT = 1
    IDENTITY = 4
    ACCOUNT = 5
    SYNC = 6
    VERDICT = 16


class RecordFlag(IntFlag):
    NONE = 0
    # The payload is gone or going: nobody sends it, and its checksum no longer means anything.
    TAKEDOWN = 1


class RecordInvalidError(CorruptionError):
    """Not a record of this segment. Carries the reason only; the caller names file and offset."""


@dataclass(slots=True)
class Entry:
    """An event on its way into the log.

    `payload` as it came, without the frame's header; `seq_span` says where in it the bytes of the seq are, and is
    ignored for a verdict. `did_hash` is `did_hash(did)`. `time_us`: µs since 1970 when it was received.
    """

    kind: RecordKind
    uid: int
    did_hash: int
    host_id: int
    upstream_seq: int
    upstream_epoch: int
    time_us: int
    payload: bytes
    seq_span: tuple[int, int]
    delta: Delta


@dataclass(slots=True)
class Record:
    """What a reader gets. `payload` has the relay's seq in it."""

    seq: int
    kind: RecordKind
    flags: RecordFlag
    uid: int
    did_hash: int
    host_id: int
    upstream_seq: int
    upstream_epoch: int
    time_us: int
    synced_bytes: int
    payload: bytes
    delta_bytes: bytes

    @property
    def delta(self) -> Delta:
        """Decoded at each call: consumers never ask for it. Raises CorruptionError (a newer program wrote it)."""
        return delta_codec.decode(self.delta_bytes)

    @property
    def taken_down(self) -> bool:
        return bool(self.flags & RecordFlag.TAKEDOWN)

    @property
    def judged_seq(self) -> int:
        """The seq that a verdict record judges."""
        assert self.kind is RecordKind.VERDICT
        return int(_JUDGED_SEQ.unpack(self.payload)[0])


_KINDS = {int(kind): kind for kind in RecordKind}
_FLAGS = {int(flags): flags for flags in (RecordFlag.NONE, RecordFlag.TAKEDOWN)}
_NO_FLAGS = bytes(4)


def did_hash(did: str) -> int:
    """64 bits that stand for a DID where it has no uid. Stored: never changes."""
    return int.from_bytes(sha256(did.encode()).digest()[:8], "little")


def verdict_payload(judged_seq: int) -> bytes:
    """The payload of a verdict on the event with this seq."""
    return _JUDGED_SEQ.pack(judged_seq)


def encode(entry: Entry, seq: int, payload: bytes, synced_bytes: int, salt: int) -> tuple[bytes, bytes]:
    """What goes before and after `payload` (the entry's, with `seq` in it) in the file.

    Raises DeltaUnencodableError, ValueError or struct.error where something does not fit: the caller's mistake.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ValueError(f"a payload of {len(payload)} bytes")
    delta = delta_codec.encode(entry.delta)
    checked = _CHECKED.pack(
        0,
        entry.kind,
        len(payload),
        entry.uid,
        seq,
        len(delta),
        entry.host_id,
        entry.upstream_epoch,
        entry.upstream_seq,
        entry.time_us,
        entry.did_hash,
        synced_bytes,
        crc32(payload, salt),
    )
    return checked + _HEADER_CHECKSUM.pack(crc32(delta, crc32(checked, salt))), delta


class Glimpse(NamedTuple):
    """Numbers of a header that nothing has checked. `record_bytes`: header, payload and delta."""

    seq: int
    record_bytes: int
    delta_bytes: int
    synced_bytes: int


def header_glimpse(header: bytes) -> Glimpse:
    """What 80 bytes say if they are a header. Sizes beyond any record's are given as they stand."""
    numbers = _HEADER.unpack(header)
    length, seq, delta_length, synced_bytes = numbers[2], numbers[4], numbers[5], numbers[11]
    return Glimpse(seq, HEADER_BYTES + length + delta_length, delta_length, synced_bytes)


def header_is_valid(header: bytes, delta: bytes, salt: int) -> bool:
    """True if these 80 bytes and this delta belong to one record of the segment with this salt."""
    checksum = crc32(delta, crc32(header[4:_CHECKED_BYTES], crc32(_NO_FLAGS, salt)))
    return header[_CHECKED_BYTES:] == _HEADER_CHECKSUM.pack(checksum)


def size_at(buffer: bytes, position: int) -> int | None:
    """How many bytes the record at `position` says it has, or None where its header is not whole.

    Raises RecordInvalidError for a size that no record has.
    """
    if len(buffer) - position < HEADER_BYTES:
        return None
    length = int.from_bytes(buffer[position + 8 : position + 12], "little")
    delta_length = int.from_bytes(buffer[position + 28 : position + 32], "little")
    return _record_bytes(length, delta_length)


def _record_bytes(length: int, delta_length: int) -> int:
    if length > PAYLOAD_BYTES_MAX or delta_length > DELTA_BYTES_MAX:
        raise RecordInvalidError("a size that no record has")
    return HEADER_BYTES + length + delta_length


def decode(buffer: bytes, position: int, salt: int) -> tuple[Record, int] | None:
    """The record at `position` and the position after it; None where the buffer ends before the record does.

    Checks both checksums, except the payload's of a record that is taken down. Raises RecordInvalidError.
    """
    payload_start = position + HEADER_BYTES
    if payload_start > len(buffer):
        return None
    (
        flags,
        kind,
        length,
        uid,
        seq,
        delta_length,
        host_id,
        upstream_epoch,
        upstream_seq,
        time_us,
        hashed,
        synced_bytes,
        payload_checksum,
        header_checksum,
    ) = _HEADER.unpack_from(buffer, position)
    end = position + _record_bytes(length, delta_length)
    if end > len(buffer):
        return None
    delta_start = payload_start + length
    payload = buffer[payload_start:delta_start]
    delta = buffer[delta_start:end]
    checked = crc32(buffer[position + 4 : position + _CHECKED_BYTES], crc32(_NO_FLAGS, salt))
    if crc32(delta, checked) != header_checksum:
        raise RecordInvalidError("the header's checksum is wrong")
    known_kind, known_flags = _KINDS.get(kind), _FLAGS.get(flags)
    if known_kind is None or known_flags is None:
        raise RecordInvalidError(f"kind {kind} or flags {flags} that this program does not know")
    if not flags and crc32(payload, salt) != payload_checksum:
        raise RecordInvalidError("the payload's checksum is wrong")
    record = Record(
        seq,
        known_kind,
        known_flags,
        uid,
        hashed,
        host_id,
        upstream_seq,
        upstream_epoch,
        time_us,
        synced_bytes,
        payload,
        delta,
    )
    return record, end
