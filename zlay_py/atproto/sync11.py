"""Operation inversion: from a commit's tree and its operations back to the root of the tree before.

A commit carries the part of its new tree that its operations touched. Undoing them there has to give the previous
root, which the commit names (`prevData`) and which the caller knows from the commit before. That proves that the
operations are all that happened, without anyone holding the tree.

    slice ─ every node checked ─ operations fit the new tree ─ undone as one batch ─ previous root

Owns: whether operations and tree fit each other. Refuses to own: signatures, revs, what `prevData` should be
(callers compare: `mst.EMPTY_ROOT` for a first commit), and records, of which only the CIDs matter here.
Sources: atproto sync spec, "Reliable Repository Synchronization"; repository spec, "Repository Diffs".
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Final, NamedTuple

from zlay_py.atproto import cid
from zlay_py.atproto.mst_build import EMPTY_ROOT, Subtree, bridge
from zlay_py.atproto.mst_edit import Span
from zlay_py.atproto.mst_node import KEY_BYTES_MAX, Node, layer
from zlay_py.atproto.mst_slice import load
from zlay_py.atproto.repo_op import RepoOp
from zlay_py.atproto.syntax import is_repo_path
from zlay_py.errors import InversionError

__all__ = ["Collections", "Examined", "RepoOp", "check_ops", "collections_touched", "examine", "invert"]


class Collections(NamedTuple):
    """What a commit means for the list of an account's collections (NSIDs; each in one field at most, sorted).

    `added`: records were created there. `removed`: records were deleted, and the new tree has no other.
    `undecided`: records were deleted, and the slice does not show whether others are left.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    undecided: tuple[str, ...]


class Examined(NamedTuple):
    """`previous_root` (a CID) and the fields of `Collections`.

    `undecided` is empty: undoing a delete takes a slice that shows both neighbours, and they decide.
    """

    previous_root: bytes
    added: tuple[str, ...]
    removed: tuple[str, ...]
    undecided: tuple[str, ...]


class _Change(NamedTuple):
    """One operation: `new` is the record at `key` in the new tree, `old` the one before; None: no such key."""

    key: bytes
    new: bytes | None
    old: bytes | None


_SHAPES: Final = {"create": (True, False), "update": (True, True), "delete": (False, True)}
"""Action → whether it has a `cid`, whether it has a `prev`."""


def check_ops(ops: Sequence[RepoOp]) -> None:
    """Raise InversionError unless each operation is well formed, on a valid path, and the only one on that path.

    A create has a `cid` and no `prev`, a delete has a `prev` and no `cid`, an update has both. Source: atproto sync
    spec, "#commit Events".
    """
    for op in ops:
        if not is_repo_path(op.path):
            raise InversionError("an operation on what is no repository path")
    _changes(ops)


def invert(root: bytes, blocks: Mapping[bytes, bytes], ops: Sequence[RepoOp]) -> bytes:
    """The CID of the tree that the operations turned into the one at `root`.

    `blocks`: the commit's slice, by CID, hashes checked. Every node that can be reached in it is checked first
    (`mst_slice`), then that the operations fit the new tree, then they are undone. Without operations the root may
    be absent, and is the answer.
    Raises MstError for a malformed tree, InversionError for operations that are malformed (as in `check_ops`, but for
    the syntax of paths), don't fit the new tree, or depend on nodes that the slice lacks.
    What it returns is the truth about these operations. One case hangs on a node that nobody has seen: where a stub is
    all that is left, its CID is the answer. Should that node have no entries, then no valid tree has it as its root.
    """
    return examine(root, blocks, ops).previous_root


def examine(root: bytes, blocks: Mapping[bytes, bytes], ops: Sequence[RepoOp]) -> Examined:
    """`invert`, and in the same pass what the operations mean for the collections. Raises as `invert` does."""
    changes = _changes(ops)
    if not changes and root not in blocks:
        return Examined(root, (), (), ())
    nodes = _load(root, blocks)
    if not changes:
        return Examined(root, (), (), ())
    path, top, low, high = _descend(nodes, root, changes)
    span = Span(nodes, top)
    for key, new, _ in changes:
        _require(span.find(key), new)
    collections = _collections(changes, span, low, high, frozenset())
    for key, new, old in changes:
        if new is None and old is not None:
            span.insert(key, old)
    for key, new, old in changes:
        if new is not None and old is not None:
            span.replace(key, old)
    for key, _, old in changes:
        if old is None:
            span.remove(key)
    return Examined(_rebuild(nodes, path, span), *collections)


def collections_touched(root: bytes, blocks: Mapping[bytes, bytes], ops: Sequence[RepoOp]) -> Collections:
    """What the operations mean for the collections, for a commit whose inversion is not asked for or not possible.

    What the slice can't tell is `undecided`; an operation's `prev` is not needed. Raises MstError for a malformed
    tree, InversionError for malformed operations, an absent root, and where the tree provably does not have what an
    operation says.
    """
    if any((op.cid is None) != (op.action == "delete") for op in ops):
        raise InversionError("a delete with a CID, or another operation without one")
    # An update without a `prev` is still no create.
    changes = [_Change(_key(op.path), op.cid, None if op.action == "create" else op.prev or b"") for op in ops]
    if not changes:
        return Collections((), (), ())
    nodes = _load(root, blocks)
    span = Span(nodes, (nodes[root].layer, root))
    hidden: set[bytes] = set()
    for key, new, _ in changes:
        try:
            found = span.find(key)
        except InversionError:
            hidden.add(key)
        else:
            _require(found, new)
    return _collections(changes, span, None, None, hidden)


def _changes(ops: Iterable[RepoOp]) -> list[_Change]:
    """The operations, ascending by key. Raises InversionError where one is malformed or two are on one path."""
    changes: list[_Change] = []
    for action, path, new, old in ops:
        if (new is not None, old is not None) != _SHAPES.get(action):
            raise InversionError("an operation of an unknown kind, or without the CIDs of its kind")
        if not (new is None or cid.is_dag_cbor(new)) or not (old is None or cid.is_dag_cbor(old)):
            raise InversionError("an operation with a CID that is not a record's")
        changes.append(_Change(_key(path), new, old))
    if len(changes) > 1:
        changes.sort(key=itemgetter(0))
        if any(left.key == right.key for left, right in pairwise(changes)):
            raise InversionError("two operations on one path")
    return changes


def _key(path: str) -> bytes:
    try:
        key = path.encode()
    except UnicodeEncodeError as error:
        raise InversionError("an operation's path is not text") from error
    if not 1 <= len(key) <= KEY_BYTES_MAX:
        raise InversionError(f"an operation's path is empty or over {KEY_BYTES_MAX} bytes")
    return key


def _load(root: bytes, blocks: Mapping[bytes, bytes]) -> dict[bytes, Node]:
    if root not in blocks:
        raise InversionError("the slice lacks the root")
    return load(root, blocks)


def _require(found: bytes | None, new: bytes | None) -> None:
    if found != new:
        raise InversionError("the new tree does not have what an operation says")


def _descend(
    nodes: Mapping[bytes, Node], root: bytes, changes: Sequence[_Change]
) -> tuple[list[tuple[Node, int]], Subtree, bytes | None, bytes | None]:
    """The lowest subtree that all changes stay inside, so that above it only one link per node will differ.

    (nodes above it, each with the index of that link; the subtree; the keys before and after it, None: no such key).
    """
    first, last = changes[0].key, changes[-1].key
    # Keys that come back may belong on a higher layer than anything that is there now.
    reach = max((layer(key) for key, new, _ in changes if new is None), default=-1)
    above: list[tuple[Node, int]] = []
    before = after = None
    link = root
    node = nodes[root]
    while node.layer > reach:
        keys = node.keys
        index = bisect_left(keys, first)
        if index < len(keys) and keys[index] <= last:
            break
        child_link = node.links[index]
        child = nodes.get(child_link) if child_link is not None else None
        if child_link is None or child is None:
            break
        above.append((node, index))
        if index > 0:
            before = keys[index - 1]
        if index < len(keys):
            after = keys[index]
        link, node = child_link, child
    return above, (node.layer, link), before, after


def _rebuild(nodes: Mapping[bytes, Node], above: Sequence[tuple[Node, int]], span: Span) -> bytes:
    """The root over the changed span."""
    subtree = span.seal()
    for node, index in reversed(above):
        if subtree is None and not node.keys:
            continue  # it bridged a layer for what is gone
        link = None if subtree is None else bridge(subtree, node.layer - 1)
        subtree = (node.layer, cid.for_block(node.with_link(index, link)))
    if subtree is None:
        return EMPTY_ROOT
    # A root has entries. What has none made sense only below the keys that are gone. (See `invert` for stubs.)
    root = subtree[1]
    while (top := nodes.get(root)) is not None and not top.keys and top.links[0] is not None:
        root = top.links[0]
    return root


def _collections(
    changes: Iterable[_Change],
    span: Span,
    before: bytes | None,
    after: bytes | None,
    hidden: Collection[bytes],
) -> Collections:
    """For the tree as it is before anything is undone. `before`, `after`: the keys around the span.

    `hidden`: the keys whose place the slice doesn't show. A collection's keys are neighbours, since all of them
    start with its name and a slash: if any is left, then one of them is next to where the deleted one was.
    """
    added = {_collection(key) for key, _, old in changes if old is None}
    deleted = [key for key, new, _ in changes if new is None]
    if not deleted:  # nearly always
        return Collections(_names(added), (), ())
    updated = [key for key, new, old in changes if new is not None and old is not None]
    present = {_collection(key) for key in updated if key not in hidden}
    removed: set[bytes] = set()
    unclear: set[bytes] = set()
    for key in deleted:
        collection = _collection(key)
        left, right = span.neighbours(key)
        prefix = collection + b"/"
        if (left or before or b"").startswith(prefix) or (right or after or b"").startswith(prefix):
            present.add(collection)
        elif key in hidden:
            unclear.add(collection)
        else:
            removed.add(collection)
    # Several deletes of one collection may see more or less of it: whichever sees something certain is right.
    return Collections(_names(added), _names(removed), _names(unclear - added - removed - present))


def _collection(key: bytes) -> bytes:
    return key.partition(b"/")[0]


def _names(collections: Collection[bytes]) -> tuple[str, ...]:
    return tuple([name.decode() for name in sorted(collections)])
