"""The client's half of the WebSocket handshake, on a socket that is connected and, where due, encrypted.

websocket-client does the handshake, but never sees the socket. It would read the response a byte at a time and
without a limit, wait for any body, follow redirects to any address, and keep cookies of all hosts in one global jar.
So it gets a stand-in: the head of the response is read here, bounded, checked, and handed over with nothing in it but
the headers that decide the handshake. The deadline is the caller's.
"""

import re
import socket
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

import websocket

from zlay_py.errors import NetError
from zlay_py.net.failures import FailureKind, failure
from zlay_py.net.url import Target

HEAD_BYTES_MAX = 16_384
"""Of a response. Servers and proxies in use send less than 2 KiB."""

HEADERS_MAX = 100
"""As in Python's http.client."""

_END = b"\r\n\r\n"
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?")
_HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*)")
_DECIDING = ("upgrade", "connection", "sec-websocket-accept")
_NOT_OFFERED = ("sec-websocket-extensions", "sec-websocket-protocol")


class UpgradeRefusedError(NetError):
    """The host answered the upgrade with another status than 101. Its kind is UPGRADE.

    429 and 503 may come with `retry-after` in `headers`; after 501 the host can't be subscribed to at all
    (atproto event-stream spec, pre-upgrade errors).
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        shown = " ".join(body[:200].decode("utf-8", "replace").split())
        super().__init__(FailureKind.UPGRADE, f"status {status} {shown}".rstrip())
        self.status = status
        self.headers = headers


def upgrade(sock: socket.socket, url: str, target: Target, headers: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    """Asks for the upgrade and checks the answer: response headers, names in lower case, and what followed them.

    Raises NetError (UPGRADE, HTTP, TOO_LARGE, CLOSED), and OSError of the socket.
    """
    stand_in = _StandIn(sock)
    try:
        websocket.WebSocket().connect(  # type: ignore[no-untyped-call]  # websocket-client annotates only a part
            url,
            socket=cast(socket.socket, stand_in),
            redirect_limit=0,
            suppress_origin=True,  # an Origin is a browser's; some hosts check it
            host=target.authority,
            header=[f"{name}: {value}" for name, value in headers.items()],
        )
    except (websocket.WebSocketException, ValueError) as error:
        if stand_in.status not in (0, HTTPStatus.SWITCHING_PROTOCOLS):
            raise UpgradeRefusedError(stand_in.status, stand_in.headers, stand_in.rest) from None
        raise failure(FailureKind.UPGRADE, f"not a WebSocket handshake: {error}") from error
    for name in _NOT_OFFERED:
        if name in stand_in.headers:
            raise failure(FailureKind.UPGRADE, f"the host chose a {name} that was not offered")
    return stand_in.headers, stand_in.rest


class _StandIn:
    """As much of a socket as websocket-client's handshake uses."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unread = b""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.rest = b""

    def gettimeout(self) -> None:
        return None

    def close(self) -> None:
        """Nothing: who dialled, closes."""

    def send(self, data: bytes) -> int:
        self._sock.sendall(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        if not self.status:
            head, self.rest = self._read_head()
            self._parse_head(head)
            kept = [f"{name}: {self.headers[name]}\r\n" for name in _DECIDING if name in self.headers]
            self._unread = f"HTTP/1.1 {self.status}\r\n{''.join(kept)}\r\n".encode("ascii", "replace")
        taken, self._unread = self._unread[:size], self._unread[size:]
        return taken

    def _read_head(self) -> tuple[bytes, bytes]:
        received = bytearray()
        while True:
            data = self._sock.recv(HEAD_BYTES_MAX - len(received))
            if not data:
                raise failure(FailureKind.CLOSED, "the host closed the connection during the upgrade")
            searched = max(0, len(received) - len(_END))
            received += data
            end = received.find(_END, searched)
            if end >= 0:
                return bytes(received[:end]), bytes(received[end + len(_END) :])
            if len(received) >= HEAD_BYTES_MAX:
                raise failure(FailureKind.TOO_LARGE, f"response headers over {HEAD_BYTES_MAX} bytes")

    def _parse_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        status = _STATUS_LINE.fullmatch(first)
        if status is None or len(lines) > HEADERS_MAX:
            raise failure(FailureKind.HTTP, "the answer to the upgrade is not an HTTP response")
        for line in lines:
            match = _HEADER_LINE.fullmatch(line)
            if match is None:
                raise failure(FailureKind.HTTP, "a malformed header in the answer to the upgrade")
            name, value = match[1].decode("ascii").lower(), match[2].decode("latin-1").strip()
            # all of them, not the last one: the loop guard reads `server`, whichever proxy added its own
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        self.status = int(status[1])
