"""DAG-CBOR, written only, with the simulator's own few lines: what they get wrong, the product does not share.

Maps are written with their keys in canonical order, whatever the order they were given in. `Raw` puts in bytes as they
are, for frames that are wrong on purpose.
Source: atproto.com/specs/data-model; dasl.ing/drisl.html.
"""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Final

UINT: Final = 0
NEGATIVE: Final = 1
BYTES: Final = 2
TEXT: Final = 3
ARRAY: Final = 4
MAP: Final = 5
TAG: Final = 6

CID_PREFIX: Final = bytes.fromhex("01711220")
"""CID version 1, DAG-CBOR, SHA-256 of 32 bytes: what comes before the digest."""
LINK_PREFIX: Final = bytes.fromhex("d82a582500") + CID_PREFIX
"""Tag 42 and a byte string of 37: all of a link but its digest."""


class Link(bytes):
    """A CID of 36 bytes, to be written as a link."""

    __slots__ = ()


class Raw(bytes):
    """Bytes that are written as they are."""

    __slots__ = ()


def cid(block: bytes) -> bytes:
    """The 36 bytes that name a block."""
    return CID_PREFIX + sha256(block).digest()


def head(major: int, number: int) -> bytes:
    """The first bytes of an item, in the shortest form."""
    if number < 24:
        return bytes((major << 5 | number,))
    if number < 1 << 8:
        return bytes((major << 5 | 24, number))
    for code, size in ((25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes((major << 5 | code,)) + number.to_bytes(size, "big")
    raise ValueError("a number of more than 64 bits")


def encode(value: object) -> bytes:
    """The canonical bytes of a value. Raises TypeError for what DAG-CBOR can't hold."""
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def link(target: bytes) -> bytes:
    """A link to a CID, encoded."""
    return LINK_PREFIX + target[len(CID_PREFIX) :]


def _write(value: object, parts: list[bytes]) -> None:
    if isinstance(value, str):
        parts.append(_text(value) if len(value) < 40 else _encode_text(value))
    elif isinstance(value, bytes):
        _write_bytes(value, parts)
    elif value is None or isinstance(value, bool):
        parts.append(b"\xf6" if value is None else b"\xf5" if value else b"\xf4")
    elif isinstance(value, int):
        parts.append(head(UINT, value) if value >= 0 else head(NEGATIVE, -1 - value))
    elif isinstance(value, list | tuple):
        parts.append(head(ARRAY, len(value)))
        for item in value:
            _write(item, parts)
    elif isinstance(value, Mapping):
        parts.append(head(MAP, len(value)))
        for key in _in_order(tuple(value)):
            parts.append(_text(key))
            _write(value[key], parts)
    else:
        raise TypeError(f"no DAG-CBOR for {type(value).__name__}")


def _write_bytes(value: bytes, parts: list[bytes]) -> None:
    if isinstance(value, Raw):
        parts.append(value)
    elif isinstance(value, Link):
        parts.append(link(value))
    else:
        parts += (head(BYTES, len(value)), value)


def _encode_text(text: str) -> bytes:
    raw = text.encode()
    return head(TEXT, len(raw)) + raw


_text = lru_cache(maxsize=4096)(_encode_text)
"""For keys, actions, DIDs: the same few come again and again."""


@lru_cache(maxsize=1024)
def _in_order(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(keys, key=lambda key: (len(key.encode()), key.encode())))
