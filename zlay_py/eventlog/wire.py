"""Records as the bytes that go to a consumer. Owns: the WebSocket framing of an event, in one function that the
tail and the segment readers share, so that an event looks the same wherever it is served from.

A server's frame is not masked (RFC 6455, section 5.1), so one copy serves every consumer:

    0x82 (final, binary) · length (1, 3 or 9 bytes) · atproto frame header · payload
"""

from struct import Struct

from zlay_py.atproto.frame import HEADERS, FrameKind
from zlay_py.eventlog.record import Record, RecordKind

_HEADERS = {
    RecordKind.COMMIT: HEADERS[FrameKind.COMMIT],
    RecordKind.SYNC: HEADERS[FrameKind.SYNC],
    RecordKind.IDENTITY: HEADERS[FrameKind.IDENTITY],
    RecordKind.ACCOUNT: HEADERS[FrameKind.ACCOUNT],
}
_FINAL_BINARY = 0x82
_LENGTH_16 = Struct(">BBH")
_LENGTH_64 = Struct(">BBQ")


def websocket_frame(kind: RecordKind, payload: bytes) -> bytes:
    """The ready frame of an event, or no bytes for a kind that is never sent (a verdict)."""
    header = _HEADERS.get(kind)
    if header is None:
        return b""
    length = len(header) + len(payload)
    if length < 126:
        start = bytes((_FINAL_BINARY, length))
    elif length < 65536:
        start = _LENGTH_16.pack(_FINAL_BINARY, 126, length)
    else:
        start = _LENGTH_64.pack(_FINAL_BINARY, 127, length)
    return b"".join((start, header, payload))


def frame_bytes(record: Record) -> bytes:
    """The ready frame of a record, or no bytes where it is not sent: a verdict, or taken down."""
    return b"" if record.taken_down else websocket_frame(record.kind, record.payload)
