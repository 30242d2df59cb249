"""Reading trees: the slice of one that a commit carries, or a whole one, every node checked before anyone uses it.

A node hangs where its parent says, so it can be judged only on the way down from the root:

- the root has entries (or it is the empty tree), and its first key's layer is the root's layer;
- a child is on the layer below its parent's, and nothing hangs below layer 0;
- all keys of a node belong to its layer, and lie between the two keys around the link to it;
- only a node between root and layer 0 may have no entries: it bridges a layer;
- no subtree is linked twice. Its keys would be in two places; and it could cost its size many times over.

This holds for *every* node that can be reached from the root inside the slice, whether an operation touches it or
not. A link to a block that isn't there is a stub: nothing is known about it but its place and its layer.
Blocks that can't be reached, records included, are not looked at.

Owns: which sets of nodes are (part of) a canonical tree. Refuses to own: operations.
Sources: atproto repository spec, "MST Structure" and "Repository Diffs"; "Security Considerations" for the limits.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from zlay_py.atproto.mst_node import KEY_BYTES_MAX, Node, all_on_layer, layer, parse
from zlay_py.errors import MstError

NODES_MAX: Final = 10_000
"""Nodes of one slice. 200 operations, each proven by three paths of a dozen nodes, are 7,200."""

SLICE_KEY_BYTES_MAX: Final = 8_388_608
"""Bytes of all keys of a slice, written out. Four times the 2 MB that the slice itself may have: prefix compression
of honest keys saves about half. Without it, 2 MB of entries could unfold to 37 MB."""

_LOWEST: Final = b""
_HIGHEST: Final = b"\xff" * (KEY_BYTES_MAX + 1)
"""Below and above every key."""


def load(root: bytes, blocks: Mapping[bytes, bytes]) -> dict[bytes, Node]:
    """The checked nodes that can be reached from `root`, by CID. Raises MstError, also where the root is absent.

    `blocks` are trusted to match their CIDs.
    """
    node = _root(_block(root, blocks))
    nodes = {root: node}
    linked: set[bytes] = set()
    key_bytes = sum(map(len, node.keys))
    pending = [(node, _LOWEST, _HIGHEST)]
    while pending:
        node, low, high = pending.pop()
        keys, links, depth = node.keys, node.links, node.layer
        if depth == 0:
            if links.count(None) != len(links):
                raise MstError("a subtree below layer 0")
            continue
        last = len(keys)
        for index, link in enumerate(links):
            if link is None:
                continue
            if link in linked:
                raise MstError("a subtree that is linked twice")
            linked.add(link)
            block = blocks.get(link)
            if block is None:
                continue
            child_low = keys[index - 1] if index else low
            child_high = keys[index] if index < last else high
            child = _child(block, depth - 1, child_low, child_high)
            key_bytes += sum(map(len, child.keys))
            nodes[link] = child
            if key_bytes > SLICE_KEY_BYTES_MAX or len(nodes) > NODES_MAX:
                raise MstError(f"over {NODES_MAX} nodes or {SLICE_KEY_BYTES_MAX} bytes of keys")
            pending.append((child, child_low, child_high))
    return nodes


def read_entries(root: bytes, blocks: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """(key, record CID) of a whole tree, in order. Raises MstError where a node is malformed or absent.

    Checks each node when it gets there: what was given before an MstError came from a tree that is not valid.
    Memory: the nodes on one path. Nothing bounds the number of nodes but `blocks`.
    """
    node = _root(_block(root, blocks))
    path: list[tuple[Node, int, bytes, bytes]] = [(node, 0, _LOWEST, _HIGHEST)]
    while path:
        node, index, low, high = path.pop()
        keys = node.keys
        if index > 0:
            yield keys[index - 1], node.entries[index - 1]["v"]
        if index < len(keys):
            path.append((node, index + 1, low, high))
        link = node.links[index]
        if link is None:
            continue
        if node.layer == 0:
            raise MstError("a subtree below layer 0")
        child_low = keys[index - 1] if index else low
        child_high = keys[index] if index < len(keys) else high
        child = _child(_block(link, blocks), node.layer - 1, child_low, child_high)
        path.append((child, 0, child_low, child_high))


def covering_proof(root: bytes, blocks: Mapping[bytes, bytes], keys: Iterable[bytes]) -> set[bytes]:
    """CIDs of the nodes on the path to each key, present or not, and to its neighbours on both sides.

    For producers of commits (tests, the simulator): nodes are parsed, but not checked against each other.
    Raises MstError where a node is malformed or absent. Source: atproto sync spec, operation inversion; IETF draft
    "Authenticated Transfer: Repository and Synchronization".
    """
    seen: dict[bytes, Node] = {}

    def visit(link: bytes) -> Node:
        node = seen.get(link)
        if node is None:
            node = seen[link] = parse(_block(link, blocks))
        return node

    for key in keys:
        link: bytes | None = root
        while link is not None:
            node = visit(link)
            index = bisect_left(node.keys, key)
            if index < len(node.keys) and node.keys[index] == key:
                for edge, neighbour in ((-1, node.links[index]), (0, node.links[index + 1])):
                    while neighbour is not None:
                        neighbour = visit(neighbour).links[edge]
                break
            link = node.links[index]
    return set(seen)


def _block(link: bytes, blocks: Mapping[bytes, bytes]) -> bytes:
    block = blocks.get(link)
    if block is None:
        raise MstError("a node's block is absent")
    return block


def _root(block: bytes) -> Node:
    node = parse(block)
    if node.keys:
        node.layer = layer(node.keys[0])
        if not all_on_layer(node.keys, node.layer):
            raise MstError("a key on the wrong layer")
    elif node.links[0] is not None:
        raise MstError("a root without entries")
    return node


def _child(block: bytes, child_layer: int, low: bytes, high: bytes) -> Node:
    node = parse(block)
    node.layer = child_layer
    keys = node.keys
    if keys:
        if keys[0] <= low or keys[-1] >= high:
            raise MstError("a key outside its subtree's range")
        if not all_on_layer(keys, child_layer):
            raise MstError("a key on the wrong layer")
    elif node.links[0] is None:
        raise MstError("a node without entries that bridges nothing")
    return node
