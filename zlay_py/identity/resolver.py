"""One look-up: did:plc at the directory, did:web at the host it names. Source: atproto DID spec; did:plc 0.3.0."""

from typing import Final, Protocol

from zlay_py.atproto import did_document
from zlay_py.atproto.syntax import is_supported_did
from zlay_py.clock import Clock, SystemClock
from zlay_py.errors import DidDocumentError, NetError, SyntaxInvalidError
from zlay_py.identity.model import Identity, IdentityState
from zlay_py.net.failures import FailureKind, failure
from zlay_py.net.hostname import parse_hostname

LOOK_UP_S_MAX = 10.0
"""From name to last byte, redirects included; the time that a frame may wait for it."""

DOCUMENT_BYTES_MAX = 256 * 1024
"""Real documents have 1 to 2 KiB."""

REDIRECTS_MAX = 3
"""http to https, and a move of the host; each hop passes the address guard again."""

ACCEPT = "application/did+ld+json, application/json"

_PLC = "did:plc:"
_CLOCK: Final = SystemClock()


class JsonSource(Protocol):
    """`net.http_client.HttpClient`, or a test's."""

    def get_json(
        self, url: str, *, timeout_s: float, bytes_max: int, accept: str, redirects_max: int
    ) -> tuple[int, object | None]:
        """Status and decoded body. Raises NetError, also for a 2xx answer that is no JSON or too large."""


class DidResolver:
    """Asks; remembers nothing. `plc_url`: the directory's URL, without the DID."""

    def __init__(self, http: JsonSource, plc_url: str, allow_local_hosts: bool, *, clock: Clock = _CLOCK) -> None:
        self._http = http
        self._plc_url = plc_url.rstrip("/")
        self._allow_local_hosts = allow_local_hosts
        self._clock = clock

    def resolve(self, did: str) -> Identity:
        """The definite answer. Raises NetError where there is none now: asking again later may give one.

        An answer that is not the DID's document (another id, a web page, an error of the server) is no answer.
        """
        asked_us = self._clock.now_us()
        url = self._url(did)
        if url is None:
            return _without_document(did, IdentityState.NOT_FOUND, asked_us)
        try:
            status, document = self._http.get_json(
                url,
                timeout_s=LOOK_UP_S_MAX,
                bytes_max=DOCUMENT_BYTES_MAX,
                accept=ACCEPT,
                redirects_max=REDIRECTS_MAX,
            )
        except NetError as error:
            # the name is a part of the DID: without the name there is no DID. The PLC directory's is not.
            if error.kind == FailureKind.NAME_UNKNOWN and not did.startswith(_PLC):
                return _without_document(did, IdentityState.NOT_FOUND, asked_us)
            raise
        if status == 404:
            return _without_document(did, IdentityState.NOT_FOUND, asked_us)
        if status == 410:
            return _without_document(did, IdentityState.TOMBSTONED, asked_us)
        if status != 200:
            raise failure(FailureKind.HTTP, f"{url}: status {status}")
        return self._identity(did, document, asked_us)

    def _url(self, did: str) -> str | None:
        """None for a DID that can't be looked up from here, however often it is tried."""
        if not is_supported_did(did):
            return None
        if did.startswith(_PLC):
            return f"{self._plc_url}/{did}"
        try:
            url = did_document.web_did_url(did)
        except SyntaxInvalidError:
            return None
        return url if url.startswith("https:") or self._allow_local_hosts else None

    def _identity(self, did: str, document: object, asked_us: int) -> Identity:
        try:
            parsed = did_document.parse(did, document)
        except DidDocumentError as error:
            raise failure(FailureKind.DECODE, str(error)) from error
        pds_host = self._pds_host(parsed.pds_endpoint)
        usable = parsed.signing_key is not None and pds_host is not None
        state = IdentityState.OK if usable else IdentityState.UNUSABLE
        return Identity(did, state, parsed.signing_key, pds_host, parsed.handle, asked_us)

    def _pds_host(self, endpoint: str | None) -> str | None:
        """None also for an endpoint that can't be a PDS of the network: a port of its own, an address, one label."""
        if endpoint is None:
            return None
        try:
            return parse_hostname(endpoint, self._allow_local_hosts).name
        except SyntaxInvalidError:
            return None


def _without_document(did: str, state: IdentityState, asked_us: int) -> Identity:
    return Identity(did, state, None, None, None, asked_us)
