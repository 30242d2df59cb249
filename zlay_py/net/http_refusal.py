"""Answers the server gives by itself, without the application: one exception, one JSON shape."""

import json
from email.utils import formatdate
from http import HTTPStatus

from zlay_py.errors import RemoteError
from zlay_py.net import USER_AGENT

SERVER_HEADER = USER_AGENT
"""`Server` on every answer, also on 101: relays know each other by `atproto-relay` and don't subscribe in circles."""


class HttpRefusedError(RemoteError):
    """A request that is answered with an HTTP error and does not reach the application.

    `name` and `message` become the XRPC error body, `headers` are sent beside the usual ones.
    """

    def __init__(self, status: HTTPStatus, name: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"{status.value} {name}: {message}")
        self.status = status
        self.name = name
        self.message = message
        self.headers = headers

    def status_line(self) -> str:
        return f"{self.status.value} {self.status.phrase}"

    def body(self) -> bytes:
        return error_body(self.name, self.message)

    def response_headers(self) -> list[tuple[str, str]]:
        """Headers of the answer, body length excepted. CORS is open, as everywhere in this relay."""
        return [("Content-Type", "application/json"), ("Access-Control-Allow-Origin", "*"), *self.headers]

    def encode(self) -> bytes:
        """The whole answer, for a connection that is closed after it."""
        body = self.body()
        headers = [
            *self.response_headers(),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            ("Server", SERVER_HEADER),
            ("Date", formatdate(usegmt=True)),
        ]
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        return f"HTTP/1.1 {self.status_line()}\r\n{lines}\r\n".encode("latin-1") + body


def error_body(name: str, message: str) -> bytes:
    """An XRPC error body (atproto.com/specs/xrpc, "Error responses")."""
    return json.dumps({"error": name, "message": message}, separators=(",", ":")).encode()


def bad_request(message: str) -> HttpRefusedError:
    return HttpRefusedError(HTTPStatus.BAD_REQUEST, "InvalidRequest", message)
