"""What hostile trees cost: bounded time and memory, and an error of ours."""

import time
import tracemalloc
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.support.trees import VALUE, entry, key_on, link, model_layer, run, shared, tree
from zlay_py.atproto import cid, mst, mst_node, sync11
from zlay_py.atproto.dag_cbor import Link
from zlay_py.errors import MstError

LEAF = {"l": None, "e": [entry(key_on(0))]}
STUB = cid.for_block(b"not in the slice")

SECONDS_MAX = 5.0  # of processor time; each takes a fraction of one on a slow machine
PEAK_BYTES_MAX = 64_000_000


def bounded(read: Callable[[], object]) -> object:
    tracemalloc.start()
    started = time.process_time()
    try:
        result = run(read)
        assert time.process_time() - started < SECONDS_MAX
        assert tracemalloc.get_traced_memory()[1] < PEAK_BYTES_MAX
        return result
    finally:
        tracemalloc.stop()


def test_a_chain_of_40_000_left_links() -> None:
    child = link(LEAF)
    blocks = tree(LEAF)[1]
    for _ in range(40_000):
        block = mst_node.encode(child, [])
        child = cid.for_block(block)
        blocks[child] = block
    root, top = tree({"l": Link(child), "e": [entry(key_on(6, "z"))]})
    blocks |= top
    assert isinstance(bounded(lambda: sync11.invert(root, blocks, [])), MstError)
    assert isinstance(bounded(lambda: list(mst.read_entries(root, blocks))), MstError)
    assert isinstance(bounded(lambda: sync11.invert(child, blocks, [])), MstError)


def test_prefixes_of_prefixes() -> None:
    """Each key a bit longer than the one before: quadratic memory, but for the limit on a key."""
    entries = [entry(b"k" * 200, 0)] + [{**entry(b"k" * 200), "p": 200 * n} for n in range(1, 900)]
    root, blocks = tree({"l": None, "e": entries})
    assert isinstance(bounded(lambda: sync11.invert(root, blocks, [])), MstError)


def test_many_long_keys_that_compress_well() -> None:
    """A canonical tree of keys of 1,000 bytes: 0.8 MB of blocks, 11 MB of keys. Half of it is fine."""
    layers: dict[int, list[bytes]] = {0: [], 1: []}
    for n in range(15_000):
        key = b"k" * 993 + b"/%06d" % n
        layers.setdefault(model_layer(key), []).append(key)
    entries = dict.fromkeys(layers[0] + layers[1][::150], VALUE)  # some twenty nodes, nearly full
    root, blocks = mst.build(entries)
    assert sum(map(len, blocks.values())) < 2_000_000
    assert sum(map(len, entries)) > mst.SLICE_KEY_BYTES_MAX
    assert isinstance(bounded(lambda: sync11.invert(root, blocks, [])), MstError)
    half = dict.fromkeys(sorted(entries)[: len(entries) // 2], VALUE)
    root, blocks = mst.build(half)
    assert bounded(lambda: sync11.invert(root, blocks, [])) == root


def test_too_many_nodes() -> None:
    entries = {b"%06d" % n: VALUE for n in range(45_000)}
    root, blocks = mst.build(entries)
    assert len(blocks) > mst.NODES_MAX
    assert isinstance(bounded(lambda: sync11.invert(root, blocks, [])), MstError)
    assert len(list(mst.read_entries(root, blocks))) == 45_000


def ground_layer_0(number: int) -> list[bytes]:
    return [key for n in range(2 * number) if model_layer(key := b"%06d" % n) == 0][:number]


def test_too_many_entries_in_a_node() -> None:
    keys = ground_layer_0(mst.ENTRIES_MAX + 1)
    full = dict.fromkeys(keys[:-1], VALUE)
    root, blocks = mst.build(full)
    assert len(blocks) == 1
    assert dict(mst.read_entries(root, blocks)) == full
    with pytest.raises(MstError):
        mst.build(dict.fromkeys(keys, VALUE))
    # Undone, a delete could ask for such a node as well.
    with pytest.raises(MstError):
        sync11.invert(root, blocks, [sync11.RepoOp("delete", keys[-1].decode(), None, VALUE)])
    entries = [entry(keys[0])]
    entries += [entry(key, shared(before, key)) for before, key in pairwise(keys)]
    root, blocks = tree({"l": None, "e": entries})
    assert isinstance(bounded(lambda: sync11.invert(root, blocks, [])), MstError)


def test_a_node_without_entries_under_many_keys() -> None:
    """One bridge over a stub, linked from everywhere: looked at once."""
    bridge = {"l": Link(STUB), "e": []}
    keys = [key for n in range(20_000) if model_layer(key := b"%06d" % n) == 2][:900]
    entries = [entry(keys[0], right=link(bridge))]
    entries += [entry(key, shared(before, key), link(bridge)) for before, key in pairwise(keys)]
    root, blocks = tree({"l": None, "e": entries}, bridge)
    assert isinstance(bounded(lambda: sync11.invert(root, blocks, [])), MstError)


@pytest.mark.parametrize("filler", [b"\xa0", b"\x80", b"\x81", b"\xf6"])
def test_decoder_bombs(filler: bytes) -> None:
    """Blocks made of nothing but small or nested values, under and over the limit on a node's bytes."""
    for size in (mst.NODE_BYTES_MAX - 10, 2_000_000):
        block = b"\xa2\x61e\x9a" + size.to_bytes(4, "big") + filler * size + b"\x61l\xf6"
        root = cid.for_block(block)
        assert isinstance(bounded(lambda: sync11.invert(root, {root: block}, [])), MstError)  # noqa: B023
        assert isinstance(bounded(lambda: list(mst.read_entries(root, {root: block}))), MstError)  # noqa: B023
