"""Merkle search trees that share what they have in common: with their own past, and with other accounts' trees.

A node never changes. An edit makes new nodes along the paths that it touches and keeps all others, with the bytes and
the CID that they have been given once. So a commit to a tree of 10,000 records costs a dozen small nodes, and a
thousand accounts that start from the same tree hold it once.

    layer 2            [  K  ]
    layer 1      [ C  F ]   [  Q  ]       a node: keys of its layer, and between them the subtrees below,
    layer 0   [A B] [D]  -  [L M]  -      which are None or on the very next layer

Owns: the tree by its definition, its bytes, and what of it proves a commit. Refuses to own: reading trees of others.
Source: atproto.com/specs/repository, "MST Structure"; atproto.com/specs/sync, "Reliable Repository Synchronization".
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import pairwise
from typing import Final, NamedTuple

from tools.simulator.cbor import ARRAY, BYTES, CID_PREFIX, LINK_PREFIX, UINT, cid, head

_NODE: Final = b"\xa2\x61e"
_LEFT: Final = b"\x61l"
_VALUE: Final = b"\x61v" + LINK_PREFIX
_NULL: Final = b"\xf6"
_DIGEST: Final = len(CID_PREFIX)  # where the digest starts in a CID


class Node:
    """`kids[i]` is the subtree before `keys[i]`, the last one that after all keys. `size`: keys in and below the node.

    `cid` and `block` are there once the tree that the node belongs to has been given out.
    """

    __slots__ = ("_heads", "block", "cid", "keys", "kids", "layer", "size", "values")

    def __init__(
        self,
        layer: int,
        keys: tuple[bytes, ...],
        values: tuple[bytes, ...],
        kids: tuple["Node | None", ...],
        heads: tuple[bytes, ...] | None = None,
    ) -> None:
        self.layer = layer
        self.keys = keys
        self.values = values
        self.kids = kids
        self.size = len(keys)
        for kid in kids:
            if kid is not None:
                self.size += kid.size
        self.block = b""
        self.cid = b""
        self._heads = heads

    def with_kid(self, index: int, kid: "Node | None") -> "Node | None":
        """The node with another subtree at that place; None if nothing is left of it."""
        if kid is None and not self.keys:
            return None
        kids = (*self.kids[:index], kid, *self.kids[index + 1 :])
        return Node(self.layer, self.keys, self.values, kids, self._heads)

    def with_value(self, index: int, value: bytes) -> "Node":
        """The node with another record at one of its keys."""
        values = (*self.values[:index], value, *self.values[index + 1 :])
        return Node(self.layer, self.keys, values, self.kids, self._heads)

    def seal(self, sealed: list["Node"]) -> None:
        """Give the node and all below their bytes and CIDs, if they have none yet. `sealed` gets those, parents first.

        What has no CID is new: everything else was part of a tree that somebody has seen.
        """
        sealed.append(self)
        for kid in self.kids:
            if kid is not None and not kid.cid:
                kid.seal(sealed)
        if self._heads is None:
            self._heads = _heads(self.keys)
        parts = [_NODE, head(ARRAY, len(self.keys))]
        kids = self.kids
        for index, (start, value) in enumerate(zip(self._heads, self.values, strict=True), 1):
            parts += (start, _link(kids[index]), _VALUE, value[_DIGEST:])
        parts += (_LEFT, _link(kids[0]))
        self.block = b"".join(parts)
        self.cid = cid(self.block)


class Edited(NamedTuple):
    """A tree after an edit, and the nodes in it that were not in the tree before; parents first."""

    tree: "Tree"
    new: list[Node]


class Tree:
    """One version of a tree. It never changes."""

    __slots__ = ("top",)

    def __init__(self, top: Node | None = None) -> None:
        self.top = top or _nothing()
        if not self.top.cid:
            self.top.seal([])

    @property
    def root(self) -> bytes:
        """CID of the top node."""
        return self.top.cid

    def __len__(self) -> int:
        return self.top.size

    def get(self, key: bytes) -> bytes | None:
        """The record at a key, None if there is none."""
        node: Node | None = self.top
        while node is not None:
            keys = node.keys
            index = bisect_left(keys, key)
            if index < len(keys) and keys[index] == key:
                return node.values[index]
            node = node.kids[index]
        return None

    def key_at(self, index: int) -> bytes:
        """The key with so many others before it. Raises IndexError."""
        node: Node | None = self.top if 0 <= index < len(self) else None
        while node is not None:
            below: Node | None = None
            for position, kid in enumerate(node.kids):
                size = kid.size if kid is not None else 0
                if index < size:
                    below = kid
                    break
                if index == size:
                    return node.keys[position]
                index -= size + 1
            node = below
        raise IndexError("no such key")

    def edit(self, changes: Mapping[bytes, bytes | None]) -> Edited:
        """Puts records at keys, takes keys away (None). Raises KeyError for a key that is to go and is not there."""
        top: Node | None = self.top if self.top.keys else None
        absent = [key for key, value in changes.items() if self.get(key) is None]
        if any(changes[key] is None for key in absent):
            raise KeyError("no such key")
        # What comes goes in from the top, what goes goes from the bottom: so no subtree is taken apart and put together
        # again, and nodes that stay the same stay the same objects.
        for key, depth in sorted(((key, layer(key)) for key in absent), key=lambda item: (-item[1], item[0])):
            top = _insert(top, key, depth, changes[key] or b"")
        gone = []
        for key, value in changes.items():
            if value is None:
                gone.append((layer(key), key))
            elif key not in absent:
                top = _update(top, key, value)
        for _, key in sorted(gone):
            top = _delete(top, key)
        while top is not None and not top.keys:
            top = top.kids[0]
        if top is None:
            top = _nothing() if self.top.keys else self.top
        new: list[Node] = []
        if not top.cid:
            top.seal(new)
        return Edited(Tree(top), new)

    def path(self, key: bytes) -> list[Node]:
        """The nodes on the way to a key, there or not, from the top."""
        path = [self.top]
        while True:
            node = path[-1]
            index = bisect_left(node.keys, key)
            kid = node.kids[index]
            if kid is None or (index < len(node.keys) and node.keys[index] == key):
                return path
            path.append(kid)

    def proof(self, keys: Iterable[bytes]) -> list[Node]:
        """The nodes on the way to each key, there or not, and to its two neighbours; parents first.

        With the nodes that are new they are what a commit needs, so that its operations can be undone by somebody who
        has nothing else.
        """
        seen: dict[bytes, Node] = {}
        for key in keys:
            for node in self.path(key):
                seen[node.cid] = node
            index = bisect_left(node.keys, key)
            if index < len(node.keys) and node.keys[index] == key:
                _follow(node.kids[index], -1, seen)
                _follow(node.kids[index + 1], 0, seen)
        return list(seen.values())

    def nodes(self) -> Iterator[Node]:
        """All nodes, parents first, from left to right."""
        pending: list[Node | None] = [self.top]
        while pending:
            node = pending.pop()
            if node is not None:
                yield node
                pending += reversed(node.kids)

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """(key, record CID) of everything in the tree, in order."""
        path = [(self.top, 0)]
        while path:
            node, index = path.pop()
            if index:
                yield node.keys[index - 1], node.values[index - 1]
            if index < len(node.keys):
                path.append((node, index + 1))
            kid = node.kids[index]
            if kid is not None:
                path.append((kid, 0))


def layer(key: bytes) -> int:
    """How high in the tree a key stands: pairs of zero bits that its SHA-256 starts with."""
    zeros = 0
    for byte in sha256(key).digest():
        if byte:
            return (zeros + 8 - byte.bit_length()) // 2
        zeros += 8
    return zeros // 2


def _nothing() -> Node:
    return Node(0, (), (), (None,))


def _link(kid: Node | None) -> bytes:
    return _NULL if kid is None else LINK_PREFIX + kid.cid[_DIGEST:]


def _heads(keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Of each entry, what comes before its subtree: `k`, what it does not share with the key before it, and `p`."""
    heads = []
    for before, key in pairwise((b"", *keys)):
        shared = 0
        for one, other in zip(before, key, strict=False):
            if one != other:
                break
            shared += 1
        rest = key[shared:]
        heads.append(b"\xa4\x61k" + head(BYTES, len(rest)) + rest + b"\x61p" + head(UINT, shared) + b"\x61t")
    return tuple(heads)


def _insert(node: Node | None, key: bytes, depth: int, value: bytes) -> Node:
    """`node` is on the layer `depth` or above; or it is the top, or None."""
    if node is None:
        return Node(depth, (key,), (value,), (None, None))
    if depth > node.layer:  # a new top
        below = depth - 1
        left, right = _split(node, key)
        return Node(depth, (key,), (value,), (_lift(left, below), _lift(right, below)))
    index = bisect_left(node.keys, key)
    kid = node.kids[index]
    if depth == node.layer:
        keys = (*node.keys[:index], key, *node.keys[index:])
        values = (*node.values[:index], value, *node.values[index:])
        return Node(depth, keys, values, (*node.kids[:index], *_split(kid, key), *node.kids[index + 1 :]))
    changed = node.with_kid(index, _lift(_insert(kid, key, depth, value), node.layer - 1))
    assert changed is not None
    return changed


def _lift(node: Node | None, target: int) -> Node | None:
    """The subtree as one on the layer `target`: nodes without keys make up for what it lacks in height."""
    while node is not None and node.layer < target:
        node = Node(node.layer + 1, (), (), (node,))
    return node


def _split(node: Node | None, key: bytes) -> tuple[Node | None, Node | None]:
    """What is before a key that is not there, and what is after it."""
    if node is None:
        return None, None
    index = bisect_left(node.keys, key)
    before, after = _split(node.kids[index], key)
    if index == len(node.keys) and after is None:
        return node, None
    if index == 0 and before is None:
        return None, node
    left = Node(node.layer, node.keys[:index], node.values[:index], (*node.kids[:index], before))
    right = Node(node.layer, node.keys[index:], node.values[index:], (after, *node.kids[index + 1 :]))
    return left if index or before else None, right if right.keys or after else None


def _merge(left: Node | None, right: Node | None) -> Node | None:
    """Two subtrees of the same layer as one."""
    if left is None or right is None:
        return left or right
    middle = _merge(left.kids[-1], right.kids[0])
    kids = (*left.kids[:-1], middle, *right.kids[1:])
    return Node(left.layer, left.keys + right.keys, left.values + right.values, kids)


def _update(node: Node | None, key: bytes, value: bytes) -> Node:
    assert node is not None, "the key is there"
    index = bisect_left(node.keys, key)
    if index < len(node.keys) and node.keys[index] == key:
        return node if node.values[index] == value else node.with_value(index, value)
    kid = node.kids[index]
    changed = _update(kid, key, value)
    if changed is kid:
        return node
    above = node.with_kid(index, changed)
    assert above is not None
    return above


def _delete(node: Node | None, key: bytes) -> Node | None:
    assert node is not None, "the key is there"
    index = bisect_left(node.keys, key)
    if index == len(node.keys) or node.keys[index] != key:
        return node.with_kid(index, _delete(node.kids[index], key))
    merged = _merge(node.kids[index], node.kids[index + 1])
    keys = node.keys[:index] + node.keys[index + 1 :]
    if not keys and merged is None:
        return None
    values = node.values[:index] + node.values[index + 1 :]
    return Node(node.layer, keys, values, (*node.kids[:index], merged, *node.kids[index + 2 :]))


def _follow(node: Node | None, edge: int, seen: dict[bytes, Node]) -> None:
    """Down along one edge of a subtree, to the key that is next to what is outside."""
    while node is not None:
        seen[node.cid] = node
        node = node.kids[edge]
