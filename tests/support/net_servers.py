"""Small servers on loopback that say exactly what a test wants, byte for byte, and tell what they saw."""

import base64
import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import gevent
from gevent import monkey
from gevent.event import Event
from gevent.queue import Queue

Handler = Callable[[socket.socket], None]

ACCEPT_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class ScriptedServer:
    """Runs `handler` for each connection, in a greenlet of its own, and closes the connection after it."""

    def __init__(self, handler: Handler, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        assert monkey.is_module_patched("socket"), "run these tests by: python -m gevent.monkey --module pytest"
        self.connections = 0
        self.ended: Queue[None] = Queue()
        """One item for each connection whose handler has ended."""
        self._handler = handler
        self._tls = tls
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._greenlets: list[gevent.Greenlet[..., None]] = [gevent.spawn(self._accept)]

    def stop(self) -> None:
        gevent.killall(self._greenlets)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self._greenlets.append(gevent.spawn(self._serve, connection))

    def _serve(self, connection: socket.socket) -> None:
        try:
            # the client may hang up at any time: what that breaks here is no finding
            with suppress(OSError):
                if self._tls is not None:
                    secure = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                    connection = secure
                    secure.do_handshake()
                self._handler(connection)
        finally:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            connection.close()
            self.ended.put(None)


@contextmanager
def serving(
    handler: Handler, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[ScriptedServer]:
    server = ScriptedServer(handler, tls=tls, host=host)
    try:
        yield server
    finally:
        server.stop()


def read_head(connection: socket.socket) -> bytes:
    """A request up to and with its empty line."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError("the client went away inside the head")
        head += byte
    return head


def wait_for_end(connection: socket.socket) -> bytes:
    """Everything that the client still sends until it closes."""
    received = b""
    with suppress(OSError):
        while data := connection.recv(65_536):
            received += data
    return received


def hold(connection: socket.socket) -> None:
    """Says nothing until the client closes."""
    wait_for_end(connection)


def response(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def answering(*answers: bytes, requests: list[bytes] | None = None) -> Handler:
    """One connection: for each request the next of the answers, then the end."""

    def handler(connection: socket.socket) -> None:
        for answer in answers:
            head = read_head(connection)
            if requests is not None:
                requests.append(head)
            connection.sendall(answer)

    return handler


def header(head: bytes, name: str) -> str | None:
    """A header's value in a request head."""
    for line in head.decode().split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.strip().lower() == name.lower():
            return value.strip()
    return None


def accept_upgrade(connection: socket.socket, *extra: str) -> bytes:
    """The server's half of the WebSocket handshake; gives the request head."""
    head = read_head(connection)
    key = header(head, "Sec-WebSocket-Key")
    assert key is not None, "a WebSocket handshake"
    digest = base64.b64encode(hashlib.sha1(key.encode() + ACCEPT_KEY).digest()).decode()
    lines = (
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {digest}",
        *extra,
        "",
        "",
    )
    connection.sendall("\r\n".join(lines).encode())
    return head


def streaming(data: bytes, *, then: Handler = hold) -> Handler:
    """Upgrades, sends `data` in one go, and goes on with `then`."""

    def handler(connection: socket.socket) -> None:
        accept_upgrade(connection)
        connection.sendall(data)
        then(connection)

    return handler


def server_frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = False
) -> bytes:
    """A frame as servers send it, or with one thing wrong."""
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    mask_bit = 0x80 if masked else 0
    length = len(payload)
    if length < 126:
        head = bytes((first, mask_bit | length))
    elif length < 65_536:
        head = bytes((first, mask_bit | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, mask_bit | 127)) + length.to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload


def read_client_frame(connection: socket.socket) -> tuple[int, bytes]:
    """Opcode and unmasked payload of a short client frame; asserts that it is masked, as RFC 6455 wants."""
    head = _exactly(connection, 2)
    assert head[1] & 0x80, "clients mask"
    length = head[1] & 0x7F
    assert length < 126, "only short frames are expected of the client"
    mask = _exactly(connection, 4)
    payload = _exactly(connection, length)
    return head[0] & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError("the client went away inside a frame")
        data += more
    return data


def reached(moment: Event) -> None:
    """Waits for the event, and fails the test that waits in vain."""
    assert moment.wait(timeout=10), "it never came to that"
