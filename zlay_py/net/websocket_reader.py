"""WebSocket frames from server to client, as a pure reader: bytes in, whole binary messages and control frames out.

    0               1               2 …
    +-+-+-+-+-------+-+-------------+-------------------------------+--------
    |F|R|R|R| opcode|M|  length: 0-125, 126 → next 2 bytes,          | payload
    |I|S|S|S|  (4)  |A|          127 → next 8 bytes (big-endian)     |
    |N|V|V|V|       |S|                                              |
    +-+-+-+-+-------+-+-------------+-------------------------------+--------

Owns: framing (RFC 6455 §5), the size limits, the masked control frames that we answer with. Refuses to own: sockets,
time, when to answer. Whatever the bytes, the outcome is a message, a control frame, or NetError, and memory stays
below the last chunk fed plus `message_bytes_max`: limits are checked on the announced length, before it is buffered.
"""

from zlay_py.errors import NetError
from zlay_py.net.failures import FailureKind, failure
from zlay_py.net.websocket_frames import CONTROL_PAYLOAD_BYTES_MAX, CloseCode, Control, Opcode

FRAGMENTS_MAX = 16_384
"""Frames per message: 5 MB in pieces of 300 bytes. Without it, empty fragments could go on for ever."""

_FIN_BINARY = 0x80 | Opcode.BINARY
_RESERVED_BITS = 0x70
_CONTROL_BIT = 0x08
_CONTROLS = {int(opcode): opcode for opcode in (Opcode.CLOSE, Opcode.PING, Opcode.PONG)}


class FrameReader:
    """Feed it what arrived, then call `next` until it gives None. After an error it only repeats that error.

    Lengths in a longer form than needed are accepted, against the letter of RFC 6455 §5.2: servers in use have sent
    them, and nothing hangs on it.
    """

    __slots__ = ("_buffer", "_error", "_final", "_fragments", "_message", "_message_bytes_max", "_missing", "_position")

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._buffer = b""
        self._position = 0
        self._message: bytearray | None = None  # a message begun, fragmented or cut by the end of the buffer
        self._missing = 0  # payload bytes of the current frame that have not arrived
        self._final = False  # whether the current frame ends its message
        self._fragments = 0
        self._error: NetError | None = None

    @property
    def inside_message(self) -> bool:
        """Whether a part of a message has arrived; a lone piece of a frame header does not count."""
        return self._message is not None

    def feed(self, data: bytes) -> None:
        """Takes what arrived. Cheap after `next` gave None: then at most one short frame is left to copy."""
        self._buffer = self._buffer[self._position :] + data if self._position < len(self._buffer) else data
        self._position = 0

    def next(self) -> bytes | Control | None:
        """A whole binary message, a control frame, or None: feed more. Raises NetError, and from then on always.

        Kinds: PROTOCOL, TEXT_FRAME, TOO_LARGE.
        """
        buffer, position = self._buffer, self._position
        # what nearly every frame of a firehose is: one binary message, all of it here, no continuation awaited
        if self._message is None and len(buffer) - position >= 4 and buffer[position] == _FIN_BINARY:
            second = buffer[position + 1]
            if second <= 126:
                length, start = second, position + 2
                if second == 126:
                    length, start = buffer[position + 2] << 8 | buffer[position + 3], position + 4
                end = start + length
                if end <= len(buffer) and length <= self._message_bytes_max:
                    self._position = end
                    return buffer[start:end]
        return self._next_of_any_kind()

    def _next_of_any_kind(self) -> bytes | Control | None:
        if self._error is not None:
            raise self._error
        try:
            while True:
                if self._message is not None and self._missing:
                    if not self._take_payload():
                        return None
                    if self._final:
                        return self._finish()
                head = self._head()
                if head is None:
                    return None
                first, length, start = head
                if first & _CONTROL_BIT:
                    if len(self._buffer) - start < length:
                        return None
                    self._position = start + length
                    return Control(_CONTROLS[first & 0x0F], self._buffer[start : self._position])
                self._begin_data_frame(first, length)
                self._position = start
                if not length and self._final:
                    return self._finish()
        except NetError as error:
            self._error = error
            self._buffer, self._message = b"", None
            raise

    def _head(self) -> tuple[int, int, int] | None:
        """First byte, payload length, and where the payload starts; None when the head is not all here."""
        buffer, position = self._buffer, self._position
        available = len(buffer) - position
        if available < 2:
            return None
        first, second = buffer[position], buffer[position + 1]
        self._check_head(first, second)
        length = second & 0x7F
        if length < 126:
            return first, length, position + 2
        size = 2 if length == 126 else 8
        if available < 2 + size:
            return None
        start = position + 2 + size
        return first, int.from_bytes(buffer[position + 2 : start], "big"), start

    def _check_head(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        if first & _RESERVED_BITS:
            raise failure(FailureKind.PROTOCOL, "a reserved bit is set, but no extension was agreed on")
        if second & 0x80:
            raise failure(FailureKind.PROTOCOL, "a masked frame from a server")
        if opcode == Opcode.TEXT:
            raise failure(FailureKind.TEXT_FRAME, "a text message")
        if opcode & _CONTROL_BIT:
            if opcode not in _CONTROLS:
                raise failure(FailureKind.PROTOCOL, f"unknown opcode {opcode}")
            if not first & 0x80 or second > CONTROL_PAYLOAD_BYTES_MAX:
                raise failure(FailureKind.PROTOCOL, "a control frame in fragments or over 125 bytes")
        elif opcode == Opcode.CONTINUATION:
            if self._message is None:
                raise failure(FailureKind.PROTOCOL, "a continuation of nothing")
        elif opcode != Opcode.BINARY:
            raise failure(FailureKind.PROTOCOL, f"unknown opcode {opcode}")
        elif self._message is not None:
            raise failure(FailureKind.PROTOCOL, "a new message inside another")

    def _begin_data_frame(self, first: int, length: int) -> None:
        message = bytearray() if self._message is None else self._message
        self._fragments += 1
        if len(message) + length > self._message_bytes_max:
            raise failure(FailureKind.TOO_LARGE, f"a message over {self._message_bytes_max} bytes")
        if self._fragments > FRAGMENTS_MAX:
            raise failure(FailureKind.PROTOCOL, f"a message in more than {FRAGMENTS_MAX} fragments")
        self._message = message
        self._final = bool(first & 0x80)
        self._missing = length

    def _take_payload(self) -> bool:
        """Moves what is here of the current frame into the message; True when the frame is complete."""
        assert self._message is not None, "a payload belongs to a message"
        end = min(self._position + self._missing, len(self._buffer))
        self._message += memoryview(self._buffer)[self._position : end]
        self._missing -= end - self._position
        self._position = end
        return not self._missing

    def _finish(self) -> bytes:
        assert self._message is not None, "only a message begun can end"
        message = bytes(self._message)
        self._message = None
        self._fragments = 0
        return message


def parse_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close frame; code 1005 when it has none. Raises NetError(PROTOCOL)."""
    if not payload:
        return CloseCode.NO_STATUS, ""
    if len(payload) == 1:
        raise failure(FailureKind.PROTOCOL, "a close frame with half a code")
    return int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")


def encode_control(opcode: Opcode, payload: bytes, mask: bytes) -> bytes:
    """A control frame from client to server. `mask`: 4 fresh random bytes (RFC 6455 §5.3)."""
    assert len(payload) <= CONTROL_PAYLOAD_BYTES_MAX, "control payloads are short"
    assert len(mask) == 4, "masks have 4 bytes"
    masked = bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))
    return bytes((0x80 | opcode, 0x80 | len(payload))) + mask + masked
