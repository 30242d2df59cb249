"""What the blocks of a `#commit` or `#sync` must prove. Pure decisions: bytes and known state in, verdict out.

Order and rules: atproto sync spec (Message Validation Checklist) and repository spec (CAR, Repository Diffs).
"""

from collections.abc import Mapping
from typing import NamedTuple

from zlay_py.atproto import car, commit, mst, sync11
from zlay_py.atproto.events import RECORD_BYTES_MAX, CommitEvent, SyncEvent
from zlay_py.errors import CarError, CommitError, InversionError, MstError
from zlay_py.ingest.outcome import Dropped, DropReason
from zlay_py.settings import Sync11


class Opened(NamedTuple):
    """A CAR slice whose every block matches its CID, and the commit that it is rooted in."""

    blocks: Mapping[bytes, bytes]
    root: bytes
    commit: commit.Commit


class Proof(NamedTuple):
    """`inverted`: the operations were proven to lead from `prevData` here. Collections: what became of them."""

    inverted: bool
    added: tuple[str, ...]
    removed: tuple[str, ...]
    undecided: tuple[str, ...]


def open_commit(event: CommitEvent | SyncEvent) -> Opened | Dropped:
    """CAR, root, commit object, and agreement of the message's fields with the signed ones."""
    try:
        slice_ = car.parse(event.blocks)
    except CarError as error:
        return Dropped(DropReason.CAR_INVALID, str(error))
    root = slice_.roots[0]
    if isinstance(event, CommitEvent) and root != event.commit:
        return Dropped(DropReason.FIELDS_MISMATCH, "commit is not the CAR's root")
    block = slice_.blocks.get(root)
    if block is None:
        return Dropped(DropReason.CAR_INVALID, "the commit block is missing")
    try:
        signed = commit.decode(block, did=event.did, rev=event.rev)
    except CommitError as error:
        return Dropped(DropReason.COMMIT_INVALID, str(error))
    if signed.did != event.did:
        return Dropped(DropReason.FIELDS_MISMATCH, f"the commit is of {signed.did}")
    if signed.rev != event.rev:
        return Dropped(DropReason.FIELDS_MISMATCH, f"rev {event.rev}, signed rev {signed.rev}")
    return Opened(slice_.blocks, root, signed)


def check_records(event: CommitEvent, blocks: Mapping[bytes, bytes]) -> Dropped | None:
    """Every record that was written is in the slice and within its size (repository spec, Repository Diffs)."""
    for op in event.ops:
        if op.cid is None:
            continue
        record = blocks.get(op.cid)
        if record is None:
            return Dropped(DropReason.RECORD_MISSING, op.path)
        if len(record) > RECORD_BYTES_MAX:
            return Dropped(DropReason.RECORD_TOO_LARGE, f"{op.path}: {len(record)} bytes")
    return None


def prove(event: CommitEvent, opened: Opened, mode: Sync11, *, host_sends_prev_data: bool) -> Proof | Dropped:
    """Runs the inversion as far as the event allows it, and judges what is missing by the host's mode.

    strict: no prevData, no entry. ratchet: that holds for hosts that have ever sent it; a wrong inversion
    drops in both. lenient: forwarded, not proven.
    """
    before = mst.EMPTY_ROOT if event.since is None and event.prev_data is None else event.prev_data
    legacy = before is None or any(op.prev is None for op in event.ops if op.action != "create")
    if legacy:
        if mode is Sync11.STRICT or (mode is Sync11.RATCHET and host_sends_prev_data):
            return Dropped(DropReason.PREV_DATA_MISSING)
        return _unproven(event) if _operations_make_sense(event) else Dropped(DropReason.EVENT_INVALID, "operations")
    if not event.ops:  # the slice may hold nothing but the commit, so there is no tree to look at
        if opened.commit.data == before:
            return Proof(True, (), (), ())
        return _unequal(event, mode)
    try:
        examined = sync11.examine(opened.commit.data, opened.blocks, event.ops)
    except MstError as error:
        # a malformed tree is an invalid repository, whatever the mode is
        return Dropped(DropReason.TREE_INVALID, str(error))
    except InversionError as error:
        return _unproven(event) if mode is Sync11.LENIENT else Dropped(DropReason.INVERSION_FAILED, str(error))
    if examined.previous_root != before:
        return _unequal(event, mode)
    return Proof(True, examined.added, examined.removed, examined.undecided)


def _operations_make_sense(event: CommitEvent) -> bool:
    """All that can be asked of operations without `prev`: one per path, and a record where there must be one."""
    paths = {op.path for op in event.ops}
    return len(paths) == len(event.ops) and all((op.cid is None) == (op.action == "delete") for op in event.ops)


def _unequal(event: CommitEvent, mode: Sync11) -> Proof | Dropped:
    if mode is Sync11.LENIENT:
        return _unproven(event)
    return Dropped(DropReason.INVERSION_FAILED, "the operations lead back to another root than prevData")


def _unproven(event: CommitEvent) -> Proof:
    """Nothing is shown about any collection: all that the operations name are open questions."""
    named = {op.path.partition("/")[0] for op in event.ops}
    return Proof(False, (), (), tuple(sorted(named)))
