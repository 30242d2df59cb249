"""Changing a partial tree: a run of it laid flat, opened only where that is unavoidable.

    gap  key  gap  key  gap          a gap holds the subtrees between two keys: none, or one that is still closed
    ()   k0   (S,) k1   ()           (several, or a misplaced one, only between `remove` and `settle`)

Opening a subtree puts its keys and gaps in its place. A subtree whose block is not in the slice (a stub) can't be
opened, and needing to is the one way in which a slice can be too small:

- `find` opens what hides a key's place. An absent key with a stub between its neighbours could be in there, or the
  stub would have to be split around it: ambiguous.
- `settle` opens what can't stay as it is after removals: a subtree next to another one, or next to a key that isn't
  above its layer. The canonical tree would merge it with its neighbour.

Every opening is forced, whatever the order of the operations. So changes made as a batch succeed wherever some order
of them one by one does, and often where none does.
Source: atproto sync spec, operation inversion; repository spec, "Repository Diffs".
"""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

from zlay_py.atproto.mst_build import Leaf, Subtree, assemble
from zlay_py.atproto.mst_node import DEPTH_MAX, Node, layer
from zlay_py.errors import InversionError

_ABOVE_ALL: Final = DEPTH_MAX + 1  # the layer of what bounds a span: its ends separate like a key above everything


class Span:
    """The subtree under one node of a checked slice, laid flat. `nodes` and their content are never changed."""

    __slots__ = ("_gaps", "_keys", "_leaves", "_nodes", "_removed")

    def __init__(self, nodes: Mapping[bytes, Node], subtree: Subtree) -> None:
        self._nodes = nodes
        self._keys: list[bytes] = []
        self._leaves: list[Leaf] = []
        self._gaps: list[tuple[Subtree, ...]] = [(subtree,)]
        self._removed = False

    def find(self, key: bytes) -> bytes | None:
        """The record at `key`, None if it is absent. Raises InversionError where the slice can't tell.

        For use before the first change.
        """
        while True:
            index = bisect_left(self._keys, key)
            if index < len(self._keys) and self._keys[index] == key:
                return self._leaves[index][1]
            if not self._gaps[index]:
                return None
            self._open(index, 0)

    def neighbours(self, key: bytes) -> tuple[bytes | None, bytes | None]:
        """The keys before and after the place of a key that `find` did not find; None beyond the ends of the span."""
        index = bisect_left(self._keys, key)
        before = self._keys[index - 1] if index else None
        return before, self._keys[index] if index < len(self._keys) else None

    def insert(self, key: bytes, value: bytes) -> None:
        """Add a key that `find` did not find. All insertions come before all removals."""
        assert not self._removed, "a removal has moved subtrees: the place of a key is no longer known"
        index = bisect_left(self._keys, key)
        self._keys.insert(index, key)
        self._leaves.insert(index, (layer(key), value, None, 0))
        self._gaps.insert(index, ())

    def replace(self, key: bytes, value: bytes) -> None:
        """Give a key that `find` found another record."""
        index = bisect_left(self._keys, key)
        depth, _, before, prefix = self._leaves[index]
        self._leaves[index] = (depth, value, before, prefix)

    def remove(self, key: bytes) -> None:
        """Take away a key that `find` found."""
        index = bisect_left(self._keys, key)
        del self._keys[index]
        del self._leaves[index]
        self._gaps[index : index + 2] = [self._gaps[index] + self._gaps[index + 1]]
        self._removed = True

    def seal(self) -> Subtree | None:
        """The canonical tree of what the span holds now. Raises InversionError where that would take a stub apart."""
        if self._removed:
            self._settle()
        return assemble(self._keys, self._leaves, [gap[0] if gap else None for gap in self._gaps])

    def _settle(self) -> None:
        """Open every subtree that can't stay whole, from left to right; what opens changes nothing to its left."""
        index = 0
        while index < len(self._gaps):
            gap = self._gaps[index]
            if gap:
                before = self._leaves[index - 1][0] if index else _ABOVE_ALL
                after = self._leaves[index][0] if index < len(self._leaves) else _ABOVE_ALL
                highest = max(gap)
                if len(gap) > 1 or highest[0] >= min(before, after):
                    self._open(index, gap.index(highest))
                    continue
            index += 1

    def _open(self, index: int, position: int) -> None:
        """Put the content of `gaps[index][position]` in its place."""
        gap = self._gaps[index]
        depth, link = gap[position]
        node = self._nodes.get(link)
        if node is None:
            raise InversionError("the slice lacks a node that the operations depend on")
        keys = node.keys
        inner: list[tuple[Subtree, ...]] = [() if link is None else ((depth - 1, link),) for link in node.links]
        inner[0] = gap[:position] + inner[0]
        inner[-1] = inner[-1] + gap[position + 1 :]
        self._gaps[index : index + 1] = inner
        self._keys[index:index] = keys
        self._leaves[index:index] = [
            (depth, entry["v"], before, entry["p"])
            for entry, before in zip(node.entries, [None, *keys], strict=False)  # the last key precedes nothing
        ]
