"""The simulator's encodings, repositories and frames, as the product reads them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.simulator import cbor
from tools.simulator.cbor import Link
from tools.simulator.times import TIME_START_US, VirtualClock, tid, tid_time_us, timestamp
from tools.simulator.worlds import frames
from tools.simulator.worlds.keys import Curve, derive
from tools.simulator.worlds.repo import Recipe, Repo, Write, base_tree, record
from zlay_py.atproto import car, commit, dag_cbor, events, frame, keys, mst, syntax
from zlay_py.atproto import cid as product_cid
from zlay_py.atproto import tid as product_tid
from zlay_py.atproto.frame import FrameKind

DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
SIGNER = derive(Curve.K256, "repo")
TIMES = st.integers(TIME_START_US, 2**53 - 1)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(max_size=50)
    | st.binary(max_size=300)
    | st.binary(max_size=10).map(lambda block: Link(cbor.cid(block))),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=30), inner, max_size=30),
    max_leaves=20,
)


def product_value(value: object) -> object:
    """With the product's kind of links."""
    if isinstance(value, dict):
        return {key: product_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [product_value(item) for item in value]
    return dag_cbor.Link(value) if isinstance(value, Link) else value


@given(values)
def test_encoding_is_what_the_strict_decoder_wants(value: object) -> None:
    wire = cbor.encode(value)
    assert dag_cbor.decode(wire) == product_value(value)
    assert wire == dag_cbor.encode(product_value(value))


def test_what_can_not_be_encoded() -> None:
    with pytest.raises(TypeError):
        cbor.encode(0.5)
    with pytest.raises(ValueError, match="64 bits"):
        cbor.encode(2**64)


@given(TIMES, st.integers(0, 1023))
def test_tids(time_us: int, clock_id: int) -> None:
    text = tid(time_us, clock_id)
    assert text == product_tid.tid_from(time_us, clock_id)
    assert tid_time_us(text) == time_us
    assert tid(time_us - 1, 1023) < text


@given(st.integers(0, 4_000_000_000_000_000))
def test_timestamps(time_us: int) -> None:
    text = timestamp(time_us)
    assert syntax.is_datetime(text)
    assert text.endswith("Z")
    assert int(syntax.parse_datetime(text).timestamp() * 1000 + 0.5) == time_us // 1000


def test_the_clock_only_goes_forward() -> None:
    clock = VirtualClock(5)
    assert 5 < clock.tick() < clock.tick() == clock.now_us


def test_records_are_made_from_recipes() -> None:
    path = "app.bsky.feed.post/3abc"
    block = record(path, Recipe(1, 400))
    assert 390 < len(block) < 410
    assert block == record(path, Recipe(1, 400)) != record(path, Recipe(2, 400))
    assert dag_cbor.decode(block)["$type"] == "app.bsky.feed.post"  # type: ignore[index]


def test_a_draft_changes_nothing_until_it_is_adopted() -> None:
    repo = Repo(DID)
    draft = repo.draft([Write("a.b.c/d", Recipe(1, 50))], tid(TIME_START_US, 0), SIGNER.sign)
    assert (repo.head, len(repo.tree)) == (None, 0)
    repo.adopt(draft)
    assert repo.head == draft.head
    assert repo.tree.get(b"a.b.c/d") == draft.ops[0].cid


def test_base_trees_are_shared() -> None:
    one, other = Repo(DID, 500, 100), Repo(DID, 500, 100)
    assert one.tree is other.tree is base_tree(500, 100)
    assert len(one.tree) == 500


def test_the_export_is_the_whole_repository() -> None:
    repo = Repo(DID, 40, 100)
    for number, writes in enumerate(
        (
            [Write("a.b.c/d", Recipe(1, 50)), Write("a.b.c/e", Recipe(2, 60))],
            [Write("a.b.c/d", Recipe(3, 70)), Write("a.b.c/e", None)],
            [Write(repo.tree.key_at(3).decode(), Recipe(4, 80)), Write(repo.tree.key_at(4).decode(), None)],
        )
    ):
        repo.adopt(repo.draft(writes, tid(TIME_START_US + number, 0), SIGNER.sign))
    slice_ = car.parse(repo.export())
    signed = commit.decode(slice_.blocks[slice_.roots[0]], did=DID, rev="")
    entries = dict(mst.read_entries(signed.data, slice_.blocks))
    assert entries == dict(repo.tree.entries())
    assert len(entries) == 40
    assert all(value in slice_.blocks for value in entries.values())
    assert keys.parse_did_key(SIGNER.did_key).verify(signed.sig, signed.unsigned)


def test_no_export_before_the_first_commit() -> None:
    with pytest.raises(ValueError, match="no commit"):
        Repo(DID).export()


def test_a_commit_is_what_the_product_would_write() -> None:
    head = Repo(DID).resign("3jzfcijpj2z2a", SIGNER.sign)
    assert product_cid.to_string(head.data) == product_cid.to_string(mst.EMPTY_ROOT)
    signature = SIGNER.sign(commit.encode_unsigned(DID, head.rev, head.data))
    assert head.block == commit.encode_signed(DID, head.rev, head.data, signature)
    assert head.cid == product_cid.for_block(head.block)
    assert frames.sync(DID, head)["blocks"] == car.write(head.cid, [(head.cid, head.block)])


STAMP = {"seq": 7, "time": "2026-01-02T03:04:05.678Z"}


@pytest.mark.parametrize(
    ("kind", "fields", "parse"),
    [
        (frames.IDENTITY, frames.identity(DID, "a.test"), events.parse_identity),
        (frames.IDENTITY, frames.identity(DID), events.parse_identity),
        (frames.ACCOUNT, frames.account(DID, active=True), events.parse_account),
        (frames.ACCOUNT, frames.account(DID, active=False, status="suspended"), events.parse_account),
        (frames.SYNC, frames.sync(DID, Repo(DID).resign("3jzfcijpj2z2a", SIGNER.sign)), events.parse_sync),
        (
            frames.COMMIT,
            frames.commit(Repo(DID).draft([Write("a.b.c/d", Recipe(1, 9))], "3jzfcijpj2z2a", SIGNER.sign)),
            events.parse_commit,
        ),
    ],
)
def test_messages(kind: str, fields: frames.Fields, parse: Callable[[frame.Frame], object]) -> None:
    decoded = frame.decode(frames.message(kind, fields | STAMP))
    assert not decoded.typed, "exactly the known fields, and canonical"
    assert (decoded.kind, decoded.seq, decoded.did) == (kind, 7, DID)
    parse(decoded)


def test_info_and_error_frames() -> None:
    assert frames.info("OutdatedCursor", "text") == frame.encode_info("OutdatedCursor", "text")
    assert frames.error("FutureCursor", "text") == frame.encode_error("FutureCursor", "text")
    assert frame.decode(frames.message_with({"op": 1, "t": "#new"}, {})).kind is FrameKind.UNKNOWN
