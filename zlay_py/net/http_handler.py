"""gevent.pywsgi's request handler with everything between the socket and the application replaced.

pywsgi says of itself that it is not for the public Internet: no timeouts, and a header parser (`email`) that
forgives what an attacker needs. Here the head is parsed by `http_head`, the body is read whole by `http_body`,
each step has a deadline, and every fault is answered with a JSON error. What stays from pywsgi is the response
side: `start_response`, chunking, `Date`, and the error path around the application.
"""

import errno
import io
import time
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from gevent import GreenletExit
from gevent.pywsgi import Input, WSGIHandler
from gevent.socket import SHUT_WR
from gevent.socket import socket as GeventSocket  # noqa: N812

from zlay_py.logs import get_logger
from zlay_py.net.http_body import read_body
from zlay_py.net.http_head import BodyKind, RequestHead, parse_head
from zlay_py.net.http_refusal import SERVER_HEADER, HttpRefusedError, bad_request, error_body
from zlay_py.net.socket_reader import LineEndError, PeerClosedError, ReadTimeoutError, SocketReader, TooLongError

if TYPE_CHECKING:
    from zlay_py.net.http_server import HttpServer

log = get_logger(__name__)

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NOTHING_TO_DISCARD = Input(cast(io.BufferedReader, io.BytesIO()), 0)
"""pywsgi reads the rest of a body after the application; here the body is always read before it."""
_PATH_LOGGED_CHARS_MAX = 200


class HttpHandler(WSGIHandler):
    """One connection: its requests one after the other. `server` is an `HttpServer`."""

    server: "HttpServer"

    def __init__(self, sock: GeventSocket, address: Any, server: "HttpServer") -> None:
        # Not the base constructor: it would open an 8 KiB `makefile` buffer beside our own.
        self.socket = sock
        self.client_address = address
        self._peer_address: Any = address  # a tuple, or "" of a unix socket: the stubs of gevent know only str
        self.server = server
        self.reader: SocketReader | None = SocketReader(sock, server.clock)
        self._served = 0
        self._body_bytes_reserved = 0

    def handle(self) -> None:
        """Requests until one side closes. The base server closes the socket after this returns."""
        try:
            while self.handle_one_request():
                pass
        except OSError as error:
            log.debug("connection broke", error=repr(error))
        finally:
            self.reader = None

    def handle_one_request(self) -> Any:
        """True: the connection stays open for another request."""
        try:
            self._receive()
            self.handle_one_response()
        except HttpRefusedError as refused:
            self._refuse(refused)
            return None
        except (PeerClosedError, ReadTimeoutError):
            return None
        finally:
            self.environ = None
            self._release_body()
        self._served += 1
        return None if self.close_connection else True

    # Request

    def _receive(self) -> None:
        """Waits for a request and reads it whole. Raises HttpRefusedError, PeerClosedError, ReadTimeoutError."""
        limits = self.server.limits
        self._wait_for_first_byte()
        self.time_start = time.time()
        head = self._read_head(self.server.clock.monotonic_s() + limits.head_read_s)
        self.command, self.path, self.request_version = head.method, head.target, head.version
        self.close_connection = not head.keep_alive or self.server.draining
        body = self._read_body(head)
        self.socket.settimeout(limits.response_write_s)
        self.environ = self._build_environ(head, body)
        self.wsgi_input = _NOTHING_TO_DISCARD
        self.application = self.server.application

    def _wait_for_first_byte(self) -> None:
        """An idle connection is registered, so that a server that drains can close it at once."""
        reader, server = self._reader(), self.server
        limits = server.limits
        timeout_s = limits.keep_alive_idle_s if self._served else limits.head_read_s
        if server.draining:
            timeout_s = limits.drain_first_byte_s
        server.idle.add(self.socket)
        try:
            reader.wait(server.clock.monotonic_s() + timeout_s)
        finally:
            server.idle.discard(self.socket)

    def _read_head(self, deadline_s: float) -> RequestHead:
        limits = self.server.limits
        try:
            return parse_head(self._reader().read_head(limits.head_bytes_max, deadline_s))
        except ReadTimeoutError as error:
            message = "the request head took too long"
            raise HttpRefusedError(HTTPStatus.REQUEST_TIMEOUT, "RequestTimeout", message) from error
        except TooLongError as error:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise HttpRefusedError(status, "InvalidRequest", str(error)) from error
        except LineEndError as error:
            raise bad_request(str(error)) from error

    def _read_body(self, head: RequestHead) -> bytes:
        if head.body_kind is BodyKind.NONE:
            return b""
        limits, reader = self.server.limits, self._reader()
        size = limits.body_bytes_max if head.body_kind is BodyKind.CHUNKED else head.content_length
        if size <= limits.body_bytes_max:  # a larger one is refused without reading it
            self._reserve_body(size)
        if head.expects_continue and size <= limits.body_bytes_max and not len(reader):
            self.socket.settimeout(limits.response_write_s)
            self.socket.sendall(_CONTINUE)
        deadline_s = self.server.clock.monotonic_s() + limits.body_read_s
        return read_body(reader, head, bytes_max=limits.body_bytes_max, deadline_s=deadline_s)

    def _reserve_body(self, size: int) -> None:
        if not self.server.body_budget.reserve(size):
            message = "too many request bodies at once"
            raise HttpRefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", message, (("Retry-After", "5"),)
            )
        self._body_bytes_reserved = size

    def _release_body(self) -> None:
        self.server.body_budget.release(self._body_bytes_reserved)
        self._body_bytes_reserved = 0

    def _build_environ(self, head: RequestHead, body: bytes) -> dict[str, Any]:
        """PEP 3333, with `wsgi.input` holding exactly CONTENT_LENGTH bytes."""
        environ: dict[str, Any] = dict(self.server.get_environ())
        path, _, query = head.target.partition("?")
        environ["REQUEST_METHOD"] = head.method
        environ["SCRIPT_NAME"] = ""
        environ["PATH_INFO"] = unquote(path, encoding="latin-1")
        environ["QUERY_STRING"] = query
        environ["RAW_URI"] = head.target
        environ["SERVER_PROTOCOL"] = head.version
        if isinstance(self._peer_address, tuple):
            environ["REMOTE_ADDR"] = str(self._peer_address[0])
            environ["REMOTE_PORT"] = str(self._peer_address[1])
        _add_headers(environ, head)
        if head.body_kind is not BodyKind.NONE:
            environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = io.BytesIO(body)
        environ["wsgi.input_terminated"] = True
        return environ

    # Response

    def finalize_headers(self) -> None:
        super().finalize_headers()
        if self.server.draining:
            self.close_connection = True
        headers = cast(list[tuple[bytes, bytes]], self.response_headers)
        names = {name.lower() for name, _ in headers}
        if b"server" not in names:
            headers.append((b"Server", SERVER_HEADER.encode("ascii")))
        if self.request_version == "HTTP/1.0" and not names & {b"content-length"} and self.code not in (204, 304):
            # Without a length only the close ends it, whatever the client asked for.
            self.close_connection = True
            headers[:] = [(name, value) for name, value in headers if name.lower() != b"connection"]
            names.discard(b"connection")
        if self.close_connection and b"connection" not in names:
            headers.append((b"Connection", b"close"))

    def _sendall(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError as error:
            # One errno that the base class takes for "the client left" and not for our own failure.
            raise BrokenPipeError(errno.EPIPE, f"the client left: {error}") from error
        self.response_length += len(data)

    def _refuse(self, refused: HttpRefusedError) -> None:
        """Answers without the application, and closes."""
        limits = self.server.limits
        try:
            self.socket.settimeout(limits.linger_s)
            self.socket.sendall(refused.encode())
            self.socket.shutdown(SHUT_WR)
        except OSError:
            return
        finally:
            log.debug("request refused", peer=self._peer(), status=refused.status.value, reason=refused.message)
        self._reader().discard(limits.linger_bytes_max, self.server.clock.monotonic_s() + limits.linger_s)

    def _send_error_response_if_possible(self, error_code: int) -> None:
        """The base class calls this after an exception of the application, with 500."""
        self.close_connection = True
        if self.headers_sent:
            return
        status = HTTPStatus(error_code)
        body = error_body("InternalServerError", "the relay failed to answer")
        try:
            headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
            self.start_response(f"{status.value} {status.phrase}", headers)
            self.write(body)
        except OSError as error:
            log.debug("no error answer sent", error=repr(error))

    # Logs

    def _log_error(self, kind: type[BaseException], value: BaseException, trace: TracebackType) -> None:
        if not issubclass(kind, GreenletExit):
            log.error("request failed", method=self.command, path=self._path(), exc_info=(kind, value, trace))

    def log_request(self) -> None:
        """An access log at level debug. The stock one dies on a first request that can't be parsed."""
        log.debug(
            "request",
            peer=self._peer(),
            method=self.command,
            path=self._path(),
            status=self.code,
            response_bytes=self.response_length,
            seconds=round(self.time_finish - self.time_start, 6),
        )

    def _path(self) -> str:
        return (self.path or "").partition("?")[0][:_PATH_LOGGED_CHARS_MAX]

    def _peer(self) -> str:
        return str(self._peer_address[0]) if isinstance(self._peer_address, tuple) else str(self._peer_address)

    def _reader(self) -> SocketReader:
        assert self.reader is not None, "the connection was handed over"
        return self.reader


def _add_headers(environ: dict[str, Any], head: RequestHead) -> None:
    """`HTTP_*`. A name with an underscore is dropped: it would pass for the one with a hyphen."""
    for name, value in head.headers:
        if name == "content-type":
            environ["CONTENT_TYPE"] = value
        elif name in ("content-length", "transfer-encoding", "expect") or "_" in name:
            continue  # the body is read: what described its transfer no longer holds
        else:
            key = "HTTP_" + name.upper().replace("-", "_")
            separator = "; " if name == "cookie" else ","
            environ[key] = f"{environ[key]}{separator}{value}" if key in environ else value
