"""Events: the limits, what old hosts are allowed, and that any body gives an event or an EventInvalidError.

What each field must be is in the samples of tests/frames, which test_frame.py goes through.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zlay_py.atproto import dag_cbor, events, frame
from zlay_py.atproto.dag_cbor import Link
from zlay_py.atproto.frame import Frame, FrameKind
from zlay_py.atproto.repo_op import RepoOp
from zlay_py.errors import EventInvalidError

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
TIME = "2026-07-01T12:00:00.123Z"
REV = "3n2rpq4bu6k2b"
CID = Link(bytes.fromhex("01711220") + bytes(32))
PARSERS: dict[FrameKind, Callable[[Frame], Any]] = {
    FrameKind.COMMIT: events.parse_commit,
    FrameKind.SYNC: events.parse_sync,
    FrameKind.IDENTITY: events.parse_identity,
    FrameKind.ACCOUNT: events.parse_account,
    FrameKind.INFO: events.parse_info,
    FrameKind.ERROR: events.parse_error,
}


def commit(**changes: object) -> Frame:
    fields: dict[str, object] = {
        "seq": 1,
        "repo": DID,
        "rev": REV,
        "since": None,
        "time": TIME,
        "commit": CID,
        "blocks": b"",
        "ops": [],
        "tooBig": False,
        "rebase": False,
        "blobs": [],
        "prevData": CID,
    }
    return frame.decode(frame.HEADERS[FrameKind.COMMIT] + dag_cbor.encode(fields | changes))


def sync(blocks: bytes) -> Frame:
    return frame.decode(frame.HEADERS[FrameKind.SYNC] + frame.encode_sync(DID, REV, TIME, blocks, 1))


def create(n: int) -> dict[str, object]:
    return {"action": "create", "path": f"app.bsky.feed.post/{n}", "cid": CID}


@pytest.mark.parametrize("more", [{}, {"unknown": 1}])
def test_200_operations_and_one_more(more: dict[str, object]) -> None:
    event = events.parse_commit(commit(ops=[create(n) for n in range(200)], **more))
    assert event.ops[199] == RepoOp("create", "app.bsky.feed.post/199", bytes(CID), None)
    assert all(type(op.cid) is bytes for op in event.ops)
    with pytest.raises(EventInvalidError, match="201 operations"):
        events.parse_commit(commit(ops=[create(n) for n in range(201)], **more))


@pytest.mark.parametrize("more", [{}, {"unknown": 1}])
def test_2_000_000_bytes_of_blocks_and_one_more(more: dict[str, object]) -> None:
    assert len(events.parse_commit(commit(blocks=bytes(2_000_000), **more)).blocks) == 2_000_000
    with pytest.raises(EventInvalidError, match="2000001 bytes"):
        events.parse_commit(commit(blocks=bytes(2_000_001), **more))


def test_10_000_bytes_of_blocks_in_a_sync_and_one_more() -> None:
    assert len(events.parse_sync(sync(bytes(10_000))).blocks) == 10_000
    with pytest.raises(EventInvalidError, match="10001 bytes"):
        events.parse_sync(sync(bytes(10_001)))


def test_record_limit_of_the_specification() -> None:
    assert events.RECORD_BYTES_MAX == 1_000_000


def test_what_is_sent_for_missing_deprecated_fields() -> None:
    body = {key: value for key, value in commit().body.items() if key not in events.DEPRECATED_FIELDS}
    body |= {"commit": CID, "prevData": CID}
    decoded = frame.decode(frame.HEADERS[FrameKind.COMMIT] + dag_cbor.encode(body))
    missing = events.parse_commit(decoded).missing_deprecated
    assert missing == ("blobs", "rebase", "tooBig")
    whole = frame.rewrite(decoded.payload, {name: events.DEPRECATED_FIELDS[name] for name in missing})
    assert whole == commit().payload
    for name in missing:
        one = frame.rewrite(commit().payload, {name: frame.REMOVE})
        decoded = frame.decode(frame.HEADERS[FrameKind.COMMIT] + one)
        assert events.parse_commit(decoded).missing_deprecated == (name,)


@pytest.mark.parametrize("kind", FrameKind)
def test_each_parser_takes_its_own_kind(kind: FrameKind) -> None:
    decoded = commit()
    decoded.kind = kind
    for own, parse in PARSERS.items():
        if own is not kind:
            with pytest.raises(EventInvalidError, match="kind"):
                parse(decoded)


@pytest.mark.parametrize("typed", [True, False])
def test_links_come_out_as_plain_bytes(typed: bool) -> None:
    op = {"action": "update", "path": "app.bsky.feed.post/1", "cid": CID, "prev": CID}
    decoded = commit(ops=[op], **({"unknown": None} if typed else {}))
    assert decoded.typed is typed
    event = events.parse_commit(decoded)
    cids = (event.commit, event.prev_data, event.ops[0].cid, event.ops[0].prev)
    assert [(type(cid), cid) for cid in cids] == [(bytes, bytes(CID))] * 4


def test_a_slice_that_starts_like_a_link() -> None:
    """It may be a link, which only the strictly decoded body can tell."""
    for first in (b"\x01", b"\x12"):
        decoded = commit(blocks=first + b"\xff")
        assert decoded.typed
        assert events.parse_commit(decoded).blocks == first + b"\xff"
    with pytest.raises(EventInvalidError, match="blocks"):
        events.parse_commit(commit(blocks=CID))


scalars: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, 2**53 - 1, 2**53, -1, "", DID, TIME, REV, "create", "alice.test", b"", bytes(36), CID]
)
anything = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.sampled_from(["cid", "path"]), scalars)
operations = st.lists(
    st.dictionaries(st.sampled_from(["action", "path", "cid", "prev", "new"]), anything, max_size=5), max_size=2
)
FIELD_NAMES = "seq repo did rev since time commit blocks ops tooBig rebase blobs prevData active status handle name"
bodies = st.dictionaries(st.sampled_from([*FIELD_NAMES.split(), "message", "error", "new"]), anything, max_size=16)


@settings(deadline=None)
@given(st.sampled_from(list(PARSERS)), st.sampled_from(["commit", "account", "none"]), bodies, st.none() | operations)
def test_any_body_gives_an_event_or_our_error(kind: FrameKind, base: str, body: dict[str, Any], ops: Any) -> None:
    known = {
        "commit": {**commit().body, "commit": CID, "prevData": CID},
        "account": {"did": DID, "seq": 1, "time": TIME, "active": True},
        "none": {},
    }[base]
    fields = known | body | ({} if ops is None else {"ops": ops})
    header = frame.encode_error("", "")[:5] if kind is FrameKind.ERROR else frame.HEADERS[kind]
    decoded = frame.decode(header + dag_cbor.encode(fields))
    outcomes = []
    strict = dag_cbor.decode(decoded.payload)
    assert isinstance(strict, dict)
    for view in (decoded, Frame(decoded.kind, decoded.payload, strict, decoded.seq, decoded.did, True)):
        try:
            outcomes.append(PARSERS[kind](view))
        except EventInvalidError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]
