"""A server on one port of 127.0.0.1: HTTP/1.1, one request per connection, with faults on command.

The port stays the server's own while nobody listens on it: a second socket is bound to it that never listens. Without
it, any connection made meanwhile could be given that port, and coming back would fail.
"""

import json
import socket as std_socket
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import ClassVar, Final
from urllib.parse import parse_qs, unquote, urlsplit

import gevent
from gevent import socket as gsocket
from gevent.pool import Group
from gevent.ssl import SSLContext

from tools.simulator.servers.outages import NOW, OF_EVERY_SERVER, Fault, FaultBoard, FaultError

ADDRESS: Final = "127.0.0.1"
HEAD_BYTES_MAX: Final = 16 * 1024
BODY_BYTES_MAX: Final = 1024 * 1024
READ_S_MAX: Final = 30.0
"""For a whole request; who is slower is gone."""
_BACKLOG: Final = 1024
_READ_BYTES: Final = 4096
_LOOK_S: Final = 0.5
"""How often a request that hangs looks whether its client is still there."""
JSON_TYPE: Final = "application/json; charset=utf-8"


class RequestError(Exception):
    """The client did not send a request that can be read."""


@dataclass(frozen=True, slots=True)
class Request:
    """`headers`: names in lower case. `query`: the last value of each name."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """Of an HTTP request."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = field(default=())

    def wire(self) -> bytes:
        reason = HTTPStatus(self.status).phrase if self.status in set(HTTPStatus) else "Status"
        lines = [
            f"HTTP/1.1 {self.status} {reason}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def json_answer(status: int, value: object) -> Answer:
    return Answer(status, json.dumps(value).encode())


def xrpc_error(status: int, error: str, message: str) -> Answer:
    return json_answer(status, {"error": error, "message": message})


class Server:
    """Subclasses answer requests; `HostServer` also takes connections over."""

    FAULTS: ClassVar[frozenset[Fault]] = OF_EVERY_SERVER

    def __init__(self, port: int = 0, tls: SSLContext | None = None) -> None:
        """`port` 0: any free one. Raises OSError when the port is taken."""
        self.faults = FaultBoard(self.FAULTS)
        self.requests = 0
        """HTTP requests so far, whatever they were answered; not the subscriptions."""
        self._tls = tls
        self._stopped = False
        self._reserved = _bound(port)
        self.port: int = self._reserved.getsockname()[1]
        self._listener: gsocket.socket | None = None
        self._accepting: gevent.Greenlet[[gsocket.socket], None] | None = None
        self._serving = Group()
        self._sockets: set[gsocket.socket] = set()

    @property
    def name(self) -> str:
        return f"localhost:{self.port}"

    @property
    def origin(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{self.name}"

    def start(self) -> None:
        """Raises OSError when another process listens on the port."""
        self._listen()

    def stop(self) -> None:
        """Closes everything. The server can't be started again."""
        self._stopped = True
        self._refuse()
        self._serving.kill()
        for sock in list(self._sockets):
            sock.close()
        self._reserved.close()

    def fail(self, fault: Fault, amount: float | None = None, times: int | None = None) -> None:
        """From now on, or for the next `times` connections. Raises FaultError."""
        self.faults.check(fault, amount, times)
        if fault in NOW:
            self._happen(fault)
            return
        self.faults.set(fault, amount, times)
        if fault is Fault.REFUSE:
            self._refuse()
        self._faults_changed()

    def clear(self, fault: Fault | None = None) -> None:
        """None: all of them."""
        for kind in self.FAULTS - NOW if fault is None else {fault}:
            self.faults.clear(kind)
        if self.faults.amount(Fault.REFUSE) is None:
            self._listen()
        self._faults_changed()

    def answer(self, request: Request) -> Answer:
        """What this server says when nothing is wrong."""
        return xrpc_error(404, "NotFound", f"nothing at {request.path}")

    def _happen(self, fault: Fault) -> None:
        raise FaultError(f"{fault}: nothing here for it to happen to")

    def _faults_changed(self) -> None:
        """For who waits with a connection open."""

    def _take_over(self, _sock: gsocket.socket, _request: Request, _rest: bytes, /) -> bool:
        """Socket, request, bytes behind the request. True: the connection was more than a request, and is done with."""
        return False

    def _listen(self) -> None:
        if self._listener is None and not self._stopped:
            self._listener = _bound(self.port)
            self._listener.listen(_BACKLOG)
            self._accepting = gevent.spawn(self._accept, self._listener)

    def _refuse(self) -> None:
        if self._listener is not None and self._accepting is not None:
            self._accepting.kill()
            self._listener.close()
            self._listener = None

    def _accept(self, listener: gsocket.socket) -> None:
        while True:
            sock, _ = listener.accept()
            if self.faults.take(Fault.ACCEPT_CLOSE) is not None:
                sock.close()
                continue
            self._sockets.add(sock)
            self._serving.spawn(self._serve, sock)

    def _serve(self, sock: gsocket.socket) -> None:
        plain = sock
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            sock.setsockopt(gsocket.IPPROTO_TCP, gsocket.TCP_NODELAY, 1)
            with gevent.Timeout(READ_S_MAX, RequestError("too slow")):
                request, rest = _read_request(sock)
            if not self._take_over(sock, request, rest):
                sock.sendall(self._answer_or_fail(sock, request).wire())
        except (OSError, RequestError):
            return  # the client is gone, or was none
        finally:
            self._sockets.discard(plain)
            sock.close()
            plain.close()

    def _answer_or_fail(self, sock: gsocket.socket, request: Request) -> Answer:
        self.requests += 1
        self.hang(sock, Fault.HANG)
        seconds = self.faults.take(Fault.SLOW)
        if seconds is not None:
            gevent.sleep(seconds)
        status = self.faults.take(Fault.STATUS)
        if status is not None:
            return xrpc_error(int(status), "SimulatedFault", "as it was told to")
        if self.faults.take(Fault.GARBAGE) is not None:
            return Answer(200, b"\xff\x00<html>not what you wanted")
        return self.answer(request)

    def hang(self, sock: gsocket.socket, fault: Fault) -> None:
        """Returns when the fault is over. Raises RequestError when the client has gone meanwhile."""
        while not self.faults.wait_cleared(fault, _LOOK_S):
            if _has_left(sock):
                raise RequestError("gone")


def _bound(port: int) -> gsocket.socket:
    sock = gsocket.socket(gsocket.AF_INET, gsocket.SOCK_STREAM)
    try:
        sock.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_REUSEADDR, 1)
        sock.bind((ADDRESS, port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{ADDRESS}:{port}: {error.strerror}") from None
    return sock


def _has_left(sock: gsocket.socket) -> bool:
    """Whether the client has closed its side; what it has sent stays to be read."""
    raw: std_socket.socket = sock._sock  # type: ignore[attr-defined]  # below TLS, and never blocking
    try:
        return not raw.recv(1, std_socket.MSG_PEEK | std_socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _read_request(sock: gsocket.socket) -> tuple[Request, bytes]:
    """The request and the bytes behind it. Raises RequestError, OSError."""
    data = _read_until(sock, b"", lambda data: b"\r\n\r\n" in data, HEAD_BYTES_MAX)
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3:
        raise RequestError(first)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
        raise RequestError(f"a body of {length} bytes")
    body_bytes = int(length)
    rest = _read_until(sock, rest, lambda data: len(data) >= body_bytes, BODY_BYTES_MAX + HEAD_BYTES_MAX)
    url = urlsplit(parts[1])
    query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    return Request(parts[0], unquote(url.path), query, headers, rest[:body_bytes]), rest[body_bytes:]


def _read_until(sock: gsocket.socket, data: bytes, enough: Callable[[bytes], bool], bytes_max: int) -> bytes:
    while not enough(data):
        more = sock.recv(_READ_BYTES)
        if not more or len(data) > bytes_max:
            raise RequestError("no whole request")
        data += more
    return data
