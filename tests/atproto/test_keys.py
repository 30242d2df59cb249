import base64
import json
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import libipld
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from zlay_py.atproto import base58
from zlay_py.atproto.keys import Curve, PublicKey, parse_did_key, parse_legacy, parse_multikey
from zlay_py.errors import KeyFormatError

CURVES: dict[Curve, ec.EllipticCurve] = {Curve.K256: ec.SECP256K1(), Curve.P256: ec.SECP256R1()}
CODECS = {Curve.K256: b"\xe7\x01", Curve.P256: b"\x80\x24"}
LEGACY_TYPES = {
    Curve.K256: "EcdsaSecp256k1VerificationKey2019",
    Curve.P256: "EcdsaSecp256r1VerificationKey2019",
}
PREFIXES = {Curve.K256: "did:key:zQ3s", Curve.P256: "did:key:zDn"}
K256_EXAMPLE = "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc"
P256_EXAMPLE = "did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo"
SIGNATURE_VECTORS = 6
K256_VECTORS = 5
P256_VECTORS = 1

both_curves = pytest.mark.parametrize("curve", list(Curve), ids=lambda curve: curve.name)
curves = st.sampled_from(list(Curve))
secrets = st.integers(min_value=1, max_value=2**255)


def point(curve: Curve, secret: int, form: PublicFormat = PublicFormat.CompressedPoint) -> bytes:
    return ec.derive_private_key(secret, CURVES[curve]).public_key().public_bytes(Encoding.X962, form)


def multibase(data: bytes) -> str:
    return libipld.encode_multibase("z", data)


@settings(deadline=None)
@given(curves, secrets)
def test_every_form_round_trips(curve: Curve, secret: int) -> None:
    compressed, uncompressed = point(curve, secret), point(curve, secret, PublicFormat.UncompressedPoint)
    key = PublicKey.from_point(curve, compressed)
    assert key.curve is curve
    assert key.point == compressed
    assert key.to_bytes() == bytes([curve.value]) + compressed
    assert key.multikey() == multibase(CODECS[curve] + compressed)
    assert key.did_key() == "did:key:" + key.multikey()
    assert key.did_key().startswith(PREFIXES[curve])
    for same in (
        PublicKey.from_bytes(key.to_bytes()),
        parse_did_key(key.did_key()),
        parse_multikey(key.multikey()),
        parse_legacy(LEGACY_TYPES[curve], multibase(compressed)),
        parse_legacy(LEGACY_TYPES[curve], multibase(uncompressed)),
    ):
        assert same == key
        assert hash(same) == hash(key)
        assert same.to_bytes() == key.to_bytes()


def test_storage_bytes_never_change() -> None:
    assert parse_did_key(K256_EXAMPLE).to_bytes()[:1] == b"\x01"
    assert parse_did_key(P256_EXAMPLE).to_bytes()[:1] == b"\x02"


@settings(deadline=None)
@given(curves, secrets, secrets)
def test_keys_are_equal_by_curve_and_point_only(curve: Curve, one: int, other: int) -> None:
    same_secret = one == other
    assert (PublicKey.from_point(curve, point(curve, one)) == PublicKey.from_point(curve, point(curve, other))) == (
        same_secret
    )


def test_the_same_bytes_on_the_other_curve_are_another_key() -> None:
    x = next(bytes(31) + bytes([n]) for n in range(1, 200) if _on_both(bytes(31) + bytes([n])))
    keys = {PublicKey.from_point(curve, b"\2" + x) for curve in Curve}
    assert len(keys) == 2


def _on_both(x: bytes) -> bool:
    try:
        for curve in Curve:
            PublicKey.from_point(curve, b"\2" + x)
    except KeyFormatError:
        return False
    return True


def test_a_key_is_small_and_can_not_be_changed() -> None:
    key = parse_did_key(K256_EXAMPLE)
    assert sum(map(sys.getsizeof, (key, key.point, key._parsed))) < 300
    assert not hasattr(key, "__dict__")
    with pytest.raises(FrozenInstanceError):
        key.point = b""  # type: ignore[misc]
    assert "_parsed" not in repr(key)
    assert pickle.loads(pickle.dumps(key)) == key


@both_curves
def test_stored_bytes_that_we_did_not_write_are_refused(curve: Curve) -> None:
    good = PublicKey.from_point(curve, point(curve, 7)).to_bytes()
    bad = [b"", good[:1], good[1:], good[:-1], good + b"\0", b"\0" + good[1:], b"\3" + good[1:], b"\xff" + good[1:]]
    bad += [good[:1] + point(curve, 7, PublicFormat.UncompressedPoint), good[:1] + b"\4" + good[2:]]
    bad += [good[:1] + b"\2" + b"\xff" * 32]
    for data in bad:
        with pytest.raises(KeyFormatError):
            PublicKey.from_bytes(data)


@both_curves
def test_multikeys_have_a_codec_and_a_compressed_point_and_nothing_else(curve: Curve) -> None:
    compressed, uncompressed = point(curve, 7), point(curve, 7, PublicFormat.UncompressedPoint)
    other = next(codec for each, codec in CODECS.items() if each is not curve)
    bad = [
        b"",
        CODECS[curve],
        compressed,
        uncompressed,
        CODECS[curve] + uncompressed,
        CODECS[curve] + compressed[:-1],
        CODECS[curve] + compressed + b"\0",
        CODECS[curve][:1] + compressed,
        b"\xed\x01" + compressed,  # Ed25519
        b"\xe7\x81\x00" + compressed,  # the K-256 codec as a longer varint
        CODECS[curve] + b"\4" + compressed[1:],
        CODECS[curve] + b"\2" + b"\xff" * 32,
    ]
    for data in bad:
        with pytest.raises(KeyFormatError):
            parse_multikey(multibase(data))
    good = multibase(CODECS[curve] + compressed)
    assert parse_multikey(good).point == compressed
    for text in ("", "z", good[1:], "Z" + good[1:], good + "\n", " " + good, good + "1", good[:-1], "f" + good[1:]):
        with pytest.raises(KeyFormatError):
            parse_multikey(text)
    # A point of one curve may happen to lie on the other; then it is a key, and another one.
    with suppress(KeyFormatError):
        assert parse_multikey(multibase(other + compressed)) != parse_multikey(good)


@pytest.mark.parametrize(
    "text",
    ["", "did:key:", "did:key:z", K256_EXAMPLE[8:], K256_EXAMPLE.replace("key", "plc"), "did:key:" + K256_EXAMPLE,
     K256_EXAMPLE + "#atproto", K256_EXAMPLE.upper(), " " + K256_EXAMPLE, K256_EXAMPLE + "\n", "did:key:z" + "1" * 100,
     "did:key:z" + "z" * 5_000_000],
    ids=range(12),
)  # fmt: skip
def test_what_is_no_did_key(text: str) -> None:
    with pytest.raises(KeyFormatError):
        parse_did_key(text)


@both_curves
def test_legacy_keys_have_no_codec_and_their_own_types(curve: Curve) -> None:
    compressed = point(curve, 7)
    with_codec = multibase(CODECS[curve] + compressed)
    with pytest.raises(KeyFormatError):
        parse_legacy(LEGACY_TYPES[curve], with_codec)
    for key_type in ("", "Multikey", "Ed25519VerificationKey2020", LEGACY_TYPES[curve].lower()):
        with pytest.raises(KeyFormatError):
            parse_legacy(key_type, multibase(compressed))
    with pytest.raises(KeyFormatError):
        parse_legacy(LEGACY_TYPES[curve], multibase(compressed)[1:])


@settings(deadline=None)
@given(
    st.text() | st.binary(max_size=70).map(multibase) | st.text(alphabet="zQ3sDn1", max_size=60),
    st.sampled_from([*LEGACY_TYPES.values(), "Multikey", ""]),
    st.binary(max_size=40)
    | st.tuples(st.sampled_from([b"\1", b"\2"]), st.binary(min_size=33, max_size=33)).map(b"".join),
)
def test_anything_gives_a_key_or_our_error(text: str, key_type: str, data: bytes) -> None:
    attempts: list[Callable[[], PublicKey]] = [
        lambda: parse_did_key(text),
        lambda: parse_did_key("did:key:" + text),
        lambda: parse_multikey(text),
        lambda: parse_legacy(key_type, text),
        lambda: PublicKey.from_bytes(data),
    ]
    for attempt in attempts:
        try:
            key = attempt()
        except KeyFormatError:
            continue
        assert PublicKey.from_bytes(key.to_bytes()) == key


def load(folder: Path, name: str, count: int) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((folder / "interop" / "crypto" / name).read_bytes())
    assert len(cases) == count
    return cases


def unpadded_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


@pytest.mark.needs_fixtures
@pytest.mark.parametrize("index", range(SIGNATURE_VECTORS))
def test_signature_vectors(fixtures_dir: Path, index: int) -> None:
    case = load(fixtures_dir, "signature-fixtures.json", SIGNATURE_VECTORS)[index]
    key = parse_did_key(case["publicKeyDid"])
    assert key.did_key() == case["publicKeyDid"]
    assert key.curve is {"ES256": Curve.P256, "ES256K": Curve.K256}[case["algorithm"]]
    assert parse_legacy(case["didDocSuite"], case["publicKeyMultibase"]) == key
    signature, message = unpadded_base64(case["signatureBase64"]), unpadded_base64(case["messageBase64"])
    assert key.verify(signature, message) is case["validSignature"], case["comment"]


@pytest.mark.needs_fixtures
def test_signature_vectors_have_both_outcomes_on_both_curves(fixtures_dir: Path) -> None:
    cases = load(fixtures_dir, "signature-fixtures.json", SIGNATURE_VECTORS)
    outcomes = sorted((case["algorithm"], case["validSignature"], *case["tags"]) for case in cases)
    assert outcomes == sorted(
        (algorithm, *rest)
        for algorithm in ("ES256", "ES256K")
        for rest in ((True,), (False, "high-s"), (False, "der-encoded"))
    )


@pytest.mark.needs_fixtures
@pytest.mark.parametrize("index", range(K256_VECTORS))
def test_did_keys_of_k256_private_keys(fixtures_dir: Path, index: int) -> None:
    case = load(fixtures_dir, "w3c_didkey_K256.json", K256_VECTORS)[index]
    key = PublicKey.from_point(Curve.K256, point(Curve.K256, int(case["privateKeyBytesHex"], 16)))
    assert key.did_key() == case["publicDidKey"]
    assert parse_did_key(case["publicDidKey"]) == key


@pytest.mark.needs_fixtures
@pytest.mark.parametrize("index", range(P256_VECTORS))
def test_did_keys_of_p256_private_keys(fixtures_dir: Path, index: int) -> None:
    case = load(fixtures_dir, "w3c_didkey_P256.json", P256_VECTORS)[index]
    secret = int.from_bytes(base58.decode(case["privateKeyBytesBase58"]), "big")
    key = PublicKey.from_point(Curve.P256, point(Curve.P256, secret))
    assert key.did_key() == case["publicDidKey"]
    assert parse_did_key(case["publicDidKey"]) == key
