"""gevent.pywsgi's server with our handler: limits, open WebSockets, and a drain that does not wait for idle clients."""

from typing import Any

from gevent.pool import Pool
from gevent.pywsgi import WSGIServer
from gevent.socket import AF_INET, AF_INET6, IPPROTO_TCP, SHUT_RDWR, TCP_NODELAY
from gevent.socket import socket as GeventSocket  # noqa: N812

from zlay_py.clock import Clock, SystemClock
from zlay_py.net.http_limits import BodyBudget, HttpLimits
from zlay_py.net.websocket_handler import WebSocketUpgradeHandler
from zlay_py.net.websocket_server import ServerWebSocket, WebSocketLimits

CONNECTIONS_MAX = 20_000
"""Consumers and API clients together, about 19 KiB each while idle; past it connections wait in the backlog."""


class HttpServer(WSGIServer):
    """Serves one WSGI application on one listener, WebSockets where the application has an `upgrade_gate`.

    `listener` is a bound socket or (host, port). Plain HTTP: TLS ends at the reverse proxy.
    """

    handler_class = WebSocketUpgradeHandler

    def __init__(
        self,
        listener: GeventSocket | tuple[str, int],
        application: Any,
        *,
        limits: HttpLimits | None = None,
        websocket_limits: WebSocketLimits | None = None,
        clock: Clock | None = None,
        connections_max: int = CONNECTIONS_MAX,
        environ: dict[str, Any] | None = None,
    ) -> None:
        self.limits = limits or HttpLimits()
        self.websocket_limits = websocket_limits or WebSocketLimits()
        self.clock: Clock = clock or SystemClock()
        self.body_budget = BodyBudget(self.limits.bodies_in_flight_bytes_max)
        self.websockets: set[ServerWebSocket] = set()
        self.idle: set[GeventSocket] = set()
        self.draining = False
        # SERVER_NAME is set so that pywsgi does not ask the DNS for it.
        base = {"SERVER_NAME": "localhost", **(environ or {}), "wsgi.multithread": True}
        super().__init__(listener, application, spawn=Pool(connections_max), log=None, environ=base)

    def init_socket(self) -> None:
        super().init_socket()
        if self.family in (AF_INET, AF_INET6):
            self.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # accepted sockets inherit it

    def begin_drain(self) -> None:
        """Accepts nothing more, closes idle keep-alive connections; a request under way is the last of its connection.

        WebSockets stay open: the application, or `close_websockets`, closes them.
        """
        self.draining = True
        self.close()
        for sock in list(self.idle):
            try:
                sock.shutdown(SHUT_RDWR)  # its greenlet wakes up with end of stream
            except OSError:
                continue

    def close_websockets(self, code: int, reason: str) -> None:
        """Starts to close what is still open; returns at once."""
        for websocket in list(self.websockets):
            websocket.begin_close(code, reason)

    def wait_drained(self, timeout_s: float) -> bool:
        """True: no connection is left."""
        assert self.pool is not None
        self.pool.join(timeout=timeout_s)
        return not len(self.pool)
