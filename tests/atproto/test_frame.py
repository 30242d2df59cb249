"""Frames: the samples in tests/frames, the golden headers, the limits."""

import dataclasses
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zlay_py.atproto import dag_cbor, events, frame
from zlay_py.atproto.frame import FrameKind
from zlay_py.errors import EventInvalidError, FrameError

SAMPLES = Path(__file__).resolve().parent.parent / "frames"
VALID = sorted(SAMPLES.glob("valid/*.json"))
INVALID = sorted(SAMPLES.glob("invalid/*.json"))

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
TIME = "2026-07-01T12:00:00.123Z"
ACCOUNT = {"did": DID, "seq": 7, "time": TIME, "active": True}

PARSERS: dict[FrameKind, Callable[[frame.Frame], Any]] = {
    FrameKind.COMMIT: events.parse_commit,
    FrameKind.SYNC: events.parse_sync,
    FrameKind.IDENTITY: events.parse_identity,
    FrameKind.ACCOUNT: events.parse_account,
    FrameKind.INFO: events.parse_info,
    FrameKind.ERROR: lambda decoded: dict(zip(("error", "message"), events.parse_error(decoded), strict=True)),
}


def load(path: Path) -> tuple[bytes, dict[str, Any]]:
    sample = json.loads(path.read_text())
    return bytes.fromhex(sample["frame"]), sample["expect"]


def plain(value: object) -> object:
    """As the expectations have it: bytes in hex, tuples as lists, events as dicts."""
    if isinstance(value, bytes):
        assert type(value) is bytes
        return value.hex()
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value


def commit_fields(**changes: object) -> dict[str, object]:
    cid = dag_cbor.Link(bytes.fromhex("01711220") + bytes(32))
    fields: dict[str, object] = {
        "seq": 1,
        "repo": DID,
        "rev": "3n2rpq4bu6k2b",
        "since": None,
        "time": TIME,
        "commit": cid,
        "blocks": b"",
        "ops": [],
        "tooBig": False,
        "rebase": False,
        "blobs": [],
    }
    return fields | changes


def message(kind: FrameKind, fields: dict[str, Any]) -> bytes:
    return frame.HEADERS[kind] + dag_cbor.encode(fields)


def test_samples_are_there() -> None:
    assert (len(VALID), len(INVALID)) == (34, 76)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid_sample(path: Path) -> None:
    raw, expect = load(path)
    decoded = frame.decode(raw)
    assert (decoded.kind, decoded.seq, decoded.did) == (expect["kind"], expect["seq"], expect["did"])
    assert decoded.typed is expect["typed"]
    assert raw.endswith(decoded.payload)
    if expect["event"] is None:
        assert decoded.kind not in PARSERS
    else:
        assert plain(PARSERS[decoded.kind](decoded)) == expect["event"]


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid_sample(path: Path) -> None:
    raw, expect = load(path)
    if expect["refused_by"] == "frame":
        with pytest.raises(FrameError, match=expect["because"]):
            frame.decode(raw)
    else:
        decoded = frame.decode(raw)
        with pytest.raises(EventInvalidError, match=expect["because"]):
            PARSERS[decoded.kind](decoded)


@pytest.mark.parametrize("path", [path for path in VALID if load(path)[1]["event"]], ids=lambda path: path.stem)
def test_strict_decoder_gives_the_same_event(path: Path) -> None:
    raw, expect = load(path)
    fast = frame.decode(raw)
    body = dag_cbor.decode(fast.payload)
    assert isinstance(body, dict)
    strict = dataclasses.replace(fast, body=body, typed=True)
    assert plain(PARSERS[strict.kind](strict)) == expect["event"]


def test_golden_headers() -> None:
    assert {kind: header.hex() for kind, header in frame.HEADERS.items()} == {
        "#commit": "a261746723636f6d6d6974626f7001",
        "#sync": "a26174652373796e63626f7001",
        "#identity": "a2617469236964656e74697479626f7001",
        "#account": "a2617468236163636f756e74626f7001",
        "#info": "a261746523696e666f626f7001",
    }
    assert frame.encode_error("FutureCursor", "").hex() == "a1626f7020" + "a1656572726f726c467574757265437572736f72"


def test_frames_we_originate_decode() -> None:
    error = frame.decode(frame.encode_error("ConsumerTooSlow", "too slow"))
    assert events.parse_error(error) == ("ConsumerTooSlow", "too slow")
    info = frame.decode(frame.encode_info("OutdatedCursor", "too old"))
    assert events.parse_info(info) == events.InfoEvent("OutdatedCursor", "too old")
    assert events.parse_info(frame.decode(frame.encode_info("OutdatedCursor", ""))).message == ""
    payload = frame.encode_account(DID, TIME, False, "takendown", 5)
    account = frame.decode(frame.HEADERS[FrameKind.ACCOUNT] + payload)
    assert events.parse_account(account) == events.AccountEvent(DID, False, "takendown", TIME)
    payload = frame.encode_identity(DID, TIME, None, 6)
    identity = frame.decode(frame.HEADERS[FrameKind.IDENTITY] + payload)
    assert events.parse_identity(identity) == events.IdentityEvent(DID, None, TIME)
    payload = frame.encode_sync(DID, "3n2rpq4bu6k2b", TIME, b"car", 7)
    sync = frame.decode(frame.HEADERS[FrameKind.SYNC] + payload)
    assert events.parse_sync(sync) == events.SyncEvent(DID, "3n2rpq4bu6k2b", b"car", TIME)
    assert not any(decoded.typed for decoded in (error, info, account, identity, sync))


def test_frame_of_5_000_000_bytes_and_one_more() -> None:
    spare = frame.FRAME_BYTES_MAX - len(message(FrameKind.COMMIT, commit_fields(blocks=bytes(100_000)))) + 100_000
    biggest = message(FrameKind.COMMIT, commit_fields(blocks=bytes(spare)))
    assert len(biggest) == 5_000_000
    assert not frame.decode(biggest).typed
    with pytest.raises(FrameError, match="5000001 bytes"):
        frame.decode(message(FrameKind.COMMIT, commit_fields(blocks=bytes(spare + 1))))


@pytest.mark.parametrize("blocks_bytes", [0, 1_000_000])
def test_outside_of_blocks_up_to_the_limit(blocks_bytes: int) -> None:
    def sized(extra: int) -> bytes:
        return message(FrameKind.COMMIT, commit_fields(blocks=bytes(blocks_bytes), future="x" * extra))

    blocks_size = len(dag_cbor.encode(bytes(blocks_bytes))) if blocks_bytes else 0
    spare = frame.OUTSIDE_BLOCKS_BYTES_MAX - (len(sized(100_000)) - blocks_size) + 100_000
    assert frame.decode(sized(spare)).typed
    with pytest.raises(FrameError, match="outside of blocks"):
        frame.decode(sized(spare + 1 if blocks_bytes else spare + 2))


def test_only_a_byte_string_counts_as_blocks() -> None:
    for blocks in ("x" * 300_000, ["x" * 300_000], {"blocks": bytes(300_000)}):
        with pytest.raises(FrameError, match="outside of blocks"):
            frame.decode(message(FrameKind.COMMIT, commit_fields(blocks=blocks)))


@pytest.mark.parametrize("kind", [FrameKind.IDENTITY, FrameKind.ACCOUNT, FrameKind.INFO])
def test_blocks_are_exempt_only_where_the_lexicon_has_them(kind: FrameKind) -> None:
    """Elsewhere it is an unknown field like any other: 5,000,000 bytes would go out as more, with a longer seq."""
    spare = frame.FRAME_BYTES_MAX - len(message(kind, ACCOUNT | {"blocks": bytes(100_000)})) + 100_000
    for size in (spare, frame.OUTSIDE_BLOCKS_BYTES_MAX):
        with pytest.raises(FrameError, match="outside of blocks"):
            frame.decode(message(kind, ACCOUNT | {"blocks": bytes(size)}))
    assert frame.decode(message(kind, ACCOUNT | {"blocks": bytes(1_000)})).kind is kind


def test_the_largest_events_that_pass_stay_far_below_the_limit_when_they_have_grown() -> None:
    """Blocks and everything else as large as they may be, the deprecated fields missing, the largest seq there is."""

    def commit(extra: int) -> bytes:
        fields = commit_fields(blocks=bytes(events.COMMIT_BLOCKS_BYTES_MAX), future="x" * extra)
        return message(
            FrameKind.COMMIT, {name: fields[name] for name in fields if name not in ("blobs", "rebase", "tooBig")}
        )

    blocks_size = len(dag_cbor.encode(bytes(events.COMMIT_BLOCKS_BYTES_MAX)))
    raw = commit(frame.OUTSIDE_BLOCKS_BYTES_MAX - (len(commit(100_000)) - blocks_size) + 100_000)
    assert len(raw) == blocks_size + frame.OUTSIDE_BLOCKS_BYTES_MAX
    decoded = frame.decode(raw)
    missing = events.parse_commit(decoded).missing_deprecated
    payload = frame.rewrite(decoded.payload, {name: events.DEPRECATED_FIELDS[name] for name in missing})
    payload = frame.splice(payload, frame.seq_span(payload, FrameKind.COMMIT), frame.SEQ_MAX)
    grown = len(frame.HEADERS[FrameKind.COMMIT]) + len(payload)
    assert len(raw) < grown < len(raw) + 1_000
    assert grown < frame.FRAME_BYTES_MAX // 2
    longer = commit_fields(blocks=bytes(events.COMMIT_BLOCKS_BYTES_MAX + 1))
    with pytest.raises(EventInvalidError):
        events.parse_commit(frame.decode(message(FrameKind.COMMIT, longer)))


def test_a_big_frame_of_an_unknown_kind_is_ignored_too() -> None:
    raw = dag_cbor.encode({"op": 1, "t": "#new"}) + dag_cbor.encode({"snapshot": bytes(1_000_000)})
    assert frame.decode(raw).kind is FrameKind.UNKNOWN
    with pytest.raises(FrameError, match="payload"):
        frame.decode(raw + b"\x00")


def array(count: int, item: bytes) -> bytes:
    return dag_cbor.encode_head(4, count) + item * count


BOMBS = {
    "a frame of nested arrays": b"\x81" * 5_000_000,
    "a payload of nested arrays": frame.HEADERS[FrameKind.COMMIT] + b"\xa1\x63ops" + b"\x81" * 4_999_900,
    "empty maps as ops": frame.HEADERS[FrameKind.COMMIT] + b"\xa1\x63ops" + array(4_999_900, b"\xa0"),
    "empty arrays as ops": frame.HEADERS[FrameKind.COMMIT] + b"\xa1\x63ops" + array(4_999_900, b"\x80"),
    "empty maps, small": frame.HEADERS[FrameKind.COMMIT] + b"\xa1\x63ops" + array(260_000, b"\xa0"),
    "empty maps, an unknown kind": dag_cbor.encode({"op": 1, "t": "#x"}) + b"\xa1\x61x" + array(4_999_900, b"\xa0"),
    "empty maps as header": array(4_999_900, b"\xa0"),
    "a payload of that many keys": frame.HEADERS[FrameKind.COMMIT] + dag_cbor.encode_head(5, 2**32) + b"\x60" * 260_000,
    "a length of 2**63": frame.HEADERS[FrameKind.COMMIT] + b"\xa1\x66blocks\x5b\x80" + bytes(7),
    "a count of 2**64 - 1": frame.HEADERS[FrameKind.COMMIT] + b"\xa1\x63ops\x9b" + b"\xff" * 8,
    "as many items as are allowed": frame.HEADERS[FrameKind.COMMIT] + b"\xa1\x63ops" + array(16_000, b"\xa0"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_cost_little(name: str) -> None:
    """Each costs under 30 ms of CPU and 10 MB here; the bounds leave room for slow machines."""
    raw = BOMBS[name]
    started = time.process_time()
    try:
        events.parse_commit(frame.decode(raw))
    except (FrameError, EventInvalidError):
        refused = True
    else:
        refused = False
    cpu_s = time.process_time() - started
    tracemalloc.start()
    try:
        with pytest.raises((FrameError, EventInvalidError)):
            events.parse_commit(frame.decode(raw))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused
    assert cpu_s < 0.5
    assert peak_bytes < 20_000_000
