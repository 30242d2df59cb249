"""CAR slices: round trips, every malformation, the limits."""

import time
from hashlib import sha256
from typing import Any

import dag_cbor as independent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multiformats import CID, varint

from zlay_py.atproto import car, cid
from zlay_py.errors import CarError

BLOCK = b"\xa1\x61a\x01"
ROOT = cid.for_block(BLOCK)
blocks = st.lists(st.binary(max_size=300), max_size=12)


def section(block: bytes, block_cid: bytes | None = None) -> bytes:
    body = (cid.for_block(block) if block_cid is None else block_cid) + block
    return varint.encode(len(body)) + body


def header(value: Any) -> bytes:
    raw = independent.encode(value)
    return varint.encode(len(raw)) + raw


def links(*cids: bytes) -> list[CID]:
    return [CID.decode(raw) for raw in cids]


HEADER = header({"roots": links(ROOT), "version": 1})


@settings(deadline=None)
@given(st.binary(max_size=50), blocks)
def test_round_trip(first: bytes, more: list[bytes]) -> None:
    root = cid.for_block(first)
    pairs = [(cid.for_block(block), block) for block in [first, *more]]
    raw = car.write(root, pairs)
    assert raw == header({"roots": links(root), "version": 1}) + b"".join(section(block) for _, block in pairs)
    assert car.parse(raw) == ((root,), dict(pairs))


@pytest.mark.parametrize("size", [0, 1, 91, 92, 16_347, 16_348, 2_097_115, 2_097_116])
def test_every_width_of_varint(size: int) -> None:
    block = bytes(size)
    assert car.parse(HEADER + section(block)).blocks == {cid.for_block(block): block}


def test_legal_though_unusual() -> None:
    assert car.parse(HEADER) == ((ROOT,), {})
    twice = HEADER + section(BLOCK) + section(b"unlinked") + section(BLOCK)
    assert car.parse(twice).blocks == {ROOT: BLOCK, cid.for_block(b"unlinked"): b"unlinked"}
    other = cid.for_block(b"other")
    several = header({"roots": links(ROOT, other, ROOT), "version": 1})
    assert car.parse(several + section(BLOCK)) == ((ROOT, other, ROOT), {ROOT: BLOCK})
    assert all(type(root) is bytes for root in car.parse(several).roots)


RAW_ROOT = b"\x01\x55" + ROOT[2:]
SHA_512 = b"\x01\x71\x13\x40" + bytes(64)
WRONG_DIGEST = ROOT[:-1] + bytes((ROOT[-1] ^ 1,))
MALFORMED = {
    "nothing": b"",
    "header of length 0": b"\x00" + section(BLOCK),
    "header truncated": HEADER[:-1],
    "header length alone": HEADER[:1],
    "header length not minimal": b"\xba\x00" + HEADER[1:],
    "header length over nine bytes": b"\x80" * 9 + b"\x01",
    "header over the limit": header({"roots": links(ROOT) * 100, "version": 1}),
    "header an array": header([ROOT, 1]),
    "header a number": b"\x01\x01",
    "header not canonical": b"\x3a\xa2" + HEADER[-9:] + HEADER[2:-9],
    "header with a float": header({"roots": links(ROOT), "version": 1.0}),
    "header trailing byte": b"\x3b" + HEADER[1:] + b"\x00",
    "version 0": header({"roots": links(ROOT), "version": 0}),
    "version 2": header({"roots": links(ROOT), "version": 2}),
    "version true": header({"roots": links(ROOT), "version": True}),
    "version missing": header({"roots": links(ROOT)}),
    "roots missing": header({"version": 1}),
    "roots empty": header({"roots": [], "version": 1}),
    "roots a link": header({"roots": links(ROOT)[0], "version": 1}),
    "roots of bytes": header({"roots": [ROOT], "version": 1}),
    "root of raw data": header({"roots": links(RAW_ROOT), "version": 1}),
    "second root of raw data": header({"roots": links(ROOT, RAW_ROOT), "version": 1}),
    "another field": header({"roots": links(ROOT), "version": 1, "x": 1}),
    "section of length 0": HEADER + b"\x00",
    "section length alone": HEADER + section(BLOCK)[:1],
    "section shorter than a CID": HEADER + b"\x23" + ROOT[:35],
    "section truncated": HEADER + section(BLOCK)[:-1],
    "section length not minimal": HEADER + bytes((section(BLOCK)[0] | 0x80, 0)) + section(BLOCK)[1:],
    "section length half there": HEADER + b"\x80",
    "section length not minimal, long": HEADER + b"\xa8\x80\x00" + section(BLOCK)[1:],
    "section length over the rest": HEADER + b"\xff\xff\xff\xff\x07" + ROOT,
    "section length 2**63 - 1": HEADER + b"\xff" * 8 + b"\x7f" + ROOT,
    "section length over nine bytes": HEADER + b"\xff" * 9 + b"\x01" + ROOT,
    "byte after the last section": HEADER + section(BLOCK) + b"\x01",
    "wrong block": HEADER + section(BLOCK + b"\x00", ROOT),
    "wrong digest": HEADER + section(BLOCK, WRONG_DIGEST),
    "raw data": HEADER + section(BLOCK, RAW_ROOT),
    "sha-512": HEADER + section(BLOCK, SHA_512),
    "version 0 CID": HEADER + section(BLOCK, b"\x12\x20" + sha256(BLOCK).digest() + b"\x00\x00"),
    "identity hash": HEADER + section(b"", b"\x01\x71\x00\x20" + bytes(32)),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str) -> None:
    with pytest.raises(CarError):
        car.parse(MALFORMED[name])


def test_what_is_malformed_is_malformed_by_that_alone() -> None:
    assert car.parse(HEADER + section(BLOCK)).blocks[ROOT] == BLOCK
    assert car.parse(header({"roots": links(ROOT) * 80, "version": 1})).roots == (ROOT,) * 80


def test_blocks_up_to_the_limit_duplicates_counted() -> None:
    one = section(BLOCK)
    assert car.parse(HEADER + one * 10_000).blocks == {ROOT: BLOCK}
    with pytest.raises(CarError, match="more than 10000 blocks"):
        car.parse(HEADER + one * 10_001)
    assert len(car.parse(HEADER + section(b"1") + section(b"2"), blocks_max=2).blocks) == 2
    with pytest.raises(CarError, match="more than 1 blocks"):
        car.parse(HEADER + section(b"1") + section(b"2"), blocks_max=1)


def test_the_worst_slice_of_2_mb_costs_little() -> None:
    """10 ms of CPU here: 10,001 blocks are hashed, 44,000 more never."""
    worst = HEADER + section(b"") * (2_000_000 // len(section(b"")))
    started = time.process_time()
    with pytest.raises(CarError, match="blocks"):
        car.parse(worst)
    assert time.process_time() - started < 0.5
