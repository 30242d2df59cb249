"""DID documents as plc.directory serves them (did:plc and did:web specifications; atproto.com/specs/did)."""

from urllib.parse import unquote

from tools.simulator.model import Document

_CONTEXT = (
    "https://www.w3.org/ns/did/v1",
    "https://w3id.org/security/multikey/v1",
)
_SUITES = {
    "zQ3s": "https://w3id.org/security/suites/secp256k1-2019/v1",
    "zDna": "https://w3id.org/security/suites/ecdsa-2019/v1",
}
"""By the beginning of the key's multibase, which is that of its multicodec."""
WEB_DID = "did:web:"


def did_document(did: str, document: Document, origin: str) -> dict[str, object]:
    """`origin`: of the host that the document names."""
    key = document.did_key.removeprefix("did:key:")
    suite = _SUITES.get(key[:4])
    return {
        "@context": [*_CONTEXT, *([suite] if suite else [])],
        "id": did,
        "alsoKnownAs": [f"at://{document.handle}"],
        "verificationMethod": [
            {"id": f"{did}#atproto", "type": "Multikey", "controller": did, "publicKeyMultibase": key}
        ],
        "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": origin}],
    }


def web_did(port: int) -> str:
    return f"{WEB_DID}localhost%3A{port}"


def web_did_port(did: str) -> int:
    """Raises ValueError for a did:web that can't be on loopback."""
    host, _, port = unquote(did.removeprefix(WEB_DID)).partition(":")
    if not did.startswith(WEB_DID) or host != "localhost" or not port.isdecimal():
        raise ValueError(f"{did} is no did:web:localhost%3APORT")
    return int(port)
