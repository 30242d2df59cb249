"""Commit objects: both paths give the same, the signed bytes are exact, every refusal."""

from typing import Any

import dag_cbor as independent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multiformats import CID

from zlay_py.atproto import commit, dag_cbor
from zlay_py.atproto.commit import Commit
from zlay_py.errors import CommitError

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
REV = "3n2rpq4bu6k2b"
PREFIX = bytes.fromhex("01711220")

dids = st.sampled_from([DID, "did:web:x", "did:web:" + "a" * 247, "did:web:" + "a" * 248, "did:web:" + "a" * 2040])
revs = st.from_regex("[2-7a-j][2-7a-z]{12}", fullmatch=True)
cids = st.binary(min_size=32, max_size=32).map(lambda digest: PREFIX + digest)
sigs = st.binary(min_size=64, max_size=64)
# The independent codec sorts any keys; names longer than ours sort after them, others between them.
unknown = st.dictionaries(
    st.text(max_size=9).filter(lambda key: key not in {"did", "rev", "sig", "data", "prev", "version"}),
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5) | st.lists(st.binary(max_size=40), max_size=3),
    max_size=25,
)


def fields(**changes: Any) -> dict[str, Any]:
    link = CID.decode(PREFIX + bytes(32))
    usual = {"did": DID, "rev": REV, "data": link, "prev": None, "version": 3, "sig": bytes(64)}
    return usual | changes


@settings(deadline=None)
@given(dids, revs, cids, sigs)
def test_both_paths_give_the_same(did: str, rev: str, data: bytes, sig: bytes) -> None:
    block = commit.encode_signed(did, rev, data, sig)
    expected = Commit(did, rev, data, None, sig, commit.encode_unsigned(did, rev, data))
    assert commit.decode(block, did=did, rev=rev) == expected
    assert commit.decode(block, did="", rev="") == expected


@settings(deadline=None)
@given(cids, cids | st.none(), sigs)
def test_encodes_as_the_independent_codec(data: bytes, prev: bytes | None, sig: bytes) -> None:
    value = fields(data=CID.decode(data), prev=prev and CID.decode(prev), sig=sig)
    assert commit.encode_signed(DID, REV, data, sig, prev) == independent.encode(value)
    del value["sig"]
    assert commit.encode_unsigned(DID, REV, data, prev) == independent.encode(value)


@settings(deadline=None)
@given(unknown, cids | st.none(), sigs)
def test_signed_bytes_keep_what_we_do_not_know(more: dict[str, Any], prev: bytes | None, sig: bytes) -> None:
    value = more | fields(prev=prev and CID.decode(prev), sig=sig)
    decoded = commit.decode(independent.encode(value), did=DID, rev=REV)
    del value["sig"]
    assert decoded == Commit(DID, REV, PREFIX + bytes(32), prev, sig, independent.encode(value))
    assert decoded.prev is None or type(decoded.prev) is bytes


def test_one_byte_of_map_head_less() -> None:
    """24 fields have a head of two bytes, the 23 without `sig` of one."""
    value = fields() | {f"unknown{i:02}": i for i in range(18)}
    decoded = commit.decode(independent.encode(value), did=DID, rev=REV)
    del value["sig"]
    assert decoded.unsigned == independent.encode(value)
    assert (independent.encode(fields() | value)[:2], decoded.unsigned[:1]) == (b"\xb8\x18", b"\xb7")


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in fields().items() if key != name}


RAW_LINK = CID.decode(bytes.fromhex("01551220") + bytes(32))
INVALID: dict[str, Any] = {
    "an array": [fields()],
    "no fields": {},
    "did missing": without("did"),
    "did no DID": fields(did="alice.test"),
    "did null": fields(did=None),
    "rev missing": without("rev"),
    "rev no TID": fields(rev="3n2rpq4bu6k2B"),
    "rev with first bit": fields(rev="z" * 13),
    "data missing": without("data"),
    "data null": fields(data=None),
    "data bytes": fields(data=PREFIX + bytes(32)),
    "data of raw codec": fields(data=RAW_LINK),
    "prev missing": without("prev"),
    "prev bytes": fields(prev=PREFIX + bytes(32)),
    "prev of raw codec": fields(prev=RAW_LINK),
    "sig missing": without("sig"),
    "sig null": fields(sig=None),
    "sig text": fields(sig="x" * 64),
    "sig of 63 bytes": fields(sig=bytes(63)),
    "sig of 65 bytes": fields(sig=bytes(65)),
    "sig a link": fields(sig=CID.decode(bytes.fromhex("0171001b") + bytes(27))),
    "version missing": without("version"),
    "version 2": fields(version=2),
    "version text": fields(version="3"),
    "version float": fields(version=3.0),
    "float in an unknown field": fields(unknown=1.5),
    "over 10,000 bytes": fields(unknown=bytes(10_000)),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid(name: str) -> None:
    block = independent.encode(INVALID[name])
    with pytest.raises(CommitError):
        commit.decode(block, did=DID, rev=REV)


@settings(deadline=None)
@given(st.data())
def test_template_takes_nothing_that_the_strict_path_refuses(data: st.DataObject) -> None:
    block = bytearray(independent.encode(fields(sig=bytes(range(64)))))
    for _ in range(data.draw(st.integers(1, 2))):
        position = data.draw(st.integers(0, len(block) - 1))
        block[position] = data.draw(st.integers(0, 255))
    outcomes: list[Commit | None] = []
    for did, rev in ((DID, REV), ("", "")):
        try:
            outcomes.append(commit.decode(bytes(block), did=did, rev=rev))
        except CommitError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]
    if outcomes[0] is not None:
        assert independent.decode(bytes(block))["version"] == 3  # type: ignore[call-overload,index]


@pytest.mark.parametrize(
    ("did", "rev"), [("\ud800", REV), (DID, "\ud800"), ("x" * 10_000, REV), (DID.replace(":", "."), REV), (DID, "3")]
)
def test_hints_are_only_hints(did: str, rev: str) -> None:
    block = independent.encode(fields())
    assert commit.decode(block, did=did, rev=rev) == commit.decode(block, did=DID, rev=REV)


def test_hints_that_are_no_identifiers_make_no_template() -> None:
    for bad in (fields(did="did:web:" + "/" * 24), fields(rev="A" * 13)):
        with pytest.raises(CommitError):
            commit.decode(independent.encode(bad), did=bad["did"], rev=bad["rev"])


def test_canonical_only() -> None:
    block = commit.encode_signed(DID, REV, PREFIX + bytes(32), bytes(64))
    entry = len(dag_cbor.encode_text("version")) + 1
    version_first = block[:1] + block[-entry:] + block[1:-entry]
    for raw in (version_first, block + b"\x00", block[:-1], block[:-1] + b"\x18\x03", b""):
        with pytest.raises(CommitError):
            commit.decode(raw, did=DID, rev=REV)
