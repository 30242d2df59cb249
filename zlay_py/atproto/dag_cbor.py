"""Strict DAG-CBOR (DRISL), as the atproto data model narrows it: two decoders, one encoder, one walk.

Owns: which bytes are a value of the data model, and what a hostile value may cost. Refuses to own: what any
value means.

`decode_fast` is the hot path: libipld decodes, and a re-encode has to give the same bytes (the canonical gate).
Its links are plain `bytes`; it says None whenever that gate can't tell. `decode` is the reference: it refuses
everything that atproto.com/specs/data-model and dasl.ing/drisl.html refuse, and its links are `Link`.

libipld never *encodes* for us: it emits any byte string that parses as a CID as a link. The gate turns that into
a mere "can't tell"; in an output it would be corruption.
"""

import cbor2
import libipld

from zlay_py.errors import CborError

BYTES_MAX = 5_000_000
"""Bytes of one value. Nothing longer can arrive: it is the limit of a whole frame (sync spec, event stream)."""

ITEMS_MAX = 131_072
"""Items (heads) in one value. An empty map is one byte on the wire and some 70 in memory, so that bytes alone bound
nothing. 131,072 is what the data validation guide allows one container; here it is the sum over all of them."""

DEPTH_MAX = 64
"""Containers inside each other: twice what the data validation guide advises (32), and far below the interpreter's
recursion limit, of which the type walk and both libraries use a level each."""

LINK_BYTES_MAX = 100
"""Bytes of one binary CID (data validation guide). Blessed ones have 36."""

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
"""The data model's integers are signed, 64 bits."""

_UINT, _BYTES, _TEXT, _ARRAY, _MAP, _TAG = 0, 2, 3, 4, 5, 6
_TAG_LINK = 42
_SIMPLE_HEADS = frozenset((0xF4, 0xF5, 0xF6))  # false, true, null; floats and `undefined` have other heads


class Link(bytes):
    """A CID link (a raw binary CIDv1 of any codec and hash, without the 0x00 of the wire), as `decode` gives it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Link({self.hex()})"


_LEAF_TYPES = frozenset((str, bytes, bool, type(None)))


def decode(data: bytes, *, bytes_max: int = BYTES_MAX, items_max: int = ITEMS_MAX) -> object:
    """The one value that `data` is, all of it: dict, list, str, bytes, int, bool, None, `Link`.

    Raises `CborError` for everything else: other types or tags, a wrong key order, duplicate keys, indefinite or
    non-minimal lengths, bytes after the value, integers outside 64 signed bits, links that are no CID, and values
    over one of the limits. Time and memory are bounded by `items_max` and `bytes_max`.
    """
    if len(data) > bytes_max:
        raise CborError(f"{len(data)} bytes, over {bytes_max}")
    # The walk comes first because cbor2 acts on tags by itself (big fractions, regular expressions, shared
    # references): it must never meet one that isn't a link, nor more items than we would pay for.
    end, _ = _walk(data, 0, items_max)
    if end != len(data):
        raise CborError(f"{len(data) - end} bytes after the value")
    try:
        value: object = cbor2.loads(
            data,
            tag_hook=_link,
            max_depth=DEPTH_MAX + 1,  # cbor2 counts a tag as a level
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except MemoryError:  # ours, not the bytes'
        raise
    except Exception as error:  # whatever else a foreign decoder makes of hostile bytes is the bytes' fault
        ours = isinstance(error.__cause__, CborError)  # what `_link` raised, wrapped by cbor2
        raise CborError(str(error.__cause__) if ours else f"malformed: {error}") from error
    objection = _objection(value, DEPTH_MAX)
    if objection is not None:
        raise CborError(objection)
    # What is left (key order, non-minimal heads) is whatever changes when we write the value ourselves.
    if _encode(value) != data:
        raise CborError("not canonical")
    return value


def decode_fast(data: bytes, *, items_max: int = ITEMS_MAX) -> object | None:
    """The value that `data` is, or None: this path can't tell, ask `decode`.

    Links are plain `bytes`. A byte string that looks like a CID gives None, so any bytes in the value that parse as
    a CID were a link on the wire. Wider than `decode` in what its caller has to check where it matters: floats,
    integers of 65 bits, deeper nesting, and links that aren't CIDv1 pass. Raises nothing for any bytes.
    """
    # An item takes at least a byte, so short data need no count.
    if len(data) > items_max and not _is_affordable(data, items_max):
        return None
    try:
        value: object = libipld.decode_dag_cbor(data)
        if libipld.encode_dag_cbor(value) == data:
            return value
    except MemoryError:
        raise
    except Exception:  # ValueError, RecursionError: `decode` will say what it is
        return None
    except BaseException as error:
        if not is_panic(error):
            raise
    return None


def is_panic(error: BaseException) -> bool:
    """Whether this is a panic of a Rust extension: a BaseException, though it only means that it failed."""
    return type(error).__name__ == "PanicException"


def encode(value: object) -> bytes:
    """The canonical bytes of a value (dict, list, str, bytes, int, bool, None, `Link`), for what we originate.

    Raises ValueError for anything outside the data model: that is our own mistake, not a peer's.
    """
    objection = _objection(value, DEPTH_MAX)
    if objection is not None:
        raise ValueError(objection)
    return _encode(value)


def encode_uint(n: int) -> bytes:
    """The minimal encoding of 0 <= n < 2**64. Raises ValueError outside that."""
    return encode_head(_UINT, n)


def encode_head(major: int, n: int) -> bytes:
    """The minimal head of major type `major` with argument n, 0 <= n < 2**64. Raises ValueError outside that."""
    if not 0 <= n < 1 << 64:
        raise ValueError(f"{n} does not fit a CBOR head")
    if n < 24:
        return bytes((major << 5 | n,))
    if n < 0x100:
        return bytes((major << 5 | 24, n))
    if n < 0x1_0000:
        return bytes((major << 5 | 25,)) + n.to_bytes(2, "big")
    if n < 0x1_0000_0000:
        return bytes((major << 5 | 26,)) + n.to_bytes(4, "big")
    return bytes((major << 5 | 27,)) + n.to_bytes(8, "big")


def encode_text(text: str) -> bytes:
    """The encoding of one text string."""
    raw = text.encode()
    return encode_head(_TEXT, len(raw)) + raw


def value_end(data: bytes, start: int, *, items_max: int = ITEMS_MAX) -> int:
    """Where the value that starts at `start` ends. Looks at heads only. Raises `CborError` if it is malformed."""
    return _walk(data, start, items_max)[0]


def top_level_items(payload: bytes, *, items_max: int = ITEMS_MAX) -> list[tuple[str, int, int, int]]:
    """The fields of the map that `payload` is: (key, start of key, start of value, end of value), in order.

    Looks at the heads of the values, not into them. Raises `CborError` for what is no map, is malformed, has keys
    that are no text or not in strictly canonical order, has bytes after the map, or more than `items_max` items.
    """
    major, fields, position = _head(payload, 0)
    if major != _MAP:
        raise CborError("not a map")
    items: list[tuple[str, int, int, int]] = []
    budget = items_max
    last = (-1, b"")
    for _ in range(fields):
        key_start = position
        major, size, raw_start = _head(payload, position)
        if major != _TEXT:
            raise CborError("a key that is no text")
        value_start = raw_start + size
        raw = payload[raw_start:value_start]
        rank = (size, raw)
        if rank <= last:
            raise CborError("keys out of order")
        last = rank
        position, budget = _walk(payload, value_start, budget - 1)
        try:
            items.append((raw.decode(), key_start, value_start, position))
        except UnicodeDecodeError as error:
            raise CborError("a key that is not UTF-8") from error
    if position != len(payload):
        raise CborError(f"{len(payload) - position} bytes after the map")
    return items


def _is_affordable(data: bytes, items_max: int) -> bool:
    if len(data) > BYTES_MAX:
        return False
    try:
        _walk(data, 0, items_max)
    except CborError:
        return False
    return True


def _head(data: bytes, position: int) -> tuple[int, int, int]:
    """(major type, argument, position after the head)."""
    if position >= len(data):
        raise CborError("truncated")
    first = data[position]
    if first & 0x1F < 24:
        return first >> 5, first & 0x1F, position + 1
    n, position = _long_argument(data, position)
    return first >> 5, n, position


def _long_argument(data: bytes, position: int) -> tuple[int, int]:
    """(argument, position after the head) where the argument follows the head's first byte."""
    info = data[position] & 0x1F
    if info > 27:
        raise CborError("indefinite length")
    start = position + 1
    end = start + (1 << (info - 24))
    if end > len(data):
        raise CborError("truncated")
    return int.from_bytes(data[start:end], "big"), end


def _walk(data: bytes, position: int, budget: int) -> tuple[int, int]:
    """(end of the value at `position`, items left of `budget`). Iterative: hostile nesting costs no stack.

    Refuses, apart from what is over a limit: truncation, indefinite lengths, tags other than a link on a byte
    string, floats and simple values other than false, true, null. Doesn't look at text, keys or minimality.
    """
    end = len(data)
    left = 1  # values still to come in the container we are in
    outer: list[int] = []
    while True:
        while not left:
            if not outer:
                return position, budget
            left = outer.pop()
        left -= 1
        budget -= 1
        if budget < 0:
            raise CborError("too many items")
        if position >= end:
            raise CborError("truncated")
        first = data[position]
        major, n, after = first >> 5, first & 0x1F, position + 1
        if n >= 24:  # `_head` in line: this loop is what an unknown field costs
            n, after = _long_argument(data, position)
        if major < _BYTES:
            position = after
        elif major <= _TEXT:
            position = after + n
            if position > end:
                raise CborError("truncated")
        elif major <= _MAP:
            if len(outer) >= DEPTH_MAX:
                raise CborError("nested too deeply")
            outer.append(left)
            left = n if major == _ARRAY else 2 * n
            position = after
            if left > end - position:  # an item takes at least a byte
                raise CborError("truncated")
        elif major == _TAG:
            if n != _TAG_LINK or after >= end or data[after] >> 5 != _BYTES:
                raise CborError("a tag that is no link")
            left += 1
            position = after
        elif first in _SIMPLE_HEADS:
            position = after
        else:
            raise CborError("a float or unknown simple value")


def _link(tag: cbor2.CBORTag, _immutable: bool) -> Link:
    raw = tag.value  # bytes and tag 42: the walk has seen to it
    if raw[:1] != b"\x00":
        raise CborError("a link without its leading zero")
    return Link(raw[1:])


def _objection(value: object, depth: int) -> str | None:
    """Why a value is outside the data model, or None. `depth`: containers that it may still nest."""
    kind = type(value)
    if kind in _LEAF_TYPES:
        return None
    if type(value) is int:
        return None if INTEGER_MIN <= value <= INTEGER_MAX else "an integer over 64 bits"
    if type(value) is Link:
        return None if _is_cid(value) else "a link that is no CID"
    if depth == 0:
        return "nested too deeply"
    if isinstance(value, dict) and kind is dict:
        if any(type(key) is not str for key in value):
            return "a key that is no text"
        value = list(value.values())
    if isinstance(value, list) and type(value) is list:
        for item in value:
            if type(item) in _LEAF_TYPES:
                continue
            objection = _objection(item, depth - 1)
            if objection is not None:
                return objection
        return None
    return f"a {kind.__name__} is not in the data model"


def _is_cid(raw: bytes) -> bool:
    """A binary CIDv1 of any codec and hash, whose digest has the length that it says."""
    if len(raw) > LINK_BYTES_MAX or raw[:1] != b"\x01":
        return False
    position = 1
    n = 0
    for _ in range(3):  # codec, hash function, digest length: minimal varints
        n = shift = 0
        while True:
            if position >= len(raw) or shift > 56:
                return False
            byte = raw[position]
            position += 1
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if byte == 0 and shift > 7:
            return False
    return len(raw) - position == n


def _encode(value: object) -> bytes:
    return cbor2.dumps(value, canonical=True, encoders={Link: _encode_link})


def _encode_link(encoder: cbor2.CBOREncoder, link: Link) -> None:
    encoder.encode_semantic(_TAG_LINK, b"\x00" + link)
