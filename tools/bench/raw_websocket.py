"""A WebSocket client that costs next to nothing: for measuring who serves, not who is served. No gevent, no checks
beyond those that would make a number wrong."""

import base64
import os
import socket
from collections.abc import Iterator

_BINARY = 0x82


def connect(port: int, path: str) -> tuple[socket.socket, bytes]:
    """An open connection to a server on this machine, and what came behind the handshake."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    ]
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    received = b""
    while b"\r\n\r\n" not in received:
        data = sock.recv(4096)
        if not data:
            raise ConnectionError(f"closed during the handshake: {received!r}")
        received += data
    head, _, rest = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101 "):
        raise ConnectionError(f"no upgrade: {head!r}")
    return sock, rest


class Frames:
    """Cuts a stream into the payloads of its binary frames. Fails at any other frame but a ping."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        buffer, position = self._rest + data, 0
        while True:
            end = _end(buffer, position)
            if end is None:
                break
            start, stop = end
            if buffer[position] == _BINARY:
                yield buffer[start:stop]
            elif buffer[position] != 0x89:
                raise ConnectionError(f"the relay ended the stream: {buffer[start:stop]!r}")
            position = stop
        self._rest = buffer[position:]


def _end(buffer: bytes, position: int) -> tuple[int, int] | None:
    """(start, end) of the payload of the frame at `position`, if it is all here."""
    if len(buffer) < position + 2:
        return None
    length, start = buffer[position + 1], position + 2
    if length >= 126:
        size = 2 if length == 126 else 8
        start += size
        if len(buffer) < start:
            return None
        length = int.from_bytes(buffer[start - size : start], "big")
    return (start, start + length) if len(buffer) >= start + length else None
