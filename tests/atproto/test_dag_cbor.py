"""Strict DAG-CBOR: round trips against an independent codec, the whole list of refusals, what hostile values cost."""

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dag_cbor as independent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multiformats import CID

from zlay_py.atproto import dag_cbor
from zlay_py.atproto.dag_cbor import Link
from zlay_py.errors import CborError

CID_BYTES = bytes.fromhex("01711220") + bytes(range(32))
LINK_ON_WIRE = bytes.fromhex("d82a582500") + CID_BYTES
CODECS = (0x55, 0x70, 0x71, 0x0129)

text = st.text(max_size=30)
links = st.builds(
    lambda codec, digest: Link(bytes(CID("base58btc", 1, codec, ("sha2-256", digest)))),
    st.sampled_from(CODECS),
    st.binary(min_size=32, max_size=32),
)
integers = st.integers(dag_cbor.INTEGER_MIN, dag_cbor.INTEGER_MAX)
leaves = st.none() | st.booleans() | integers | text | st.binary(max_size=70) | links
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(text, inner, max_size=6))


def as_independent(value: Any) -> Any:
    if isinstance(value, Link):
        return CID.decode(bytes(value))
    if isinstance(value, list):
        return [as_independent(item) for item in value]
    if isinstance(value, dict):
        return {key: as_independent(item) for key, item in value.items()}
    return value


def without_links(value: Any) -> Any:
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, list):
        return [without_links(item) for item in value]
    if isinstance(value, dict):
        return {key: without_links(item) for key, item in value.items()}
    return value


def exact_types(value: Any) -> Any:
    """Equality that tells True from 1, and a link from its bytes."""
    if isinstance(value, list):
        return [exact_types(item) for item in value]
    if isinstance(value, dict):
        return {key: exact_types(item) for key, item in value.items()}
    return type(value), value


@settings(deadline=None)
@given(values)
def test_round_trip_and_same_bytes_as_the_independent_codec(value: Any) -> None:
    raw = dag_cbor.encode(value)
    assert raw == independent.encode(as_independent(value))
    assert exact_types(dag_cbor.decode(raw)) == exact_types(value)


@settings(deadline=None)
@given(values)
def test_fast_path_agrees_or_says_nothing(value: Any) -> None:
    fast = dag_cbor.decode_fast(dag_cbor.encode(value))
    assert fast is None or fast == without_links(value)


def test_fast_path_decodes_what_holds_links_and_says_nothing_about_bytes_like_a_link() -> None:
    assert dag_cbor.decode_fast(dag_cbor.encode({"a": Link(CID_BYTES)})) == {"a": CID_BYTES}
    assert dag_cbor.decode_fast(dag_cbor.encode({"a": CID_BYTES})) is None
    assert dag_cbor.decode_fast(dag_cbor.encode({"a": CID_BYTES + b"more"})) is None
    assert dag_cbor.decode(dag_cbor.encode({"a": CID_BYTES})) == {"a": CID_BYTES}
    assert type(dag_cbor.decode(dag_cbor.encode(CID_BYTES))) is bytes
    assert type(dag_cbor.decode(dag_cbor.encode(Link(CID_BYTES)))) is Link


REFUSED = {
    "nothing": "",
    "trailing byte": "0100",
    "two values": "a0a0",
    "truncated head": "18",
    "truncated text": "6261",
    "truncated array": "8201",
    "truncated map": "a16161",
    "break alone": "ff",
    "reserved info 28": "1c",
    "reserved info 30": "7e",
    "integer one byte too long": "1817",
    "integer in two bytes": "190017",
    "integer in four bytes": "1a0000ffff",
    "integer in eight bytes": "1b00000000ffffffff",
    "negative too long": "3817",
    "text length too long": "780161",
    "bytes length too long": "580161",
    "array length too long": "980101",
    "map length too long": "b801616101",
    "tag number too long": "d9002a582500" + CID_BYTES.hex(),
    "indefinite bytes": "5f4161ff",
    "indefinite text": "7f6161ff",
    "indefinite array": "9f01ff",
    "indefinite map": "bf616101ff",
    "half float": "f93c00",
    "single float": "fa3f800000",
    "double float": "fb3ff0000000000000",
    "NaN": "f97e00",
    "infinity": "fb7ff0000000000000",
    "undefined": "f7",
    "simple value": "f0",
    "simple value in a byte": "f8ff",
    "false in two bytes": "f814",
    "number as key": "a10102",
    "bytes as key": "a1416101",
    "null as key": "a1f601",
    "link as key": "a1" + LINK_ON_WIRE.hex() + "01",
    "key twice": "a2616101616102",
    "key order": "a2616201616102",
    "key order, length first": "a262616101616202",
    "nested key order": "81a2616201616102",
    "text not UTF-8": "62c328",
    "text with half a character": "63eda080",
    "key not UTF-8": "a162c32801",
    "date": "c06161",
    "timestamp": "c100",
    "big number": "c249010000000000000000",
    "decimal": "c4820105",
    "big float": "c5821a7fffffff01",
    "base64 text": "d8226161",
    "regular expression": "d8236161",
    "shared value": "d81c80",
    "set": "d9010280",
    "self-described": "d9d9f7a0",
    "link on text": "d82a6161",
    "link on a link": "d82ad82a4100",
    "link on nothing": "d82a",
    "link, empty": "d82a40",
    "link without zero": "d82a5824" + CID_BYTES.hex(),
    "link with another zero": "d82a582501" + CID_BYTES.hex(),
    "link, zero only": "d82a4100",
    "link, short digest": "d82a582400" + CID_BYTES[:-1].hex(),
    "link, long digest": "d82a582600" + CID_BYTES.hex() + "00",
    "link, version 0": "d82a582300" + "1220" + bytes(32).hex(),
    "link, version 2": "d82a582500" + "02" + CID_BYTES[1:].hex(),
    "link, varint not minimal": "d82a582600" + "01f10012" + "20" + bytes(32).hex(),
    "link, over 100 bytes": "d82a586b00" + "0171" + "0066" + bytes(102).hex(),
    "integer 2**63": "1b8000000000000000",
    "integer 2**64 - 1": "1bffffffffffffffff",
    "integer -2**63 - 1": "3b8000000000000000",
    "length over the input": "5b7fffffffffffffff",
    "count over the input": "9bffffffffffffffff",
    "pairs over the input": "bbffffffffffffffff",
}
WIDER_IN_THE_FAST_PATH = {
    "double float",
    "integer 2**63",
    "integer 2**64 - 1",
    "integer -2**63 - 1",
    "link, long digest",
    "link, version 0",
    "link, over 100 bytes",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    raw = bytes.fromhex(REFUSED[name])
    with pytest.raises(CborError):
        dag_cbor.decode(raw)
    if name not in WIDER_IN_THE_FAST_PATH:
        assert dag_cbor.decode_fast(raw) is None


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("17", 23),
        ("1818", 24),
        ("1b7fffffffffffffff", 2**63 - 1),
        ("3b7fffffffffffffff", -(2**63)),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("60", ""),
        ("40", b""),
        ("80", []),
        ("a0", {}),
        ("a2616101626100f6", {"a": 1, "a\0": None}),
        (LINK_ON_WIRE.hex(), Link(CID_BYTES)),
    ],
)
def test_accepted(raw: str, value: object) -> None:
    decoded = dag_cbor.decode(bytes.fromhex(raw))
    assert (type(decoded), decoded) == (type(value), value)
    assert dag_cbor.encode(value).hex() == raw


def test_fast_path_differs_where_it_says_so_and_nowhere_else() -> None:
    different = {name for name, raw in REFUSED.items() if dag_cbor.decode_fast(bytes.fromhex(raw)) is not None}
    assert different <= WIDER_IN_THE_FAST_PATH


@pytest.mark.parametrize(
    "value", [1.0, 2**63, -(2**63) - 1, {1: 2}, {"a": (1,)}, [Link(b"x")], "\ud800", {"\ud800": 1}, object()]
)
def test_our_own_mistakes_are_value_errors(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        dag_cbor.encode(value)


@pytest.mark.parametrize(
    "n", [2**bits + d for bits in (0, 5, 8, 16, 32, 53, 63) for d in (-2, -1, 0, 1) if bits or d >= 0]
)
def test_encode_uint(n: int) -> None:
    assert dag_cbor.encode_uint(n) == independent.encode(n)


@pytest.mark.parametrize("n", [-1, 2**64])
def test_encode_uint_out_of_range(n: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        dag_cbor.encode_uint(n)


@settings(deadline=None)
@given(text)
def test_encode_text(value: str) -> None:
    assert dag_cbor.encode_text(value) == independent.encode(value)


@settings(deadline=None)
@given(st.dictionaries(text, values, max_size=5) | st.dictionaries(text, leaves, max_size=30))
def test_top_level_items_are_the_fields(fields: dict[str, Any]) -> None:
    raw = dag_cbor.encode(fields)
    items = dag_cbor.top_level_items(raw)
    assert {key: dag_cbor.decode(raw[start:end]) for key, _, start, end in items} == fields
    for key, key_start, start, _ in items:
        assert raw[key_start:start] == dag_cbor.encode_text(key)
    head = len(dag_cbor.encode_head(5, len(fields)))
    assert [item[1] for item in items] + [len(raw)] == [head] + [item[3] for item in items]


@pytest.mark.parametrize("raw", ["", "80", "6161", "a1", "a16161", "a1616101ff", "a2616201616102", "a2616101616102"])
def test_top_level_items_refuses(raw: str) -> None:
    with pytest.raises(CborError):
        dag_cbor.top_level_items(bytes.fromhex(raw))


@pytest.mark.parametrize("raw", ["a10102", "a1416101", "a162c32801", "bf616101ff", "a16161c100", "a1616100a0"])
def test_top_level_items_refuses_keys_and_values(raw: str) -> None:
    with pytest.raises(CborError):
        dag_cbor.top_level_items(bytes.fromhex(raw))


@settings(deadline=None)
@given(values, st.binary(max_size=5))
def test_value_end(value: Any, more: bytes) -> None:
    raw = dag_cbor.encode(value)
    assert dag_cbor.value_end(more + raw + more, len(more)) == len(more) + len(raw)


def nested(depth: int) -> bytes:
    return b"\x81" * (depth - 1) + b"\x80"


def array(count: int, item: bytes) -> bytes:
    return dag_cbor.encode_head(4, count) + item * count


def test_limits_are_where_they_say() -> None:
    dag_cbor.decode(nested(dag_cbor.DEPTH_MAX))
    with pytest.raises(CborError, match="deep"):
        dag_cbor.decode(nested(dag_cbor.DEPTH_MAX + 1))
    deep_link = b"\x81" * dag_cbor.DEPTH_MAX + LINK_ON_WIRE
    assert dag_cbor.encode(dag_cbor.decode(deep_link)) == deep_link
    with pytest.raises(ValueError, match="deep"):
        dag_cbor.encode({"a": dag_cbor.decode(nested(dag_cbor.DEPTH_MAX))})
    assert len(dag_cbor.decode(array(999, b"\x00"), items_max=1_000)) == 999  # type: ignore[arg-type]
    with pytest.raises(CborError, match="items"):
        dag_cbor.decode(array(1_000, b"\x00"), items_max=1_000)
    assert dag_cbor.decode_fast(array(1_000, b"\x00"), items_max=1_000) is None
    dag_cbor.decode(b"\x43abc", bytes_max=4)
    with pytest.raises(CborError, match="bytes"):
        dag_cbor.decode(b"\x44abcd", bytes_max=4)


def test_only_panics_are_taken_for_panics() -> None:
    class PanicException(BaseException):  # the name that Rust extensions give it
        pass

    assert dag_cbor.is_panic(PanicException())
    assert not dag_cbor.is_panic(KeyboardInterrupt())
    assert not dag_cbor.is_panic(SystemExit())


def bombs() -> dict[str, bytes]:
    """The worst 5 MB, refused or not, that we know."""
    size = dag_cbor.BYTES_MAX
    keys = {f"{i:05}": 0 for i in range(65_000)}
    return {
        "nested arrays": b"\x81" * size,
        "nested maps": b"\xa1\x60" * (size // 2),
        "nested tags": b"\xd8\x2a" * (size // 2),
        "empty maps": array(size - 5, b"\xa0"),
        "empty arrays": array(size - 5, b"\x80"),
        "zeros": array(size - 5, b"\x00"),
        "empty keys": dag_cbor.encode_head(5, size // 2 - 5) + b"\x60\x00" * (size // 2 - 5),
        "as many maps as are allowed": array(dag_cbor.ITEMS_MAX - 1, b"\xa0"),
        "as many pairs as are allowed": dag_cbor.encode(keys),
        "deep and wide": array(2_000, b"\x81" * 62 + b"\x00"),
        "one byte string": dag_cbor.encode(bytes(size - 5)),
        "one text": dag_cbor.encode("x" * (size - 5)),
        "big fraction": b"\xd8\x1e\x82" + b"\xc2\x5a\x00\x20\x00\x00" + bytes(2**21) + b"\xc2\x5a\x00\x20\x00\x00" * 2,
        "big exponent": b"\xc5\x82\x1a\x7f\xff\xff\xff\x01",
        "length 2**64 - 1": b"\x5b" + b"\xff" * 8,
        "count 2**64 - 1": b"\x9b" + b"\xff" * 8,
        "count 2**32 inside each other": (b"\x9a\xff\xff\xff\xff" * 60).ljust(1_000_000, b"\x00"),
    }


@pytest.mark.parametrize("name", bombs())
def test_bombs_cost_little_time(name: str) -> None:
    """At most 0.4 s of CPU here; the bound leaves room for slow machines."""
    raw = bombs()[name]
    for decode in (dag_cbor.decode, dag_cbor.decode_fast):
        started = time.process_time()
        outcome(decode, raw)
        assert time.process_time() - started < 2


def outcome(decode: Any, raw: bytes) -> str:
    try:
        return type(decode(raw)).__name__
    except CborError as error:
        return str(error)


def run_bombs_in_little_memory() -> None:
    ready = bombs()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    taken = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 100_000_000, taken + 100_000_000))
    for raw in ready.values():
        sys.stdout.write(f"{outcome(dag_cbor.decode, raw)} {outcome(dag_cbor.decode_fast, raw)}\n")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_bombs_fit_into_100_mb_of_address_space() -> None:
    """A process of its own, so that the memory which the libraries take by themselves counts as well."""
    code = f"import runpy; runpy.run_path({__file__!r})['run_bombs_in_little_memory']()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "".join(
        f"{outcome(dag_cbor.decode, raw)} {outcome(dag_cbor.decode_fast, raw)}\n" for raw in bombs().values()
    )


arbitrary = st.binary(max_size=200)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid value with a few bytes changed, cut, repeated or put in."""
    raw = bytearray(dag_cbor.encode(draw(values)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(raw)))
        end = draw(st.integers(start, min(len(raw), start + 8)))
        raw[start:end] = draw(st.binary(max_size=6) | st.just(bytes(raw[start:end]) * 2))
    return bytes(raw)


@settings(max_examples=500, deadline=None)
@given(arbitrary | mutated())
def test_any_bytes_give_a_value_or_our_error(raw: bytes) -> None:
    try:
        value = dag_cbor.decode(raw)
    except CborError:
        value = refused = object()
    else:
        refused = None
        assert dag_cbor.encode(value) == raw
        assert independent.encode(as_independent(value)) == raw
    fast = dag_cbor.decode_fast(raw)
    if fast is not None and not refused:
        assert fast == without_links(value)
    try:
        assert dag_cbor.value_end(raw, 0) <= len(raw)
    except CborError:
        assert refused
    try:
        items = dag_cbor.top_level_items(raw)
    except CborError:
        assert refused or type(value) is not dict
    else:
        assert refused or (isinstance(value, dict) and [item[0] for item in items] == list(value))
