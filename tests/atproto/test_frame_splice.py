"""Editing payloads as bytes gives what decoding, changing and encoding gives, by a codec that shares nothing."""

from typing import Any

import dag_cbor as independent
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multiformats import CID

from zlay_py.atproto import dag_cbor, frame
from zlay_py.atproto.dag_cbor import Link
from zlay_py.atproto.frame import REMOVE, FrameKind
from zlay_py.errors import FrameError

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
TIME = "2026-07-01T12:00:00.123Z"
REV = "3n2rpq4bu6k2b"
PATH = "app.bsky.feed.post/" + REV
PREFIX = bytes.fromhex("01711220")

# Every width of integer, from both sides of each border.
WIDTHS = [0, 1, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**53 - 1, 2**53]
seqs = st.sampled_from(WIDTHS) | st.integers(0, 2**53)
digests = st.binary(min_size=32, max_size=32) | st.just((b"cseq\x01" + b"crevm" + b"cops").ljust(32, b"c"))
links = digests.map(lambda digest: CID.decode(PREFIX + digest))
ops = st.lists(
    st.fixed_dictionaries(
        {"action": st.sampled_from(["create", "update", "delete"]), "path": st.just(PATH), "cid": st.none() | links},
        optional={"prev": links},
    ),
    max_size=8,
) | st.just([{"action": "create", "path": PATH + "x" * 200, "cid": None}] * 30)
names = st.text(max_size=9) | st.sampled_from(["a", "opr", "sed", "ser", "set", "seqq", "revv", "did", "zzz", "cseq"])
nested = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=40) | st.text(max_size=9) | links,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def payloads(draw: st.DrawFn, unknown: bool = True) -> tuple[FrameKind, dict[str, Any]]:
    kind = draw(st.sampled_from([FrameKind.COMMIT, FrameKind.SYNC, FrameKind.IDENTITY, FrameKind.ACCOUNT]))
    did = draw(st.sampled_from([DID, "did:web:" + "a" * 240, "did:web:" + "a" * 300, "x", "cseq\x01"]))
    known: dict[str, Any] = {"seq": draw(seqs), "time": TIME}
    if kind is FrameKind.COMMIT:
        known |= {"repo": did, "rev": REV, "since": None, "blocks": b"", "ops": draw(ops), "commit": draw(links)}
        known |= draw(st.sampled_from([{}, {"blobs": [], "tooBig": False}, {"prevData": None, "rebase": True}]))
    else:
        known |= {"did": did}
    if kind is FrameKind.SYNC:
        known |= {"rev": REV, "blocks": b"cseq"}
    if kind is FrameKind.ACCOUNT:
        known["active"] = True
    return kind, (draw(st.dictionaries(names, nested, max_size=3)) if unknown else {}) | known


def with_link_type(value: Any) -> Any:
    if isinstance(value, CID):
        return Link(bytes(value))
    if isinstance(value, list):
        return [with_link_type(item) for item in value]
    if isinstance(value, dict):
        return {key: with_link_type(item) for key, item in value.items()}
    return value


@settings(deadline=None)
@given(payloads(), seqs)
@example((FrameKind.COMMIT, {"ops": [], "rev": "", "seq": 1, "repo": DID}), 2)
def test_splice_is_decode_change_encode(sample: tuple[FrameKind, dict[str, Any]], seq: int) -> None:
    kind, fields = sample
    payload = independent.encode(fields)
    span = frame.seq_span(payload, kind)
    assert payload[slice(*span)] == independent.encode(fields["seq"])
    spliced = frame.splice(payload, span, seq)
    assert spliced == independent.encode(fields | {"seq": seq})
    assert frame.splice(spliced, frame.seq_span(spliced, kind), fields["seq"]) == payload


@settings(deadline=None)
@given(payloads(unknown=False), seqs)
def test_the_fast_offset_is_the_walked_one(sample: tuple[FrameKind, dict[str, Any]], seq: int) -> None:
    kind, fields = sample
    payload = independent.encode(fields)
    walked = frame.seq_span(payload, FrameKind.UNKNOWN)
    decoded = dag_cbor.decode_fast(payload)
    hint = decoded["ops"] if isinstance(decoded, dict) and kind is FrameKind.COMMIT else None
    assert frame.seq_span(payload, kind, hint) == walked
    assert frame.splice(payload, walked, seq) == independent.encode(fields | {"seq": seq})


def test_every_width_to_every_width() -> None:
    for old in WIDTHS:
        for new in WIDTHS:
            before = frame.encode_account(DID, TIME, True, None, old)
            after = frame.encode_account(DID, TIME, True, None, new)
            assert frame.splice(before, frame.seq_span(before, FrameKind.ACCOUNT), new) == after


def test_bytes_that_look_like_the_key_do_not_stand_for_it() -> None:
    """22 bytes of a link are anyone's choice; so is the hint."""
    forged = CID.decode(PREFIX + (b"crevm" + b"2" * 13 + b"cseq\x07").ljust(32, b"\0"))
    op: dict[str, Any] = {"action": "create", "path": PATH, "cid": forged}
    payload = independent.encode({"ops": [op], "rev": REV, "seq": 300, "repo": DID})
    true_span = (payload.rindex(b"cseq") + 4, payload.rindex(b"cseq") + 7)
    hints: list[object] = [None, [], [op], [{**op, "cid": bytes(forged)}], [object()], b"x", [[]] * 3]
    for hint in hints:
        assert frame.seq_span(payload, FrameKind.COMMIT, hint) == true_span


@pytest.mark.parametrize(
    "fields", [{}, {"did": DID}, {"did": DID, "seq": -1}, {"did": DID, "seq": "1"}, {"did": DID, "x": {"seq": 1}}]
)
@pytest.mark.parametrize("kind", FrameKind)
def test_no_seq(kind: FrameKind, fields: dict[str, Any]) -> None:
    with pytest.raises(FrameError, match="no seq"):
        frame.seq_span(independent.encode(fields), kind)


@pytest.mark.parametrize(
    "payload", [b"", b"\x80", b"\xa1", b"\xa1cdidx", b"\xa2cdidx\xffcseq", b"\xa1cops", b"\xa1cdidx\0cseq"]
)
@pytest.mark.parametrize("kind", FrameKind)
def test_no_payload(kind: FrameKind, payload: bytes) -> None:
    with pytest.raises(FrameError):
        frame.seq_span(payload, kind, [])
    with pytest.raises(FrameError):
        frame.rewrite(payload, {})


def test_negative_seq_is_our_own_mistake() -> None:
    payload = frame.encode_account(DID, TIME, True, None, 1)
    with pytest.raises(ValueError, match="does not fit"):
        frame.splice(payload, frame.seq_span(payload, FrameKind.ACCOUNT), -1)


@settings(deadline=None)
@given(payloads(), st.dictionaries(names | st.sampled_from(["time", "seq"]), nested | st.just(REMOVE), max_size=5))
def test_rewrite_is_decode_change_encode(sample: tuple[FrameKind, dict[str, Any]], changes: dict[str, Any]) -> None:
    _, fields = sample
    expected = {key: value for key, value in (fields | changes).items() if value is not REMOVE}
    rewritten = frame.rewrite(independent.encode(fields), with_link_type(changes))
    assert rewritten == independent.encode(expected)


def test_rewrite_keeps_unknown_bytes_like_a_link_and_refuses_floats() -> None:
    fields: dict[str, Any] = {"did": DID, "seq": 1, "future": {"x": 1.5, "like a link": PREFIX + bytes(32)}}
    with pytest.raises(FrameError):
        frame.rewrite(independent.encode(fields), {})
    del fields["future"]["x"]
    rewritten = frame.rewrite(independent.encode(fields), {"handle": "alice.test"})
    assert rewritten == independent.encode(fields | {"handle": "alice.test"})


def test_rewrite_across_the_widths_of_a_map_head() -> None:
    for count in (22, 23, 24, 25, 255, 256):
        fields: dict[str, Any] = {f"field{i}": i for i in range(count)}
        payload = independent.encode(fields)
        assert frame.rewrite(payload, {"new": None}) == independent.encode(fields | {"new": None})
        assert frame.rewrite(payload, {"field0": REMOVE, "none": REMOVE}) == independent.encode(
            {key: value for key, value in fields.items() if key != "field0"}
        )


@pytest.mark.parametrize("value", [1.5, object(), {1: 2}, 2**63])
def test_rewrite_refuses_our_own_mistakes(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        frame.rewrite(b"\xa0", {"x": value})
