"""The opening handshake of the serving side (RFC 6455 §4.2): what asks for an upgrade, and what is refused. No I/O."""

import base64
import binascii
import hashlib
from http import HTTPStatus
from typing import Any, Protocol

from zlay_py.net.http_refusal import HttpRefusedError, bad_request
from zlay_py.net.websocket_server import ServerWebSocket

VERSION = "13"
"""The only version of the RFC; 7 and 8 were drafts of 2011."""
KEY_BYTES = 16
_ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocketRunner(Protocol):
    """Serves one accepted WebSocket in the connection's greenlet. When it returns, the connection is closed: with
    1000 if it is still open, with 1011 if an exception other than WebSocketClosedError came out."""

    def __call__(self, websocket: ServerWebSocket, /) -> None: ...


class UpgradeGate(Protocol):
    """Asked before the 101, with the WSGI environ of a request for a WebSocket.

    None: the request goes on to the application as plain HTTP, so that the application's own 404, 400, 426 or 503
    is the answer (wrong path, bad cursor, not ready). A runner: the upgrade goes ahead, unless the handshake itself
    is wrong; then the runner is dropped without a call, so the gate itself must reserve nothing. What the runner
    needs of the environ it must copy: the environ is freed.
    """

    def __call__(self, environ: dict[str, Any], /) -> WebSocketRunner | None: ...


def asks_for_upgrade(environ: dict[str, Any]) -> bool:
    """A GET with `Upgrade: websocket` and `Connection: upgrade`. Anything else is plain HTTP."""
    return (
        environ["REQUEST_METHOD"] == "GET"
        and "websocket" in _tokens(environ, "HTTP_UPGRADE")
        and "upgrade" in _tokens(environ, "HTTP_CONNECTION")
    )


def accept_handshake(environ: dict[str, Any]) -> str:
    """The value of Sec-WebSocket-Accept. Raises HttpRefusedError: 426 for another version, 400 for the rest."""
    if environ["SERVER_PROTOCOL"] != "HTTP/1.1":
        raise bad_request("a WebSocket needs HTTP/1.1")
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != VERSION:
        raise HttpRefusedError(
            HTTPStatus.UPGRADE_REQUIRED,
            "UpgradeRequired",
            f"the WebSocket version is {VERSION}",
            (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", VERSION)),
        )
    if environ.get("CONTENT_LENGTH", "0") != "0":
        raise bad_request("a WebSocket handshake has no body")
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "")
    if not _is_key(key):
        raise bad_request(f"Sec-WebSocket-Key is the base64 of {KEY_BYTES} bytes")
    return base64.b64encode(hashlib.sha1(key.encode("ascii") + _ACCEPT_SUFFIX).digest()).decode("ascii")  # noqa: S324


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _tokens(environ: dict[str, Any], name: str) -> list[str]:
    return [token.strip().lower() for token in environ.get(name, "").split(",")]
