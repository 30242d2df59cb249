"""Signing keys of both curves, the same for the same seed, and signatures that are the same every time (RFC 6979).

Source: atproto.com/specs/cryptography.
"""

from abc import ABC, abstractmethod
from enum import StrEnum
from hashlib import sha256
from typing import Final

from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Curve(StrEnum):
    K256 = "k256"
    P256 = "p256"


ORDERS: Final = {
    Curve.K256: 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    Curve.P256: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
}
"""How many points the curve's group has."""

_CODECS: Final = {Curve.K256: b"\xe7\x01", Curve.P256: b"\x80\x24"}
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Signer(ABC):
    """A private key. `did_key`: its public half, as `did:key:z…`."""

    def __init__(self, curve: Curve, point: bytes) -> None:
        self.curve = curve
        self.did_key = "did:key:z" + base58(_CODECS[curve] + point)

    @abstractmethod
    def sign(self, message: bytes) -> bytes:
        """64 bytes, r and s, of the message's SHA-256; s is the lower one of the two that would do."""


class _K256Signer(Signer):
    def __init__(self, secret: bytes) -> None:
        self._private = PrivateKey(secret)
        super().__init__(Curve.K256, self._private.public_key.format(compressed=True))

    def sign(self, message: bytes) -> bytes:
        # The library's only compact form. The byte that it adds would tell the public key.
        return self._private.sign_recoverable(message)[:64]


class _P256Signer(Signer):
    def __init__(self, secret: bytes) -> None:
        self._private = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())
        public = self._private.public_key()
        super().__init__(Curve.P256, public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint))

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self._private.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True)))
        order = ORDERS[Curve.P256]
        return r.to_bytes(32, "big") + min(s, order - s).to_bytes(32, "big")


def derive(curve: Curve, *names: object) -> Signer:
    """The key that goes with these names: a world's seed, a DID, and which of its keys it is."""
    digest = sha256("/".join(map(str, ("key", curve, *names))).encode()).digest()
    secret = (int.from_bytes(digest, "big") % (ORDERS[curve] - 1) + 1).to_bytes(32, "big")
    return _K256Signer(secret) if curve is Curve.K256 else _P256Signer(secret)


def other_half(curve: Curve, signature: bytes) -> bytes:
    """The signature with the other s that would do: mathematically as good, and what the protocol forbids."""
    s = ORDERS[curve] - int.from_bytes(signature[32:], "big")
    return signature[:32] + s.to_bytes(32, "big")


def base58(data: bytes) -> str:
    """Base58 as Bitcoin has it."""
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text
