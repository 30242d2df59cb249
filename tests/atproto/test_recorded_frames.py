"""The recorded corpus: 4,293 frames of two reference hosts, and what else they sent."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from zlay_py.atproto import car, cid, commit, dag_cbor, events, frame
from zlay_py.atproto.frame import Frame, FrameKind

pytestmark = pytest.mark.needs_fixtures

PARSERS: dict[str, Callable[[Frame], Any]] = {
    "#commit": events.parse_commit,
    "#sync": events.parse_sync,
    "#identity": events.parse_identity,
    "#account": events.parse_account,
}


@cache
def messages(path: Path) -> tuple[bytes, ...]:
    """Repeated [u32 length, big-endian][frame]."""

    def split(data: bytes) -> Iterator[bytes]:
        position = 0
        while position < len(data):
            start = position + 4
            position = start + int.from_bytes(data[position:start], "big")
            yield data[start:position]

    return tuple(split(path.read_bytes()))


@pytest.fixture(params=["pds0", "pds1"])
def recording(request: pytest.FixtureRequest, fixtures_dir: Path) -> tuple[bytes, ...]:
    return messages(fixtures_dir / "corpus" / f"{request.param}.frames")


def test_all_are_there(fixtures_dir: Path) -> None:
    corpus = fixtures_dir / "corpus"
    kinds = Counter(frame.decode(raw).kind for name in ("pds0", "pds1") for raw in messages(corpus / f"{name}.frames"))
    assert kinds == {"#commit": 3936, "#sync": 88, "#identity": 135, "#account": 134}


def test_all_take_the_fast_path_and_become_events(recording: tuple[bytes, ...]) -> None:
    for number, raw in enumerate(recording, start=1):
        decoded = frame.decode(raw)
        assert not decoded.typed
        assert decoded.seq == number
        assert PARSERS[decoded.kind](decoded).did == decoded.did
        assert frame.HEADERS[decoded.kind] + decoded.payload == raw


def test_all_splice_to_another_seq_and_back(recording: tuple[bytes, ...]) -> None:
    for raw in recording:
        decoded = frame.decode(raw)
        span = frame.seq_span(decoded.payload, decoded.kind, decoded.body.get("ops"))
        assert span == frame.seq_span(decoded.payload, FrameKind.UNKNOWN)
        assert frame.splice(decoded.payload, span, decoded.seq) == decoded.payload
        moved = frame.splice(decoded.payload, span, decoded.seq + 2**40)
        assert frame.decode(frame.HEADERS[decoded.kind] + moved).seq == decoded.seq + 2**40
        back = frame.splice(moved, frame.seq_span(moved, decoded.kind), decoded.seq)
        assert back == decoded.payload


def test_strict_decoder_gives_the_same_events(recording: tuple[bytes, ...]) -> None:
    for raw in recording:
        decoded = frame.decode(raw)
        body = dag_cbor.decode(decoded.payload)
        assert isinstance(body, dict)
        typed = Frame(decoded.kind, decoded.payload, body, decoded.seq, decoded.did, True)
        assert PARSERS[decoded.kind](typed) == PARSERS[decoded.kind](decoded)
        assert dag_cbor.encode(body) == decoded.payload
        assert frame.rewrite(decoded.payload, {}) == decoded.payload


def test_slices_and_commits(recording: tuple[bytes, ...]) -> None:
    for raw in recording:
        decoded = frame.decode(raw)
        if decoded.kind not in (FrameKind.COMMIT, FrameKind.SYNC):
            continue
        event = PARSERS[decoded.kind](decoded)
        roots, blocks = car.parse(event.blocks)
        assert car.write(roots[0], blocks.items()) == event.blocks
        signed = commit.decode(blocks[roots[0]], did=event.did, rev=event.rev)
        assert signed == commit.decode(blocks[roots[0]], did="", rev="")
        assert signed.did == event.did
        assert signed.unsigned == commit.encode_unsigned(signed.did, signed.rev, signed.data)
        assert blocks[roots[0]] == commit.encode_signed(signed.did, signed.rev, signed.data, signed.sig)


@pytest.mark.parametrize("name", ["pds0", "pds1"])
def test_events_say_what_the_index_says(name: str, fixtures_dir: Path) -> None:
    corpus = fixtures_dir / "corpus"
    with (corpus / "index.jsonl").open() as lines:
        index = [entry for entry in map(json.loads, lines) if entry["f"] == name]
    recorded = messages(corpus / f"{name}.frames")
    assert len(index) == len(recorded)
    for entry, raw in zip(index, recorded, strict=True):
        decoded = frame.decode(raw)
        event = PARSERS[decoded.kind](decoded)
        assert (decoded.kind, decoded.seq, event.did) == (entry["t"], entry["seq"], entry["did"])
        if isinstance(event, events.CommitEvent):
            roots, blocks = car.parse(event.blocks)
            assert (event.rev, event.since, len(event.ops)) == (entry["rev"], entry["since"], entry["ops"])
            assert entry["prevData"] == (event.prev_data and cid.to_string(event.prev_data))
            data = commit.decode(blocks[event.commit], did=event.did, rev=event.rev).data
            assert (roots, cid.to_string(data)) == ((event.commit,), entry["data"])


def test_info_and_errors(fixtures_dir: Path) -> None:
    corpus = fixtures_dir / "corpus"
    info, *live = map(frame.decode, messages(corpus / "extra-outdated-cursor.frames"))
    assert events.parse_info(info).name == "OutdatedCursor"
    assert [decoded.kind for decoded in live] == ["#commit"] * 3
    for name, expected in (("future-cursor", "FutureCursor"), ("consumer-too-slow", "ConsumerTooSlow")):
        (raw,) = messages(corpus / f"extra-{name}.frames")
        error = frame.decode(raw)
        assert (error.kind, events.parse_error(error)[0]) == (FrameKind.ERROR, expected)
        assert frame.encode_error(*events.parse_error(error)) == raw
