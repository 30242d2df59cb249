"""Signatures made with `cryptography`, judged by our code and by both libraries."""

import hashlib

import coincurve
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from zlay_py.atproto import ecdsa
from zlay_py.atproto.ecdsa import ORDERS, Curve, low_s
from zlay_py.atproto.keys import PublicKey
from zlay_py.errors import KeyFormatError

CURVES: dict[Curve, ec.EllipticCurve] = {Curve.K256: ec.SECP256K1(), Curve.P256: ec.SECP256R1()}
FIELD_PRIMES = {
    Curve.K256: 2**256 - 2**32 - 977,
    Curve.P256: 2**256 - 2**224 + 2**192 + 2**96 - 1,
}
MESSAGE = b"a message"

both_curves = pytest.mark.parametrize("curve", list(Curve), ids=lambda curve: curve.name)
curves = st.sampled_from(list(Curve))
# `derive_private_key` makes the tests repeatable: hypothesis prints the number that fails.
secrets = st.integers(min_value=1, max_value=min(ORDERS.values()) - 1)


def raw(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def private_key(curve: Curve, secret: int = 0xC0FFEE) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(secret, CURVES[curve])


def point_of(key: ec.EllipticCurvePrivateKey, form: PublicFormat = PublicFormat.CompressedPoint) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, form)


def public_key(curve: Curve, secret: int = 0xC0FFEE) -> PublicKey:
    return PublicKey.from_point(curve, point_of(private_key(curve, secret)))


def sign(curve: Curve, message: bytes = MESSAGE, secret: int = 0xC0FFEE) -> bytes:
    der = private_key(curve, secret).sign(message, ec.ECDSA(hashes.SHA256()))
    return low_s(curve, raw(*decode_dss_signature(der)))


def high_s(curve: Curve, signature: bytes) -> bytes:
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    return raw(r, ORDERS[curve] - s)


def generator_x(curve: Curve) -> int:
    """The r of a signature made with nonce 1."""
    return int.from_bytes(point_of(private_key(curve, 1))[1:], "big")


def secret_for(curve: Curve, r: int, s: int) -> int:
    """The private key whose signature of MESSAGE with nonce 1 has this s: s = e + r * secret, solved."""
    e = int.from_bytes(hashlib.sha256(MESSAGE).digest(), "big")
    return (s - e) * pow(r, -1, ORDERS[curve]) % ORDERS[curve]


def openssl_accepts(curve: Curve, secret: int, signature: bytes, message: bytes) -> bool:
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        private_key(curve, secret).public_key().verify(der, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


@settings(deadline=None)
@given(curves, secrets, st.binary(max_size=300))
def test_a_good_signature_verifies_and_its_high_s_twin_does_not(curve: Curve, secret: int, message: bytes) -> None:
    key, signature = public_key(curve, secret), sign(curve, message, secret)
    assert key.verify(signature, message)
    twin = high_s(curve, signature)
    assert openssl_accepts(curve, secret, twin, message)  # valid mathematics: only the rule refuses it
    assert not key.verify(twin, message)
    assert low_s(curve, twin) == signature == low_s(curve, signature)


@settings(deadline=None)
@given(curves, secrets, st.binary(max_size=100), st.integers(min_value=0, max_value=511), st.data())
def test_a_changed_bit_anywhere_is_noticed(
    curve: Curve, secret: int, message: bytes, bit: int, data: st.DataObject
) -> None:
    key, signature = public_key(curve, secret), bytearray(sign(curve, message, secret))
    changed = data.draw(st.binary(max_size=100).filter(lambda other: other != message))
    assert not key.verify(bytes(signature), changed)
    signature[bit // 8] ^= 1 << bit % 8
    assert not key.verify(bytes(signature), message)


@settings(deadline=None)
@given(
    secrets,
    st.binary(max_size=100),
    st.sampled_from(["good", "twin", "another message", "another key", "noise"]),
    st.data(),
)
def test_libsecp256k1_and_openssl_agree_on_k256(secret: int, message: bytes, kind: str, data: st.DataObject) -> None:
    signature = {
        "good": lambda: sign(Curve.K256, message, secret),
        "twin": lambda: high_s(Curve.K256, sign(Curve.K256, message, secret)),
        "another message": lambda: sign(Curve.K256, message + b"!", secret),
        "another key": lambda: sign(Curve.K256, message, secret ^ 1 or 2),
        "noise": lambda: data.draw(st.binary(min_size=64, max_size=64)),
    }[kind]()
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    openssl = openssl_accepts(Curve.K256, secret, signature, message) and s <= ORDERS[Curve.K256] // 2
    assert public_key(Curve.K256, secret).verify(signature, message) == openssl
    assert openssl == (kind == "good")
    # The library through coincurve's own interface. Its DER parser refuses what is out of range with an error.
    if 0 < r < ORDERS[Curve.K256] and 0 < s < ORDERS[Curve.K256]:
        library = coincurve.PublicKey(point_of(private_key(Curve.K256, secret)))
        assert library.verify(encode_dss_signature(r, s), message) == openssl


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=2**255), st.binary(max_size=100))
def test_a_signature_by_libsecp256k1_verifies(secret: int, message: bytes) -> None:
    signer = coincurve.PrivateKey.from_int(secret)
    r, s = decode_dss_signature(signer.sign(message))
    assert PublicKey.from_point(Curve.K256, signer.public_key.format()).verify(raw(r, s), message)


@both_curves
def test_der_is_refused_also_when_it_has_64_bytes(curve: Curve) -> None:
    signature = sign(curve)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    der = encode_dss_signature(r, s)
    assert not public_key(curve).verify(der, MESSAGE)
    assert not public_key(curve).verify(der[:64], MESSAGE)
    assert not public_key(curve).verify(der.ljust(64, b"\0")[:64], MESSAGE)


@both_curves
@pytest.mark.parametrize("count", [0, 1, 32, 63, 65, 128])
def test_other_lengths_are_refused(curve: Curve, count: int) -> None:
    signature = (sign(curve) * 2)[:count]
    assert not public_key(curve).verify(signature, MESSAGE)


@both_curves
def test_a_cut_signature_is_refused_though_its_last_byte_follows_in_memory(curve: Curve) -> None:
    """libsecp256k1 takes a bare pointer and reads on, into the zero that ends every bytes object."""
    r, s = generator_x(curve), 256
    whole, key = raw(r, s), public_key(curve, secret_for(curve, r, s))
    assert whole.endswith(b"\0")
    assert key.verify(whole, MESSAGE)
    assert not key.verify(whole[:63], MESSAGE)
    assert not key.verify(whole + b"\0", MESSAGE)


@both_curves
def test_numbers_out_of_range_are_refused(curve: Curve) -> None:
    signature, n = sign(curve), ORDERS[curve]
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    assert public_key(curve).verify(raw(r, s), MESSAGE)
    wrong = [(0, s), (r, 0), (0, 0), (n, s), (r, n), (n, n), (n + 1, s), (2**256 - 1, s), (r, 2**256 - 1)]
    wrong += [(r, n - s), (r, n // 2 + 1), (n - r, s), (s, r)]
    for pair in wrong:
        assert not public_key(curve).verify(raw(*pair), MESSAGE), pair


@both_curves
def test_the_largest_low_s_verifies_and_the_next_number_does_not(curve: Curve) -> None:
    n, r = ORDERS[curve], generator_x(curve)
    for s, low in ((n // 2, True), (n // 2 + 1, False), (1, True)):
        secret = secret_for(curve, r, s)
        assert openssl_accepts(curve, secret, raw(r, s), MESSAGE)
        assert public_key(curve, secret).verify(raw(r, s), MESSAGE) is low


@both_curves
def test_another_key_and_another_message_do_not_verify(curve: Curve) -> None:
    assert not public_key(curve, 0xDECAF).verify(sign(curve), MESSAGE)
    assert not public_key(curve).verify(sign(curve), MESSAGE + b" ")
    assert not public_key(curve).verify(sign(curve), hashlib.sha256(MESSAGE).digest())


def test_the_curves_do_not_verify_each_other() -> None:
    assert not public_key(Curve.P256).verify(sign(Curve.K256), MESSAGE)
    assert not public_key(Curve.K256).verify(sign(Curve.P256), MESSAGE)


@both_curves
@settings(deadline=None)
@given(signature=st.binary(max_size=80) | st.binary(min_size=64, max_size=64), message=st.binary(max_size=80))
def test_any_bytes_are_no_signature(curve: Curve, signature: bytes, message: bytes) -> None:
    assert public_key(curve).verify(signature, message) is False


@settings(deadline=None)
@given(curves, secrets)
def test_both_point_forms_give_the_same_key(curve: Curve, secret: int) -> None:
    key = private_key(curve, secret)
    compressed, uncompressed = point_of(key), point_of(key, PublicFormat.UncompressedPoint)
    one, other = PublicKey.from_point(curve, compressed), PublicKey.from_point(curve, uncompressed)
    assert one == other
    assert hash(one) == hash(other)
    assert one.point == other.point == compressed
    signature = sign(curve, MESSAGE, secret)
    assert one.verify(signature, MESSAGE)
    assert other.verify(signature, MESSAGE)


@both_curves
@pytest.mark.parametrize("head", sorted({0, 1, 5, 6, 7, 8, 0xFF}))
def test_other_point_forms_are_refused(curve: Curve, head: int) -> None:
    """Hybrid points (06, 07) among them, which libsecp256k1 would take."""
    key = private_key(curve)
    uncompressed = point_of(key, PublicFormat.UncompressedPoint)
    for point in (bytes([head]) + uncompressed[1:], bytes([head]) + uncompressed[1:33]):
        with pytest.raises(KeyFormatError):
            ecdsa.parse_point(curve, point)


@both_curves
def test_points_of_a_wrong_length_are_refused(curve: Curve) -> None:
    compressed = point_of(private_key(curve))
    uncompressed = point_of(private_key(curve), PublicFormat.UncompressedPoint)
    wrong = [b"", b"\0", b"\2", compressed[1:], compressed[:-1], compressed + b"\0", uncompressed[1:]]
    wrong += [uncompressed[:-1], uncompressed + b"\0", b"\4" + compressed[1:], b"\2" + uncompressed[1:]]
    for point in wrong:
        with pytest.raises(KeyFormatError):
            ecdsa.parse_point(curve, point)


@both_curves
def test_coordinates_off_the_curve_are_refused(curve: Curve) -> None:
    prime = FIELD_PRIMES[curve]
    uncompressed = point_of(private_key(curve), PublicFormat.UncompressedPoint)
    y_changed = uncompressed[:-1] + bytes([uncompressed[-1] ^ 1])
    for point in (
        y_changed,
        b"\4" + bytes(64),
        b"\2" + prime.to_bytes(32, "big"),
        b"\2" + (prime + 1).to_bytes(32, "big"),
        b"\3" + b"\xff" * 32,
        b"\4" + b"\xff" * 64,
    ):
        with pytest.raises(KeyFormatError):
            ecdsa.parse_point(curve, point)


@both_curves
@settings(deadline=None)
@given(x=st.binary(min_size=32, max_size=32), head=st.sampled_from([b"\2", b"\3"]))
def test_an_x_is_on_the_curve_exactly_if_its_equation_has_a_root(curve: Curve, x: bytes, head: bytes) -> None:
    prime, number = FIELD_PRIMES[curve], int.from_bytes(x, "big")
    a, b = (0, 7) if curve is Curve.K256 else (
        -3, 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    )  # fmt: skip
    right = (number**3 + a * number + b) % prime
    valid = number < prime and pow(right, (prime - 1) // 2, prime) in (0, 1)
    try:
        compressed, _ = ecdsa.parse_point(curve, head + x)
    except KeyFormatError:
        assert not valid
    else:
        assert valid
        assert compressed == head + x


@both_curves
def test_low_s_refuses_what_no_signer_makes(curve: Curve) -> None:
    n = ORDERS[curve]
    for signature in (b"", bytes(63), bytes(64), bytes(65), raw(1, n), raw(n, 1), raw(0, 1), raw(1, 0)):
        with pytest.raises(ValueError, match=r"signature|range"):
            low_s(curve, signature)
    assert low_s(curve, raw(1, n // 2)) == raw(1, n // 2)
    assert low_s(curve, raw(1, n // 2 + 1)) == raw(1, n // 2)
