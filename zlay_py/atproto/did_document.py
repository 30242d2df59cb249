"""What atproto reads from a DID document: the signing key, the PDS, the claimed handle.

Each of the three is the first entry that is *valid* for its purpose, not the first that has the right id, and
any of them may be missing: an account without a key can't commit, and one without a PDS has no host, but both
exist. Everything else in the document (other keys, other services, unknown fields) is not looked at.
Source of the rules: atproto DID spec, "DID Documents".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from zlay_py.atproto.keys import PublicKey, parse_legacy, parse_multikey
from zlay_py.atproto.syntax import is_handle, normalise_handle, web_did_host
from zlay_py.errors import DidDocumentError, KeyFormatError, SyntaxInvalidError

# Entries in each of the three lists. Real documents have one to five; trying this many bad keys takes 10 ms.
LIST_ITEMS_MAX: Final = 256
HOST_CHARS_MAX: Final = 253
PORT_MAX: Final = 65_535

_LABEL: Final = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_ORIGIN: Final = re.compile(rf"(https?)://({_LABEL}(?:\.{_LABEL})*)(?::([0-9]{{1,5}}))?/?")
_ORIGIN_CHARS_MAX: Final = len("https://") + HOST_CHARS_MAX + len(":65535/")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class DidDocument:
    """What was usable. `pds_endpoint` is an origin in lower case, `https://host[:port]` or the same with http."""

    did: str
    signing_key: PublicKey | None
    pds_endpoint: str | None
    handle: str | None  # lower case, and only a claim: not checked against the handle's own DNS or HTTPS answer


def parse(did: str, document: object) -> DidDocument:
    """Read a decoded JSON document that was fetched for `did`.

    Fields of the wrong type count as absent. Raises DidDocumentError if it is no object, is about another DID,
    or has a list of more than LIST_ITEMS_MAX entries.
    """
    if not isinstance(document, dict):
        raise DidDocumentError("a DID document is an object")
    if document.get("id") != did:
        raise DidDocumentError("the document is about another DID")
    return DidDocument(
        did=did,
        signing_key=_signing_key(did, document),
        pds_endpoint=_pds_endpoint(did, document),
        handle=_handle(document),
    )


def web_did_url(did: str) -> str:
    """Where the document of a `did:web` is: https, or http for `localhost`, which is for development.

    Raises SyntaxInvalidError for a DID of another method, with a path, with a port on anything but localhost, or
    under a reserved top-level domain. Source: atproto DID spec, "did:web".
    """
    host = web_did_host(did)
    if host is None:
        raise SyntaxInvalidError("not a did:web of a host name")
    scheme = "http" if host.partition(":")[0] == "localhost" else "https"
    return f"{scheme}://{host}/.well-known/did.json"


def _entries(document: dict[object, object], name: str) -> list[object]:
    entries = document.get(name)
    if not isinstance(entries, list):
        return []
    if len(entries) > LIST_ITEMS_MAX:
        raise DidDocumentError(f"{name} has more than {LIST_ITEMS_MAX} entries")
    return entries


def _entries_with_id(did: str, document: dict[object, object], name: str, fragment: str) -> Iterator[dict[str, object]]:
    """The objects of a list whose id is the fragment, alone or behind the DID: both spellings are in use."""
    for entry in _entries(document, name):
        if isinstance(entry, dict) and entry.get("id") in (fragment, did + fragment):
            yield entry


def _signing_key(did: str, document: dict[object, object]) -> PublicKey | None:
    for method in _entries_with_id(did, document, "verificationMethod", "#atproto"):
        key_type, multibase = method.get("type"), method.get("publicKeyMultibase")
        if method.get("controller") != did or not isinstance(key_type, str) or not isinstance(multibase, str):
            continue
        try:
            return parse_multikey(multibase) if key_type == "Multikey" else parse_legacy(key_type, multibase)
        except KeyFormatError:
            continue  # a later entry may be the valid one
    return None


def _pds_endpoint(did: str, document: dict[object, object]) -> str | None:
    for service in _entries_with_id(did, document, "service", "#atproto_pds"):
        if service.get("type") == "AtprotoPersonalDataServer":
            origin = _origin(service.get("serviceEndpoint"))
            if origin is not None:
                return origin
    return None


def _origin(endpoint: object) -> str | None:
    """`scheme://host[:port]` in its one normal form, or None if there is more to it than that.

    One trailing slash is let pass: RFC 3986 section 6.2.3 has both spellings as the same URL.
    """
    if not isinstance(endpoint, str) or len(endpoint) > _ORIGIN_CHARS_MAX:
        return None
    match = _ORIGIN.fullmatch(endpoint)
    if match is None or len(match[2]) > HOST_CHARS_MAX:
        return None
    scheme, host, port = match[1], match[2].lower(), int(match[3] or _DEFAULT_PORTS[match[1]])
    if not 0 < port <= PORT_MAX:
        return None
    return f"{scheme}://{host}" if port == _DEFAULT_PORTS[scheme] else f"{scheme}://{host}:{port}"


def _handle(document: dict[object, object]) -> str | None:
    for alias in _entries(document, "alsoKnownAs"):
        if isinstance(alias, str) and alias.startswith("at://"):
            handle = alias.removeprefix("at://")
            if is_handle(handle):
                return normalise_handle(handle)
    return None
