"""Every #commit that two reference PDSes sent: the operations lead back to what the commit says was there before."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from zlay_py.atproto import car, cid, commit, events, frame, mst, sync11
from zlay_py.atproto.frame import FrameKind
from zlay_py.errors import InversionError

pytestmark = pytest.mark.needs_fixtures

COMMITS = 3936
FIRST_COMMITS = 47
"""Of these, with `since` null: one for each DID but one, which comes into the stream with a #sync."""


class Recorded(NamedTuple):
    source: str
    seq: int
    did: str
    kind: FrameKind
    rev: str
    since: str | None
    data: bytes
    prev_data: bytes | None
    blocks: dict[bytes, bytes]
    ops: tuple[sync11.RepoOp, ...]


def messages(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    position = 0
    while position < len(data):
        start = position + 4
        position = start + int.from_bytes(data[position:start], "big")
        yield data[start:position]


def recorded(folder: Path) -> Iterator[Recorded]:
    """The #commit and #sync frames, in the order in which each PDS sent them."""
    for source in ("pds0", "pds1"):
        for message in messages(folder / f"{source}.frames"):
            decoded = frame.decode(message)
            if decoded.kind is FrameKind.COMMIT:
                event = events.parse_commit(decoded)
                opened = car.parse(event.blocks)
                inner = commit.decode(opened.blocks[event.commit], did=event.did, rev=event.rev)
                assert inner.rev == event.rev
                fields = (event.since, inner.data, event.prev_data, opened.blocks, event.ops)
                yield Recorded(source, decoded.seq, event.did, decoded.kind, event.rev, *fields)
            elif decoded.kind is FrameKind.SYNC:
                sync = events.parse_sync(decoded)
                opened = car.parse(sync.blocks)
                inner = commit.decode(opened.blocks[opened.roots[0]], did=sync.did, rev=sync.rev)
                yield Recorded(source, decoded.seq, sync.did, decoded.kind, sync.rev, None, inner.data, None, {}, ())


@pytest.fixture(scope="module")
def corpus(fixtures_dir: Path) -> list[Recorded]:
    return list(recorded(fixtures_dir / "corpus"))


@pytest.fixture(scope="module")
def commits(corpus: list[Recorded]) -> list[Recorded]:
    found = [message for message in corpus if message.kind is FrameKind.COMMIT]
    assert len(found) == COMMITS
    return found


def test_every_commit_inverts(commits: list[Recorded]) -> None:
    first = 0
    for message in commits:
        sync11.check_ops(message.ops)
        expected = message.prev_data
        if message.since is None:
            assert expected is None
            expected = mst.EMPTY_ROOT
            first += 1
        assert sync11.invert(message.data, message.blocks, message.ops) == expected, message[:3]
    assert first == FIRST_COMMITS


def test_the_order_of_operations_does_not_matter(commits: list[Recorded]) -> None:
    several = [message for message in commits if len(message.ops) > 1]
    assert len(several) > 200
    for message in several:
        straight = sync11.examine(message.data, message.blocks, message.ops)
        assert sync11.examine(message.data, message.blocks, message.ops[::-1]) == straight


def test_an_operation_less_gives_another_root(commits: list[Recorded]) -> None:
    for message in commits[::7]:
        if message.ops and message.prev_data is not None:
            try:
                result = sync11.invert(message.data, message.blocks, message.ops[1:])
            except InversionError:
                continue
            unchanged = message.ops[0].cid == message.ops[0].prev  # an update to the same record
            assert (result == message.prev_data) == unchanged, message[:3]


def test_prev_data_chains(commits: list[Recorded], corpus: list[Recorded], fixtures_dir: Path) -> None:
    """What a commit names as the tree before is the tree of the DID's message before, #sync included."""
    summary = json.loads((fixtures_dir / "corpus/summary.json").read_text())
    last: dict[str, bytes] = {}
    chained = 0
    for message in in_order(corpus):
        if message.prev_data is not None:
            assert last[message.did] == message.prev_data, message[:3]
            chained += 1
        last[message.did] = message.data
    assert summary["prevData"] == {"ok": chained, "bad": []}
    assert chained == COMMITS - FIRST_COMMITS


def in_order(corpus: list[Recorded]) -> list[Recorded]:
    """The messages of both PDSes with those of one DID in the order of their revs, as far as a host is true to it.

    A #sync after an import has a rev of its own; within one PDS the order is the recorded one, and a DID that moved
    has all messages of the old PDS before those of the new one.
    """
    revs: dict[tuple[str, str], str] = {}
    for message in corpus:
        revs.setdefault((message.did, message.source), message.rev)
    return sorted(corpus, key=lambda message: (message.did, revs[message.did, message.source], message.seq))


def test_collections_against_the_records_that_are_there(corpus: list[Recorded]) -> None:
    """The answers against the set of paths that the operations so far have made, for DIDs seen from the start."""
    paths: dict[str, set[str]] = {}
    removed = added = 0
    for message in in_order(corpus):
        if message.kind is FrameKind.SYNC:
            continue
        if message.since is None:
            paths[message.did] = set()
        known = paths.get(message.did)
        if known is None:
            continue
        for op in message.ops:
            (known.discard if op.cid is None else known.add)(op.path)
        left = {path.partition("/")[0] for path in known}
        examined = sync11.examine(message.data, message.blocks, message.ops)
        created = {op.path.partition("/")[0] for op in message.ops if op.action == "create"}
        deleted = {op.path.partition("/")[0] for op in message.ops if op.action == "delete"}
        assert examined[1:] == (tuple(sorted(created)), tuple(sorted(deleted - left)), ()), message[:3]
        added += len(examined.added)
        removed += len(examined.removed)
    assert added > 3000
    assert removed > 20


def test_the_records_are_in_the_slice(commits: list[Recorded]) -> None:
    for message in commits:
        for op in message.ops:
            assert op.cid is None or cid.for_block(message.blocks[op.cid]) == op.cid
