import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlay_py.atproto import cid
from zlay_py.errors import SyntaxInvalidError

EMPTY_TREE = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
EMPTY_TREE_BLOCK = b"\xa2ae\x80al\xf6"  # {"e": [], "l": null}
BASE32 = "abcdefghijklmnopqrstuvwxyz234567"

digests = st.binary(min_size=32, max_size=32)
blessed = st.builds(
    lambda prefix, digest: prefix + digest, st.sampled_from([cid.PREFIX_DAG_CBOR, cid.PREFIX_RAW]), digests
)


def base32_text(data: bytes) -> str:
    """The standard library's encoder: slower than ours, and not ours."""
    return "b" + base64.b32encode(data).decode().rstrip("=").lower()


def test_the_empty_tree_has_its_well_known_cid() -> None:
    assert cid.to_string(cid.for_block(EMPTY_TREE_BLOCK)) == EMPTY_TREE
    assert cid.parse(EMPTY_TREE) == cid.for_block(EMPTY_TREE_BLOCK)


@given(st.binary())
def test_for_block_is_the_prefix_and_the_sha256_digest(block: bytes) -> None:
    made = cid.for_block(block)
    assert made == bytes.fromhex("01711220") + hashlib.sha256(block).digest()
    assert cid.is_dag_cbor(made)
    assert len(made) == cid.CID_BYTES


@given(blessed)
def test_text_and_bytes_round_trip(value: bytes) -> None:
    text = cid.to_string(value)
    assert text == base32_text(value)
    assert len(text) == 59
    assert cid.parse(text) == value
    assert cid.is_cid_string(text)


@given(blessed, st.integers(min_value=0, max_value=57), st.sampled_from(BASE32))
def test_no_cid_has_two_spellings(value: bytes, position: int, character: str) -> None:
    text = cid.to_string(value)
    changed = text[: position + 1] + character + text[position + 2 :]
    if changed == text:
        return
    try:
        other = cid.parse(changed)
    except SyntaxInvalidError:
        return
    assert other != value


@given(blessed)
def test_padding_bits_must_be_zero(value: bytes) -> None:
    text = cid.to_string(value)
    last = BASE32.index(text[-1])
    for bits in (1, 2, 3):
        with pytest.raises(SyntaxInvalidError):
            cid.parse(text[:-1] + BASE32[last | bits])


@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("01701220") + bytes(32),  # dag-pb
        bytes.fromhex("01711320") + bytes(32),  # another hash
        bytes.fromhex("0171121f") + bytes(32),  # a wrong digest length
        bytes.fromhex("00711220") + bytes(32),  # not version 1
        bytes.fromhex("01711220") + bytes(31),
        bytes.fromhex("01711220") + bytes(33),
        bytes.fromhex("0001711220") + bytes(32),  # with the 00 that CBOR puts in front
        bytes.fromhex("1220") + bytes(32),  # CID v0
        b"",
    ],
    ids=bytes.hex,
)
def test_other_cids_are_refused(data: bytes) -> None:
    assert not cid.is_dag_cbor(data)
    with pytest.raises(SyntaxInvalidError):
        cid.parse(base32_text(data))


def test_a_raw_cid_parses_but_is_no_repository_link() -> None:
    raw = cid.PREFIX_RAW + bytes(32)
    assert cid.parse(cid.to_string(raw)) == raw
    assert not cid.is_dag_cbor(raw)


@pytest.mark.parametrize("value", [None, 0, "a" * 36, bytearray(cid.PREFIX_DAG_CBOR + bytes(32)), [1]])
def test_is_dag_cbor_is_about_bytes_only(value: object) -> None:
    assert not cid.is_dag_cbor(value)


def test_is_dag_cbor_takes_a_subclass_of_bytes() -> None:
    class Link(bytes):
        pass

    assert cid.is_dag_cbor(Link(cid.for_block(b"")))


@pytest.mark.parametrize(
    "text",
    [
        EMPTY_TREE.upper(),
        EMPTY_TREE + "\n",
        " " + EMPTY_TREE,
        EMPTY_TREE[1:],
        EMPTY_TREE + "=",
        EMPTY_TREE[:-1],
        "",
        "b",
    ],
)
def test_near_misses_of_the_text_are_refused(text: str) -> None:
    with pytest.raises(SyntaxInvalidError):
        cid.parse(text)


@given(st.text() | st.text(alphabet="b" + BASE32, min_size=59, max_size=59))
def test_any_text_gives_a_cid_or_our_error(text: str) -> None:
    cid.is_cid_string(text)
    try:
        value = cid.parse(text)
    except SyntaxInvalidError:
        return
    assert cid.to_string(value) == text


def test_the_loose_format_has_its_lengths() -> None:
    assert [cid.is_cid_string("b" * n) for n in (7, 8, 256, 257)] == [False, True, True, False]
    assert not cid.is_cid_string("QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR")
    assert not cid.is_cid_string(EMPTY_TREE + "\n")
    assert not cid.is_cid_string(EMPTY_TREE.encode())
