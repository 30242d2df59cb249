"""The tree: layers, and building against an independent model, the published roots and vectors."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.trees import VALUE, model_layer, model_root, random_cid
from zlay_py.atproto import cid, dag_cbor, mst, mst_node, sync11

KNOWN_PREFIX = "com.example.record/3jqfcqzm"
SIX = "3fn2j 3fo2j 3fp2j 3fs2j 3ft2j 3fu2j"
KNOWN_ROOTS = {
    "": "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm",
    "3fo2j": "bafyreibj4lsc3aqnrvphp5xmrnfoorvru4wynt6lwidqbm2623a6tatzdu",
    "3fx2j": "bafyreih7wfei65pxzhauoibu3ls7jgmkju4bspy4t2ha2qdjnzqvoy33ai",
    "3fp2j 3fr2j 3fs2j 3ft2j 4fc2j": "bafyreicmahysq4n6wfuxo522m6dpiy7z7qzym3dzs756t5n7nfdgccwq7m",
    SIX: "bafyreifnqrwbk6ffmyaz5qtujqrzf5qmxf7cbxvgzktl4e3gabuxbtatv4",
    SIX.replace(" 3fs2j", ""): "bafyreie4kjuxbwkhzg2i5dljaswcroeih4dgiqq6pazcmunwt2byd725vi",
}


@pytest.mark.parametrize("names", KNOWN_ROOTS)
def test_known_roots(names: str) -> None:
    """The roots that the reference implementations' own tests name."""
    entries = {f"{KNOWN_PREFIX}{name}".encode(): VALUE for name in names.split()}
    root, blocks = mst.build(entries)
    assert cid.to_string(root) == KNOWN_ROOTS[names]
    assert dict(mst.read_entries(root, blocks)) == entries


def test_empty_root() -> None:
    assert cid.to_string(mst.EMPTY_ROOT) == KNOWN_ROOTS[""]
    assert mst.build({}) == (mst.EMPTY_ROOT, {mst.EMPTY_ROOT: dag_cbor.encode({"e": [], "l": None})})


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("2653ae71", 0),
        ("blue", 1),
        ("app.bsky.feed.post/454397e440ec", 4),
        ("app.bsky.feed.post/9adeb165882c", 8),
        ("key1", 0),
        ("key7", 1),
        ("key515", 4),
    ],
)
def test_layer(key: str, expected: int) -> None:
    assert mst.layer(key.encode()) == expected
    for depth in range(10):
        assert mst_node.all_on_layer([key.encode()], depth) == (depth == expected)


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_layer_and_common_prefix_against_their_definitions(start: bytes, a: bytes, b: bytes) -> None:
    left, right = start + a, start + b
    shared = mst.common_prefix_length(left, right)
    assert left[:shared] == right[:shared]
    assert left[shared : shared + 1] != right[shared : shared + 1] or shared == len(left) == len(right)
    assert mst.layer(left) == model_layer(left)


@pytest.mark.needs_fixtures
def test_interop_key_heights(fixtures_dir: Path) -> None:
    vectors = json.loads((fixtures_dir / "interop/mst/key_heights.json").read_text())
    assert len(vectors) == 9
    for vector in vectors:
        assert mst.layer(vector["key"].encode()) == vector["height"], vector


@pytest.mark.needs_fixtures
def test_interop_common_prefix(fixtures_dir: Path) -> None:
    vectors = json.loads((fixtures_dir / "interop/mst/common_prefix.json").read_text())
    assert len(vectors) == 13
    for vector in vectors:
        assert mst.common_prefix_length(vector["left"].encode(), vector["right"].encode()) == vector["len"], vector


@pytest.mark.needs_fixtures
def test_interop_example_keys(fixtures_dir: Path) -> None:
    lines = [line for line in (fixtures_dir / "interop/mst/example_keys.txt").read_text().split("\n") if line]
    assert len(lines) == 156
    assert [mst.layer(line.encode()) for line in lines] == [int(line[1]) for line in lines]
    entries = {line.encode(): VALUE for line in lines}
    root, blocks = mst.build(entries)
    assert root == model_root(entries)
    assert list(mst.read_entries(root, blocks)) == sorted(entries.items())


@settings(deadline=None)
@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=12) | st.from_regex(rb"[a-c]/[0-9]{1,3}", fullmatch=True), st.just(VALUE)
    )
)
def test_build_is_the_model(entries: dict[bytes, bytes]) -> None:
    """Keys of any bytes, those that look like CIDs to a decoder included."""
    root, blocks = mst.build(entries)
    assert root == model_root(entries)
    assert list(mst.read_entries(root, blocks)) == sorted(entries.items())
    assert all(cid.for_block(block) == link for link, block in blocks.items())
    assert sync11.invert(root, blocks, []) == root


def test_build_of_a_thousand() -> None:
    rng = random.Random(5)
    entries = {f"app.example.thing/{rng.randrange(10**9)}".encode(): random_cid(rng) for _ in range(1000)}
    root, blocks = mst.build(entries)
    assert root == model_root(entries)
    assert dict(mst.read_entries(root, blocks)) == entries


def test_keys_that_look_like_cids() -> None:
    """A suffix that parses as a CID stays a byte string, on the way in and out."""
    entries = {b"\x00" * n + VALUE + bytes([n]): VALUE for n in range(30)} | {b"\x12\x20" + bytes(range(32)): VALUE}
    root, blocks = mst.build(entries)
    assert root == model_root(entries)
    assert dict(mst.read_entries(root, blocks)) == entries
    # Operations have paths of text: one that is a CIDv1 of no length at all to a lenient decoder.
    path = "\x01q\x12\x00"
    root, blocks = mst.build(entries | {path.encode(): VALUE})
    assert sync11.invert(root, blocks, [sync11.RepoOp("create", path, VALUE, None)]) == model_root(entries)


@pytest.mark.parametrize(
    "entries", [{b"": VALUE}, {b"k" * 1025: VALUE}, {b"k": b"v"}, {b"k": cid.PREFIX_RAW + bytes(32)}]
)
def test_build_refuses_its_callers_mistakes(entries: dict[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="a key of 1 to 1024 bytes"):
        mst.build(entries)
