"""From a host name to a connected socket, behind the address guard.

Names are resolved by the C library in a thread pool of our own. Not by gevent's default resolver: its ten threads are
the hub's, which the log's fsyncs share, and a few dead names fill them. Not by c-ares, though it is faster: it reads
resolv.conf once, knows no nsswitch modules, and orders addresses otherwise than the machine's administrator set.
"""

import ipaddress
import socket
import sys
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any, Final

import gevent
from gevent import monkey
from gevent.threadpool import ThreadPool

from zlay_py.clock import SystemClock
from zlay_py.errors import NetError
from zlay_py.net.failures import FailureKind, failure, from_exception, mapped, within
from zlay_py.net.ssrf import AddressGuard

Resolve = Callable[[str], Sequence[str]]
"""Host name → IP addresses, best first. Raises NetError. May wait, but only the calling greenlet."""

RESOLVER_THREADS = 32
"""500 names at 100 ms with 4 % dead ones take about 8 s; a dead one holds its thread for some 10 to 30 s."""

NAME_CHARS_MAX = 253
"""RFC 1035: what fits into 255 bytes on the wire."""

ADDRESSES_MAX = 8
"""Tried per dial. More only lets a name server choose how long we are busy."""

KEEPALIVE_IDLE_S = 30
KEEPALIVE_INTERVAL_S = 10
KEEPALIVE_PROBES = 3
USER_TIMEOUT_MS = 60_000
"""Sent but unacknowledged for so long: the connection is dead. Without it the kernel tries for some 15 minutes."""

_LOCALHOST = ("127.0.0.1", "::1")
_CLOCK: Final = SystemClock()


class NameResolver:
    """getaddrinfo off the hub. A waiter that gives up leaves its thread busy until the C library gives up too, so
    callers whose names strangers choose (did:web) should have a resolver of their own and starve only themselves.
    """

    def __init__(self, threads: int = RESOLVER_THREADS, lookup: Callable[..., list[Any]] | None = None) -> None:
        self._threads = threads
        self._lookup = lookup or monkey.get_original("socket", "getaddrinfo")
        self._pool: ThreadPool | None = None

    def __call__(self, host: str) -> list[str]:
        """Addresses of `host`; of an address, itself; of `localhost`, loopback without asking. Raises NetError."""
        if host == "localhost":
            return list(_LOCALHOST)
        if _is_address(host):
            return [host]
        if not host.isascii() or not 0 < len(host) <= NAME_CHARS_MAX:
            raise failure(FailureKind.NAME_UNKNOWN, "not a host name")
        pool = self._pool_of_this_hub()
        found = pool.spawn(self._look_up, host).get()
        if isinstance(found, OSError):
            raise from_exception(found, f"resolve {host}") from found
        return list(dict.fromkeys(str(entry[4][0]) for entry in found or ()))

    def _look_up(self, host: str) -> list[Any] | OSError:
        """In a thread. The error is given back, not raised: the pool prints every one that it sees."""
        try:
            # bytes: a str would go through Python's IDNA codec, which is slow and raises errors of its own
            return self._lookup(host.encode(), None, 0, socket.SOCK_STREAM)
        except OSError as error:
            return error

    def _pool_of_this_hub(self) -> ThreadPool:
        hub = gevent.get_hub()
        if self._pool is None or self._pool.hub is not hub:
            self._pool = ThreadPool(self._threads, hub=hub)
        return self._pool


system_resolver: Final = NameResolver()
"""The process's default. Its threads start with its first names."""


def dial(
    host: str, port: int, *, guard: AddressGuard, timeout_s: float, resolve: Resolve = system_resolver
) -> socket.socket:
    """A connected socket, without a timeout, to the first address of `host` that the guard allows and that answers.

    `timeout_s` covers resolving and all attempts; each attempt gets an equal share of what is left, so that a
    silent address does not use up the time of the next one. Raises NetError.
    """
    with within(timeout_s, f"connect to {host}:{port}"):
        end_s = _CLOCK.monotonic_s() + timeout_s
        found = resolve(host)
        if not found:
            raise failure(FailureKind.NAME_UNKNOWN, f"{host} has no address")
        allowed = [ip for ip in _alternating(found) if guard.allows(ip, port)][:ADDRESSES_MAX]
        if not allowed:
            # the addresses themselves stay out of it: the text may be shown to whoever named the host
            raise failure(FailureKind.POLICY, f"{host}:{port} is not a public address and port")
        last: NetError | None = None
        for tried, ip in enumerate(allowed):
            share_s = (end_s - _CLOCK.monotonic_s()) / (len(allowed) - tried)
            try:
                return _connect(ip, port, max(share_s, 0.001))
            except NetError as error:
                last = error
        assert last is not None, "at least one address was tried"
        raise last


def _connect(ip: str, port: int, timeout_s: float) -> socket.socket:
    with mapped(f"connect to {ip} port {port}"):
        connection = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
        try:
            _tune(connection)
            connection.settimeout(timeout_s)
            connection.connect((ip, port))
            connection.settimeout(None)
        except BaseException:  # deadlines and kills are no Exceptions, and must not leak the descriptor either
            connection.close()
            raise
    return connection


def _tune(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


def _alternating(addresses: Sequence[str]) -> list[str]:
    """Families in turn, the preferred one first (RFC 8305 §4): many dead addresses of one must not hide the other."""
    v6_first = ":" in addresses[0]
    first = [ip for ip in addresses if (":" in ip) == v6_first]
    second = [ip for ip in addresses if (":" in ip) != v6_first]
    return [ip for ip in chain.from_iterable(zip_longest(first, second)) if ip is not None]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
