"""gevent-websocket's handler, repaired: the package decides when to upgrade, everything it gets wrong is ours.

Wrong there: it upgrades every path before anybody can refuse, its refusals are `str` bodies that crash the
response, a malformed key is a 500, its WebSocket is not usable (see `websocket_server`), and it keeps the whole
request alive for as long as the socket lives.
"""

import logging
from http import HTTPStatus
from typing import Any

from gevent.socket import socket as GeventSocket  # noqa: N812
from geventwebsocket.handler import WebSocketHandler  # type: ignore[import-untyped]

from zlay_py.logs import get_logger
from zlay_py.net.http_handler import HttpHandler
from zlay_py.net.http_refusal import HttpRefusedError
from zlay_py.net.websocket_frames import CloseCode
from zlay_py.net.websocket_handshake import WebSocketRunner, accept_handshake, asks_for_upgrade
from zlay_py.net.websocket_server import ServerWebSocket, WebSocketClosedError

log = get_logger(__name__)

_RESTARTING = (
    HTTPStatus.SERVICE_UNAVAILABLE,
    "ServiceUnavailable",
    "the relay restarts",
    (("Retry-After", "1"),),
)


class WebSocketUpgradeHandler(HttpHandler, WebSocketHandler):  # type: ignore[misc]  # the package has no types
    """HTTP, and a WebSocket where the application's `upgrade_gate` (an `UpgradeGate`) says so."""

    SUPPORTED_VERSIONS = ("13",)
    logger = logging.getLogger("geventwebsocket")  # the package would make one with a handler of its own

    websocket: ServerWebSocket
    _runner: WebSocketRunner

    def upgrade_websocket(self) -> list[bytes] | None:
        """Sets `self.websocket` and starts the 101; or returns the body of a refusal; or None for plain HTTP."""
        environ: dict[str, Any] = self.environ  # type: ignore[assignment]
        gate = getattr(self.application, "upgrade_gate", None)
        if gate is None or not asks_for_upgrade(environ):
            return None
        try:
            if self.server.draining:  # before the gate, which lets nobody in any more: the answer would not be "later"
                raise HttpRefusedError(*_RESTARTING)
            runner = gate(environ)
            if runner is None:
                return None
            accept = accept_handshake(environ)
        except HttpRefusedError as refused:
            self.start_response(refused.status_line(), refused.response_headers())
            return [refused.body()]
        self._runner = runner
        self.upgrade_connection(accept)
        return None

    def upgrade_connection(self, accept: str) -> None:
        sock: GeventSocket = self.socket
        self.websocket = ServerWebSocket(sock, self.server.websocket_limits, self.server.clock)
        # The package's start_response looks here to know that a 101 has no body, length or keep-alive.
        self.environ["wsgi.websocket"] = self.websocket  # type: ignore[index]
        headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]
        self.start_response("101 Switching Protocols", headers)

    def run_websocket(self) -> None:
        """Called by the package after the 101 is out."""
        websocket, runner = self.websocket, self._runner
        early = self._reader().take()
        self._free_request()
        self.server.websockets.add(websocket)
        try:
            websocket.start(early)
            runner(websocket)
        except WebSocketClosedError as error:
            log.debug("websocket ended", peer=self._peer(), detail=str(error))
        except Exception:
            log.exception("websocket failed", peer=self._peer(), path=self._path())
            websocket.begin_close(CloseCode.INTERNAL_ERROR, "the relay failed")
        except BaseException:
            websocket.abort()  # killed: the server stops
            raise
        finally:
            self._end(websocket)

    def _end(self, websocket: ServerWebSocket) -> None:
        try:
            websocket.close(CloseCode.NORMAL)
        finally:
            websocket.abort()
            self.server.websockets.discard(websocket)

    def _free_request(self) -> None:
        """An idle consumer lives for weeks; its request is over."""
        del self._runner
        self.reader = None
        self.environ = None
        self.response_headers = None
        self.requestline = None
        self._release_body()
