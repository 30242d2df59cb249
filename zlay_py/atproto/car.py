"""CAR v1: the blocks of a repository slice, each checked against its CID.

    varint(length) {roots: [CID, ...], version: 1}
    varint(36 + n) CID n bytes of block              repeated

Owns: which bytes are such a slice. Refuses to own: what the blocks mean and whether anything links to them (extra,
duplicate, unordered and missing blocks are all legal). Source: atproto repository spec, "CAR File Serialization";
dasl.ing/car.html.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final, NamedTuple

from zlay_py.atproto import dag_cbor
from zlay_py.atproto.cid import CID_BYTES, PREFIX_DAG_CBOR, is_dag_cbor
from zlay_py.errors import CarError, CborError

BLOCKS_MAX: Final = 10_000
"""Blocks in a slice, duplicates included. 200 operations touch some 2,000 nodes in the largest repositories; without
a limit 2 MB could hold 54,000 one-byte blocks, 40 ms of hashing."""

HEADER_BYTES_MAX: Final = 4_096
"""Bytes of the header. One root takes 58, and a slice needs no more than one."""

_VARINT_BYTES_MAX: Final = 9  # unsigned-varint's own limit: 63 bits

# {roots: [one dag-cbor CID], version: 1}, length first. The 32 bytes of digest stand between the two.
_ONE_ROOT_START: Final = bytes.fromhex("3aa265726f6f747381d82a582500") + PREFIX_DAG_CBOR
_ONE_ROOT_END: Final = bytes.fromhex("6776657273696f6e01")
_ONE_ROOT_CID_START: Final = len(_ONE_ROOT_START) - len(PREFIX_DAG_CBOR)
_ONE_ROOT_CID_END: Final = _ONE_ROOT_CID_START + CID_BYTES
_ONE_ROOT_BYTES: Final = _ONE_ROOT_CID_END + len(_ONE_ROOT_END)


class Car(NamedTuple):
    """`roots`: at least one CID of 36 bytes. `blocks`: CID to the block's bytes, whose hash it is."""

    roots: tuple[bytes, ...]
    blocks: dict[bytes, bytes]


def parse(data: bytes, *, blocks_max: int = BLOCKS_MAX) -> Car:
    """The roots and blocks of a slice, every block hashed. The root's block need not be there.

    Raises `CarError` for anything malformed, for CIDs other than dag-cbor with sha-256, for a block that is not
    what its CID says, and for more than `blocks_max` blocks.
    """
    roots, position = _header(data)
    end = len(data)
    blocks: dict[bytes, bytes] = {}
    left = blocks_max
    try:
        while position < end:
            low = data[position]
            if low < 0x80:
                length, position = low, position + 1
            elif 0 < (high := data[position + 1]) < 0x80:  # most blocks: two bytes, read in line
                length, position = low - 0x80 + (high << 7), position + 2
            else:
                length, position = _varint(data, position)
            block_start = position + CID_BYTES
            stop = position + length
            if length < CID_BYTES or stop > end:
                raise CarError("a block shorter than its CID" if stop <= end else "truncated")
            cid = data[position:block_start]
            block = data[block_start:stop]
            if PREFIX_DAG_CBOR + sha256(block).digest() != cid:
                raise CarError("a block that is not what its CID says" if is_dag_cbor(cid) else "a CID not blessed")
            left -= 1
            if left < 0:
                raise CarError(f"more than {blocks_max} blocks")
            blocks[cid] = block
            position = stop
    except IndexError:
        raise CarError("truncated") from None
    return Car(roots, blocks)


def write(root: bytes, blocks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A slice with one root and these (CID, block) pairs, in the order given. The hashes are not checked."""
    parts = [_ONE_ROOT_START[:_ONE_ROOT_CID_START], root, _ONE_ROOT_END]
    for cid, block in blocks:
        parts += (_encode_varint(len(cid) + len(block)), cid, block)
    return b"".join(parts)


def _header(data: bytes) -> tuple[tuple[bytes, ...], int]:
    """(roots, position of the first block)."""
    if data.startswith(_ONE_ROOT_START) and data[_ONE_ROOT_CID_END:_ONE_ROOT_BYTES] == _ONE_ROOT_END:
        return (data[_ONE_ROOT_CID_START:_ONE_ROOT_CID_END],), _ONE_ROOT_BYTES
    try:
        length, start = _varint(data, 0)
    except IndexError:
        raise CarError("truncated") from None
    end = start + length
    if not length or length > HEADER_BYTES_MAX or end > len(data):
        raise CarError("a header of impossible length")
    try:
        header = dag_cbor.decode(data[start:end])
    except CborError as error:
        raise CarError(f"header: {error}") from error
    if not isinstance(header, dict) or header.keys() != {"roots", "version"}:
        raise CarError("a header that is not {roots, version}")
    roots, version = header["roots"], header["version"]
    if type(version) is not int or version != 1:
        raise CarError("not CAR version 1")
    if not isinstance(roots, list) or not roots:
        raise CarError("no roots")
    if not all(type(root) is dag_cbor.Link and is_dag_cbor(root) for root in roots):
        raise CarError("a root that is no dag-cbor link")
    return tuple(bytes(root) for root in roots), end


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """(value, position after it) of an unsigned LEB128 in its shortest form. Raises IndexError where data end."""
    value = 0
    for shift in range(0, 7 * _VARINT_BYTES_MAX, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise CarError("a varint that is not minimal")
            return value, position
    raise CarError("a varint over nine bytes")


def _encode_varint(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)
