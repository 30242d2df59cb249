import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zlay_py.atproto.did_document import LIST_ITEMS_MAX, DidDocument, parse, web_did_url
from zlay_py.atproto.keys import parse_did_key
from zlay_py.errors import DidDocumentError, SyntaxInvalidError

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
OTHER_DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
K256 = parse_did_key("did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc")
P256 = parse_did_key("did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo")
K256_LEGACY = "z25z9DTpsiYYJKGsWmSPJK2NFN8PcJtZig12K59UgW7q5t"
P256_LEGACY = "zxdM8dSstjrpZaRUwBmDvjGXweKuEMVN95A9oJBFjkWMh"


def method(**changes: object) -> dict[str, object]:
    return {
        "id": f"{DID}#atproto",
        "type": "Multikey",
        "controller": DID,
        "publicKeyMultibase": K256.multikey(),
        **changes,
    }


def service(**changes: object) -> dict[str, object]:
    return {
        "id": "#atproto_pds",
        "type": "AtprotoPersonalDataServer",
        "serviceEndpoint": "https://pds.example.com",
        **changes,
    }


def document(**changes: object) -> dict[str, object]:
    return {
        "id": DID,
        "alsoKnownAs": ["at://alice.example.com"],
        "verificationMethod": [method()],
        "service": [service()],
        **changes,
    }


def endpoint_of(endpoint: object) -> str | None:
    return parse(DID, document(service=[service(serviceEndpoint=endpoint)])).pds_endpoint


def test_a_whole_document() -> None:
    assert parse(DID, document()) == DidDocument(DID, K256, "https://pds.example.com", "alice.example.com")


@pytest.mark.parametrize("value", [None, [], "", 1, True, [document()], json.dumps(document())])
def test_what_is_no_object_is_no_document(value: object) -> None:
    with pytest.raises(DidDocumentError):
        parse(DID, value)


@pytest.mark.parametrize("value", [None, OTHER_DID, DID.upper(), DID + " ", DID + "#atproto", [DID], 1])
def test_a_document_about_another_did_is_refused(value: object) -> None:
    with pytest.raises(DidDocumentError):
        parse(DID, document(id=value))
    without = document()
    del without["id"]
    with pytest.raises(DidDocumentError):
        parse(DID, without)


def test_a_document_with_nothing_but_its_id_is_one() -> None:
    assert parse(DID, {"id": DID}) == DidDocument(DID, None, None, None)


@pytest.mark.parametrize("name", ["verificationMethod", "service", "alsoKnownAs"])
@pytest.mark.parametrize("value", [None, {}, "at://alice.example.com", 7, [None, 7, "x", [], {}, ["#atproto"]]])
def test_fields_of_the_wrong_type_count_as_absent(name: str, value: object) -> None:
    parsed = parse(DID, document(**{name: value}))
    present = {
        "verificationMethod": parsed.signing_key is not None,
        "service": parsed.pds_endpoint is not None,
        "alsoKnownAs": parsed.handle is not None,
    }
    assert present == {each: each != name for each in present}


@pytest.mark.parametrize("name", ["verificationMethod", "service", "alsoKnownAs"])
def test_lists_have_a_limit(name: str) -> None:
    parse(DID, document(**{name: [None] * LIST_ITEMS_MAX}))
    with pytest.raises(DidDocumentError, match=name):
        parse(DID, document(**{name: [None] * (LIST_ITEMS_MAX + 1)}))


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        (method(), K256),
        (method(id="#atproto"), K256),
        (method(publicKeyMultibase=P256.multikey()), P256),
        (method(type="EcdsaSecp256k1VerificationKey2019", publicKeyMultibase=K256_LEGACY), K256),
        (method(type="EcdsaSecp256r1VerificationKey2019", publicKeyMultibase=P256_LEGACY), P256),
        (method(extra={"unknown": 1}), K256),
    ],
)
def test_forms_of_the_signing_key(entry: object, key: object) -> None:
    assert parse(DID, document(verificationMethod=[entry])).signing_key == key


INVALID_METHODS: list[object] = [
    method(id=f"{OTHER_DID}#atproto"),
    method(id="atproto"),
    method(id=f"{DID}#atproto_space"),
    method(id="#atproto_label"),
    method(id=DID),
    method(id=None),
    method(id=["#atproto"]),
    method(controller=OTHER_DID),
    method(controller=None),
    method(controller=[DID]),
    method(type="JsonWebKey2020"),
    method(type="EcdsaSecp256k1VerificationKey2019"),  # with a codec
    method(type="EcdsaSecp256r1VerificationKey2019", publicKeyMultibase=K256_LEGACY),  # on the other curve
    method(publicKeyMultibase=K256_LEGACY),  # without a codec
    method(type=None),
    method(type=["Multikey"]),
    method(publicKeyMultibase=None),
    method(publicKeyMultibase=""),
    method(publicKeyMultibase=K256.did_key()),
    method(publicKeyMultibase="z" * 1000),
    method(publicKeyMultibase={"z": 1}),
    "#atproto",
    None,
    [],
]


@pytest.mark.parametrize("entry", INVALID_METHODS, ids=range(len(INVALID_METHODS)))
def test_the_first_valid_key_counts_not_the_first_with_the_id(entry: object) -> None:
    assert parse(DID, document(verificationMethod=[entry])).signing_key is None
    good = method(publicKeyMultibase=P256.multikey())
    assert parse(DID, document(verificationMethod=[entry, good, method()])).signing_key == P256


INVALID_SERVICES: list[object] = [
    service(id=f"{OTHER_DID}#atproto_pds"),
    service(id="atproto_pds"),
    service(id="#atproto_space_host"),
    service(id="x#atproto_pds"),
    service(type="AtprotoLabeler"),
    service(type=["AtprotoPersonalDataServer"]),
    service(type=None),
    service(serviceEndpoint=None),
    service(serviceEndpoint={"uri": "https://pds.example.com"}),
    service(serviceEndpoint=["https://pds.example.com"]),
    service(serviceEndpoint="pds.example.com"),
    service(serviceEndpoint="https://pds.example.com/xrpc"),
    None,
    "https://pds.example.com",
]


@pytest.mark.parametrize("entry", INVALID_SERVICES, ids=range(len(INVALID_SERVICES)))
def test_the_first_valid_service_counts_not_the_first_with_the_id(entry: object) -> None:
    assert parse(DID, document(service=[entry])).pds_endpoint is None
    good = service(id=f"{DID}#atproto_pds", serviceEndpoint="https://second.example.com")
    assert parse(DID, document(service=[entry, good, service()])).pds_endpoint == "https://second.example.com"


@pytest.mark.parametrize(
    ("endpoint", "origin"),
    [
        ("https://pds.example.com", "https://pds.example.com"),
        ("https://pds.example.com/", "https://pds.example.com"),
        ("https://PDS.Example.com", "https://pds.example.com"),
        ("https://pds.example.com:443", "https://pds.example.com"),
        ("https://pds.example.com:80", "https://pds.example.com:80"),
        ("https://pds.example.com:8443/", "https://pds.example.com:8443"),
        ("http://pds.example.com:80", "http://pds.example.com"),
        ("http://localhost:2583", "http://localhost:2583"),
        ("http://localhost:02583", "http://localhost:2583"),
        ("http://127.0.0.1:2583", "http://127.0.0.1:2583"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://" + ("a" * 62 + ".") * 4 + "b", "https://" + ("a" * 62 + ".") * 4 + "b"),  # 253 characters
    ],
)
def test_endpoints_become_origins(endpoint: str, origin: str) -> None:
    assert endpoint_of(endpoint) == origin
    assert endpoint_of(origin) == origin


@pytest.mark.parametrize(
    "endpoint",
    ["", "https://", "https:///", "https://pds.example.com//", "https://pds.example.com/a", "https://pds.example.com?a",
     "https://pds.example.com#a", "https://user@pds.example.com", "https://user:pw@pds.example.com",
     "https://pds.example.com:", "https://pds.example.com:0", "https://pds.example.com:65536",
     "https://pds.example.com:123456", "https://pds.example.com:+80", "https://pds.example.com:٨٠",
     "https://pds.example.com.", "https://.example.com", "https://pds..example.com", "https://pds_1.example.com",
     "https://-a.example.com", "https://bücher.example", "https://[::1]", "https://pds.example.com\n",
     " https://pds.example.com", "https://pds.example.com ", "https://pds.example.com\\@evil.example",
     "https://pds.example.com%2f", "ws://pds.example.com", "ftp://pds.example.com", "HTTPS://pds.example.com",
     "https:pds.example.com", "//pds.example.com", "https://" + "a." * 127, "https://" + "a" * 64 + ".com",
     "https://" + ("a" * 62 + ".") * 4 + "bb", "https://" + "a" * 1_000_000],
    ids=range(36),
)  # fmt: skip
def test_endpoints_with_more_or_less_than_an_origin_are_ignored(endpoint: str) -> None:
    assert endpoint_of(endpoint) is None


@pytest.mark.parametrize(
    ("aliases", "handle"),
    [
        (["at://alice.example.com"], "alice.example.com"),
        (["at://Alice.Example.COM"], "alice.example.com"),
        (["https://alice.example.com", "at://alice.example.com", "at://bob.example.com"], "alice.example.com"),
        (["at://alice", None, 7, "at://bob.example.com"], "bob.example.com"),
        (["at://alice.example.com/"], None),
        (["at://alice.example.com/app.bsky.feed.post"], None),
        (["at://alice.example.com#a", "at://alice.example.com?a"], None),
        ([f"at://{DID}"], None),
        (["AT://alice.example.com", "at:alice.example.com", "alice.example.com", "at://at://alice.example.com"], None),
        (["at://alice.example.com\n", " at://alice.example.com"], None),
        ([], None),
    ],
)
def test_handles(aliases: list[object], handle: str | None) -> None:
    assert parse(DID, document(alsoKnownAs=aliases)).handle == handle


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PATHS: list[tuple[str | int, ...]] = [
    ("id",),
    ("alsoKnownAs",),
    ("alsoKnownAs", 0),
    ("verificationMethod",),
    ("verificationMethod", 0),
    *(("verificationMethod", 0, name) for name in method()),
    ("service",),
    ("service", 0),
    *(("service", 0, name) for name in service()),
]


@settings(deadline=None)
@given(st.sampled_from(PATHS), json_values | st.text())
def test_anything_anywhere_gives_a_document_or_our_error(path: tuple[str | int, ...], value: object) -> None:
    whole: Any = copy.deepcopy(document())
    inner = whole
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    try:
        parsed = parse(DID, whole)
    except DidDocumentError:
        assert path == ("id",)
    else:
        assert parsed.did == DID


@given(json_values)
def test_any_value_gives_a_document_or_our_error(value: object) -> None:
    with pytest.raises(DidDocumentError):
        parse(DID, value)


@pytest.mark.parametrize(
    ("did", "url"),
    [
        ("did:web:example.com", "https://example.com/.well-known/did.json"),
        ("did:web:Pds.Example.COM", "https://pds.example.com/.well-known/did.json"),
        ("did:web:localhost%3A2583", "http://localhost:2583/.well-known/did.json"),
        ("did:web:localhost", "http://localhost/.well-known/did.json"),
        ("did:web:localhost.com", "https://localhost.com/.well-known/did.json"),
    ],
)
def test_urls_of_web_dids(did: str, url: str) -> None:
    assert web_did_url(did) == url


@pytest.mark.parametrize(
    "did",
    [DID, "", "did:web:", "did:web:com", "did:web:example.com:user", "did:web:example.com:user:alice",
     "did:web:example.com%3A443", "did:web:example.com:443", "did:web:localhost:2583", "did:web:localhost%3A",
     "did:web:localhost%3A0", "did:web:localhost%3A65536", "did:web:localhost%3A080", "did:web:localhost%3A80%3A80",
     "did:web:127.0.0.1", "did:web:127.0.0.1%3A80", "did:web:[::1]", "did:web:example.com%2Fpath",
     "did:web:user@example.com", "did:web:example.com#a", "did:web:example.com?a", "did:web:example.com/a",
     "did:web:a.local", "did:web:a.internal", "did:web:a.onion", "did:web:example.com\n", "did:web:example.com.",
     "example.com", "did:web:did:web:example.com"],
)  # fmt: skip
def test_web_dids_that_atproto_does_not_support(did: str) -> None:
    with pytest.raises(SyntaxInvalidError):
        web_did_url(did)


@given(st.text() | st.text().map("did:web:{}".format) | st.from_regex("did:web:[a-zA-Z0-9.%:-]{1,30}", fullmatch=True))
def test_any_text_gives_a_well_formed_url_or_our_error(did: str) -> None:
    try:
        url = web_did_url(did)
    except SyntaxInvalidError:
        return
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    assert scheme == ("http" if host.startswith("localhost") and "." not in host else "https")
    assert path == ".well-known/did.json"
    assert host.replace(":", "%3A") == did.removeprefix("did:web:").lower().replace("%3a", "%3A")


PUBLIC_DOCUMENTS = {
    "did_plc_doc.json": DidDocument(
        DID,
        parse_did_key("did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"),
        "https://bsky.social",
        "atproto.com",
    ),
    "did_plc_doc_legacy.json": DidDocument(
        DID,
        parse_did_key("did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"),
        "https://bsky.social",
        "atproto.com",
    ),
    "did_web_doc.json": DidDocument("did:web:discover.bsky.social", None, None, None),
}


@pytest.mark.needs_fixtures
@pytest.mark.parametrize("name", sorted(PUBLIC_DOCUMENTS))
def test_public_documents(fixtures_dir: Path, name: str) -> None:
    folder = fixtures_dir / "did-documents"
    assert sorted(path.name for path in folder.iterdir()) == sorted(PUBLIC_DOCUMENTS)
    expected = PUBLIC_DOCUMENTS[name]
    assert parse(expected.did, json.loads((folder / name).read_bytes())) == expected


@pytest.mark.needs_fixtures
def test_recorded_documents_in_both_forms(fixtures_dir: Path) -> None:
    """The accounts of two reference PDSes: the document as it is today, and as it was written before Multikey."""
    accounts: dict[str, Any] = json.loads((fixtures_dir / "corpus" / "dids.json").read_bytes())
    legacy_forms, errors = 0, 0
    for did, account in accounts.items():
        if account["didDoc"].get("status") == 404:  # an account that is gone has the directory's answer instead
            errors += 1
            with pytest.raises(DidDocumentError):
                parse(did, account["didDoc"])
            continue
        parsed = parse(did, account["didDoc"])
        assert parsed.signing_key == parse_did_key(account["keyHistory"][-1]["didKey"])
        assert (parsed.pds_endpoint, parsed.handle) == (account["pds"], account["handle"])
        if account.get("legacyDidDoc"):  # did:web has none
            legacy_forms += 1
            assert parse(did, account["legacyDidDoc"]) == parsed
    assert (len(accounts), legacy_forms, errors) == (48, 46, 1)
