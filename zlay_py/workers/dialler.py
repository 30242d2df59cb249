"""How a host is reached: the one call between a subscriber and the network."""

from collections.abc import Mapping
from ssl import SSLContext
from typing import Protocol

from zlay_py.atproto.frame import FRAME_BYTES_MAX
from zlay_py.net import websocket_client
from zlay_py.net.hostname import HostAddress
from zlay_py.net.ssrf import AddressGuard

PATH = "/xrpc/com.atproto.sync.subscribeRepos"

HANDSHAKE_S_MAX = 30.0
"""DNS, TCP, TLS and upgrade together."""

DOUBTFUL_HANDSHAKE_S_MAX = 10.0
"""The same for a host that could not be reached the last time: most of these are gone, and only keep others waiting."""

PATIENT_DIAL_EVERY = 4
"""Every so many failures in a row a host gets the whole HANDSHAKE_S_MAX again: a slow one must not be lost for good."""


class Connection(Protocol):
    """What a subscriber needs of `WebSocketConnection`."""

    @property
    def response_headers(self) -> Mapping[str, str]:
        """Of the handshake, names in lower case."""

    def receive_kept_alive(self, silence_s: float) -> bytes:
        """The next message. Raises NetError."""

    def close(self) -> None:
        """Never raises; twice is fine."""


class Connect(Protocol):
    """Opens the event stream of a host. Raises NetError."""

    def __call__(self, address: HostAddress, cursor: int | None, *, timeout_s: float) -> Connection:
        """`cursor`: upstream seq; None: live. `timeout_s` covers everything up to the upgrade."""


class Dialler:
    """The `Connect` of a running relay: TLS and WebSocket, behind the address guard."""

    def __init__(self, guard: AddressGuard, tls_context: SSLContext, user_agent: str) -> None:
        self._guard = guard
        self._tls_context = tls_context
        self._headers = {"User-Agent": user_agent}

    def __call__(self, address: HostAddress, cursor: int | None, *, timeout_s: float) -> Connection:
        query = "" if cursor is None else f"?cursor={cursor}"
        return websocket_client.connect(
            address.ws_url(PATH + query),
            guard=self._guard,
            tls_context=self._tls_context,
            headers=self._headers,
            timeout_s=timeout_s,
            message_bytes_max=FRAME_BYTES_MAX,
        )


def handshake_s(failures: int) -> float:
    """How long the next dial may take after so many that failed in a row."""
    return HANDSHAKE_S_MAX if failures % PATIENT_DIAL_EVERY == 0 else DOUBTFUL_HANDSHAKE_S_MAX
