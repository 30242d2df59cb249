"""WebSocket framing of the serving side (RFC 6455 §5): what clients send, and the frames we send them. No I/O.

    byte 0   FIN RSV1 RSV2 RSV3 opcode(4)
    byte 1   MASK length(7)          126: 2 more bytes, 127: 8 more bytes
    4 bytes  mask key                client frames only, always
    payload

A client has nothing to say on this stream (atproto event-stream spec, "Framing": frames sent by clients are
ignored). So data frames are counted and skipped without being unmasked or kept; only control frames are read.
"""

from enum import IntEnum
from typing import NamedTuple

from zlay_py.errors import InvalidDataError

MESSAGE_BYTES_MAX = 64 * 1024
"""A client's message that we skip anyway; more is not a mistake but a flood."""
CONTROL_PAYLOAD_BYTES_MAX = 125
"""RFC 6455 §5.5."""


class Opcode(IntEnum):
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """RFC 6455 §7.4.1 and the IANA registry "WebSocket Close Code Number"."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    """Never sent: stands for a close frame without a code."""
    ABNORMAL = 1006
    """Never sent: stands for a connection that ended without a close frame."""
    INVALID_PAYLOAD = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012


_CODES_FROM_PEERS = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})


class ClientFrameError(InvalidDataError):
    """The client broke the protocol: close with `code`, and stop reading frames."""

    def __init__(self, code: CloseCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Control(NamedTuple):
    """A control frame, unmasked."""

    opcode: Opcode
    payload: bytes


class ClientFrameParser:
    """Bytes in any pieces in, control frames out. Keeps at most one frame header and one control payload."""

    __slots__ = ("_buffer", "_in_message", "_message_bytes", "_message_bytes_max", "_skip_bytes")

    def __init__(self, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._buffer = b""
        self._skip_bytes = 0
        self._in_message = False
        self._message_bytes = 0
        self._message_bytes_max = message_bytes_max

    def feed(self, data: bytes) -> list[Control]:
        """The control frames that `data` completes; nothing after a close frame is read.

        Raises ClientFrameError, after which the parser must not be fed again.
        """
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        controls: list[Control] = []
        position = 0
        while position < len(data):
            if self._skip_bytes:
                skipped = min(self._skip_bytes, len(data) - position)
                self._skip_bytes -= skipped
                position += skipped
                continue
            end = self._frame(data, position, controls)
            if end == position:
                self._buffer = data[position:]  # under 14 + 125 bytes: a header, or a control frame, not complete yet
                break
            if controls and controls[-1].opcode is Opcode.CLOSE:
                break
            position = end
        return controls

    def _frame(self, data: bytes, start: int, controls: list[Control]) -> int:
        """Reads one header, and the payload of a control frame. Returns where it ended, or `start` for "more bytes"."""
        if len(data) - start < 2:
            return start
        first, second = data[start], data[start + 1]
        opcode = _check_header(first, second)
        length = second & 0x7F
        body = start + 2
        if length >= 126:
            extended = 2 if length == 126 else 8
            if len(data) - body < extended:
                return start
            length = _extended_length(data[body : body + extended])
            body += extended
        if opcode < Opcode.CLOSE:
            self._start_data(opcode, bool(first & 0x80), length)
            if len(data) - body < 4:
                # The mask key is skipped with the payload, it is not needed.
                self._skip_bytes = 4 + length - (len(data) - body)
                return len(data)
            self._skip_bytes = length
            return body + 4
        if len(data) - body < 4 + length:
            return start
        controls.append(Control(opcode, unmask(data[body + 4 : body + 4 + length], data[body : body + 4])))
        return body + 4 + length

    def _start_data(self, opcode: Opcode, fin: bool, length: int) -> None:
        if (opcode is Opcode.CONTINUATION) != self._in_message:
            raise ClientFrameError(CloseCode.PROTOCOL_ERROR, "a continuation frame out of place")
        self._message_bytes = length + (self._message_bytes if self._in_message else 0)
        if self._message_bytes > self._message_bytes_max:
            raise ClientFrameError(CloseCode.TOO_BIG, f"a message has at most {self._message_bytes_max} bytes")
        self._in_message = not fin


def _check_header(first: int, second: int) -> Opcode:
    if first & 0x70:
        raise ClientFrameError(CloseCode.PROTOCOL_ERROR, "a reserved bit is set and no extension was agreed")
    if not second & 0x80:
        raise ClientFrameError(CloseCode.PROTOCOL_ERROR, "client frames are masked")
    try:
        opcode = Opcode(first & 0x0F)
    except ValueError:
        raise ClientFrameError(CloseCode.PROTOCOL_ERROR, "a reserved opcode") from None
    if opcode >= Opcode.CLOSE and (not first & 0x80 or second & 0x7F > CONTROL_PAYLOAD_BYTES_MAX):
        raise ClientFrameError(CloseCode.PROTOCOL_ERROR, "a control frame is whole and has at most 125 bytes")
    return opcode


def _extended_length(encoded: bytes) -> int:
    length = int.from_bytes(encoded, "big")
    if length < (126 if len(encoded) == 2 else 0x1_0000):
        raise ClientFrameError(CloseCode.PROTOCOL_ERROR, "a length has the shortest form")
    return length


def unmask(payload: bytes, key: bytes) -> bytes:
    """XOR with the repeated key, as one big integer: no loop over bytes."""
    if not payload:
        return b""
    mask = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(payload), "big")


def parse_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a client's close frame, (1005, "") where it is empty. Raises ClientFrameError."""
    if not payload:
        return CloseCode.NO_STATUS, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (code in _CODES_FROM_PEERS or 3000 <= code < 5000):
        raise ClientFrameError(CloseCode.PROTOCOL_ERROR, "not a close code")
    try:
        return code, payload[2:].decode("utf-8")
    except UnicodeDecodeError:
        raise ClientFrameError(CloseCode.INVALID_PAYLOAD, "a close reason is UTF-8") from None


def encode_frame(opcode: Opcode, payload: bytes) -> bytes:
    """One whole frame of the server: FIN set, not masked."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, length))
    elif length < 0x1_0000:
        head = bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big")
    return head + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """A close frame. 1005 gives an empty one; a long reason is cut at a character."""
    return encode_frame(Opcode.CLOSE, b"" if code == CloseCode.NO_STATUS else close_payload(code, reason))


def close_payload(code: int, reason: str = "") -> bytes:
    """What a close frame of either side carries. The reason is cut to what fits, at a character."""
    text = reason.encode("utf-8")[: CONTROL_PAYLOAD_BYTES_MAX - 2].decode("utf-8", errors="ignore")
    return code.to_bytes(2, "big") + text.encode("utf-8")
