"""One HTTP request and its response on a connected socket, with a bound on every byte of it.

http.client does the protocol. It limits lines and header counts, but not how many interim responses, chunks or bytes
come; so it reads through `_Wire`, which counts.
"""

import http.client
import io
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import gevent

from zlay_py.net.failures import FailureKind, failure
from zlay_py.net.url import Target

HEAD_BYTES_MAX = 65_536
"""Status line, headers and interim responses together, and as much again for trailers and the framing of chunks."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    url: str
    """Where it came from: after redirects, the last one."""
    status: int
    headers: Mapping[str, str]
    """Names in lower case; values of repeated ones joined by commas."""
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    target: Target
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None


class ReusedConnectionLostError(Exception):
    """The server had closed a kept connection before it read our request: to be repeated on a new one. Internal."""


def exchange(sock: socket.socket, request: HttpRequest, *, bytes_max: int, reused: bool) -> tuple[HttpResponse, bool]:
    """The response, and whether the connection may serve another request.

    Raises NetError (TOO_LARGE, CLOSED, DECODE), OSError and HTTPException, and for `reused` ones
    ReusedConnectionLostError where nothing at all came back.
    """
    wire = _Wire(sock, HEAD_BYTES_MAX)
    connection = http.client.HTTPConnection(request.target.host, request.target.port)
    connection.sock = cast(socket.socket, wire)  # http.client uses no more of it than `_Wire` has
    try:
        _send(connection, request)
        response = connection.getresponse()
    except (OSError, http.client.BadStatusLine) as error:
        if reused and not wire.received_bytes:
            raise ReusedConnectionLostError from error
        raise
    with response:
        if response.status < 200:
            # http.client takes 103 for the answer; on a kept connection the real one would answer the next request
            raise failure(FailureKind.HTTP, f"interim status {response.status}")
        headers = _headers_of(response)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise failure(FailureKind.DECODE, "a compressed answer, though none was asked for")
        wire.allow(bytes_max + HEAD_BYTES_MAX)
        body = _read_body(response, bytes_max)
        reusable = not response.will_close and response.isclosed()
        return HttpResponse(request.url, response.status, headers, body), reusable


def _send(connection: http.client.HTTPConnection, request: HttpRequest) -> None:
    connection.putrequest(request.method, request.target.path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", request.target.authority)
    connection.putheader("Accept-Encoding", "identity")  # a small compressed answer may be a huge one
    for name, value in request.headers.items():
        connection.putheader(name, value)
    if request.body is not None:
        connection.putheader("Content-Length", str(len(request.body)))
    connection.endheaders(request.body)


def _headers_of(response: http.client.HTTPResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


def _read_body(response: http.client.HTTPResponse, bytes_max: int) -> bytes:
    too_large = failure(FailureKind.TOO_LARGE, f"a body over {bytes_max} bytes")
    if response.length is not None and response.length > bytes_max:
        raise too_large
    try:
        body = response.read(bytes_max + 1)
    except ValueError:  # a chunk of negative size
        raise failure(FailureKind.HTTP, "a malformed chunk") from None
    if len(body) > bytes_max:
        raise too_large
    if response.length:  # with a length given, `read` says nothing about a body cut short
        raise failure(FailureKind.CLOSED, f"the body ended {response.length} bytes early")
    return body


class _Wire(io.RawIOBase):
    """The socket as http.client sees it: `sendall`, and a file whose bytes are counted against an allowance."""

    def __init__(self, sock: socket.socket, allowance_bytes: int) -> None:
        self._sock = sock
        self._left_bytes = allowance_bytes
        self.received_bytes = 0

    def allow(self, more_bytes: int) -> None:
        self._left_bytes += more_bytes

    def sendall(self, data: bytes) -> None:
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def close(self) -> None:
        """Nothing: http.client closes what it was given before it reads the body. Who dialled, closes."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # it is only called by BufferedReader
        if self._left_bytes <= 0:
            raise failure(FailureKind.TOO_LARGE, "more bytes than the answer may have")
        gevent.sleep(0)  # who is sent more than it can read never waits in recv: others and the deadline must run
        count = self._sock.recv_into(buffer, min(len(buffer), self._left_bytes))
        self._left_bytes -= count
        self.received_bytes += count
        return count
