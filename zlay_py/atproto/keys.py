"""Public keys as they appear in atproto: `did:key`, Multikey, the legacy forms of DID documents, and storage.

    did:key:z…    base58btc( codec | 33-byte point )    e7 01: K-256 (zQ3s…)    80 24: P-256 (zDn…)
    stored        curve byte | 33-byte point

Owns the forms and the key object; the curves themselves are in `ecdsa`. Refuses to own private keys and
signing. Source of the rules: atproto cryptography spec, "Public Key Encoding"; atproto DID spec.
"""

from dataclasses import dataclass, field
from typing import Final

from zlay_py.atproto import base58, ecdsa
from zlay_py.atproto.ecdsa import COMPRESSED_BYTES, Curve, low_s
from zlay_py.errors import KeyFormatError

__all__ = ["STORED_BYTES", "Curve", "PublicKey", "low_s", "parse_did_key", "parse_legacy", "parse_multikey"]

STORED_BYTES: Final = 1 + COMPRESSED_BYTES

_CURVES: Final = {bytes([curve.value]): curve for curve in Curve}
_CODECS: Final = {Curve.K256: b"\xe7\x01", Curve.P256: b"\x80\x24"}
_CURVE_OF_CODEC: Final = {codec: curve for curve, codec in _CODECS.items()}
_CURVE_OF_LEGACY_TYPE: Final = {
    "EcdsaSecp256k1VerificationKey2019": Curve.K256,
    "EcdsaSecp256r1VerificationKey2019": Curve.P256,
}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A point that is known to lie on its curve. Equal by curve and point; about 250 bytes of memory.

    Made by `from_point`, `from_bytes` and the parsers below, never by naming the fields.
    """

    curve: Curve
    point: bytes  # compressed, 33 bytes
    _parsed: bytes = field(repr=False, compare=False)  # 64 or 65 bytes, what `ecdsa.verify` wants

    @classmethod
    def from_point(cls, curve: Curve, point: bytes) -> "PublicKey":
        """The key of a point in SEC 1 form, 33 or 65 bytes. Raises KeyFormatError."""
        return cls(curve, *ecdsa.parse_point(curve, point))

    @classmethod
    def from_bytes(cls, data: bytes) -> "PublicKey":
        """The key that `to_bytes` wrote. Raises KeyFormatError."""
        curve = _CURVES.get(data[:1])
        if curve is None or len(data) != STORED_BYTES:
            raise KeyFormatError(f"a stored key is a curve byte and {COMPRESSED_BYTES} bytes of point")
        return cls.from_point(curve, data[1:])

    def to_bytes(self) -> bytes:
        """34 bytes for storage: curve byte and compressed point."""
        return bytes([self.curve.value]) + self.point

    def verify(self, signature: bytes, message: bytes) -> bool:
        """True if `signature` is a valid atproto signature of `message` (hashed here with SHA-256) by this key.

        False for whatever is not 64 bytes of r and s in range with s in the lower half; never raises.
        """
        return ecdsa.verify(self.curve, self._parsed, signature, message)

    def multikey(self) -> str:
        """`z…`, as in `publicKeyMultibase` of a verification method of type Multikey."""
        return "z" + base58.encode(_CODECS[self.curve] + self.point)

    def did_key(self) -> str:
        """`did:key:z…`."""
        return "did:key:" + self.multikey()


def parse_did_key(text: str) -> PublicKey:
    """The key in `did:key:z…`. Raises KeyFormatError."""
    multikey = text.removeprefix("did:key:")
    if multikey == text:
        raise KeyFormatError("not a did:key")
    return parse_multikey(multikey)


def parse_multikey(text: str) -> PublicKey:
    """The key in `z…` with its codec: a compressed point of K-256 or P-256, nothing else. Raises KeyFormatError."""
    data = _multibase(text)
    curve = _CURVE_OF_CODEC.get(data[:2])
    if curve is None or len(data) != 2 + COMPRESSED_BYTES:
        raise KeyFormatError("not a compressed K-256 or P-256 key")
    return PublicKey.from_point(curve, data[2:])


def parse_legacy(key_type: str, multibase: str) -> PublicKey:
    """The key of a verification method of one of the 2019 types: `z…` of the bare point, no codec.

    The specification says 65 bytes; documents with 33 are out there as well. Raises KeyFormatError, for other
    types too.
    """
    curve = _CURVE_OF_LEGACY_TYPE.get(key_type)
    if curve is None:
        raise KeyFormatError("not one of the 2019 key types")
    return PublicKey.from_point(curve, _multibase(multibase))


def _multibase(text: str) -> bytes:
    if not text.startswith("z"):
        raise KeyFormatError("not multibase base58btc")
    return base58.decode(text[1:])
