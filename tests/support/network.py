"""A PLC directory and hosts on loopback, in this process: real sockets, real WebSockets, recorded cursors."""

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import gevent
from gevent.event import Event
from gevent.pywsgi import WSGIHandler, WSGIServer
from geventwebsocket.handler import WebSocketHandler  # type: ignore[import-untyped]

from tests.support.consumer import Received, decode
from tests.support.repo import Repo, did_document, with_seq

StartResponse = Callable[..., Any]


class _Server:
    def __init__(self, handler_class: type[WSGIHandler] | None = None) -> None:
        self._server = WSGIServer(("127.0.0.1", 0), self._serve, log=None, error_log=None, handler_class=handler_class)
        self._server.start()
        assert self._server.server_port is not None
        self.port: int = self._server.server_port

    def stop(self) -> None:
        self._server.stop(timeout=0)

    def _serve(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        raise AssertionError(f"a subclass answers {environ['PATH_INFO']} by {start_response}")


class Plc(_Server):
    """A PLC directory: `documents` by DID. `gate` unset makes every answer wait."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, object]] = {}
        self.asked: list[str] = []
        self.gate = Event()
        self.gate.set()
        super().__init__()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def register(self, repo: Repo, host: "Host") -> None:
        self.documents[repo.did] = did_document(repo.did, repo.signer.public, host.url)

    def _serve(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        did = str(environ["PATH_INFO"]).lstrip("/")
        self.asked.append(did)
        self.gate.wait()
        document = self.documents.get(did)
        if document is None:
            start_response("404 Not Found", [("Content-Type", "application/json")])
            return [b'{"message": "not registered"}']
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(document).encode()]


class Directory(_Server):
    """A bootstrap relay: answers listHosts with `hosts`, in pages of two."""

    def __init__(self) -> None:
        self.hosts: list[dict[str, object]] = []
        super().__init__()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def _serve(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        after = int(parse_qs(str(environ["QUERY_STRING"])).get("cursor", ["0"])[0])
        page: dict[str, object] = {"hosts": self.hosts[after : after + 2]}
        if after + 2 < len(self.hosts):
            page["cursor"] = str(after + 2)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(page).encode()]


class Host(_Server):
    """A PDS's firehose: what it emitted so far, from any cursor (seq > cursor, as the reference PDS), then live."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.cursors: list[str | None] = []
        self._grown = Event()
        self._sockets: set[Any] = set()
        super().__init__(WebSocketHandler)

    @property
    def name(self) -> str:
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.name}"

    def emit(self, *wires: bytes) -> int:
        """Gives each frame the next seq and sends it to whoever is connected. Returns the last seq."""
        for wire in wires:
            self.frames.append(with_seq(wire, len(self.frames) + 1))
        self._grown.set()
        return len(self.frames)

    def emit_raw(self, wire: bytes) -> None:
        """A frame as it is, whatever it is."""
        self.frames.append(wire)
        self._grown.set()

    def events(self) -> list[Received]:
        """Everything emitted so far, decoded by the same means as a consumer's."""
        return [decode(wire) for wire in self.frames]

    def stop(self) -> None:
        self.disconnect()
        super().stop()

    def disconnect(self) -> None:
        for socket in list(self._sockets):
            socket.close()

    def _serve(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        socket = environ.get("wsgi.websocket")
        if socket is None:
            start_response("404 Not Found", [])
            return []
        cursor = parse_qs(str(environ["QUERY_STRING"])).get("cursor", [None])[0]
        self.cursors.append(cursor)
        position = len(self.frames) if cursor is None else int(cursor)
        self._sockets.add(socket)
        try:
            while True:
                while position < len(self.frames):
                    socket.send(self.frames[position], binary=True)
                    position += 1
                    gevent.sleep(0)
                self._grown.clear()
                self._grown.wait()
        except Exception:
            return []
        finally:
            self._sockets.discard(socket)
