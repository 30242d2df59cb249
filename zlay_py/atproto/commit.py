"""Commit objects, version 3: what an account signs.

    {did, rev, sig: 64 bytes, data: link, prev: link | null, version: 3}

Owns: the form of the object, and the exact bytes under the signature. Refuses to own: verifying it (`keys`), and
whether the fields agree with the event that brought them (the caller compares). Source: atproto repository spec,
"Commit Objects".
"""

from dataclasses import dataclass
from typing import Final

from zlay_py.atproto import dag_cbor
from zlay_py.atproto.cid import CID_BYTES, PREFIX_DAG_CBOR, is_dag_cbor
from zlay_py.atproto.dag_cbor import Link
from zlay_py.atproto.syntax import is_did, is_tid
from zlay_py.errors import CborError, CommitError

VERSION: Final = 3
SIGNATURE_BYTES: Final = 64

BYTES_MAX: Final = 10_000
"""Bytes of a commit object: the most that #sync can carry, so a bigger one could never be announced by it."""

_MAP: Final = 5
_SIG_ENTRY_BYTES: Final = len(b"csigX@")  # the key, and the head of 64 bytes
_DATA_ENTRY: Final = b"ddata\xd8\x2aX%\x00" + PREFIX_DAG_CBOR
_DATA_CID_END: Final = len(_DATA_ENTRY) - len(PREFIX_DAG_CBOR) + CID_BYTES
_DATA_CID_START: Final = _DATA_CID_END - CID_BYTES
_TAIL: Final = b"dprev\xf6gversion\x03"
_REST_BYTES: Final = _DATA_CID_END + len(_TAIL)


@dataclass(frozen=True, slots=True)
class Commit:
    """`data`: CID of the tree's root. `prev`: CID of an older commit, nearly always None. `unsigned`: the bytes
    that were signed."""

    did: str
    rev: str
    data: bytes
    prev: bytes | None
    sig: bytes
    unsigned: bytes


def decode(block: bytes, *, did: str, rev: str) -> Commit:
    """The commit in a block. `did` and `rev` are hints, what the event claims: where they hold and `prev` is null,
    as nearly always, comparing bytes is enough. The caller compares the result with the event all the same.

    `unsigned` is the block itself without its `sig` entry, so fields that we don't know stay under the signature.
    Raises `CommitError` unless it is strict DAG-CBOR with a valid DID, TID, blessed links and a 64-byte signature.
    """
    if is_did(did) and is_tid(rev):
        commit = _decode_expected(block, did, rev)
        if commit is not None:
            return commit
    return _decode_any(block)


def encode_unsigned(did: str, rev: str, data: bytes, prev: bytes | None = None) -> bytes:
    """The bytes that a signer signs. Raises ValueError for what DAG-CBOR can't hold."""
    return dag_cbor.encode(_fields(did, rev, data, prev))


def encode_signed(did: str, rev: str, data: bytes, sig: bytes, prev: bytes | None = None) -> bytes:
    """The block with its signature. Raises ValueError for what DAG-CBOR can't hold."""
    return dag_cbor.encode(_fields(did, rev, data, prev) | {"sig": sig})


def _fields(did: str, rev: str, data: bytes, prev: bytes | None) -> dict[str, object]:
    return {
        "did": did,
        "rev": rev,
        "data": Link(data),
        "prev": None if prev is None else Link(prev),
        "version": VERSION,
    }


def _decode_expected(block: bytes, did: str, rev: str) -> Commit | None:
    """The commit, if it is this account's at this rev, with `prev` null and no unknown fields."""
    # A template that matches needs no decoder, and what matches it is canonical by construction.
    if not 24 <= len(did) <= 0xFF:  # where a text's head is one byte of type and one of length
        return None
    head = b"\xa6cdidx%c%bcrevm%bcsigX@" % (len(did), did.encode(), rev.encode())
    sig_start = len(head)
    rest = block[sig_start + SIGNATURE_BYTES :]
    if not (
        len(rest) == _REST_BYTES and block.startswith(head) and rest.startswith(_DATA_ENTRY) and rest.endswith(_TAIL)
    ):
        return None
    data = rest[_DATA_CID_START:_DATA_CID_END]
    sig = block[sig_start : sig_start + SIGNATURE_BYTES]
    return Commit(did, rev, data, None, sig, b"\xa5" + head[1:-_SIG_ENTRY_BYTES] + rest)


def _decode_any(block: bytes) -> Commit:
    """Any valid commit: other DID or rev than hinted, `prev` given, fields unknown to us."""
    try:
        value = dag_cbor.decode(block, bytes_max=BYTES_MAX)
        if not isinstance(value, dict):
            raise CommitError("not a map")
        unsigned = _without_sig(block)
    except CborError as error:
        raise CommitError(str(error)) from error
    did, rev, sig = value.get("did"), value.get("rev"), value.get("sig")
    version = value.get("version")
    if type(version) is not int or version != VERSION:
        raise CommitError("not version 3")
    if not is_did(did):
        raise CommitError("did is no DID")
    if not is_tid(rev):
        raise CommitError("rev is no TID")
    if type(sig) is not bytes or len(sig) != SIGNATURE_BYTES:
        raise CommitError("sig is not 64 bytes")
    data = _link(value.get("data"), "data")
    if "prev" not in value:
        raise CommitError("prev is missing: it must be there, though null")
    prev = value["prev"]
    return Commit(did, rev, data, None if prev is None else _link(prev, "prev"), sig, unsigned)


def _link(value: object, name: str) -> bytes:
    if type(value) is not Link or not is_dag_cbor(value):
        raise CommitError(f"{name} is no dag-cbor link")
    return bytes(value)


def _without_sig(block: bytes) -> bytes:
    """The map without its `sig` entry, every other byte as it was."""
    items = dag_cbor.top_level_items(block)
    for key, key_start, _, end in items:
        if key == "sig":
            fields_start = items[0][1]
            head = dag_cbor.encode_head(_MAP, len(items) - 1)
            return head + block[fields_start:key_start] + block[end:]
    raise CommitError("sig is missing")
