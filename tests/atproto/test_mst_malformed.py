"""What is no canonical tree is refused: case by case, wherever in the tree it is, and for any bytes."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.trees import (
    VALUE,
    ascending_on,
    entry,
    key_on,
    link,
    model_root,
    random_cid,
    run,
    shared,
    tree,
    without,
)
from zlay_py.atproto import cid, dag_cbor, mst, mst_node, sync11
from zlay_py.atproto.dag_cbor import Link
from zlay_py.errors import MstError

LOW = key_on(1)
BETWEEN = key_on(0, after=LOW)
MIDDLE = key_on(1, after=BETWEEN)
HIGH = key_on(1, after=MIDDLE)
A, B = ascending_on(0, 2)
LONGEST, TOO_LONG = key_on(0, "k" * 1018), key_on(0, "k" * 1019)  # 1024 and 1025 bytes


LEAF_NODE = {"l": None, "e": [entry(BETWEEN)]}
STUB = cid.for_block(b"not in the slice")
CHAIN_END: dict[str, Any] = {"l": None, "e": []}
PLAIN = {"l": None, "e": [entry(A), entry(B, shared(A, B))]}
PLAIN_BYTES = dag_cbor.encode(PLAIN)
TWO_ON_1 = {"l": None, "e": [entry(LOW, right=link(LEAF_NODE)), entry(MIDDLE, shared(LOW, MIDDLE))]}
BRIDGE = {"l": Link(link(LEAF_NODE)), "e": []}
ON_2, ON_3 = key_on(2, after=BETWEEN), key_on(3, after=BETWEEN)

WELL_FORMED: dict[str, tuple[bytes, dict[bytes, bytes]]] = {
    "plain": tree(PLAIN),
    "a key of 1024 bytes": tree({"l": None, "e": [entry(LONGEST)]}),
    "two layers": tree(TWO_ON_1, LEAF_NODE),
    "a stub": tree(TWO_ON_1),
    "a bridge": tree({"l": Link(link(BRIDGE)), "e": [entry(ON_2)]}, BRIDGE, LEAF_NODE),
    "a bridge over a stub": tree({"l": Link(link(BRIDGE)), "e": [entry(ON_2)]}, BRIDGE),
    "unrelated blocks": tree(PLAIN, b"junk", {"l": Link(STUB), "e": []}),
    "a record that is a node": tree({"l": None, "e": [entry(A, v=Link(link(LEAF_NODE)))]}, LEAF_NODE),
}

MALFORMED: dict[str, tuple[bytes, dict[bytes, bytes]]] = {
    "prefix shorter than it could be": tree({"l": None, "e": [entry(A), entry(B, shared(A, B) - 1)]}),
    "prefix left out": tree({"l": None, "e": [entry(A), entry(B)]}),
    "prefix longer than the previous key": tree({"l": None, "e": [entry(A), entry(A + b"x" * 9, len(A) + 1)]}),
    "prefix on the first entry": tree({"l": None, "e": [entry(A, 1)]}),
    "negative prefix": tree({"l": None, "e": [entry(A), {**entry(B, shared(A, B)), "p": -1}]}),
    "huge prefix": tree({"l": None, "e": [entry(A), {**entry(B), "p": 2**62}]}),
    "prefix that is a boolean": tree({"l": None, "e": [{**entry(A), "p": False}]}),
    "later prefix that is a boolean": tree({"l": None, "e": [entry(b"a"), {**entry(b"ab"), "p": True, "k": b"b"}]}),
    "prefix that is text": tree({"l": None, "e": [{**entry(A), "p": "0"}]}),
    "suffix that is text": tree({"l": None, "e": [{**entry(A), "k": A.decode()}]}),
    "suffix that is a link": tree({"l": None, "e": [{**entry(A), "k": Link(VALUE)}]}),
    "suffix that is a list": tree({"l": None, "e": [entry(A), {**entry(B, 1), "k": [255]}]}),
    "descending keys": tree({"l": None, "e": [entry(B), entry(A, shared(A, B))]}),
    "the same key twice": tree({"l": None, "e": [entry(A), entry(A, len(A))]}),
    "an empty key": tree({"l": None, "e": [entry(b"")]}),
    "a key of 1025 bytes": tree({"l": None, "e": [entry(b"k" * 1025)]}),
    "a key of 1025 bytes, most of them shared": tree(
        {"l": None, "e": [entry(LONGEST), entry(TOO_LONG, shared(LONGEST, TOO_LONG))]}
    ),
    "keys of two layers": tree({"l": None, "e": [entry(A), entry(MIDDLE, shared(A, MIDDLE))]}),
    "keys of two layers, the root's last": tree({"l": None, "e": [entry(LOW), entry(BETWEEN, shared(LOW, BETWEEN))]}),
    "a field too many": tree({**PLAIN, "x": None}),
    "a field too few": tree(without(PLAIN, "l")),
    "no entries field": tree(without(PLAIN, "e")),
    "an entry's field too many": tree({"l": None, "e": [entry(A, x=1)]}),
    "an absent child instead of null": tree({"l": None, "e": [without(entry(A), "t")]}),
    "no value": tree({"l": None, "e": [without(entry(A), "v")]}),
    "no prefix": tree({"l": None, "e": [without(entry(A), "p")]}),
    "no suffix": tree({"l": None, "e": [without(entry(A), "k")]}),
    "a null value": tree({"l": None, "e": [entry(A, v=None)]}),
    "a value of the raw codec": tree({"l": None, "e": [entry(A, v=Link(cid.PREFIX_RAW + bytes(32)))]}),
    "a value with a long hash": tree({"l": None, "e": [entry(A, v=Link(bytes.fromhex("01711340") + bytes(64)))]}),
    "a value that is bytes": tree({"l": None, "e": [entry(A, v=VALUE)]}),
    "a child that is bytes": tree({"l": None, "e": [entry(LOW, t=STUB)]}),
    "a child of the raw codec": tree({"l": None, "e": [entry(LOW, t=Link(cid.PREFIX_RAW + bytes(32)))]}),
    "a left child that is bytes": tree({"l": STUB, "e": [entry(LOW)]}),
    "a left child of the raw codec": tree({"l": Link(cid.PREFIX_RAW + bytes(32)), "e": [entry(LOW)]}),
    "a left child that is false": tree({"l": False, "e": [entry(LOW)]}),
    "entries that are a map": tree({"l": None, "e": {}}),
    "entries that are bytes": tree({"l": None, "e": b""}),
    "an entry that is a list": tree({"l": None, "e": [[0, A, None, Link(VALUE)]]}),
    "a list": tree([]),
    "a number": tree(b"\x00"),
    "nothing": tree(b""),
    "trailing bytes": tree(PLAIN_BYTES + b"\x00"),
    "a truncated node": tree(PLAIN_BYTES[:-1]),
    "a prefix that is not minimal": tree(PLAIN_BYTES.replace(b"\x61p\x00", b"\x61p\x18\x00")),
    "an array head that is not minimal": tree(PLAIN_BYTES.replace(b"\x61e\x82", b"\x61e\x98\x02")),
    "an indefinite array": tree(PLAIN_BYTES.replace(b"\x61e\x82", b"\x61e\x9f").replace(b"\x61l", b"\xff\x61l")),
    "fields out of order": tree(b"\xa2\x61l\xf6" + PLAIN_BYTES[1:-3]),
    "a root without entries": tree({"l": Link(link(PLAIN)), "e": []}, PLAIN),
    "a root without entries over a stub": tree({"l": Link(STUB), "e": []}),
    "a stub below layer 0": tree({"l": Link(STUB), "e": [entry(A)]}),
    "a stub below layer 0, on the right": tree({"l": None, "e": [entry(A, right=STUB)]}),
    "an empty child": tree({"l": Link(link(CHAIN_END)), "e": [entry(LOW)]}, CHAIN_END),
    "an empty child of a higher node": tree({"l": Link(link(CHAIN_END)), "e": [entry(ON_2)]}, CHAIN_END),
    "a node without entries on layer 0": tree({"l": None, "e": [entry(LOW, right=link(BRIDGE))]}, BRIDGE),
    "a layer left out": tree({"l": Link(link(LEAF_NODE)), "e": [entry(ON_2)]}, LEAF_NODE),
    "a bridge too many": tree({"l": Link(link(BRIDGE)), "e": [entry(HIGH)]}, BRIDGE, LEAF_NODE),
    "a child on its parent's layer": tree(
        {"l": None, "e": [entry(LOW, right=link({"l": None, "e": [entry(MIDDLE)]}))]}, {"l": None, "e": [entry(MIDDLE)]}
    ),
    "a child above its parent's layer": tree(
        {"l": None, "e": [entry(LOW, right=link({"l": None, "e": [entry(ON_3)]}))]}, {"l": None, "e": [entry(ON_3)]}
    ),
    "a child below its range": tree(
        {"l": None, "e": [entry(MIDDLE, right=link({"l": None, "e": [entry(A)]}))]}, {"l": None, "e": [entry(A)]}
    ),
    "a child above its range": tree({"l": Link(link(LEAF_NODE)), "e": [entry(LOW)]}, LEAF_NODE),
    "a child that has its parent's key": tree(
        {"l": None, "e": [entry(LOW, right=link({"l": None, "e": [entry(LOW)]}))]}, {"l": None, "e": [entry(LOW)]}
    ),
    "a stub linked twice": tree({"l": Link(STUB), "e": [entry(LOW, right=STUB)]}),
    "a child linked twice": tree({"l": Link(link(LEAF_NODE)), "e": [entry(HIGH, right=link(LEAF_NODE))]}, LEAF_NODE),
}


@pytest.mark.parametrize("case", WELL_FORMED)
def test_well_formed_slices_pass(case: str) -> None:
    """The helpers that make malformed trees make good ones, too: so it is the fault that gets those refused."""
    root, blocks = WELL_FORMED[case]
    assert sync11.invert(root, blocks, []) == root


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_trees_are_refused(case: str) -> None:
    root, blocks = MALFORMED[case]
    with pytest.raises(MstError):
        sync11.invert(root, blocks, [])
    with pytest.raises(MstError):
        list(mst.read_entries(root, blocks))


def below(case: tuple[bytes, dict[bytes, bytes]], depth: int) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """A case's tree on layer `depth` below a good root: root, blocks, and a key in another place of that root."""
    child, blocks = case
    blocks = dict(blocks)
    for _ in range(depth, 3):
        bridge = mst_node.encode(child, [])
        child = cid.for_block(bridge)
        blocks[child] = bridge
    first, second = key_on(4, "0"), key_on(4, "1")
    root, top = tree({"l": None, "e": [entry(first), entry(second, right=child)]})
    return root, blocks | top, first


@pytest.mark.parametrize("case", WELL_FORMED)
def test_well_formed_subtrees_pass_on_their_layer_only(case: str) -> None:
    def passes(depth: int) -> bool:
        root, blocks, key = below(WELL_FORMED[case], depth)
        return not isinstance(run(lambda: sync11.invert(root, blocks, [delta(key)])), Exception)

    assert [passes(depth) for depth in range(4)].count(True) == 1


@pytest.mark.parametrize("case", MALFORMED.keys() - {"a root without entries", "a root without entries over a stub"})
def test_malformed_subtrees_are_refused_where_nothing_touches_them(case: str) -> None:
    """Below a good root, in a place that the operation has nothing to do with. As a child, a bridge is fine."""
    for depth in range(4):
        root, blocks, key = below(MALFORMED[case], depth)
        with pytest.raises(MstError):
            sync11.invert(root, blocks, [delta(key)])
        stubs = {root: blocks[root]}
        assert sync11.invert(root, stubs, [delta(key)]) != root


def delta(key: bytes) -> sync11.RepoOp:
    return sync11.RepoOp("create", key.decode(), VALUE, None)


def test_an_absent_node_is_refused_where_the_whole_tree_is_needed() -> None:
    root, blocks = WELL_FORMED["a stub"]
    with pytest.raises(MstError):
        list(mst.read_entries(root, blocks))
    with pytest.raises(MstError):
        mst.covering_proof(root, blocks, [BETWEEN])
    with pytest.raises(MstError):
        list(mst.read_entries(root, {}))


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_node_or_an_mst_error(block: bytes) -> None:
    root = cid.for_block(block)
    for read in (
        lambda: sync11.invert(root, {root: block}, []),
        lambda: sync11.invert(root, {root: block}, [sync11.RepoOp("create", "a/b", VALUE, None)]),
        lambda: list(mst.read_entries(root, {root: block})),
        lambda: mst.covering_proof(root, {root: block}, [b"a/b"]),
    ):
        run(read)


shapes = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 1030)
    | st.sampled_from([b"", A, B, LOW, MIDDLE, VALUE])
    | st.sampled_from([Link(STUB), Link(VALUE), Link(link(LEAF_NODE)), Link(cid.PREFIX_RAW + bytes(32))])
    | st.text(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries({"p": inner, "k": inner, "v": inner, "t": inner})
        | st.fixed_dictionaries({"l": inner, "e": st.lists(inner, max_size=3)})
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=300)
@given(shapes)
def test_values_of_about_the_right_shape(value: Any) -> None:
    """Whatever is accepted is what a strict decoder and the model say it is."""
    root, blocks = tree(value, LEAF_NODE)
    result = run(lambda: list(mst.read_entries(root, blocks)))
    if isinstance(result, list):
        assert model_root(dict(result)) == root


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_mutated_nodes(data: st.DataObject) -> None:
    """A byte of a real node changed: refused, or canonical all the same (another record, another stub)."""
    rng = random.Random(3)
    root, blocks = mst.build({f"app.example.thing/{n:04}".encode(): random_cid(rng) for n in range(60)})
    raw = bytearray(blocks[root])
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    changed = cid.for_block(bytes(raw))
    result = run(lambda: sync11.invert(changed, {**blocks, changed: bytes(raw)}, []))
    if not isinstance(result, Exception):
        decoded: Any = dag_cbor.decode(bytes(raw))
        assert decoded.keys() == {"e", "l"}
        assert all(fields.keys() == {"k", "p", "t", "v"} for fields in decoded["e"])
