"""An HTTP and WebSocket client of bare bytes: it can do everything wrong on purpose."""

import base64
import json
import os
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from gevent import socket

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Frame:
    opcode: int
    payload: bytes

    def close_code(self) -> int:
        assert self.opcode == 8
        return int.from_bytes(self.payload[:2], "big")


class RawClient:
    """One TCP connection. Every read fails after TIMEOUT_S instead of hanging."""

    def __init__(self, port: int, receive_buffer_bytes: int | None = None) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer_bytes is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self, length: int) -> bytes:
        while len(self._buffer) < length:
            self._receive()
        data, self._buffer = self._buffer[:length], self._buffer[length:]
        return data

    def read_until(self, delimiter: bytes) -> bytes:
        while delimiter not in self._buffer:
            self._receive()
        data, self._buffer = self._buffer.split(delimiter, 1)
        return data + delimiter

    def at_end(self) -> bool:
        """True when the server closed; waits for that. False: it sent something instead."""
        if self._buffer:
            return False
        try:
            self._buffer = self.sock.recv(65536)
        except ConnectionResetError:
            return True
        return not self._buffer

    def read_response(self) -> Response:
        head = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:-2])}
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.read_until(b"\r\n"), 16):
                body += self.read(size)
                self.read(2)
            self.read(2)
        else:
            body = self.read(int(headers.get("content-length", "0")))
        return Response(status, headers, body)

    def request(self, request_line: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Response:
        self.send(encode_request(request_line, headers or {}, body))
        return self.read_response()

    def open_websocket(self, target: str = "/stream", extra: bytes = b"") -> Response:
        """Handshake; `extra` goes out in the same segment."""
        self.send(encode_request(f"GET {target} HTTP/1.1", handshake_headers()) + extra)
        response = self.read_response()
        assert response.status == 101, response
        return response

    def send_frame(
        self, opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, rsv: int = 0
    ) -> None:
        self.send(encode_client_frame(opcode, payload, fin=fin, masked=masked, rsv=rsv))

    def read_frame(self) -> Frame:
        first, second = self.read(2)
        assert first & 0xF0 == 0x80, "server frames are whole and have no reserved bits"
        assert second & 0x80 == 0, "server frames are not masked"
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(self.read(2 if length == 126 else 8), "big")
        return Frame(first & 0x0F, self.read(length))

    def _receive(self) -> None:
        data = self.sock.recv(262_144)
        assert data, f"the server closed; what it sent last: {self._buffer[-300:]!r}"
        self._buffer += data


def encode_request(request_line: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = [request_line, *(f"{name}: {value}" for name, value in {"Host": "relay.test", **headers}.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def handshake_headers(**changes: str) -> dict[str, str]:
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    return {**headers, **{name.replace("_", "-"): value for name, value in changes.items()}}


def encode_client_frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, rsv: int = 0
) -> bytes:
    length = len(payload)
    mask_bit = 0x80 if masked else 0
    if length < 126:
        head = bytes([mask_bit | length])
    elif length < 65536:
        head = bytes([mask_bit | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([mask_bit | 127]) + length.to_bytes(8, "big")
    first = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if not masked:
        return first + head + payload
    key = os.urandom(4)
    return first + head + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
