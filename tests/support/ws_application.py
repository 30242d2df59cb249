"""A small application with everything a `RelayApplication` has: Falcon for HTTP, one WebSocket path."""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import falcon
from gevent.event import Event
from gevent.queue import Queue

from zlay_py.net.websocket_handshake import WebSocketRunner
from zlay_py.net.websocket_server import ServerWebSocket

PATH = "/stream"


class Echo:
    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        response.media = {"got": request.get_media(), "length": request.content_length}


class Upper:
    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        response.data = request.bounded_stream.read().upper()


class Stream:
    """What a request for the stream gets that is no upgrade, or not accepted."""

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        if request.get_param("mode") == "refused":
            raise falcon.HTTPBadRequest(title="InvalidRequest")
        response.status = falcon.HTTP_426
        response.set_header("Upgrade", "websocket")
        response.media = {"error": "UpgradeRequired", "message": "this is a WebSocket"}


def not_implemented(req: falcon.Request, resp: falcon.Response, **_: Any) -> None:
    resp.status = falcon.HTTP_501
    resp.media = {"error": "MethodNotImplemented", "message": req.path}


class Application:
    """Hands every accepted ServerWebSocket to the test through `accepted`."""

    def __init__(self) -> None:
        self.accepted: Queue[ServerWebSocket] = Queue()
        self.events: list[str] = []
        self.environs: list[dict[str, Any]] = []
        self.ended = Event()
        self._falcon = falcon.App()
        self._falcon.add_route("/echo", Echo())
        self._falcon.add_route("/upper", Upper())
        self._falcon.add_route(PATH, Stream())
        self._falcon.add_sink(not_implemented)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.environs.append(environ)
        if environ["PATH_INFO"] == "/crash":
            raise RuntimeError("crashed on purpose")
        if environ["PATH_INFO"] == "/pieces":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return iter([b"one ", b"two"])
        answer: Iterable[bytes] = self._falcon(environ, start_response)
        return answer

    def upgrade_gate(self, environ: dict[str, Any]) -> WebSocketRunner | None:
        mode = parse_qs(environ["QUERY_STRING"]).get("mode", ["idle"])[0]
        if environ["PATH_INFO"] != PATH or mode == "refused":
            return None

        def run(websocket: ServerWebSocket) -> None:
            self.accepted.put(websocket)
            try:
                MODES[mode](websocket)
            finally:
                self.ended.set()

        return run

    def start(self) -> None:
        self.events.append("start")

    def begin_shutdown(self) -> None:
        self.events.append("begin_shutdown")

    def finish_shutdown(self) -> None:
        self.events.append("finish_shutdown")


def idle(websocket: ServerWebSocket) -> None:
    websocket.wait_closed()


def hello(websocket: ServerWebSocket) -> None:
    websocket.send_binary(b"hello")
    websocket.wait_closed()


def flood(websocket: ServerWebSocket) -> None:
    """Sends until the connection ends, each frame of one byte value that tells it from the next."""
    number = 0
    while True:
        websocket.send_binary(bytes([number % 251]) * 100_000)
        number += 1


def stuck(websocket: ServerWebSocket) -> None:
    """Waits for something else than the connection."""
    Event().wait(3600)


def crash(websocket: ServerWebSocket) -> None:
    raise RuntimeError("crashed on purpose")


def leave(websocket: ServerWebSocket) -> None:
    websocket.send_binary(b"bye")


MODES: dict[str, Callable[[ServerWebSocket], None]] = {
    "idle": idle,
    "hello": hello,
    "flood": flood,
    "crash": crash,
    "stuck": stuck,
    "leave": leave,
}
