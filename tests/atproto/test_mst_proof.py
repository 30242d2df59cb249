"""The public commit-proof vectors: both roots, the exact covering proof, inversion in every order, and the failures."""

import json
import random
from itertools import combinations, permutations
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.trees import VALUE, ascending_on, key_on, random_cid
from zlay_py.atproto import cid, mst, sync11
from zlay_py.atproto.repo_op import RepoOp
from zlay_py.errors import InversionError, MstError

VECTORS = 6


class Vector(NamedTuple):
    value: bytes
    root_before: bytes
    root_after: bytes
    proof: set[bytes]
    before: dict[bytes, bytes]
    after: dict[bytes, bytes]
    ops: list[RepoOp]


def vector_of(fields: dict[str, Any]) -> Vector:
    value = cid.parse(fields["leafValue"])
    before = {key.encode(): value for key in fields["keys"]}
    after = before | {key.encode(): value for key in fields["adds"]}
    for key in fields["dels"]:
        del after[key.encode()]
    return Vector(
        value,
        cid.parse(fields["rootBeforeCommit"]),
        cid.parse(fields["rootAfterCommit"]),
        {cid.parse(text) for text in fields["blocksInProof"]},
        before,
        after,
        [
            *(RepoOp("create", key, value, None) for key in fields["adds"]),
            *(RepoOp("delete", key, None, value) for key in fields["dels"]),
        ],
    )


@pytest.fixture(scope="module")
def vectors(fixtures_dir: Path) -> list[Vector]:
    text = (fixtures_dir / "interop/firehose/commit-proof-fixtures.json").read_text()
    found = [vector_of(fields) for fields in json.loads(text)]
    assert len(found) == VECTORS
    return found


def proof_of(vector: Vector) -> dict[bytes, bytes]:
    blocks = mst.build(vector.after)[1]
    return {link: blocks[link] for link in vector.proof}


def attempt(vector: Vector, blocks: dict[bytes, bytes], ops: list[RepoOp]) -> bytes | None:
    try:
        return sync11.invert(vector.root_after, blocks, ops)
    except (InversionError, MstError):
        return None


@pytest.mark.needs_fixtures
@pytest.mark.parametrize("number", range(VECTORS))
def test_roots_and_covering_proof(vectors: list[Vector], number: int) -> None:
    vector = vectors[number]
    assert mst.build(vector.before)[0] == vector.root_before
    root, blocks = mst.build(vector.after)
    assert root == vector.root_after
    assert mst.covering_proof(root, blocks, [op.path.encode() for op in vector.ops]) == vector.proof


@pytest.mark.needs_fixtures
@pytest.mark.parametrize("number", range(VECTORS))
def test_inversion_in_every_order(vectors: list[Vector], number: int) -> None:
    vector = vectors[number]
    for ops in permutations(vector.ops):
        assert sync11.invert(vector.root_after, proof_of(vector), ops) == vector.root_before


@pytest.mark.needs_fixtures
@pytest.mark.parametrize("number", range(VECTORS))
def test_operations_left_out_or_falsified(vectors: list[Vector], number: int) -> None:
    vector = vectors[number]
    other = cid.for_block(b"another record")
    for index, op in enumerate(vector.ops):
        lies = [
            op._replace(path=op.path + "x"),
            op._replace(cid=other) if op.cid else op._replace(prev=other),
            RepoOp("delete", op.path, None, vector.value) if op.cid else RepoOp("create", op.path, vector.value, None),
            RepoOp("update", op.path, vector.value, other),
        ]
        for replacement in ([], *([lie] for lie in lies)):
            ops = [*vector.ops[:index], *replacement, *vector.ops[index + 1 :]]
            assert attempt(vector, proof_of(vector), ops) != vector.root_before


@pytest.mark.needs_fixtures
@pytest.mark.parametrize("number", range(VECTORS))
def test_blocks_left_out(vectors: list[Vector], number: int) -> None:
    """Some of a covering proof is redundant; what is left may do, and never gives another root."""
    vector = vectors[number]
    blocks = proof_of(vector)
    results = [
        attempt(vector, {link: blocks[link] for link in links}, vector.ops)
        for size in range(len(blocks))
        for links in combinations(blocks, size)
    ]
    assert set(results) <= {None, vector.root_before}
    assert None in results


def test_the_proof_of_an_absent_key_is_the_path_to_its_place() -> None:
    low, high = key_on(0, "a"), key_on(2, "b")
    root, blocks = mst.build({low: VALUE, high: VALUE})
    # Left of `high`: the bridge and the node of `low`. Right of it: nothing.
    assert mst.covering_proof(root, blocks, [b"a/0"]) == set(blocks)
    assert mst.covering_proof(root, blocks, [b"z/0"]) == {root}
    assert mst.covering_proof(root, blocks, []) == set()
    assert mst.covering_proof(mst.EMPTY_ROOT, mst.build({})[1], [b"a/0"]) == {mst.EMPTY_ROOT}


def test_the_proof_of_a_present_key_is_the_path_and_both_neighbours() -> None:
    keys = ascending_on(0, 40)
    middle = next(key for key in ascending_on(2, 3) if keys[0] < key < keys[-1])
    root, blocks = mst.build(dict.fromkeys([*keys, middle], VALUE))
    proof = mst.covering_proof(root, blocks, [middle])
    slice_of = {link: blocks[link] for link in proof}
    op = RepoOp("create", middle.decode(), VALUE, None)
    assert sync11.invert(root, slice_of, [op]) == mst.build(dict.fromkeys(keys, VALUE))[0]


def test_a_batch_inverts_where_an_order_of_single_steps_fails() -> None:
    """With the new nodes alone, an operation may need a stub unless another one is undone before it."""
    rng = random.Random(11)
    batches = stuck = 0
    for _ in range(60):
        keys = sorted({b"a/%06d" % rng.randrange(10**6) for _ in range(60)})
        new = set(rng.sample(keys, 12))
        old = {key: random_cid(rng) for key in keys if key not in new}
        after = old | {key: random_cid(rng) for key in new}
        old_root, old_blocks = mst.build(old)
        root, blocks = mst.build(after)
        fresh = {link: block for link, block in blocks.items() if link not in old_blocks}
        ops = [RepoOp("create", key.decode(), after[key], None) for key in sorted(new)]
        try:
            assert sync11.invert(root, fresh, ops) == old_root
        except InversionError:
            continue
        batches += 1
        stuck += not all(undoes_alone(root, fresh, op) for op in ops)
    assert 0 < stuck < batches


def undoes_alone(root: bytes, blocks: dict[bytes, bytes], op: RepoOp) -> bool:
    try:
        sync11.invert(root, blocks, [op])
    except InversionError:
        return False
    return True
