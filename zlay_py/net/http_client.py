"""Short requests to hosts and directories: JSON mostly, always bounded in time and bytes, behind the guard.

http.client rather than urllib3: connections must come from `dial`, and all bytes through one count (`http_exchange`);
what urllib3 would add, pools, retries, redirects and decompression, is here smaller and stricter, or not wanted.
No proxies, no cookies, no passwords from a .netrc.
"""

import json
import socket
import ssl
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urljoin

from zlay_py.clock import Clock, SystemClock
from zlay_py.net.dial import NameResolver, Resolve, dial
from zlay_py.net.failures import FailureKind, failure, mapped, within
from zlay_py.net.http_exchange import HttpRequest, HttpResponse, ReusedConnectionLostError, exchange
from zlay_py.net.ssrf import AddressGuard
from zlay_py.net.tls import start_tls
from zlay_py.net.url import Target, parse_url

IDLE_PER_ORIGIN_MAX = 16
"""Connections kept for the next request. One directory answers most of our questions, many at a time."""

IDLE_MAX = 64
"""Of all origins together. The one used longest ago makes room."""

IDLE_S_MAX = 30.0
"""Most servers keep theirs for 60 s or longer; the kept connection must not lose that race often."""

JSON = "application/json"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CLOCK: Final = SystemClock()


class JsonResponse(NamedTuple):
    status: int
    json: object | None
    """The decoded body. None where a status other than 2xx came with something that is not JSON."""


class HttpClient:
    """Shared by any number of greenlets."""

    def __init__(
        self,
        guard: AddressGuard,
        *,
        user_agent: str,
        tls_context: ssl.SSLContext,
        resolve: Resolve | None = None,
        clock: Clock = _CLOCK,
    ) -> None:
        self._guard = guard
        self._user_agent = user_agent
        self._tls_context = tls_context
        # did:web lets strangers choose names to look up: slow ones must not hold up the hosts' reconnects
        self._resolve = resolve or NameResolver()
        self._idle = _IdleConnections(clock)

    def get(
        self,
        url: str,
        *,
        timeout_s: float,
        bytes_max: int,
        accept: str = JSON,
        redirects_max: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        """The answer, whatever its status. `timeout_s` covers everything, redirects included.

        Redirects are followed only up to `redirects_max`; with 0 the 3xx is the answer. Each hop is dialled behind
        the guard again; none leads from https to http; `headers` go to the first origin only.
        Raises NetError.
        """
        with within(timeout_s, f"GET {url[:200]}"):
            return self._get(url, timeout_s, bytes_max, accept, redirects_max, headers or {})

    def get_json(
        self,
        url: str,
        *,
        timeout_s: float,
        bytes_max: int,
        accept: str = JSON,
        redirects_max: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> JsonResponse:
        """As `get`, decoded. Raises NetError; DECODE when the status is 2xx and the body is not JSON."""
        response = self.get(
            url,
            timeout_s=timeout_s,
            bytes_max=bytes_max,
            accept=accept,
            redirects_max=redirects_max,
            headers=headers,
        )
        return _decode(response)

    def post(
        self,
        url: str,
        body: bytes,
        *,
        content_type: str,
        timeout_s: float,
        bytes_max: int,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        """The answer, whatever its status. Never repeated, never redirected. Raises NetError."""
        target = parse_url(url, plain="http", secure="https")
        sent = {"User-Agent": self._user_agent, "Content-Type": content_type, "Accept": JSON, **(headers or {})}
        with within(timeout_s, f"POST {url[:200]}"):
            # a kept connection may turn out dead after the request was sent, and a POST can't be sent again
            return self._on_new_connection(HttpRequest("POST", target, url, sent, body), timeout_s, bytes_max)

    def post_json(
        self, url: str, body: object, *, timeout_s: float, bytes_max: int, headers: Mapping[str, str] | None = None
    ) -> JsonResponse:
        """As `post`, with `body` encoded and the answer decoded; an empty 2xx answer is None. Raises NetError."""
        encoded = json.dumps(body).encode()
        response = self.post(url, encoded, content_type=JSON, timeout_s=timeout_s, bytes_max=bytes_max, headers=headers)
        return _decode(response) if response.body else JsonResponse(response.status, None)

    def close(self) -> None:
        """Closes the kept connections."""
        self._idle.close_all()

    def _get(
        self,
        url: str,
        timeout_s: float,
        bytes_max: int,
        accept: str,
        redirects_max: int,
        headers: Mapping[str, str],
    ) -> HttpResponse:
        target = parse_url(url, plain="http", secure="https")
        first = target.origin
        for _ in range(redirects_max + 1):
            own = headers if target.origin == first else {}
            sent = {"User-Agent": self._user_agent, "Accept": accept, **own}
            response = self._request(HttpRequest("GET", target, url, sent), timeout_s, bytes_max)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or location is None or not redirects_max:
                return response
            url, target = _redirected(url, target, location)
        raise failure(FailureKind.REDIRECT, f"more than {redirects_max} redirects")

    def _request(self, request: HttpRequest, timeout_s: float, bytes_max: int) -> HttpResponse:
        sock = self._idle.take(request.target)
        if sock is not None:
            try:
                return self._on(sock, request, bytes_max, reused=True)
            except ReusedConnectionLostError:
                pass  # closed by the server while it was idle
        return self._on_new_connection(request, timeout_s, bytes_max)

    def _on_new_connection(self, request: HttpRequest, timeout_s: float, bytes_max: int) -> HttpResponse:
        target = request.target
        sock = dial(target.host, target.port, guard=self._guard, timeout_s=timeout_s, resolve=self._resolve)
        if target.tls:
            sock = start_tls(sock, target.host, self._tls_context)
        return self._on(sock, request, bytes_max, reused=False)

    def _on(self, sock: socket.socket, request: HttpRequest, bytes_max: int, *, reused: bool) -> HttpResponse:
        """Uses the connection up, or keeps it for the next request."""
        try:
            with mapped(f"{request.method} {request.target.authority}"):
                response, reusable = exchange(sock, request, bytes_max=bytes_max, reused=reused)
        except BaseException:
            sock.close()
            raise
        if reusable:
            self._idle.give(request.target, sock)
        else:
            sock.close()
        return response


class _IdleConnections:
    """Open connections by origin, the origin used longest ago first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_origin: OrderedDict[tuple[bool, str, int], deque[tuple[float, socket.socket]]] = OrderedDict()
        self._count = 0

    def take(self, target: Target) -> socket.socket | None:
        kept = self._by_origin.get(target.origin)
        while kept:
            since_s, sock = kept.pop()
            self._count -= 1
            if not kept:
                del self._by_origin[target.origin]
            if self._clock.monotonic_s() - since_s <= IDLE_S_MAX:
                return sock
            sock.close()
        return None

    def give(self, target: Target, sock: socket.socket) -> None:
        kept = self._by_origin.setdefault(target.origin, deque())
        self._by_origin.move_to_end(target.origin)
        kept.append((self._clock.monotonic_s(), sock))
        self._count += 1
        if len(kept) > IDLE_PER_ORIGIN_MAX:
            self._drop(target.origin)
        if self._count > IDLE_MAX:
            self._drop(next(iter(self._by_origin)))

    def close_all(self) -> None:
        while self._by_origin:
            self._drop(next(iter(self._by_origin)))

    def _drop(self, origin: tuple[bool, str, int]) -> None:
        kept = self._by_origin[origin]
        _, sock = kept.popleft()
        self._count -= 1
        if not kept:
            del self._by_origin[origin]
        sock.close()


def _redirected(url: str, target: Target, location: str) -> tuple[str, Target]:
    try:
        following = urljoin(url, location)
    except ValueError:
        raise failure(FailureKind.BAD_URL, "redirected to something that is no URL") from None
    next_target = parse_url(following, plain="http", secure="https")
    if target.tls and not next_target.tls:
        raise failure(FailureKind.REDIRECT, "redirected from https to http")
    return following, next_target


def _decode(response: HttpResponse) -> JsonResponse:
    try:
        return JsonResponse(response.status, json.loads(response.body))
    except (ValueError, RecursionError) as error:
        if 200 <= response.status < 300:
            raise failure(FailureKind.DECODE, f"the answer is not JSON: {error}") from error
        return JsonResponse(response.status, None)
