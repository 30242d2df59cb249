"""CIDs of the kind that repositories use, kept as their 36 raw bytes.

    01        71 | 55             12        20        …
    CID v1    dag-cbor | raw      sha-256   32 bytes  digest

Raw bytes rather than objects: a CID is a dict key and a slice of a block far more often than it is text.
Source of the rules: atproto data model spec, "Link and CID Formats" ("blessed" CIDs).
"""

import re
from hashlib import sha256
from typing import Final, TypeGuard

import libipld

from zlay_py.errors import SyntaxInvalidError

CID_BYTES: Final = 36
PREFIX_DAG_CBOR: Final = bytes.fromhex("01711220")
PREFIX_RAW: Final = bytes.fromhex("01551220")

# 288 bits in 58 characters of 5: the last two bits are padding. Only eight characters end in two zero bits,
# and any other last character would give one CID several spellings.
_BLESSED_TEXT: Final = re.compile("b[a-z2-7]{57}[aeimquy4]")
_LOOSE_TEXT: Final = re.compile("(?!Qmb)[a-zA-Z0-9+=]{8,256}")


def for_block(block: bytes) -> bytes:
    """The dag-cbor CID (36 bytes) of a block's bytes."""
    return PREFIX_DAG_CBOR + sha256(block).digest()


def is_dag_cbor(value: object) -> TypeGuard[bytes]:
    """True for exactly 36 bytes that are a CID v1, dag-cbor, sha-256: the only link allowed inside a repository."""
    return isinstance(value, bytes) and len(value) == CID_BYTES and value.startswith(PREFIX_DAG_CBOR)


def to_string(cid: bytes) -> str:
    """`b` and lower-case base32 without padding: 59 characters for a blessed CID. The bytes are not examined."""
    return libipld.encode_multibase("b", cid)


def parse(text: str) -> bytes:
    """The 36 bytes of a blessed CID (dag-cbor or raw, sha-256, base32), in its one canonical spelling.

    Raises SyntaxInvalidError for anything else, other CID versions, codecs, hashes and bases included.
    """
    if _BLESSED_TEXT.fullmatch(text):
        cid = libipld.decode_multibase(text)[1]
        if cid.startswith((PREFIX_DAG_CBOR, PREFIX_RAW)):
            return cid
    raise SyntaxInvalidError("not a CID v1 of dag-cbor or raw data with sha-256")


def is_cid_string(text: object) -> TypeGuard[str]:
    """The lexicon's string format `cid`: any CID-looking text, far looser than `parse`.

    Source: atproto lexicon spec, string formats; CIDs of version 0 are not supported.
    """
    return isinstance(text, str) and _LOOSE_TEXT.fullmatch(text) is not None
