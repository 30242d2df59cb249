"""What an event changes in the relay's state, as a record carries it.

Owns: the fields and their bytes. Refuses to own: applying them (the projections do) and judging whether they
are right (the pipeline did). Projections read deltas and never decode a payload.

    0  u8   version, 1
    1  u8   bits: 1 verified · 2 relay made · 4 inverted · 8 discontinuous
                  16 rev · 32 commit · 64 data · 128 more     (present, in this order)
    2  [rev]      u8 length, text
       [commit]   36 bytes, raw CID
       [data]     36 bytes, raw CID
       [more]     u8 bits: 1 upstream status · 2 local status
                  u8 u8 u8: how many collections were added, removed, became undecided
                  each status: u16 length, text
                  to the end: the collections, a space between each two
"""

from dataclasses import dataclass
from struct import Struct
from struct import error as StructError  # noqa: N812  (an exception, named like one)

from zlay_py.errors import CorruptionError, LocalError

VERSION = 1
CID_BYTES = 36
# A commit has at most 200 operations (lexicon com.atproto.sync.subscribeRepos, `ops`), each in one collection.
COLLECTIONS_MAX = 200
# A rev is a 13-character TID; a status is a word. Room to spare, and still one length byte for the rev.
REV_BYTES_MAX = 64
STATUS_BYTES_MAX = 256
# An NSID has at most 317 characters (atproto.com/specs/nsid), none of them a space.
COLLECTION_BYTES_MAX = 317
_COLLECTIONS_BYTES_MAX = 3 * COLLECTIONS_MAX * (COLLECTION_BYTES_MAX + 1)
DELTA_BYTES_MAX = 2 + (1 + REV_BYTES_MAX) + 2 * CID_BYTES + 4 + 2 * (2 + STATUS_BYTES_MAX) + _COLLECTIONS_BYTES_MAX

_VERIFIED, _RELAY_MADE, _INVERTED, _DISCONTINUOUS, _REV, _COMMIT, _DATA, _MORE = (1 << bit for bit in range(8))
_UPSTREAM_STATUS, _LOCAL_STATUS = 1, 2
_MORE_HEAD = Struct("<BBBB")
_TEXT_HEAD = Struct("<H")
_SEPARATOR = " "


class DeltaInvalidError(CorruptionError):
    """Bytes of a delta that we did not write, or that a newer version wrote. The caller names file and offset."""


@dataclass(slots=True)
class Delta:
    """`None` and an empty tuple mean: this event says nothing about it.

    `verified`: signature and host authority were proven. `relay_made`: the relay originated the event.
    `inverted`: the operations were proven to lead back to the previous tree. `discontinuous`: it does not follow
    the last known rev or tree. `commit`, `data`: 36 raw CID bytes. Collections are NSIDs, at most 200 per tuple.
    """

    verified: bool = False
    relay_made: bool = False
    inverted: bool = False
    discontinuous: bool = False
    rev: str | None = None
    commit: bytes | None = None
    data: bytes | None = None
    upstream_status: str | None = None
    local_status: str | None = None
    collections_added: tuple[str, ...] = ()
    collections_removed: tuple[str, ...] = ()
    collections_undecided: tuple[str, ...] = ()


class DeltaUnencodableError(LocalError):
    """A field is longer than its bound: whoever built this delta let through what the protocol forbids."""


def encode(delta: Delta) -> bytes:
    """At most DELTA_BYTES_MAX bytes. Raises DeltaUnencodableError."""
    bits = (
        (delta.verified and _VERIFIED)
        | (delta.relay_made and _RELAY_MADE)
        | (delta.inverted and _INVERTED)
        | (delta.discontinuous and _DISCONTINUOUS)
    )
    rev = commit = data = more = b""
    if delta.rev is not None:
        bits |= _REV
        text = delta.rev.encode()
        if len(text) > REV_BYTES_MAX:
            raise DeltaUnencodableError(f"a rev of {len(text)} bytes")
        rev = bytes((len(text),)) + text
    if delta.commit is not None:
        bits |= _COMMIT
        commit = delta.commit
    if delta.data is not None:
        bits |= _DATA
        data = delta.data
    if len(commit) not in (0, CID_BYTES) or len(data) not in (0, CID_BYTES):
        raise DeltaUnencodableError("a CID that is not 36 bytes")
    if (
        delta.collections_added
        or delta.collections_removed
        or delta.collections_undecided
        or delta.upstream_status is not None
        or delta.local_status is not None
    ):
        bits |= _MORE
        more = _encode_more(delta)
    return bytes((VERSION, bits)) + rev + commit + data + more


def _encode_more(delta: Delta) -> bytes:
    added, removed, undecided = delta.collections_added, delta.collections_removed, delta.collections_undecided
    counts = len(added), len(removed), len(undecided)
    names = added + removed + undecided
    text = _SEPARATOR.join(names)
    if max(counts) > COLLECTIONS_MAX or len(text) > _COLLECTIONS_BYTES_MAX:
        raise DeltaUnencodableError(f"{counts} collections of {len(text)} characters")
    if text.count(_SEPARATOR) != max(len(names) - 1, 0) or not text.isascii():
        raise DeltaUnencodableError(f"not a collection among {names[:3]}…")
    bits, statuses = 0, b""
    if delta.upstream_status is not None:
        bits |= _UPSTREAM_STATUS
        statuses = _encode_status(delta.upstream_status)
    if delta.local_status is not None:
        bits |= _LOCAL_STATUS
        statuses += _encode_status(delta.local_status)
    return _MORE_HEAD.pack(bits, *counts) + statuses + text.encode()


def _encode_status(status: str) -> bytes:
    encoded = status.encode()
    if len(encoded) > STATUS_BYTES_MAX:
        raise DeltaUnencodableError(f"a status of {len(encoded)} bytes")
    return _TEXT_HEAD.pack(len(encoded)) + encoded


def decode(encoded: bytes) -> Delta:
    """The one delta whose encoding this is. Raises DeltaInvalidError for anything else."""
    try:
        delta, position = _decode(encoded)
    except (IndexError, StructError, UnicodeDecodeError) as error:
        raise DeltaInvalidError(f"a state delta that can't be read: {error}") from error
    if position != len(encoded):
        raise DeltaInvalidError("a state delta with bytes after its end")
    return delta


def _decode(encoded: bytes) -> tuple[Delta, int]:
    if encoded[0] != VERSION:
        raise DeltaInvalidError(f"a state delta of version {encoded[0]}, this program reads version {VERSION}")
    bits, position = encoded[1], 2
    delta = Delta(bool(bits & _VERIFIED), bool(bits & _RELAY_MADE), bool(bits & _INVERTED), bool(bits & _DISCONTINUOUS))
    if bits & _REV:
        rev, position = _take(encoded, position + 1, encoded[position])
        delta.rev = rev.decode()
    if bits & _COMMIT:
        delta.commit, position = _take(encoded, position, CID_BYTES)
    if bits & _DATA:
        delta.data, position = _take(encoded, position, CID_BYTES)
    if bits & _MORE:
        position = _decode_more(encoded, position, delta)
    return delta, position


def _take(encoded: bytes, position: int, length: int) -> tuple[bytes, int]:
    end = position + length
    if end > len(encoded):
        raise IndexError("it ends too early")
    return encoded[position:end], end


def _decode_more(encoded: bytes, position: int, delta: Delta) -> int:
    bits, added, removed, undecided = _MORE_HEAD.unpack_from(encoded, position)
    position += _MORE_HEAD.size
    if bits & _UPSTREAM_STATUS:
        delta.upstream_status, position = _decode_status(encoded, position)
    if bits & _LOCAL_STATUS:
        delta.local_status, position = _decode_status(encoded, position)
    if added or removed or undecided:
        names = tuple(encoded[position:].decode("ascii").split(_SEPARATOR))
        if len(names) != added + removed + undecided:
            raise DeltaInvalidError(f"a state delta with {len(names)} collections of {added + removed + undecided}")
        delta.collections_added = names[:added]
        delta.collections_removed = names[added : added + removed]
        delta.collections_undecided = names[added + removed :]
        position = len(encoded)
    return position


def _decode_status(encoded: bytes, position: int) -> tuple[str, int]:
    text, position = _take(encoded, position + _TEXT_HEAD.size, _TEXT_HEAD.unpack_from(encoded, position)[0])
    return text.decode(), position
