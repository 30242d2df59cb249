"""One node of the Merkle search tree: its canonical bytes, and the layer that a key belongs to.

    { "e": [ { "k": suffix, "p": prefix length, "t": right child | null, "v": record }, … ], "l": left child | null }

A node is read by decoding it, writing what was understood, and comparing: equal bytes prove at once that the
encoding is canonical, that there are no other fields, and that every link is a CID v1, dag-cbor, sha-256.

Owns: what a node on its own has to satisfy. Refuses to own: how nodes hang together (`mst_slice`).
Source: atproto repository spec, "MST Structure".
"""

from hashlib import sha256
from typing import Any, Final

import libipld

from zlay_py.atproto import cid
from zlay_py.atproto.dag_cbor import encode_head, is_panic
from zlay_py.errors import MstError

KEY_BYTES_MAX: Final = 1024
"""Bytes of one key. The reference implementations' limit; a valid repository path has at most 830 characters."""

ENTRIES_MAX: Final = 1000
"""Entries of one node. Three in four keys stay on their node's layer, so that honest nodes have about four entries
and the odds of a thousand are 0.75**1000. Only keys ground for the purpose get there."""

NODE_BYTES_MAX: Final = 262_144
"""Bytes of one node's block: a thousand entries of 262 bytes. Keeps the decoder's worst case near 40 ms."""

DEPTH_MAX: Final = 128
"""Highest layer there can be: a SHA-256 has 256 bits, and two leading zeros make a layer."""

_BYTE_STRING, _UINT, _ARRAY = 2, 0, 4
_LINK: Final = b"\xd8\x2a\x58\x25\x00" + cid.PREFIX_DAG_CBOR  # tag 42, 37 bytes, 00: all of a link but its digest
_DIGEST: Final = len(cid.PREFIX_DAG_CBOR)  # where the digest starts in a CID

# The bytes around what varies, by the number in them: looked up, since a commit needs some two hundred of them.
_NODE_HEADS: Final = tuple(b"\xa2\x61e" + encode_head(_ARRAY, n) for n in range(ENTRIES_MAX + 1))
_SUFFIX_HEADS: Final = tuple(b"\xa4\x61k" + encode_head(_BYTE_STRING, n) for n in range(KEY_BYTES_MAX + 1))
_PREFIX_LENGTHS: Final = tuple(b"\x61p" + encode_head(_UINT, n) + b"\x61t" for n in range(KEY_BYTES_MAX + 1))
_VALUE: Final = b"\x61v" + _LINK
_NO_RIGHT: Final = b"\xf6" + _VALUE
_LEFT: Final = b"\x61l" + _LINK
_NO_LEFT: Final = b"\x61l\xf6"

_ENTRY_PARTS: Final = 5
_RIGHT_PART: Final = 3  # of an entry's parts, the one with the link

# _LAYER_LIMITS[n] is above every digest of layer n or higher, and not above any digest of a lower layer.
_LAYER_LIMITS: Final = (
    b"\xff" * 33,
    *((1 << 256 - 2 * n).to_bytes(32, "big") for n in range(1, DEPTH_MAX + 1)),
    b"",
)


class Node:
    """A node of which the bytes are canonical.

    `links[i]` is the subtree before `keys[i]`, the last one the subtree after all keys; None where there is none.
    `entries` are the decoded entries; `parts` the pieces that make up the bytes. `layer` is set by who knows it: a
    node without keys has the layer that its parent says.
    """

    __slots__ = ("entries", "keys", "layer", "links", "parts")

    def __init__(
        self, keys: list[bytes], links: list[bytes | None], entries: list[dict[str, Any]], parts: list[bytes]
    ) -> None:
        self.keys = keys
        self.links = links
        self.entries = entries
        self.parts = parts
        self.layer = 0

    def with_link(self, index: int, link: bytes | None) -> bytes:
        """The node's bytes with another `links[index]`. The node itself stays as it is."""
        parts = self.parts.copy()
        if index == 0:
            parts[-1] = _left_part(link)
        else:
            parts[1 + (index - 1) * _ENTRY_PARTS + _RIGHT_PART] = _right_part(link)
        return b"".join(parts)


def layer(key: bytes) -> int:
    """The layer of a key, 0 to 128: pairs of leading zero bits of its SHA-256."""
    return (256 - int.from_bytes(sha256(key).digest(), "big").bit_length()) // 2


def all_on_layer(keys: list[bytes], expected: int) -> bool:
    """Whether each of the keys (at least one) belongs to this layer, 0 to 128."""
    digests = [sha256(key).digest() for key in keys]
    return max(digests) < _LAYER_LIMITS[expected] and min(digests) >= _LAYER_LIMITS[expected + 1]


def common_prefix_length(a: bytes, b: bytes) -> int:
    """How many bytes `a` and `b` have in common at their start."""
    size = min(len(a), len(b))
    difference = int.from_bytes(a[:size], "big") ^ int.from_bytes(b[:size], "big")
    return size - (difference.bit_length() + 7) // 8


def encode(left: bytes | None, entries: list[tuple[int, bytes, bytes, bytes | None]]) -> bytes:
    """The block of a node. Entries are (prefix length, rest of the key, record, right child); all within the limits.

    Written here, since the fast library takes byte strings that look like CIDs for links, and a suffix may.
    """
    parts = [_NODE_HEADS[len(entries)]]
    for prefix, suffix, value, right in entries:
        parts += (
            _SUFFIX_HEADS[len(suffix)],
            suffix,
            _PREFIX_LENGTHS[prefix],
            _NO_RIGHT if right is None else _LINK + right[_DIGEST:] + _VALUE,
            value[_DIGEST:],
        )
    parts.append(_left_part(left))
    return b"".join(parts)


def parse(block: bytes) -> Node:
    """The node that a block is. Raises MstError unless it is one: canonical, and within the limits.

    Checked: exactly the fields of a node, blessed links, keys of 1 to 1024 bytes in strictly ascending order, and
    prefix lengths that are as long as they can be. Not checked: anything that takes a second node, layers included.
    """
    if len(block) > NODE_BYTES_MAX:
        raise MstError(f"a node of {len(block)} bytes, over {NODE_BYTES_MAX}")
    try:
        return _parse(block)
    except (LookupError, TypeError, ValueError) as error:
        raise MstError(f"not a node: {error}") from error


def _parse(block: bytes) -> Node:
    """`parse` without the safety net: what doesn't have a node's shape shows up as one of three exceptions."""
    fields = _decode(block)
    left: bytes | None = fields["l"]
    entries: list[dict[str, Any]] = fields["e"]
    parts = [_NODE_HEADS[len(entries)]]  # IndexError: more than ENTRIES_MAX
    keys: list[bytes] = []
    links = [left]
    key = b""
    size = 0
    for entry in entries:
        prefix = entry["p"]
        suffix = entry["k"]
        value = entry["v"]
        right = entry["t"]
        # One comparison for two rules. After a shared prefix of the right length, the next byte differs (or the
        # prefix could be longer) and is the higher one (or the keys would not ascend).
        if 0 <= prefix < size:
            if suffix[0] <= key[prefix]:
                raise MstError("keys out of order, or a prefix shorter than it could be")
        elif prefix != size or not suffix:
            raise MstError("a prefix longer than the previous key, or a key that repeats it")
        # Before the next key is made from this one: prefixes of prefixes would grow without bound.
        if prefix + len(suffix) > KEY_BYTES_MAX:
            raise MstError(f"a key over {KEY_BYTES_MAX} bytes")
        parts += (
            _SUFFIX_HEADS[len(suffix)],
            suffix,
            _PREFIX_LENGTHS[prefix],
            _NO_RIGHT if right is None else _LINK + right[_DIGEST:] + _VALUE,
            value[_DIGEST:],
        )
        key = key[:prefix] + suffix
        size = len(key)
        keys.append(key)
        links.append(right)
    parts.append(_left_part(left))
    if b"".join(parts) != block:
        raise MstError("a node that is not canonical, or has other fields or links")
    return Node(keys, links, entries, parts)


def _decode(block: bytes) -> Any:
    try:
        return libipld.decode_dag_cbor(block)
    except Exception as error:  # ValueError, RecursionError: the bytes' fault, whatever it is
        raise MstError(f"not DAG-CBOR: {error}") from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise MstError("not DAG-CBOR: it defeats the decoder") from error


def _left_part(link: bytes | None) -> bytes:
    return _NO_LEFT if link is None else _LEFT + link[_DIGEST:]


def _right_part(link: bytes | None) -> bytes:
    return _NO_RIGHT if link is None else _LINK + link[_DIGEST:] + _VALUE
