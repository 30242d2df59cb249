"""Event-stream frames: one binary WebSocket message, which is a DAG-CBOR header and a DAG-CBOR payload.

    {op: 1, t: "#commit"}{ops, rev, seq, repo, time, ...}

Owns: what is a frame (framing, canonical CBOR, sizes), its kind, and where its seq stands. Refuses to own: whether
the event in it keeps to the lexicon (`events`), and editing it (`frame_edit`, re-exported here).

Two kinds of trouble, as the event-stream spec has them ("Framing"): broken framing or CBOR is a `FrameError` and
costs the connection; a well-formed payload with a missing or wrong field, `seq` and the DID included, costs that
event only. Here those two then read 0 and "", and `events` refuses.
"""

from dataclasses import dataclass
from typing import Final

import libipld

from zlay_py.atproto import dag_cbor
from zlay_py.atproto.frame_edit import (
    REMOVE,
    Remove,
    encode_account,
    encode_identity,
    encode_sync,
    rewrite,
    splice,
)
from zlay_py.atproto.lexicon import FrameKind, is_plain
from zlay_py.errors import CborError, FrameError

__all__ = [
    "FRAME_BYTES_MAX",
    "HEADERS",
    "REMOVE",
    "Frame",
    "FrameKind",
    "Remove",
    "decode",
    "encode_account",
    "encode_error",
    "encode_identity",
    "encode_info",
    "encode_sync",
    "rewrite",
    "seq_span",
    "splice",
]

FRAME_BYTES_MAX: Final = 5_000_000
"""Bytes of a whole frame (sync spec, "Repository Event Stream"). A longer one that we sent would end the connection of
every consumer, again and again at the same seq."""

OUTSIDE_BLOCKS_BYTES_MAX: Final = 262_144
"""Bytes of a frame apart from `blocks`, which is copied and never looked into here. 200 operations with the longest
paths take 190 kB; 5 MB of small values would take a second and hundreds of MB to decode.

It is also why nothing that goes out comes near FRAME_BYTES_MAX, though events grow on their way through: `events`
passes 2,000,000 bytes of `blocks` in a #commit and 10,000 in a #sync, no other kind has any, the rest is in here, and
what we add (8 bytes for a longer seq; missing `blobs`, `rebase`, `tooBig`; an account's status) is under 1,000."""

ITEMS_MAX: Final = 16_384
"""Items in a header or payload. 200 operations have 2,200; the rest is room for fields to come, and for telling a
commit with too many operations (one event lost) from an attack (the connection lost)."""

SEQ_MAX: Final = 2**53 - 1
"""The largest seq (event-stream spec, "Sequence Numbers")."""


_WITHOUT_SEQ: Final = (FrameKind.INFO, FrameKind.ERROR)
_WITH_BLOCKS: Final = (FrameKind.COMMIT, FrameKind.SYNC)
_MESSAGE_KINDS: Final = {
    kind.value: kind
    for kind in (FrameKind.COMMIT, FrameKind.SYNC, FrameKind.IDENTITY, FrameKind.ACCOUNT, FrameKind.INFO)
}

HEADERS: Final[dict[FrameKind, bytes]] = {
    kind: dag_cbor.encode({"t": name, "op": 1}) for name, kind in _MESSAGE_KINDS.items()
}
"""The exact header of the five message kinds."""

_ERROR_HEADER: Final = dag_cbor.encode({"op": -1})
_KIND_OF_HEADER: Final = {header: kind for kind, header in HEADERS.items()}

_TEXT_HEAD: Final = 0x60
_HEADER_BYTES_APART_FROM_T: Final = 8
_MAJOR_BYTES: Final = 2
_UINT_HEAD_MAX: Final = 0x1B
_OPS_START: Final = 5  # after the map's head and the key
_DID_LENGTH_AT: Final = 6
_REV_ENTRY_BYTES: Final = 18  # key, head and 13 characters


@dataclass(slots=True)
class Frame:
    """One frame, taken apart.

    `body`: the decoded payload. In `typed` bodies links are `dag_cbor.Link`; otherwise they are plain bytes, and
    the body holds exactly the known fields as they should be (`lexicon.is_plain`). `seq`: 1 to 2**53 - 1, 0 where there
    is none that is valid. `did`: the text in `repo` or `did`, not examined, "" where there is none.
    """

    kind: FrameKind
    payload: bytes
    body: dict[str, object]
    seq: int
    did: str
    typed: bool


def decode(message: bytes) -> Frame:
    """The frame in one WebSocket message.

    A payload with any field or type beyond the known ones goes through the strict decoder. Raises `FrameError` for
    broken framing, CBOR that isn't strict DAG-CBOR, and sizes over a limit; the sizes are known before anything is
    decoded. An unknown `op` or `t` is `FrameKind.UNKNOWN`, to be ignored; one that is too big has an empty body.
    """
    if len(message) > FRAME_BYTES_MAX:
        raise FrameError(f"a frame of {len(message)} bytes")
    kind, start = _header(message)
    payload = message[start:]
    if (
        len(message) > OUTSIDE_BLOCKS_BYTES_MAX
        and len(message) - _blocks_bytes(payload, kind) > OUTSIDE_BLOCKS_BYTES_MAX
    ):
        if kind is FrameKind.UNKNOWN:
            return Frame(kind, payload, {}, 0, "", True)
        raise FrameError(f"a frame with more than {OUTSIDE_BLOCKS_BYTES_MAX} bytes outside of blocks")
    value = dag_cbor.decode_fast(payload, items_max=ITEMS_MAX)
    if isinstance(value, dict) and is_plain(kind, value):
        frame = _frame(kind, payload, value, typed=False)
        # A seq out of range may be over 64 bits, too, which only the strict decoder refuses.
        if frame.seq or kind in _WITHOUT_SEQ:
            return frame
    return _frame(kind, payload, _decode_strictly(payload), typed=True)


def seq_span(payload: bytes, kind: FrameKind, ops: object = None) -> tuple[int, int]:
    """Where the value of `seq` starts and ends in a payload that `decode` has passed.

    `ops`: the decoded `ops` of a #commit whose body is not typed, which saves walking over them; a wrong one costs
    time, nothing else. Raises `FrameError` if there is no unsigned integer called seq at the top level.
    """
    start = _seq_start_in_commit(payload, ops) if kind is FrameKind.COMMIT else _seq_start_after_did(payload, kind)
    if start is None:
        return _find_seq(payload)
    head = payload[start]
    return start, start + 1 if head < 24 else start + 1 + (1 << (head - 24))


def encode_error(name: str, message: str) -> bytes:
    """A whole error frame. `name` without namespace or `#`; an empty message is left out."""
    return _ERROR_HEADER + dag_cbor.encode({"error": name} | ({"message": message} if message else {}))


def encode_info(name: str, message: str) -> bytes:
    """A whole #info frame; an empty message is left out."""
    return HEADERS[FrameKind.INFO] + dag_cbor.encode({"name": name} | ({"message": message} if message else {}))


def _header(message: bytes) -> tuple[FrameKind, int]:
    """(kind, start of the payload)."""
    # {"t": text, "op": 1} in its only spelling: byte 3 tells the length of the text, and so of the header.
    end = message[3] - _TEXT_HEAD + _HEADER_BYTES_APART_FROM_T if len(message) > 3 else 0
    if end > 0:
        kind = _KIND_OF_HEADER.get(message[:end])
        if kind is not None:
            return kind, end
    if message.startswith(_ERROR_HEADER):
        return FrameKind.ERROR, len(_ERROR_HEADER)
    return _unusual_header(message)


def _unusual_header(message: bytes) -> tuple[FrameKind, int]:
    try:
        end = dag_cbor.value_end(message, 0, items_max=ITEMS_MAX)
        header = dag_cbor.decode(message[:end], bytes_max=OUTSIDE_BLOCKS_BYTES_MAX, items_max=ITEMS_MAX)
    except CborError as error:
        raise FrameError(f"header: {error}") from error
    if not isinstance(header, dict):
        raise FrameError("a header that is no map")
    op, t = header.get("op"), header.get("t")
    if type(op) is not int:
        raise FrameError("a header without op")
    if op == -1:
        return FrameKind.ERROR, end
    if op != 1:
        return FrameKind.UNKNOWN, end
    if type(t) is not str:
        raise FrameError("a header without t")
    return _MESSAGE_KINDS.get(t, FrameKind.UNKNOWN), end


def _blocks_bytes(payload: bytes, kind: FrameKind) -> int:
    """Bytes of the byte string `blocks`, 0 if there is none, or only an unknown field of that name."""
    try:
        items = dag_cbor.top_level_items(payload, items_max=ITEMS_MAX)
    except CborError as error:
        raise FrameError(f"payload: {error}") from error
    for key, _, start, end in items:
        if key == "blocks" and kind in _WITH_BLOCKS and payload[start] >> 5 == _MAJOR_BYTES:
            return end - start
    return 0


def _frame(kind: FrameKind, payload: bytes, body: dict[str, object], *, typed: bool) -> Frame:
    if kind in _WITHOUT_SEQ:
        return Frame(kind, payload, body, 0, "", typed)
    seq = body.get("seq")
    if type(seq) is not int or not 0 < seq <= SEQ_MAX:
        seq = 0
    did = body.get("repo" if kind is FrameKind.COMMIT else "did")
    return Frame(kind, payload, body, seq, did if type(did) is str else "", typed)


def _decode_strictly(payload: bytes) -> dict[str, object]:
    try:
        body = dag_cbor.decode(payload, items_max=ITEMS_MAX)
    except CborError as error:
        raise FrameError(f"payload: {error}") from error
    if not isinstance(body, dict):
        raise FrameError("a payload that is no map")
    return body


def _seq_start_in_commit(payload: bytes, ops: object) -> int | None:
    """The first three fields of a known #commit are ops, rev, seq. The ops are known by being there byte for byte:
    searching for the key instead would let 22 bytes of somebody's choice inside a link stand for it."""
    if type(ops) is not list or not payload.startswith(b"cops", 1):
        return None
    try:
        raw = libipld.encode_dag_cbor(ops)
    except Exception:  # values that `decode` never gives
        return None
    after_ops = _OPS_START + len(raw)
    if not payload.startswith(raw, _OPS_START) or not payload.startswith(b"crevm", after_ops):
        return None
    return _uint_after(payload, b"cseq", after_ops + _REV_ENTRY_BYTES)


def _seq_start_after_did(payload: bytes, kind: FrameKind) -> int | None:
    """The other kinds start with did, rev (#sync only), seq."""
    if not payload.startswith(b"cdidx", 1) or len(payload) <= _DID_LENGTH_AT:
        return None
    position = _DID_LENGTH_AT + 1 + payload[_DID_LENGTH_AT]
    if kind is FrameKind.SYNC:
        if not payload.startswith(b"crevm", position):
            return None
        position += _REV_ENTRY_BYTES
    return _uint_after(payload, b"cseq", position)


def _uint_after(payload: bytes, key: bytes, position: int) -> int | None:
    start = position + len(key)
    if not payload.startswith(key, position) or start >= len(payload) or payload[start] > _UINT_HEAD_MAX:
        return None
    return start


def _find_seq(payload: bytes) -> tuple[int, int]:
    try:
        items = dag_cbor.top_level_items(payload)
    except CborError as error:
        raise FrameError(f"payload: {error}") from error
    for key, _, start, end in items:
        if key == "seq" and payload[start] <= _UINT_HEAD_MAX:
            return start, end
    raise FrameError("no seq")
