"""One look-up: which question is asked, and what each answer means."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.identity.fakes import DID, HOST, KEY, OTHER_KEY, START_US, ManualClock, document
from zlay_py.atproto.keys import Curve
from zlay_py.errors import NetError
from zlay_py.identity.model import Identity, IdentityState
from zlay_py.identity.resolver import ACCEPT, DOCUMENT_BYTES_MAX, LOOK_UP_S_MAX, DidResolver
from zlay_py.net.failures import FailureKind, failure

WEB = "did:web:a.example.com"
PLC = "https://plc.directory"


class OneAnswer:
    """A transport that says one thing and remembers what it was asked."""

    def __init__(self, status: int = 200, document: object = None, error: NetError | None = None) -> None:
        self.answer = status, document
        self.error = error
        self.asked: list[tuple[str, dict[str, object]]] = []

    def get_json(self, url: str, **options: Any) -> tuple[int, object | None]:
        self.asked.append((url, options))
        if self.error is not None:
            raise self.error
        return self.answer


def resolver(http: OneAnswer, *, local: bool = False, plc: str = PLC) -> DidResolver:
    return DidResolver(http, plc, local, clock=ManualClock())


def test_a_plc_document_gives_key_host_and_claimed_handle() -> None:
    http = OneAnswer(200, document())
    assert resolver(http, plc=PLC + "/").resolve(DID) == Identity(
        DID, IdentityState.OK, KEY, HOST, "someone.example.com", START_US
    )
    url, options = http.asked[0]
    assert url == f"{PLC}/{DID}"
    assert options["accept"] == ACCEPT == "application/did+ld+json, application/json"
    assert (options["timeout_s"], options["bytes_max"]) == (LOOK_UP_S_MAX, DOCUMENT_BYTES_MAX)


def test_a_web_did_is_asked_at_its_own_host() -> None:
    http = OneAnswer(200, document(WEB, key=OTHER_KEY))
    answer = resolver(http).resolve(WEB)
    assert (answer.state, answer.key) == (IdentityState.OK, OTHER_KEY)
    assert http.asked[0][0] == "https://a.example.com/.well-known/did.json"


@pytest.mark.parametrize("did", [DID, WEB])
@pytest.mark.parametrize(("status", "state"), [(404, IdentityState.NOT_FOUND), (410, IdentityState.TOMBSTONED)])
def test_what_is_gone_is_definite(did: str, status: int, state: IdentityState) -> None:
    answer = resolver(OneAnswer(status, {"message": "…"})).resolve(did)
    assert answer == Identity(did, state, None, None, None, START_US)


@pytest.mark.parametrize("status", [199, 204, 301, 400, 403, 429, 500, 503])
def test_any_other_status_says_nothing_about_the_did(status: int) -> None:
    with pytest.raises(NetError, match=str(status)):
        resolver(OneAnswer(status, document())).resolve(DID)


def test_a_name_that_does_not_exist_ends_a_web_did_but_not_the_plc_directory() -> None:
    http = OneAnswer(error=failure(FailureKind.NAME_UNKNOWN, "no such name"))
    assert resolver(http).resolve(WEB).state is IdentityState.NOT_FOUND
    with pytest.raises(NetError, match="no such name"):
        resolver(http).resolve(DID)


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.NAME_UNKNOWN])
def test_every_other_failure_is_passing(kind: FailureKind) -> None:
    with pytest.raises(NetError) as caught:
        resolver(OneAnswer(error=failure(kind, "why"))).resolve(WEB)
    assert caught.value.kind == kind


@pytest.mark.parametrize("body", [None, [], "text", 7, {}, {"id": 7}, document(WEB), document(DID.upper())])
def test_an_answer_that_is_not_the_dids_document_is_no_answer(body: object) -> None:
    with pytest.raises(NetError) as caught:
        resolver(OneAnswer(200, body)).resolve(DID)
    assert caught.value.kind == FailureKind.DECODE


@pytest.mark.parametrize("part", ["verificationMethod", "service"])
def test_a_document_without_key_or_host_is_unusable_and_keeps_what_there_is(part: str) -> None:
    whole = document()
    del whole[part]
    answer = resolver(OneAnswer(200, whole)).resolve(DID)
    assert answer.state is IdentityState.UNUSABLE
    assert (answer.key is None) == (part == "verificationMethod")
    assert (answer.pds_host is None) == (part == "service")
    assert answer.handle == "someone.example.com"


@pytest.mark.parametrize(
    ("endpoint", "local", "host"),
    [
        ("https://PDS.Example.com", False, HOST),
        ("http://pds.example.com", False, HOST),
        ("https://pds.example.com:8443", False, None),
        ("https://8.8.8.8", False, None),
        ("http://localhost:3000", False, None),
        ("http://localhost:3000", True, "localhost:3000"),
        ("http://127.0.0.1:3000", True, "localhost:3000"),
        ("https://localhost:3000", True, "localhost:3000"),
    ],
)
def test_the_host_is_its_name_or_none(endpoint: str, local: bool, host: str | None) -> None:
    answer = resolver(OneAnswer(200, document(pds=endpoint)), local=local).resolve(DID)
    assert answer.pds_host == host
    assert answer.state is (IdentityState.UNUSABLE if host is None else IdentityState.OK)


@pytest.mark.parametrize(
    "did",
    [
        "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
        "did:plc:short",
        "did:plc:../../../../../etc",
        "did:web:a.example.com:path",
        "did:web:a.example.com%3A8443",
        "did:web:10.0.0.1",
        "did:web:localhost%3A3000",
        "not a did",
        "",
    ],
)
def test_what_can_never_be_looked_up_is_not_found_without_asking(did: str) -> None:
    http = OneAnswer(200, document(did))
    assert resolver(http).resolve(did).state is IdentityState.NOT_FOUND
    assert http.asked == []


def test_a_local_web_did_is_for_development() -> None:
    did = "did:web:localhost%3A3000"
    http = OneAnswer(200, document(did, pds="http://localhost:3000"))
    assert resolver(http, local=True).resolve(did).state is IdentityState.OK
    assert http.asked[0][0] == "http://localhost:3000/.well-known/did.json"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["verificationMethod", "service", "alsoKnownAs", "id", "x"]), json_values))
def test_any_json_gives_an_identity_or_a_net_error(body: dict[str, object]) -> None:
    try:
        answer = resolver(OneAnswer(200, {"id": DID, **body})).resolve(DID)
    except NetError:
        return
    assert answer.did == DID


@pytest.mark.needs_fixtures
def test_real_documents(fixtures_dir: Path) -> None:
    """Two generations of PLC documents; the legacy one names its key type instead of a codec."""
    for name, host in (("did_plc_doc.json", "bsky.social"), ("did_plc_doc_legacy.json", "bsky.social")):
        body = json.loads((fixtures_dir / "did-documents" / name).read_text())
        answer = resolver(OneAnswer(200, body)).resolve(body["id"])
        assert answer.state is IdentityState.OK
        assert answer.key is not None
        assert answer.key.curve is Curve.K256
        assert answer.pds_host is not None
        assert answer.pds_host.endswith(host.split(".", 1)[1])
        assert answer.handle == "atproto.com"
