"""The simulator's keys and signatures, against the product's verification and published vectors."""

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tools.simulator.worlds.keys import ORDERS, Curve, base58, derive, other_half
from zlay_py.atproto import keys
from zlay_py.atproto.base58 import decode

CURVES = list(Curve)
POINTS = {Curve.K256: ec.SECP256K1(), Curve.P256: ec.SECP256R1()}


@pytest.mark.parametrize("curve", CURVES)
@given(names=st.tuples(st.integers(), st.text(max_size=20)), message=st.binary(max_size=300))
def test_signatures_verify(curve: Curve, names: tuple[int, str], message: bytes) -> None:
    signer = derive(curve, *names)
    public = keys.parse_did_key(signer.did_key)
    signature = signer.sign(message)
    assert public.curve.name == curve.name
    assert len(signature) == 64
    assert public.verify(signature, message)
    assert not public.verify(signature, message + b"x")


@pytest.mark.parametrize("curve", CURVES)
@given(message=st.binary(max_size=100))
def test_the_other_half_is_refused_and_comes_back(curve: Curve, message: bytes) -> None:
    signer = derive(curve, "half")
    public = keys.parse_did_key(signer.did_key)
    signature = signer.sign(message)
    other = other_half(curve, signature)
    assert int.from_bytes(signature[32:], "big") <= ORDERS[curve] // 2 < int.from_bytes(other[32:], "big")
    assert not public.verify(other, message)
    assert keys.low_s(public.curve, other) == signature == other_half(curve, other)


@pytest.mark.parametrize("curve", CURVES)
def test_same_names_same_key_and_signature(curve: Curve) -> None:
    one, same, other = derive(curve, 1, "did"), derive(curve, 1, "did"), derive(curve, 2, "did")
    assert one.did_key == same.did_key != other.did_key
    assert one.sign(b"message") == same.sign(b"message")


@pytest.mark.parametrize("curve", CURVES)
def test_signatures_are_those_of_rfc_6979(curve: Curve) -> None:
    """r is the nonce's point, and the nonce is the RFC's: another one would verify as well, and differ every time."""
    order = ORDERS[curve]
    secret = int.from_bytes(hashlib.sha256(f"key/{curve}/sample".encode()).digest(), "big") % (order - 1) + 1
    point = ec.derive_private_key(nonce(secret, order, b"message"), POINTS[curve]).public_key().public_numbers()
    signature = derive(curve, "sample").sign(b"message")
    assert int.from_bytes(signature[:32], "big") == point.x % order


def nonce(secret: int, order: int, message: bytes) -> int:
    """RFC 6979, 3.2, for curves of 256 bits and SHA-256."""
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big") % order
    seed = secret.to_bytes(32, "big") + digest.to_bytes(32, "big")
    key, value = bytes(32), b"\x01" * 32
    for step in (b"\x00", b"\x01"):
        key = hmac.digest(key, value + step + seed, "sha256")
        value = hmac.digest(key, value, "sha256")
    return int.from_bytes(hmac.digest(key, value, "sha256"), "big")  # below the order but for one time in 2**32


@given(data=st.binary(max_size=60))
def test_base58(data: bytes) -> None:
    assert decode(base58(data)) == data
