"""Repositories: records, the tree over them, and the commits that are signed over it.

A commit is drafted first and adopted then. A draft that is spoilt and sent leaves the repository as it is.

Records are kept as recipes, a number and a size, from which their bytes can be made again.
Sources: atproto.com/specs/repository; atproto.com/specs/sync.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple

from tools.simulator.cbor import Link, cid, encode
from tools.simulator.times import tid
from tools.simulator.worlds.tree import Tree

COLLECTIONS: Final = (
    *["app.bsky.feed.like"] * 11,
    *["app.bsky.feed.post"] * 4,
    *["app.bsky.feed.repost"] * 3,
    *["app.bsky.graph.follow"] * 2,
)
"""Where records are, each as often as there are records in it."""

Sign = Callable[[bytes], bytes]
"""From the bytes of a commit to its signature."""

_BASE_START_US: Final = 1_700_000_000_000_000  # where the past of a repository begins that doesn't start empty
_BASE_STEP_US: Final = (
    656_000_000  # chosen: with it, a new record in 10,000 shows as many and as large nodes as is typical
)


class Recipe(NamedTuple):
    """What a record is made from. `size_bytes`: of the record, roughly."""

    number: int
    size_bytes: int


class Write(NamedTuple):
    """What is to be at a path. None: nothing."""

    path: str
    recipe: Recipe | None


class Op(NamedTuple):
    """One of a commit's operations, with CIDs as 36 bytes."""

    action: str
    path: str
    cid: bytes | None
    prev: bytes | None


class Head(NamedTuple):
    """A signed commit. `data`: the tree's root."""

    rev: str
    data: bytes
    cid: bytes
    block: bytes


@dataclass(frozen=True, slots=True)
class Draft:
    """A commit and what goes with it. `nodes` and `records`: blocks by CID, what the commit's slice has to hold."""

    did: str
    head: Head
    since: str | None
    prev_data: bytes | None
    ops: tuple[Op, ...]
    nodes: dict[bytes, bytes]
    records: dict[bytes, bytes]
    tree: Tree
    writes: tuple[Write, ...]

    def slice(self) -> bytes:
        """The CAR of the `#commit`."""
        return car(self.head, (*self.nodes.items(), *self.records.items()))


class Repo:
    """One account's repository. `head` is None before its first commit."""

    def __init__(self, did: str, base_records: int = 0, record_bytes: int = 0) -> None:
        self.did = did
        self.head: Head | None = None
        self.tree = base_tree(base_records, record_bytes)
        self._base_recipe = Recipe(0, record_bytes)
        self._recipes: dict[str, Recipe] = {}

    def draft(self, writes: Sequence[Write], rev: str, sign: Sign, extra: dict[str, object] | None = None) -> Draft:
        """The commit that makes these writes, one per path. `extra`: more fields of the signed object."""
        ops: list[Op] = []
        records: dict[bytes, bytes] = {}
        changes: dict[bytes, bytes | None] = {}
        for path, recipe in writes:
            key = path.encode()
            before, after = self.tree.get(key), None
            if recipe is not None:
                block = record(path, recipe)
                after = cid(block)
                records[after] = block
            changes[key] = after
            ops.append(Op("delete" if after is None else "update" if before else "create", path, after, before))
        tree, new = self.tree.edit(changes)
        nodes = {node.cid: node.block for node in (*new, *tree.proof(changes))}
        since, prev_data = (self.head.rev, self.head.data) if self.head else (None, None)
        head = sign_head(self.did, rev, tree.root, sign, extra)
        return Draft(self.did, head, since, prev_data, tuple(ops), nodes, records, tree, tuple(writes))

    def adopt(self, draft: Draft) -> None:
        """The repository is at this commit now."""
        self.head = draft.head
        self.tree = draft.tree
        for path, recipe in draft.writes:
            if recipe is None:
                self._recipes.pop(path, None)
            else:
                self._recipes[path] = recipe

    def resign(self, rev: str, sign: Sign) -> Head:
        """A new commit over the same tree."""
        self.head = sign_head(self.did, rev, self.tree.root, sign)
        return self.head

    def export(self) -> bytes:
        """The whole repository as a CAR. Raises ValueError before the first commit."""
        if self.head is None:
            raise ValueError("no commit yet")
        return car(self.head, self._blocks())

    def _blocks(self) -> Iterator[tuple[bytes, bytes]]:
        for node in self.tree.nodes():
            yield node.cid, node.block
        for key, value in self.tree.entries():
            path = key.decode()
            yield value, record(path, self._recipes.get(path, self._base_recipe))


@lru_cache(maxsize=8)
def base_tree(records: int, record_bytes: int) -> Tree:
    """The tree that repositories start from which have so many records. All of them share it."""
    recipe = Recipe(0, record_bytes)
    changes: dict[bytes, bytes | None] = {}
    for number in range(records):
        rkey = tid(_BASE_START_US + number * _BASE_STEP_US, number % 32)
        path = f"{COLLECTIONS[number * 7 % len(COLLECTIONS)]}/{rkey}"
        changes[path.encode()] = cid(record(path, recipe))
    return Tree().edit(changes).tree


def record(path: str, recipe: Recipe) -> bytes:
    """The record's block."""
    collection = path.partition("/")[0]
    seed = sha256(f"{path}/{recipe.number}".encode()).hexdigest()
    room = max(8, recipe.size_bytes - len(collection) - 14)  # what is not text takes as much
    text = (seed * (room // len(seed) + 1))[:room]
    return encode({"$type": collection, "text": text})


def sign_head(did: str, rev: str, data: bytes, sign: Sign, extra: dict[str, object] | None = None) -> Head:
    """A commit over the tree with this root. `extra`: more fields, which are signed as well."""
    fields: dict[str, object] = {"did": did, "rev": rev, "data": Link(data), "prev": None, "version": 3} | (extra or {})
    block = encode(fields | {"sig": sign(encode(fields))})
    return Head(rev, data, cid(block), block)


def car(head: Head, blocks: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """CAR version 1: the commit as its root, then these blocks."""
    header = encode({"roots": [Link(head.cid)], "version": 1})
    parts = [_varint(len(header)), header]
    for name, block in ((head.cid, head.block), *blocks):
        parts += (_varint(len(name) + len(block)), name, block)
    return b"".join(parts)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
