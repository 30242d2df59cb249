"""The frames of com.atproto.sync.subscribeRepos as tables: kinds, fields, types.

Owns: which fields a payload of each kind may have and of what types, and comparing a decoded payload with that, in
one look-up for the usual ones. Refuses to own: what the values say (`events`).
"""

from collections.abc import Mapping
from enum import StrEnum
from itertools import product
from typing import Any, Final

from zlay_py.atproto.cid import CID_BYTES, PREFIX_DAG_CBOR, PREFIX_RAW, is_dag_cbor
from zlay_py.atproto.dag_cbor import Link


class FrameKind(StrEnum):
    """The message types; a frame that ends the stream; and what this version doesn't know, to be ignored."""

    COMMIT = "#commit"
    SYNC = "#sync"
    IDENTITY = "#identity"
    ACCOUNT = "#account"
    INFO = "#info"
    ERROR = "error"
    UNKNOWN = "unknown"


class Absent:
    """In the tables below, among the types of a field: it need not be there."""


_NULL: Final = type(None)
_Fields = Mapping[str, tuple[type, ...]]
_Shape = tuple[tuple[str, ...], tuple[type, ...]]

# Each in canonical key order; `Link` means one to dag-cbor data. The deprecated `blobs`, `rebase` and `tooBig` are
# required by the lexicon, but some hosts leave them out; nulls for `prevData` and for an operation's `prev` are how
# old encoders write "absent".
FIELDS: Final[Mapping[FrameKind, _Fields]] = {
    FrameKind.COMMIT: {
        "ops": (list,),
        "rev": (str,),
        "seq": (int,),
        "repo": (str,),
        "time": (str,),
        "blobs": (list, Absent),
        "since": (str, _NULL),
        "blocks": (bytes,),
        "commit": (Link,),
        "rebase": (bool, Absent),
        "tooBig": (bool, Absent),
        "prevData": (Link, _NULL, Absent),
    },
    FrameKind.SYNC: {"did": (str,), "rev": (str,), "seq": (int,), "time": (str,), "blocks": (bytes,)},
    FrameKind.IDENTITY: {"did": (str,), "seq": (int,), "time": (str,), "handle": (str, Absent)},
    FrameKind.ACCOUNT: {"did": (str,), "seq": (int,), "time": (str,), "active": (bool,), "status": (str, Absent)},
    FrameKind.INFO: {"name": (str,), "message": (str, Absent)},
    FrameKind.ERROR: {"error": (str,), "message": (str, Absent)},
}
_LINK_STARTS: Final = (b"\x01", b"\x12")
"""How a CID of version 1 or 0 starts; a CAR slice never does."""
OP_FIELDS: Final[_Fields] = {"cid": (Link, _NULL), "path": (str,), "prev": (Link, _NULL, Absent), "action": (str,)}


def is_plain(kind: FrameKind, body: dict[str, Any]) -> bool:
    """Whether a body whose links are plain bytes has exactly known fields, operations included, as they should be:
    right types, blessed links, and no link where a byte string belongs.

    Such a body holds no float, nor anything else that only a strict decoder would refuse; `seq` apart, whose range
    is not looked at.
    """
    if (tuple(body), tuple(map(type, body.values()))) not in _SHAPES[kind]:
        return False
    if "blocks" in body and body["blocks"].startswith(_LINK_STARTS):
        return False
    if kind is not FrameKind.COMMIT:
        return True
    for op in body["ops"]:
        if type(op) is not dict or (tuple(op), tuple(map(type, op.values()))) not in _OP_SHAPES:
            return False
        cid, prev = op["cid"], op.get("prev")
        if not ((cid is None or is_dag_cbor(cid)) and (prev is None or is_dag_cbor(prev))):
            return False
    prev_data, blobs = body.get("prevData"), body.get("blobs")
    return (
        is_dag_cbor(body["commit"])
        and (prev_data is None or is_dag_cbor(prev_data))
        and (not blobs or all(type(cid) is bytes and _is_blessed(cid) for cid in blobs))
    )


def mismatch(kind: FrameKind, body: Mapping[str, Any]) -> str | None:
    """Which field of a body with `Link`s is missing, of a wrong type, or no blessed link; None if none.

    Unknown fields are fine, and so is any link in `blobs`.
    """
    found = _mismatch(FIELDS.get(kind, {}), body)
    if found is not None or kind is not FrameKind.COMMIT:
        return found
    if any(type(cid) is not Link for cid in body.get("blobs", ())):
        return "blobs"
    for op in body["ops"]:
        if not isinstance(op, dict):
            return "an operation"
        found = _mismatch(OP_FIELDS, op)
        if found is not None:
            return f"an operation's {found}"
    return None


def _is_blessed(cid: bytes) -> bool:
    return len(cid) == CID_BYTES and cid.startswith((PREFIX_RAW, PREFIX_DAG_CBOR))


def _mismatch(fields: _Fields, body: Mapping[str, Any]) -> str | None:
    for name, types in fields.items():
        kind = type(body[name]) if name in body else Absent
        if kind not in types or (kind is Link and not is_dag_cbor(body[name])):
            return name
    return None


def _shapes(fields: _Fields) -> frozenset[_Shape]:
    """All (keys, types) that a body with these fields can have where links are plain bytes."""
    shapes = set()
    for types in product(*fields.values()):
        present = [
            (name, bytes if kind is Link else kind)
            for name, kind in zip(fields, types, strict=True)
            if kind is not Absent
        ]
        shapes.add((tuple(name for name, _ in present), tuple(kind for _, kind in present)))
    return frozenset(shapes)


_SHAPES: Final = {kind: _shapes(FIELDS[kind]) if kind in FIELDS else frozenset() for kind in FrameKind}
_OP_SHAPES: Final = _shapes(OP_FIELDS)
