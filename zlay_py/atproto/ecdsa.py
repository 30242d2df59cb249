"""ECDSA on the two curves of atproto: points in, signatures checked. No text forms, no private keys.

K-256 goes through libsecp256k1 (coincurve's build, called directly: nine times faster than OpenSSL on this
curve), P-256 through OpenSSL. The two libraries disagree on details: OpenSSL accepts high-S signatures,
libsecp256k1 reads 64 bytes behind whatever pointer it gets, both accept more point encodings than atproto
does. So every rule of the protocol is checked here, before either is asked.
Source of the rules: atproto cryptography spec.
"""

from enum import Enum
from hashlib import sha256
from typing import Final

from coincurve._libsecp256k1 import ffi, lib  # type: ignore[import-not-found]  # a compiled module without stubs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from zlay_py.errors import KeyFormatError


class Curve(Enum):
    """The number is the first byte of a stored key: never change one."""

    K256 = 1
    P256 = 2


ORDERS: Final = {
    Curve.K256: 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141,
    Curve.P256: 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551,
}
SIGNATURE_BYTES: Final = 64
COMPRESSED_BYTES: Final = 33
UNCOMPRESSED_BYTES: Final = 65

# Big-endian bytes of equal length compare like the numbers they spell, so no signature becomes an int first.
_ZERO: Final = bytes(32)
_ORDER_BYTES: Final = {curve: order.to_bytes(32, "big") for curve, order in ORDERS.items()}
_HALF_ORDER_BYTES: Final = {curve: (order // 2).to_bytes(32, "big") for curve, order in ORDERS.items()}

_COMPRESSED_HEADS: Final = (b"\x02", b"\x03")
_UNCOMPRESSED_HEAD: Final = b"\x04"
_P256: Final = ec.SECP256R1()
_ECDSA_SHA256: Final = ec.ECDSA(hashes.SHA256())
# The static context verifies and parses, which is all we do. It is constant and shared by all threads.
_CONTEXT: Final = lib.secp256k1_context_static


def parse_point(curve: Curve, point: bytes) -> tuple[bytes, bytes]:
    """(the point compressed to 33 bytes, the 64 or 65 bytes that `verify` wants) of a point in SEC 1 form.

    `point` is 33 bytes (02, 03) or 65 bytes (04); the hybrid forms 06 and 07 are refused. Raises KeyFormatError
    when the length, the form or the coordinates are wrong, the curve's equation included.
    """
    if len(point) == COMPRESSED_BYTES and point.startswith(_COMPRESSED_HEADS):
        compressed = point
    elif len(point) == UNCOMPRESSED_BYTES and point.startswith(_UNCOMPRESSED_HEAD):
        compressed = _COMPRESSED_HEADS[point[-1] & 1] + point[1:33]  # the head says whether y is odd
    else:
        raise KeyFormatError("a public key is a point of 33 bytes (02, 03) or 65 bytes (04)")
    return compressed, _parse_k256(point) if curve is Curve.K256 else _parse_p256(point)


def verify(curve: Curve, parsed: bytes, signature: bytes, message: bytes) -> bool:
    """True if `signature` (64 bytes, r and s) is one of `message` (hashed here with SHA-256) under `parsed`.

    A signature of another length, r or s outside [1, n), or s above n/2 is False like any other bad signature.
    `parsed` comes from `parse_point` of the same curve.
    """
    if len(signature) != SIGNATURE_BYTES:
        return False
    r, s = signature[:32], signature[32:]
    if not _ZERO < r < _ORDER_BYTES[curve] or not _ZERO < s <= _HALF_ORDER_BYTES[curve]:
        return False
    if curve is Curve.K256:
        return _verify_k256(parsed, signature, message)
    return _verify_p256(parsed, r, s, message)


def low_s(curve: Curve, signature: bytes) -> bytes:
    """The same signature (64 bytes) with s in the lower half, as signers must send it.

    Raises ValueError on another length or r or s outside [1, n): no signer makes those.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise ValueError(f"a signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")
    order = ORDERS[curve]
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not 0 < r < order or not 0 < s < order:
        raise ValueError("r or s is out of range")
    return signature if s <= order // 2 else signature[:32] + (order - s).to_bytes(32, "big")


def _parse_k256(point: bytes) -> bytes:
    key = ffi.new("secp256k1_pubkey *")
    if not lib.secp256k1_ec_pubkey_parse(_CONTEXT, key, point, len(point)):
        raise KeyFormatError("not a point on K-256")
    # The library keeps its key as 64 bytes that may be copied and moved: bytes are half the size of a cffi
    # object, and cost nothing to point at.
    return bytes(ffi.buffer(key))


def _verify_k256(parsed: bytes, signature: bytes, message: bytes) -> bool:
    # A new struct each time, not one for the module: cffi gives up the GIL between the two calls.
    parsed_signature = ffi.new("secp256k1_ecdsa_signature *")
    if not lib.secp256k1_ecdsa_signature_parse_compact(_CONTEXT, parsed_signature, signature):
        return False
    key = ffi.from_buffer("secp256k1_pubkey *", parsed)
    return bool(lib.secp256k1_ecdsa_verify(_CONTEXT, parsed_signature, sha256(message).digest(), key))


def _parse_p256(point: bytes) -> bytes:
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(_P256, point)
    except ValueError:
        raise KeyFormatError("not a point on P-256") from None
    # Both coordinates as bytes, not the key object: that one takes two kilobytes inside OpenSSL, and making
    # it again costs 5 µs once y is known.
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _verify_p256(parsed: bytes, r: bytes, s: bytes, message: bytes) -> bool:
    key = ec.EllipticCurvePublicKey.from_encoded_point(_P256, parsed)
    der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    try:
        key.verify(der, message, _ECDSA_SHA256)
    except InvalidSignature:
        return False
    return True
