"""Whatever the bytes, every decoder of wire data answers with a value or with one of our errors.

Arbitrary bytes, and valid samples with a few bytes changed, cut, doubled or put in. What the worst bytes cost is in
test_dag_cbor.py, test_frame.py and test_car.py.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zlay_py.atproto import car, cid, commit, dag_cbor, events, frame
from zlay_py.atproto.frame import FrameKind
from zlay_py.errors import CarError, CborError, CommitError, EventInvalidError, FrameError, InvalidDataError

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
REV = "3n2rpq4bu6k2b"
COMMIT = commit.encode_signed(DID, REV, cid.for_block(b""), bytes(range(64)))
RECORD = dag_cbor.encode({"$type": "app.bsky.feed.post", "text": "x", "n": [1, None, {"b": b"\x00" * 30}]})
SLICE = car.write(cid.for_block(COMMIT), [(cid.for_block(block), block) for block in (COMMIT, RECORD)])
FRAMES = [
    bytes.fromhex(json.loads(path.read_text())["frame"])
    for path in sorted((Path(__file__).resolve().parent.parent / "frames").glob("*/*.json"))
]
PARSERS: dict[FrameKind, Callable[[frame.Frame], Any]] = {
    FrameKind.COMMIT: events.parse_commit,
    FrameKind.SYNC: events.parse_sync,
    FrameKind.IDENTITY: events.parse_identity,
    FrameKind.ACCOUNT: events.parse_account,
    FrameKind.INFO: events.parse_info,
    FrameKind.ERROR: events.parse_error,
}

# Bytes that mean something to a decoder: heads of every kind, borders of lengths, the link tag.
telling = st.sampled_from(
    [bytes((byte,)) for byte in (0, 0x17, 0x18, 0x1B, 0x3B, 0x58, 0x7B, 0x80, 0x9B, 0xBF, 0xF7, 0xFB, 0xFF)]
)
inserted = (
    st.binary(max_size=6) | telling | st.sampled_from([b"\xd8\x2a\x58\x25\x00", b"\xa1\x61x", b"\xfb" + bytes(8)])
)


@st.composite
def mutated(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    raw = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(raw)))
        end = draw(st.integers(start, min(len(raw), start + 40)))
        raw[start:end] = draw(inserted | st.just(bytes(raw[start:end]) * 2))
    return bytes(raw)


def answer(expected: type[InvalidDataError], decode: Callable[[], Any]) -> Any:
    try:
        return decode()
    except expected:
        return None


many = settings(max_examples=400, deadline=None)


@many
@given(st.binary(max_size=300) | mutated([COMMIT, RECORD]))
def test_cbor(raw: bytes) -> None:
    strict = answer(CborError, lambda: dag_cbor.decode(raw))
    assert strict is None or dag_cbor.encode(strict) == raw
    dag_cbor.decode_fast(raw)
    answer(CborError, lambda: dag_cbor.top_level_items(raw))
    answer(CborError, lambda: dag_cbor.value_end(raw, 0))


@many
@given(st.binary(max_size=300) | mutated([SLICE]))
def test_slices(raw: bytes) -> None:
    parsed = answer(CarError, lambda: car.parse(raw))
    if parsed is not None:
        assert all(cid.for_block(block) == name for name, block in parsed.blocks.items())


@many
@given(
    st.binary(max_size=300) | mutated([COMMIT]), st.sampled_from([DID, "did:web:x", "", "\ud800"]), st.text(max_size=13)
)
def test_commits(raw: bytes, did: str, rev: str) -> None:
    usual, hinted = (
        answer(CommitError, lambda hint=hint: commit.decode(raw, did=hint[0], rev=hint[1]))  # type: ignore[misc]
        for hint in ((DID, REV), (did, rev))
    )
    assert usual == hinted


@settings(max_examples=1_500, deadline=None)
@given(st.binary(max_size=300) | mutated(FRAMES))
@example(b"\xa2at\x63")
@example(b"\xa1bop ")
@example(b"\xa2at")
def test_frames_and_events(raw: bytes) -> None:
    decoded = answer(FrameError, lambda: frame.decode(raw))
    if decoded is None:
        return
    assert raw.endswith(decoded.payload)
    assert dag_cbor.encode(dag_cbor.decode(decoded.payload)) == decoded.payload
    assert frame.rewrite(decoded.payload, {}) == decoded.payload
    parse = PARSERS.get(decoded.kind)
    event = parse and answer(EventInvalidError, lambda: parse(decoded))
    if event is not None and decoded.seq:
        span = frame.seq_span(decoded.payload, decoded.kind, decoded.body.get("ops"))
        assert frame.splice(decoded.payload, span, decoded.seq) == decoded.payload
        assert decoded.payload[slice(*span)] == dag_cbor.encode_uint(decoded.seq)


@many
@given(st.binary(max_size=200) | mutated([SLICE, COMMIT, *FRAMES]), st.sampled_from(FrameKind))
def test_editing(raw: bytes, kind: FrameKind) -> None:
    answer(FrameError, lambda: frame.seq_span(raw, kind))
    answer(FrameError, lambda: frame.rewrite(raw, {"time": "x", "did": frame.REMOVE}))


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_every_prefix_of_a_frame_is_refused(cut: int) -> None:
    whole = max(FRAMES, key=len)
    with pytest.raises(FrameError):
        frame.decode(whole[:cut])
