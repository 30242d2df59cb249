"""The events in frames, typed and checked against the lexicon com.atproto.sync.subscribeRepos.

Owns: required fields, types, string formats, and the sizes that the sync spec sets for events. Refuses to own:
anything that takes the account's state, its keys, or a look into `blocks`; and which operations fit together
(`sync11.check_ops`).

Lenient in three places only, as old hosts need it: `prevData` and an operation's `prev` may be null, which means
absent; `blobs`, `rebase` and `tooBig`, required but deprecated, may be missing (then `missing_deprecated` names
them); unknown fields and statuses are left alone. Every parser raises `EventInvalidError`, and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from zlay_py.atproto.frame import Frame, FrameKind
from zlay_py.atproto.lexicon import FIELDS, mismatch
from zlay_py.atproto.repo_op import RepoOp
from zlay_py.atproto.syntax import is_datetime, is_did, is_handle, is_repo_path, is_tid
from zlay_py.errors import EventInvalidError

OPS_MAX: Final = 200
"""Operations in a #commit (lexicon, and sync spec "#commit Events", as for the three that follow)."""
COMMIT_BLOCKS_BYTES_MAX: Final = 2_000_000
SYNC_BLOCKS_BYTES_MAX: Final = 10_000
RECORD_BYTES_MAX: Final = 1_000_000
"""Bytes of one record's block. Stated here with its siblings, checked by whoever opens `blocks`."""

ACTIONS: Final = frozenset(("create", "update", "delete"))
DEPRECATED_FIELDS: Final[Mapping[str, object]] = {"blobs": [], "rebase": False, "tooBig": False}
"""The fields of a #commit that may be missing on input, with what has to be sent for them."""


@dataclass(frozen=True, slots=True)
class CommitEvent:
    """#commit. `commit`, `prev_data`: CIDs of 36 bytes. `blocks`: an unparsed CAR slice. `time`: atproto datetime.

    `since` None: said to be the account's first commit. `prev_data` None: not given. `too_big` means nothing any more.
    """

    did: str
    rev: str
    since: str | None
    commit: bytes
    blocks: bytes
    ops: tuple[RepoOp, ...]
    prev_data: bytes | None
    too_big: bool
    missing_deprecated: tuple[str, ...]
    time: str


@dataclass(frozen=True, slots=True)
class SyncEvent:
    """#sync. `blocks`: an unparsed CAR slice, which should hold the commit alone."""

    did: str
    rev: str
    blocks: bytes
    time: str


@dataclass(frozen=True, slots=True)
class IdentityEvent:
    """#identity. `handle`: as claimed by the host, may be `handle.invalid`."""

    did: str
    handle: str | None
    time: str


@dataclass(frozen=True, slots=True)
class AccountEvent:
    """#account. `active` decides about visibility; `status` is any text, whatever `active` is."""

    did: str
    active: bool
    status: str | None
    time: str


@dataclass(frozen=True, slots=True)
class InfoEvent:
    """#info. `message` is "" where there is none."""

    name: str
    message: str


def parse_commit(frame: Frame) -> CommitEvent:
    """The #commit in a frame of that kind. Raises `EventInvalidError`."""
    body = _body(frame, FrameKind.COMMIT)
    ops, since = body["ops"], body["since"]
    if len(ops) > OPS_MAX:
        _refuse(f"{len(ops)} operations, over {OPS_MAX}")
    if since is not None and not is_tid(since):
        _refuse("since is no TID")
    return CommitEvent(
        _did(frame),
        _rev(body),
        since,
        bytes(body["commit"]),
        _blocks(body, COMMIT_BLOCKS_BYTES_MAX),
        tuple([_op(op) for op in ops]),  # a list first: twice as fast as a generator
        _plain_link(body.get("prevData")),
        body.get("tooBig", False),
        _missing_deprecated(body),
        _time(body),
    )


def parse_sync(frame: Frame) -> SyncEvent:
    """The #sync in a frame of that kind. Raises `EventInvalidError`."""
    body = _body(frame, FrameKind.SYNC)
    return SyncEvent(_did(frame), _rev(body), _blocks(body, SYNC_BLOCKS_BYTES_MAX), _time(body))


def parse_identity(frame: Frame) -> IdentityEvent:
    """The #identity in a frame of that kind. Raises `EventInvalidError`."""
    body = _body(frame, FrameKind.IDENTITY)
    handle = body.get("handle")
    if handle is not None and not is_handle(handle):
        _refuse("handle is no handle")
    return IdentityEvent(_did(frame), handle, _time(body))


def parse_account(frame: Frame) -> AccountEvent:
    """The #account in a frame of that kind. Raises `EventInvalidError`."""
    body = _body(frame, FrameKind.ACCOUNT)
    return AccountEvent(_did(frame), body["active"], body.get("status"), _time(body))


def parse_info(frame: Frame) -> InfoEvent:
    """The #info in a frame of that kind. Raises `EventInvalidError`."""
    body = _body(frame, FrameKind.INFO)
    return InfoEvent(body["name"], body.get("message", ""))


def parse_error(frame: Frame) -> tuple[str, str]:
    """(name, message or "") of an error frame. Raises `EventInvalidError`."""
    body = _body(frame, FrameKind.ERROR)
    return body["error"], body.get("message", "")


def _refuse(reason: str) -> NoReturn:
    raise EventInvalidError(reason)


def _body(frame: Frame, kind: FrameKind) -> Mapping[str, Any]:
    """The body, its known fields now sure to be there, of the right types, and its links to be dag-cbor."""
    if frame.kind is not kind:
        _refuse(f"a frame of kind {frame.kind}, not {kind}")
    if frame.typed:
        found = mismatch(kind, frame.body)
        if found is not None:
            _refuse(f"{found} is missing, of a wrong type, or no link to dag-cbor")
    if not frame.seq and "seq" in FIELDS[kind]:
        _refuse("seq is not from 1 to 2**53 - 1")
    return frame.body


def _did(frame: Frame) -> str:
    if not is_did(frame.did):
        _refuse("the account is no DID")
    return frame.did


def _rev(body: Mapping[str, Any]) -> str:
    rev = body["rev"]
    if not is_tid(rev):
        _refuse("rev is no TID")
    return rev


def _time(body: Mapping[str, Any]) -> str:
    time = body["time"]
    if not is_datetime(time):
        _refuse("time is no datetime")
    return time


def _blocks(body: Mapping[str, Any], bytes_max: int) -> bytes:
    blocks: bytes = body["blocks"]
    if len(blocks) > bytes_max:
        _refuse(f"blocks has {len(blocks)} bytes, over {bytes_max}")
    return blocks


def _plain_link(value: bytes | None) -> bytes | None:
    return None if value is None else bytes(value)  # itself, or a `Link` made plain


def _op(op: Mapping[str, Any]) -> RepoOp:
    action, path = op["action"], op["path"]
    if action not in ACTIONS:
        _refuse("an operation with an unknown action")
    if not is_repo_path(path):
        _refuse("an operation whose path is not <collection>/<record key>")
    return RepoOp(action, path, _plain_link(op["cid"]), _plain_link(op.get("prev")))


def _missing_deprecated(body: Mapping[str, Any]) -> tuple[str, ...]:
    if "blobs" in body and "rebase" in body and "tooBig" in body:
        return ()
    return tuple(name for name in DEPRECATED_FIELDS if name not in body)
