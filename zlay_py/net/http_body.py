"""The body of an HTTP/1 request, read whole before the application sees the request.

Bodies here are small (a hostname, an admin command), so a whole body costs less than the alternative: the
application gets the same `wsgi.input` with a known length whether it came with Content-Length or in chunks
(Falcon's `bounded_stream` is empty for chunked requests), and every fault in it is answered before any effect.
"""

import re
from http import HTTPStatus

from zlay_py.net.http_head import BodyKind, RequestHead
from zlay_py.net.http_refusal import HttpRefusedError, bad_request
from zlay_py.net.socket_reader import LineEndError, ReadTimeoutError, SocketReader, TooLongError

BODY_BYTES_MAX = 256 * 1024
"""The largest request of the API, a list of domains to ban, has a few KiB; a sketch of the mirror has 64."""
CHUNKS_MAX = 8192
"""32 bytes each for the largest body; bounds the work that tiny chunks cause between two switches to about 20 ms."""
CHUNK_LINE_BYTES_MAX = 256
"""A size of 8 digits, and extensions that nobody sends."""
TRAILER_LINES_MAX = 32
TRAILER_LINE_BYTES_MAX = 1024
"""Trailers are read to find the end of the body, then forgotten."""

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")


def read_body(reader: SocketReader, head: RequestHead, *, bytes_max: int, deadline_s: float) -> bytes:
    """The decoded body, b"" where there is none. Raises HttpRefusedError, PeerClosedError."""
    try:
        if head.body_kind is BodyKind.LENGTH:
            if head.content_length > bytes_max:
                raise _too_large(bytes_max)
            return reader.read_exact(head.content_length, deadline_s)
        if head.body_kind is BodyKind.CHUNKED:
            return _read_chunks(reader, bytes_max, deadline_s)
        return b""
    except ReadTimeoutError as error:
        message = "the request body took too long"
        raise HttpRefusedError(HTTPStatus.REQUEST_TIMEOUT, "RequestTimeout", message) from error
    except (TooLongError, LineEndError) as error:
        raise bad_request(f"chunked body: {error}") from error


def _read_chunks(reader: SocketReader, bytes_max: int, deadline_s: float) -> bytes:
    body = bytearray()
    for _ in range(CHUNKS_MAX):
        match = _CHUNK_LINE.fullmatch(reader.read_line(CHUNK_LINE_BYTES_MAX, deadline_s))
        if match is None:
            raise bad_request("chunked body: a chunk size is hexadecimal")
        size = int(match[1], 16)
        if size == 0:
            _skip_trailers(reader, deadline_s)
            return bytes(body)
        if len(body) + size > bytes_max:
            raise _too_large(bytes_max)
        body += reader.read_exact(size, deadline_s)
        if reader.read_exact(2, deadline_s) != b"\r\n":
            raise bad_request("chunked body: a chunk ends with CRLF")
    raise bad_request(f"chunked body: more than {CHUNKS_MAX} chunks")


def _skip_trailers(reader: SocketReader, deadline_s: float) -> None:
    for _ in range(TRAILER_LINES_MAX):
        if not reader.read_line(TRAILER_LINE_BYTES_MAX, deadline_s):
            return
    raise bad_request(f"chunked body: more than {TRAILER_LINES_MAX} trailers")


def _too_large(bytes_max: int) -> HttpRefusedError:
    message = f"a request body has at most {bytes_max} bytes"
    return HttpRefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "PayloadTooLarge", message)
