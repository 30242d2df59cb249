"""Operation inversion against a model of the whole tree: random commits, slices of every size, operations that lie."""

import random
from collections.abc import Iterable
from itertools import permutations
from typing import NamedTuple

import pytest

from tests.support.trees import VALUE, key_on, random_cid
from zlay_py.atproto import cid, mst, sync11
from zlay_py.atproto.repo_op import RepoOp
from zlay_py.errors import InversionError, MstError

COLLECTIONS = ("app.example.a", "app.example.b", "app.example.b.c", "app.example.d")


def key_pool() -> list[bytes]:
    """Keys of four collections, and as many of them on layers 0 to 4: real trees would take thousands."""
    pool = []
    for collection in COLLECTIONS:
        for depth in range(5):
            key = b""
            for _ in range(5):
                key = key_on(depth, collection, after=key)
                pool.append(key)
    return pool


POOL = key_pool()


class Commit(NamedTuple):
    """`new`, `old`: all entries. `proof`: CIDs of the covering proof. `fresh`: nodes that the old tree lacks."""

    old: dict[bytes, bytes]
    new: dict[bytes, bytes]
    old_root: bytes
    root: bytes
    blocks: dict[bytes, bytes]
    proof: set[bytes]
    fresh: set[bytes]
    ops: list[RepoOp]

    def slice(self, links: Iterable[bytes]) -> dict[bytes, bytes]:
        return {link: self.blocks[link] for link in links}

    def keys(self) -> list[bytes]:
        return [op.path.encode() for op in self.ops]


def commit_of(old: dict[bytes, bytes], ops: list[RepoOp]) -> Commit:
    new = dict(old)
    for op in ops:
        if op.cid is None:
            del new[op.path.encode()]
        else:
            new[op.path.encode()] = op.cid
    old_root, old_blocks = mst.build(old)
    root, blocks = mst.build(new)
    proof = mst.covering_proof(root, blocks, [op.path.encode() for op in ops])
    return Commit(old, new, old_root, root, blocks, proof, blocks.keys() - old_blocks.keys(), ops)


def random_commit(rng: random.Random, ops_max: int = 6) -> Commit:
    old = {key: random_cid(rng) for key in rng.sample(POOL, rng.choice((0, 1, 2, 5, 20, 40, 90)))}
    absent = sorted(POOL_SET - old.keys())
    ops: list[RepoOp] = []
    touched: set[bytes] = set()
    for _ in range(rng.randint(1, ops_max)):
        present = sorted(old.keys() - touched)
        action = rng.choice(("create", "update", "delete") if present else ("create",))
        key = rng.choice(absent if action == "create" else present)
        if key in touched:
            continue
        touched.add(key)
        new = None if action == "delete" else random_cid(rng)
        ops.append(RepoOp(action, key.decode(), new, old.get(key)))
    return commit_of(old, ops)


POOL_SET = set(POOL)


def attempt(root: bytes, blocks: dict[bytes, bytes], ops: list[RepoOp]) -> bytes | None:
    try:
        return sync11.invert(root, blocks, ops)
    except (MstError, InversionError):
        return None


@pytest.mark.parametrize("seed", range(30))
def test_covering_proofs_invert_in_every_order(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(12):
        commit = random_commit(rng)
        slices = (commit.blocks, commit.slice(commit.proof), commit.slice(commit.proof | commit.fresh))
        for ops in permutations(commit.ops[:4]) if len(commit.ops) <= 4 else (commit.ops, commit.ops[::-1]):
            for blocks in slices:
                assert sync11.invert(commit.root, blocks, list(ops)) == commit.old_root


@pytest.mark.parametrize("seed", range(30))
def test_smaller_slices_fail_or_tell_the_truth(seed: int) -> None:
    """Only the new nodes, any one node less than the proof, any subset: never a wrong root.

    With one exception that no host can use: where a stub is all that is left, its CID is the answer, and if that
    node has no entries, it can't have been a root.
    """
    rng = random.Random(seed)
    for _ in range(12):
        commit = random_commit(rng)
        bridges = {link for link, block in commit.blocks.items() if block.startswith(b"\xa2\x61e\x80")}
        slices = [commit.fresh, *(commit.proof - {link} for link in commit.proof)]
        slices += [set(rng.sample(sorted(commit.blocks), rng.randint(0, len(commit.blocks)))) for _ in range(20)]
        for links in slices:
            result = attempt(commit.root, commit.slice(links), commit.ops)
            assert result in (None, commit.old_root) or result in bridges - links


def test_smaller_slices_both_fail_and_succeed() -> None:
    """So that the test above is about something."""
    rng = random.Random(7)
    commits = [random_commit(rng) for _ in range(100)]
    fresh = [attempt(commit.root, commit.slice(commit.fresh), commit.ops) for commit in commits]
    assert 10 < fresh.count(None) < 90


def falsified(rng: random.Random, commit: Commit) -> list[list[RepoOp]]:
    """The operations with one lie each."""
    lies: list[list[RepoOp]] = []
    for index, op in enumerate(commit.ops):
        other = rng.choice(POOL).decode()
        changed: list[RepoOp | None] = [None]
        if op.cid is not None:
            changed += [op._replace(cid=random_cid(rng))]
        if op.prev is not None:
            changed += [op._replace(prev=random_cid(rng))]
        if other not in {other_op.path for other_op in commit.ops}:
            changed += [op._replace(path=other)]
        changed += [
            RepoOp("create", op.path, op.cid or random_cid(rng), None) if op.action != "create" else None,
            RepoOp("update", op.path, op.cid or random_cid(rng), op.prev or random_cid(rng))
            if op.action != "update"
            else None,
            RepoOp("delete", op.path, None, op.prev or random_cid(rng)) if op.action != "delete" else None,
        ]
        before, after = commit.ops[:index], commit.ops[index + 1 :]
        lies += [[*before, lie, *after] if lie else [*before, *after] for lie in changed]
    others = [key for key in POOL if key.decode() not in {op.path for op in commit.ops}]
    for key in rng.sample(others, 3):
        value = commit.new.get(key)
        if value is None:
            lies.append([*commit.ops, RepoOp("delete", key.decode(), None, random_cid(rng))])
        else:
            lies.append([*commit.ops, RepoOp("create", key.decode(), value, None)])
            lies.append([*commit.ops, RepoOp("update", key.decode(), value, random_cid(rng))])
    return lies


@pytest.mark.parametrize("seed", range(20))
def test_a_lie_never_gives_the_previous_root(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(10):
        commit = random_commit(rng)
        for ops in falsified(rng, commit):
            for blocks in (commit.blocks, commit.slice(commit.proof | commit.fresh)):
                assert attempt(commit.root, blocks, ops) != commit.old_root


@pytest.mark.parametrize("seed", range(20))
def test_whole_trees_invert_to_whatever_the_operations_say(seed: int) -> None:
    """With all nodes there, any operations that fit the new tree have an answer: the tree without them."""
    rng = random.Random(seed)
    for _ in range(20):
        new = {key: random_cid(rng) for key in rng.sample(POOL, rng.randint(0, 60))}
        root, blocks = mst.build(new)
        old = dict(new)
        ops = []
        for key in rng.sample(POOL, rng.randint(1, 40)):
            if key in new and rng.random() < 0.7:
                del old[key]
                ops.append(RepoOp("create", key.decode(), new[key], None))
            else:
                old[key] = random_cid(rng)
                action = "update" if key in new else "delete"
                ops.append(RepoOp(action, key.decode(), new.get(key), old[key]))
        assert sync11.invert(root, blocks, ops) == mst.build(old)[0]


def test_a_first_commit_inverts_to_the_empty_root() -> None:
    ops = [RepoOp("create", key.decode(), VALUE, None) for key in POOL]
    commit = commit_of({}, ops)
    assert sync11.invert(commit.root, commit.blocks, ops) == mst.EMPTY_ROOT


def test_deleting_everything() -> None:
    old = dict.fromkeys(POOL, VALUE)
    ops = [RepoOp("delete", key.decode(), None, VALUE) for key in POOL]
    commit = commit_of(old, ops)
    assert commit.root == mst.EMPTY_ROOT
    assert sync11.invert(commit.root, commit.blocks, ops) == commit.old_root


def test_what_is_left_collapses_to_a_stub() -> None:
    """The removed key was all that the top had: what is below becomes the root, though the slice doesn't have it."""
    high, low = key_on(3, "b"), key_on(0, "a")
    commit = commit_of({low: VALUE}, [RepoOp("create", high.decode(), VALUE, None)])
    assert sync11.invert(commit.root, commit.slice(commit.proof - {commit.old_root}), commit.ops) == commit.old_root


def test_only_what_has_to_be_opened_is_opened() -> None:
    """Between two removed keys a high subtree and a low stub meet: the high one takes the stub in as it is."""
    first = key_on(1, "a")
    upper = key_on(2, "b")
    low = key_on(0, "c")
    lower = key_on(1, "d")
    top = key_on(3, "e")
    old = dict.fromkeys((first, low, top), VALUE)
    commit = commit_of(old, [RepoOp("create", key.decode(), VALUE, None) for key in (upper, lower)])
    stub = mst.build({low: VALUE})[0]
    assert sync11.invert(commit.root, commit.slice(commit.blocks.keys() - {stub}), commit.ops) == commit.old_root


def test_no_operations() -> None:
    root, blocks = mst.build({b"a/b": VALUE})
    assert sync11.examine(root, blocks, []) == (root, (), (), ())
    assert sync11.invert(root, {}, []) == root
    with pytest.raises(MstError):
        sync11.invert(root, {root: b"\xa0"}, [])


def test_an_update_to_the_same_record_is_no_change() -> None:
    root, blocks = mst.build({b"a/b": VALUE})
    assert sync11.invert(root, blocks, [RepoOp("update", "a/b", VALUE, VALUE)]) == root


PATH = "app.example.a/self"
MALFORMED_OPS = {
    "unknown action": [RepoOp("upsert", PATH, VALUE, None)],
    "create without a cid": [RepoOp("create", PATH, None, None)],
    "create with a prev": [RepoOp("create", PATH, VALUE, VALUE)],
    "update without a prev": [RepoOp("update", PATH, VALUE, None)],
    "update without a cid": [RepoOp("update", PATH, None, VALUE)],
    "delete with a cid": [RepoOp("delete", PATH, VALUE, VALUE)],
    "delete without a prev": [RepoOp("delete", PATH, None, None)],
    "a cid of the raw codec": [RepoOp("create", PATH, cid.PREFIX_RAW + bytes(32), None)],
    "a short prev": [RepoOp("delete", PATH, None, VALUE[:-1])],
    "one path twice": [RepoOp("create", PATH, VALUE, None), RepoOp("delete", PATH, None, VALUE)],
    "one path twice, apart": [RepoOp("create", path, VALUE, None) for path in (PATH, "app.example.z/a", PATH)],
    "an empty path": [RepoOp("create", "", VALUE, None)],
    "a path over 1024 bytes": [RepoOp("delete", "app.example.a/" + "k" * 1011, None, VALUE)],
    "a path that is no text": [RepoOp("create", "app.example.a/\ud800", VALUE, None)],
}


@pytest.mark.parametrize("case", MALFORMED_OPS)
def test_malformed_operations(case: str) -> None:
    ops = MALFORMED_OPS[case]
    with pytest.raises(InversionError):
        sync11.check_ops(ops)
    root, blocks = mst.build({PATH.encode(): VALUE})
    with pytest.raises(InversionError):
        sync11.invert(root, blocks, ops)


@pytest.mark.parametrize(
    "path", ["app.example.a", "app.example.a/", "/self", "a/b", "app.example.a/b/c", "app.example.a/.."]
)
def test_paths_that_are_none(path: str) -> None:
    """`invert` leaves the syntax of paths to `check_ops`: the public vectors have keys like `A0/374913`."""
    with pytest.raises(InversionError):
        sync11.check_ops([RepoOp("create", path, VALUE, None)])


def test_operations_that_are_fine() -> None:
    sync11.check_ops(
        [
            RepoOp("create", PATH, VALUE, None),
            RepoOp("update", PATH + "1", VALUE, VALUE),
            RepoOp("delete", PATH + "2", None, VALUE),
        ]
    )
    sync11.check_ops([])


def test_the_root_has_to_be_there() -> None:
    with pytest.raises(InversionError):
        sync11.invert(VALUE, {}, [RepoOp("create", PATH, VALUE, None)])
    with pytest.raises(InversionError):
        sync11.collections_touched(VALUE, {}, [RepoOp("create", PATH, VALUE, None)])


# Collections ---------------------------------------------------------------------------------------------------------


def collection_of(path: str) -> str:
    return path.partition("/")[0]


def left_in(commit: Commit) -> set[str]:
    return {collection_of(key.decode()) for key in commit.new}


@pytest.mark.parametrize("seed", range(30))
def test_collections_against_the_whole_tree(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(20):
        commit = random_commit(rng)
        created = {collection_of(op.path) for op in commit.ops if op.action == "create"}
        gone = {collection_of(op.path) for op in commit.ops if op.action == "delete"} - left_in(commit)
        blocks = commit.slice(commit.proof | commit.fresh)
        examined = sync11.examine(commit.root, blocks, commit.ops)
        expected = (tuple(sorted(created)), tuple(sorted(gone)), ())
        assert examined == (commit.old_root, *expected)
        assert sync11.collections_touched(commit.root, blocks, commit.ops) == expected
        assert (
            sync11.collections_touched(commit.root, blocks, [op._replace(prev=None) for op in commit.ops]) == expected
        )


@pytest.mark.parametrize("seed", range(30))
def test_collections_from_smaller_slices(seed: int) -> None:
    """What is certain is true; only deletes leave open questions; nothing is named twice."""
    rng = random.Random(seed)
    for _ in range(20):
        commit = random_commit(rng)
        created = {collection_of(op.path) for op in commit.ops if op.action == "create"}
        deleted = {collection_of(op.path) for op in commit.ops if op.action == "delete"}
        links = {commit.root, *rng.sample(sorted(commit.blocks), rng.randint(0, len(commit.blocks)))}
        touched = sync11.collections_touched(commit.root, commit.slice(links), commit.ops)
        assert set(touched.added) == created
        assert set(touched.removed) <= deleted - left_in(commit)
        assert set(touched.undecided) <= deleted - created - set(touched.removed)
        assert deleted - left_in(commit) <= {*touched.removed, *touched.undecided}


def test_collections_that_only_a_stub_could_tell_of() -> None:
    gone, next_to_it = key_on(0, "app.example.a"), key_on(2, "app.example.a", after=key_on(0, "app.example.a"))
    top = key_on(4, "app.example.b")
    commit = commit_of({gone: VALUE, next_to_it: VALUE, top: VALUE}, [RepoOp("delete", gone.decode(), None, VALUE)])
    only_root = commit.slice([commit.root])
    assert sync11.collections_touched(commit.root, only_root, commit.ops).undecided == ("app.example.a",)
    assert sync11.collections_touched(commit.root, commit.blocks, commit.ops) == ((), (), ())
    # Of a create the host says that the collection is there. An update that nobody can see shows nothing.
    for action, expected in (("create", (("app.example.a",), (), ())), ("update", ((), (), ("app.example.a",)))):
        ops = [*commit.ops, RepoOp(action, next_to_it.decode(), VALUE, None)]
        assert sync11.collections_touched(commit.root, only_root, ops) == expected


def test_collections_whose_names_begin_alike() -> None:
    """`app.example.b.c` sorts right before `app.example.b/`: a neighbour, and another collection."""
    old = {b"app.example.b.c/1": VALUE, b"app.example.b/1": VALUE, b"app.example.b0/1": VALUE}
    commit = commit_of(old, [RepoOp("delete", "app.example.b/1", None, VALUE)])
    assert sync11.examine(commit.root, commit.blocks, commit.ops).removed == ("app.example.b",)


def test_collections_of_operations_that_do_not_fit() -> None:
    root, blocks = mst.build({b"a/b": VALUE})
    for op in (RepoOp("delete", "a/b", None, None), RepoOp("create", "a/c", VALUE, None)):
        with pytest.raises(InversionError):
            sync11.collections_touched(root, blocks, [op])
    for op in (RepoOp("delete", "a/b", VALUE, None), RepoOp("create", "a/c", None, None)):
        with pytest.raises(InversionError, match="a delete with a CID"):
            sync11.collections_touched(root, blocks, [op])
    assert sync11.collections_touched(root, {}, []) == ((), (), ())
