"""The frames of an event stream: a header and a payload, one after the other, both canonical DAG-CBOR.

Owns: which fields each kind of message has, and their bytes. Refuses to own: seqs and times (whoever sends knows).
Sources: atproto.com/specs/event-stream; the lexicon com.atproto.sync.subscribeRepos.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from tools.simulator.cbor import Link, encode
from tools.simulator.worlds.repo import Draft, Head, Op, car

Fields = dict[str, object]

COMMIT: Final = "#commit"
SYNC: Final = "#sync"
IDENTITY: Final = "#identity"
ACCOUNT: Final = "#account"
INFO: Final = "#info"
ERROR: Final = "error"
JUNK: Final = "junk"
"""What nobody takes for an event."""

DEPRECATED: Final = ("blobs", "rebase", "tooBig")
"""What says nothing any more, and is still required in a `#commit`."""

_HEADERS: Final = {kind: encode({"op": 1, "t": kind}) for kind in (COMMIT, SYNC, IDENTITY, ACCOUNT, INFO)} | {
    ERROR: encode({"op": -1})
}


def message(kind: str, fields: Mapping[str, object]) -> bytes:
    """A whole frame of a known kind."""
    return _HEADERS[kind] + encode(fields)


def message_with(header: Mapping[str, object], fields: Mapping[str, object]) -> bytes:
    """A whole frame with any header."""
    return encode(header) + encode(fields)


def commit(draft: Draft) -> Fields:
    """A `#commit`, without seq and time."""
    fields: Fields = {
        "ops": [op(item) for item in draft.ops],
        "rev": draft.head.rev,
        "repo": draft.did,
        "blobs": [],
        "since": draft.since,
        "blocks": draft.slice(),
        "commit": Link(draft.head.cid),
        "rebase": False,
        "tooBig": False,
    }
    if draft.prev_data is not None:
        fields["prevData"] = Link(draft.prev_data)
    return fields


def op(item: Op) -> Fields:
    """One operation of a `#commit`."""
    fields: Fields = {
        "action": item.action,
        "path": item.path,
        "cid": None if item.cid is None else Link(item.cid),
    }
    if item.prev is not None:
        fields["prev"] = Link(item.prev)
    return fields


def sync(did: str, head: Head, more: Iterable[tuple[bytes, bytes]] = ()) -> Fields:
    """A `#sync`, without seq and time. `more`: blocks that it has no use for."""
    return {"did": did, "rev": head.rev, "blocks": car(head, more)}


def identity(did: str, handle: str | None = None) -> Fields:
    """An `#identity`, without seq and time."""
    fields: Fields = {"did": did}
    return fields if handle is None else fields | {"handle": handle}


def account(did: str, *, active: bool, status: str | None = None) -> Fields:
    """An `#account`, without seq and time."""
    fields: Fields = {"did": did, "active": active}
    return fields if status is None else fields | {"status": status}


def info(name: str, text: str) -> bytes:
    """A whole `#info`."""
    return message(INFO, {"name": name, "message": text})


def error(name: str, text: str) -> bytes:
    """A whole error frame."""
    return message(ERROR, {"error": name, "message": text})
