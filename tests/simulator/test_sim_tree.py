"""The simulator's own Merkle search tree against its definition, as the product has it, and public vectors."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.simulator.cbor import cid
from tools.simulator.worlds.tree import Edited, Tree, layer
from zlay_py.atproto import cid as product_cid
from zlay_py.atproto import mst, sync11
from zlay_py.atproto.repo_op import RepoOp
from zlay_py.errors import InversionError

EMPTY = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
LEAF = product_cid.parse("bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454")

Changes = dict[bytes, bytes | None]

numbers = st.integers(0, 90)  # few, so that edits meet
edits = st.lists(
    st.dictionaries(numbers, st.one_of(st.none(), st.integers(0, 3)), min_size=1, max_size=12), min_size=1, max_size=25
)


def key(number: int) -> bytes:
    return f"a.b.{'cd'[number % 2]}/{number:03}".encode()


def check(before: Tree, edited: Edited, changes: Changes, entries: dict[bytes, bytes]) -> None:
    """All that there is to say about one edit, against trees that are built anew."""
    tree, new = edited
    old_entries = dict(before.entries())
    root, blocks = mst.build(entries)
    assert tree.root == root
    assert {node.cid: node.block for node in tree.nodes()} == blocks
    assert {node.cid for node in new} == blocks.keys() - mst.build(old_entries)[1].keys()
    proof = {node.cid: node.block for node in tree.proof(changes)}
    assert proof.keys() == mst.covering_proof(root, blocks, list(changes))
    ops = operations(old_entries, changes)
    slice_ = proof | {node.cid: node.block for node in new}
    assert sync11.invert(root, slice_, ops) == before.root
    assert sync11.examine(root, slice_, ops).undecided == ()


def operations(before: dict[bytes, bytes], changes: Changes) -> list[RepoOp]:
    return [
        RepoOp(
            "delete" if after is None else "update" if key in before else "create",
            key.decode(),
            after,
            before.get(key),
        )
        for key, after in changes.items()
    ]


@given(edits)
@settings(deadline=None)
def test_any_sequence_of_edits(sequence: list[dict[int, int | None]]) -> None:
    tree, entries = Tree(), dict[bytes, bytes]()
    versions: list[tuple[Tree, bytes, int]] = []
    for edit in sequence:
        changes: Changes = {
            key(number): None if value is None else cid(b"record %d" % value)
            for number, value in edit.items()
            if value is not None or key(number) in entries
        }
        edited = tree.edit(changes)
        entries = {k: v for k, v in (entries | changes).items() if v is not None}
        check(tree, edited, changes, entries)
        versions.append((tree, tree.root, len(tree)))
        tree = edited.tree
        assert [tree.key_at(index) for index in range(len(tree))] == sorted(entries)
        assert list(tree.entries()) == sorted(entries.items())
        assert all(tree.get(key(number)) == entries.get(key(number)) for number in range(0, 90, 7))
    # Later edits have not touched what they share with earlier versions.
    for version, root, size in versions:
        assert mst.build(dict(version.entries()))[0] == version.root == root
        assert len(version) == size


def test_a_large_tree_edited_often() -> None:
    rng = random.Random(5)
    entries = {b"app.bsky.feed.post/%06d" % rng.randrange(10**6): cid(rng.randbytes(4)) for _ in range(3000)}
    tree = Tree().edit(dict(entries)).tree
    for round_ in range(60):
        changes: Changes = {b"app.bsky.feed.post/%06d" % rng.randrange(10**6): cid(rng.randbytes(4))}
        changes |= dict.fromkeys(rng.sample(sorted(entries), round_ % 5))
        edited = tree.edit(changes)
        entries = {k: v for k, v in (entries | changes).items() if v is not None}
        check(tree, edited, changes, entries)
        tree = edited.tree


def test_trees_share_what_they_have_in_common() -> None:
    tree = Tree().edit({b"a/%04d" % number: LEAF for number in range(1000)}).tree
    before = {id(node) for node in tree.nodes()}
    edited = tree.edit({b"a/0500x": LEAF})
    after = {id(node) for node in edited.tree.nodes()}
    assert after - before == {id(node) for node in edited.new}
    assert len(edited.new) < 12


def test_a_subtree_that_stays_is_not_new() -> None:
    """All keys on one side of a higher one go, with it: what was on its other side is what it was."""
    low, high = (next(item for item in names("a/x") if layer(item) == depth) for depth in (0, 2))
    after = [item for item in names(high.decode()) if layer(item) == 0][:3]
    tree = Tree().edit({low: LEAF, high: LEAF} | dict.fromkeys(after, LEAF)).tree
    edited = tree.edit(dict.fromkeys((high, *after)))
    assert edited.tree.root == Tree().edit({low: LEAF}).tree.root
    assert edited.new == []


def names(prefix: str) -> list[bytes]:
    return [f"{prefix}{number:03}".encode() for number in range(200)]


def test_the_proof_is_needed_and_enough() -> None:
    """Where two subtrees don't have to be merged, what is next to a deleted key is not new."""
    tree = Tree().edit({key(number): LEAF for number in range(90)}).tree
    failed = 0
    for number in range(90):
        edited = tree.edit({key(number): None})
        ops = operations({key(number): LEAF}, {key(number): None})
        new = {node.cid: node.block for node in edited.new}
        proof = {node.cid: node.block for node in edited.tree.proof([key(number)])}
        assert sync11.invert(edited.tree.root, proof, ops) == tree.root
        for name in proof:
            try:
                assert sync11.invert(edited.tree.root, without(new | proof, name), ops) == tree.root
            except InversionError:
                failed += name not in new
    assert failed > 3


def without(blocks: dict[bytes, bytes], name: bytes) -> dict[bytes, bytes]:
    return {other: block for other, block in blocks.items() if other != name}


def test_an_edit_that_changes_nothing() -> None:
    tree = Tree().edit({b"a/b": LEAF}).tree
    assert tree.edit({}).new == []
    assert tree.edit({}).tree.top is tree.top
    assert tree.edit({b"a/b": LEAF}).new == []
    assert Tree().edit({}).new == []


def test_the_empty_tree_is_a_node() -> None:
    assert product_cid.to_string(Tree().root) == EMPTY
    emptied = Tree().edit({b"a/b": LEAF}).tree.edit({b"a/b": None})
    assert [product_cid.to_string(node.cid) for node in emptied.new] == [EMPTY]
    assert len(emptied.tree) == 0


def test_what_is_not_there() -> None:
    tree = Tree().edit({b"a/b": LEAF}).tree
    with pytest.raises(KeyError):
        tree.edit({b"a/c": None})
    for index in (-1, 1):
        with pytest.raises(IndexError):
            tree.key_at(index)
    assert tree.get(b"a/c") is None


@pytest.mark.parametrize(
    ("names", "root"),
    [
        ("3fo2j", "bafyreibj4lsc3aqnrvphp5xmrnfoorvru4wynt6lwidqbm2623a6tatzdu"),
        ("3fx2j", "bafyreih7wfei65pxzhauoibu3ls7jgmkju4bspy4t2ha2qdjnzqvoy33ai"),
        ("3fp2j 3fr2j 3fs2j 3ft2j 4fc2j", "bafyreicmahysq4n6wfuxo522m6dpiy7z7qzym3dzs756t5n7nfdgccwq7m"),
        ("3fn2j 3fo2j 3fp2j 3fs2j 3ft2j 3fu2j", "bafyreifnqrwbk6ffmyaz5qtujqrzf5qmxf7cbxvgzktl4e3gabuxbtatv4"),
    ],
)
def test_known_roots(names: str, root: str) -> None:
    """As the reference implementations have them in their tests."""
    changes: Changes = {f"com.example.record/3jqfcqzm{name}".encode(): LEAF for name in names.split()}
    assert product_cid.to_string(Tree().edit(changes).tree.root) == root


@pytest.mark.needs_fixtures
def test_public_vectors(fixtures_dir: Path) -> None:
    heights = json.loads((fixtures_dir / "interop/mst/key_heights.json").read_text())
    assert [layer(item["key"].encode()) for item in heights] == [item["height"] for item in heights]
    proofs = json.loads((fixtures_dir / "interop/firehose/commit-proof-fixtures.json").read_text())
    assert len(proofs) > 3
    for vector in proofs:
        leaf = product_cid.parse(vector["leafValue"])
        tree = Tree().edit({name.encode(): leaf for name in vector["keys"]}).tree
        changes: Changes = {name.encode(): leaf for name in vector["adds"]}
        changes |= {name.encode(): None for name in vector["dels"]}
        edited = tree.edit(changes)
        assert product_cid.to_string(tree.root) == vector["rootBeforeCommit"]
        assert product_cid.to_string(edited.tree.root) == vector["rootAfterCommit"]
        proof = {product_cid.to_string(node.cid) for node in edited.tree.proof(changes)}
        assert proof == set(vector["blocksInProof"]), vector["comment"]
