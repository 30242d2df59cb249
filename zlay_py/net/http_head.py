"""The head of an HTTP/1 request: bytes in, a `RequestHead` or `HttpRefusedError` out. No I/O.

Strict where leniency lets two parsers disagree about where a request ends (RFC 9112 §11.2, request smuggling):
no bare LF or CR, no folded lines, no space before a colon, one Content-Length of digits only, the only
Transfer-Encoding is exactly `chunked`, and never both.
"""

import re
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

from zlay_py.net.http_refusal import HttpRefusedError, bad_request

HEAD_BYTES_MAX = 16 * 1024
"""Request line and headers together: a browser with cookies stays under 8 KiB."""
REQUEST_LINE_BYTES_MAX = 8 * 1024
"""As gevent.pywsgi's MAX_REQUEST_LINE and RFC 9112 §3 ("at least 8000 octets")."""
HEADERS_MAX = 100
"""As Python's http.client; a client behind three proxies sends about 30."""
CONTENT_LENGTH_DIGITS_MAX = 18
"""More can't be meant, and would only cost big-integer arithmetic."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_REQUEST_LINE = re.compile(_TOKEN + rb"{1,32} [\x21-\x7e]+ HTTP/[0-9]\.[0-9]")
_HEADER_LINE = re.compile(rb"(" + _TOKEN + rb"+):([\t\x20-\x7e\x80-\xff]*)")
_ABSOLUTE_FORM = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:\[\]%-]*")


class BodyKind(Enum):
    """How the end of the body is known."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"


@dataclass(frozen=True, slots=True)
class RequestHead:
    """One request without its body. Header names are lower-case, values are stripped and latin-1."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]
    body_kind: BodyKind
    content_length: int
    keep_alive: bool
    expects_continue: bool

    def get(self, name: str) -> str | None:
        """The values of this header joined by commas (RFC 9110 §5.2), None where it is absent."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None


def parse_head(head: bytes) -> RequestHead:
    """Parses request line and headers, ended by an empty line (CRLF CRLF included). Raises HttpRefusedError."""
    lines = head.split(b"\r\n")
    if len(lines) < 3 or lines[-1] or lines[-2]:
        raise bad_request("a request head ends with an empty line")
    method, target, version = _request_line(lines[0])
    headers = _header_lines(lines[1:-2])
    _check_host(headers, version)
    kind, length = _body(headers, version)
    connection = tokens(headers, "connection")
    keep_alive = "close" not in connection if version == "HTTP/1.1" else "keep-alive" in connection
    return RequestHead(
        method=method,
        target=_origin_form(method, target),
        version=version,
        headers=headers,
        body_kind=kind,
        content_length=length,
        keep_alive=keep_alive,
        expects_continue=_expects_continue(headers, version),
    )


def tokens(headers: tuple[tuple[str, str], ...], name: str) -> list[str]:
    """The comma-separated, case-insensitive tokens of a header."""
    return [token.strip().lower() for key, value in headers if key == name for token in value.split(",")]


def _request_line(line: bytes) -> tuple[str, str, str]:
    if len(line) > REQUEST_LINE_BYTES_MAX:
        raise HttpRefusedError(HTTPStatus.REQUEST_URI_TOO_LONG, "InvalidRequest", "the request line is too long")
    if not _REQUEST_LINE.fullmatch(line):
        raise bad_request("not an HTTP/1 request line")
    method, target, version = line.decode("ascii").split(" ")
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise HttpRefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "InvalidRequest", "HTTP/1.1 or 1.0, please")
    return method, target, version


def _origin_form(method: str, target: str) -> str:
    """Path and query. A server has to accept the absolute form too (RFC 9112 §3.2.2)."""
    if target.startswith("/"):
        return target
    if target == "*" and method == "OPTIONS":
        return target
    absolute = _ABSOLUTE_FORM.match(target)
    if absolute is None:
        raise bad_request("the request target is neither a path nor an http URL")
    rest = target[absolute.end() :]
    return rest if rest.startswith("/") else "/" + rest


def _header_lines(lines: list[bytes]) -> tuple[tuple[str, str], ...]:
    if len(lines) > HEADERS_MAX:
        raise HttpRefusedError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "InvalidRequest", f"more than {HEADERS_MAX} headers"
        )
    headers = []
    for line in lines:
        match = _HEADER_LINE.fullmatch(line)
        if match is None:
            raise bad_request("a header line is not `name: value`")
        name, value = match.groups()
        headers.append((name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")))
    return tuple(headers)


def _check_host(headers: tuple[tuple[str, str], ...], version: str) -> None:
    """Exactly one in HTTP/1.1 (RFC 9112 §3.2)."""
    hosts = [value for name, value in headers if name == "host"]
    if len(hosts) > 1 or (version == "HTTP/1.1" and not hosts):
        raise bad_request("exactly one Host header is needed")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise bad_request("the Host header is no host")


def _body(headers: tuple[tuple[str, str], ...], version: str) -> tuple[BodyKind, int]:
    codings = [value for name, value in headers if name == "transfer-encoding"]
    lengths = [value for name, value in headers if name == "content-length"]
    if codings:
        if lengths:
            raise bad_request("Transfer-Encoding and Content-Length exclude each other")
        if len(codings) > 1 or codings[0].lower() != "chunked" or version != "HTTP/1.1":
            raise bad_request("the only Transfer-Encoding is `chunked`, in HTTP/1.1")
        return BodyKind.CHUNKED, 0
    if not lengths:
        return BodyKind.NONE, 0
    length = lengths[0]
    if len(lengths) > 1 or not (length.isascii() and length.isdigit()) or len(length) > CONTENT_LENGTH_DIGITS_MAX:
        raise bad_request("Content-Length is one decimal number")
    return (BodyKind.LENGTH, int(length)) if int(length) else (BodyKind.NONE, 0)


def _expects_continue(headers: tuple[tuple[str, str], ...], version: str) -> bool:
    expectations = tokens(headers, "expect")
    if any(expectation != "100-continue" for expectation in expectations):
        raise HttpRefusedError(HTTPStatus.EXPECTATION_FAILED, "InvalidRequest", "the only expectation is 100-continue")
    return bool(expectations) and version == "HTTP/1.1"
