"""What tests of the network clients share: a clock moved by hand, limits, and the ways to expect a failure."""

from collections.abc import Callable
from typing import TypedDict

import pytest

from tests.support.net_servers import Handler, ScriptedServer, serving
from zlay_py.errors import NetError
from zlay_py.net.http_client import HttpClient
from zlay_py.net.websocket_client import WebSocketConnection

MakeClient = Callable[..., HttpClient]
"""HttpClient, with changes to its arguments."""
Subscribe = Callable[..., WebSocketConnection]
"""A connection to a ScriptedServer, with changes to the arguments of `connect`."""

MESSAGE_BYTES_MAX = 5_000_000
SOON_S = 0.05
"""For what must time out."""
LONG_S = 10.0
"""For what must not."""


class Limits(TypedDict):
    timeout_s: float
    bytes_max: int


LIMITS = Limits(timeout_s=5.0, bytes_max=10_000)


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def now_us(self) -> int:
        return int(self.now_s * 1_000_000)

    def monotonic_s(self) -> float:
        return self.now_s


def url_of(server: ScriptedServer, path: str = "/", scheme: str = "http") -> str:
    return f"{scheme}://localhost:{server.port}{path}"


def get_failure(http: HttpClient, url: str, *, timeout_s: float = 5.0, bytes_max: int = 10_000, hops: int = 0) -> str:
    with pytest.raises(NetError) as caught:
        http.get_json(url, timeout_s=timeout_s, bytes_max=bytes_max, redirects_max=hops)
    return caught.value.kind


def connect_failure(subscribe: Subscribe, handler: Handler, **changes: object) -> NetError:
    with serving(handler) as server, pytest.raises(NetError) as caught:
        subscribe(server, **changes)
    return caught.value


def receive_failure(connection: WebSocketConnection, timeout_s: float = LONG_S) -> str:
    with pytest.raises(NetError) as caught:
        connection.receive(timeout_s)
    return caught.value.kind
