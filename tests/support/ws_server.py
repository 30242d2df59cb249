"""A server with short times in this process, its application, and the opcodes of RFC 6455."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.ws_application import Application
from zlay_py.net.http_limits import HttpLimits
from zlay_py.net.http_server import HttpServer
from zlay_py.net.websocket_server import ServerWebSocket, WebSocketLimits

LIMITS = WebSocketLimits(message_bytes_max=1000, send_buffer_bytes=64 * 1024, write_stall_s=30, close_wait_s=0.2)
HTTP_LIMITS = HttpLimits(head_read_s=5, linger_s=0.3)
TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


@contextmanager
def running_server(application: Application) -> Iterator[HttpServer]:
    """Stopped at the end, and nothing of any WebSocket is left in it then."""
    server = HttpServer(("127.0.0.1", 0), application, limits=HTTP_LIMITS, websocket_limits=LIMITS)
    server.start()
    yield server
    server.stop(timeout=1)
    assert not server.websockets


def accepted(application: Application) -> ServerWebSocket:
    """The serving end of the next connection."""
    return application.accepted.get(timeout=5)
