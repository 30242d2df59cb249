"""RFC 6455 as a server of ready frames needs it: the upgrade, the heads, the client's control frames."""

import base64
import hashlib
import struct
from typing import Final, NamedTuple

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
_FIN: Final = 0x80
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MESSAGE_BYTES_MAX: Final = 64 * 1024
"""Of a client, which has nothing to say to a firehose."""


class ClientFrameError(Exception):
    """The client does not speak WebSocket."""


class ClientFrame(NamedTuple):
    """One frame of the client, unmasked."""

    opcode: int
    payload: bytes


def accept_value(key: str) -> str:
    """Of the header Sec-WebSocket-Accept."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def upgrade_answer(key: str) -> bytes:
    lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
    return "\r\n".join((*lines, f"Sec-WebSocket-Accept: {accept_value(key)}", "", "")).encode()


def head(opcode: int, length: int) -> bytes:
    """Of a whole message from a server, which does not mask."""
    first = _FIN | opcode
    if length < 126:
        return bytes((first, length))
    if length < 65_536:
        return struct.pack(">BBH", first, 126, length)
    return struct.pack(">BBQ", first, 127, length)


def message(wire: bytes, *, text: bool = False) -> bytes:
    """The ready bytes of a frame of the stream."""
    return head(TEXT if text else BINARY, len(wire)) + wire


def close(code: int, reason: str = "") -> bytes:
    payload = struct.pack(">H", code) + reason.encode()
    return head(CLOSE, len(payload)) + payload


class ClientFrames:
    """Takes bytes as they come, gives whole frames. Raises ClientFrameError."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[ClientFrame]:
        self._data += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> ClientFrame | None:
        data = self._data
        if len(data) < 2:
            return None
        if not data[1] & 0x80:
            raise ClientFrameError("not masked")
        length, start = data[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(data[2:10], "big"), 10
        if length > MESSAGE_BYTES_MAX:
            raise ClientFrameError("too large")
        end = start + 4 + length
        if len(data) < end:
            return None
        mask = bytes(data[start : start + 4])
        payload = bytes(byte ^ mask[index & 3] for index, byte in enumerate(data[start + 4 : end]))
        opcode = data[0] & 0x0F
        del data[:end]
        return ClientFrame(opcode, payload)
