"""Writing trees: from keys in a row, and finished subtrees between them, to the one canonical tree they make up."""

from collections.abc import Mapping, Sequence
from typing import Final

from zlay_py.atproto import cid
from zlay_py.atproto.mst_node import ENTRIES_MAX, KEY_BYTES_MAX, common_prefix_length, encode, layer
from zlay_py.errors import MstError

Subtree = tuple[int, bytes]
"""(layer of its top node, that node's CID)."""

Leaf = tuple[int, bytes, bytes | None, int]
"""(layer of the key, record CID, a key, prefix length shared with that key): the key is the one that preceded it in
the node it was read from. While that stays so, the prefix needn't be measured again. None where there was none."""

EMPTY_ROOT: Final = cid.for_block(encode(None, []))
"""CID of the empty tree's one node."""


def build(entries: Mapping[bytes, bytes]) -> tuple[bytes, dict[bytes, bytes]]:
    """The root and all blocks, by CID, of the tree that has these entries: key → record CID.

    Raises ValueError for keys of no or more than 1024 bytes and for records that aren't blessed dag-cbor CIDs,
    MstError where a node would get more than `ENTRIES_MAX` entries.
    """
    for key, value in entries.items():
        if not 1 <= len(key) <= KEY_BYTES_MAX or not cid.is_dag_cbor(value):
            raise ValueError("a key of 1 to 1024 bytes and a dag-cbor CID are what an entry has")
    keys = sorted(entries)
    leaves: list[Leaf] = [(layer(key), entries[key], None, 0) for key in keys]
    blocks: dict[bytes, bytes] = {}
    top = assemble(keys, leaves, [None] * (len(keys) + 1), blocks)
    if top is None:
        return EMPTY_ROOT, {EMPTY_ROOT: encode(None, [])}
    return top[1], blocks


def assemble(
    keys: Sequence[bytes],
    leaves: Sequence[Leaf],
    gaps: Sequence[Subtree | None],
    written: dict[bytes, bytes] | None = None,
) -> Subtree | None:
    """The tree over `keys` (ascending), with the finished subtree `gaps[i]` before `keys[i]`; None if that is nothing.

    Each subtree has to be on a lower layer than both keys around it: then it stays as it is. The new nodes' blocks
    go to `written`, by CID. Raises MstError for a node of more than `ENTRIES_MAX` entries.
    """
    open_nodes: list[_OpenNode] = []  # the right edge of what is done so far: layers descend
    subtree = gaps[0]
    for index, key in enumerate(keys):
        depth, value, before, prefix = leaves[index]
        while open_nodes and open_nodes[-1].layer < depth:
            subtree = open_nodes.pop().close(subtree, written)
        if not open_nodes or open_nodes[-1].layer > depth:
            open_nodes.append(_OpenNode(depth))
        node = open_nodes[-1]
        if subtree is not None:
            node.hang(subtree, written)
        last = node.last
        if last is not before:
            prefix = 0 if last is None else common_prefix_length(last, key)
        node.entries.append((prefix, key[prefix:], value, None))
        node.last = key
        subtree = gaps[index + 1]
    while open_nodes:
        subtree = open_nodes.pop().close(subtree, written)
    return subtree


def bridge(subtree: Subtree, target: int, written: dict[bytes, bytes] | None = None) -> bytes:
    """CID of the node on layer `target` that holds nothing but this subtree; the subtree itself if it is there."""
    depth, link = subtree
    assert depth <= target, "a subtree can't hang below its own layer"
    for _ in range(target - depth):
        link = _write(encode(link, []), written)
    return link


class _OpenNode:
    """A node that may still get entries, and subtrees between them, at its right end."""

    __slots__ = ("entries", "last", "layer", "left")

    def __init__(self, node_layer: int) -> None:
        self.layer = node_layer
        self.left: bytes | None = None
        self.entries: list[tuple[int, bytes, bytes, bytes | None]] = []
        self.last: bytes | None = None  # the last entry's key

    def hang(self, subtree: Subtree, written: dict[bytes, bytes] | None) -> None:
        """Put a subtree after what is there."""
        link = bridge(subtree, self.layer - 1, written)
        if self.entries:
            prefix, suffix, value, _ = self.entries[-1]
            self.entries[-1] = prefix, suffix, value, link
        else:
            self.left = link

    def close(self, subtree: Subtree | None, written: dict[bytes, bytes] | None) -> Subtree:
        """Finish the node, with this subtree as its last."""
        if subtree is not None:
            self.hang(subtree, written)
        if len(self.entries) > ENTRIES_MAX:
            raise MstError(f"a node of more than {ENTRIES_MAX} entries")
        return self.layer, _write(encode(self.left, self.entries), written)


def _write(block: bytes, written: dict[bytes, bytes] | None) -> bytes:
    link = cid.for_block(block)
    if written is not None:
        written[link] = block
    return link
