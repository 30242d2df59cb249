import socket
import threading
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent import monkey
from gevent.event import Event

from tests.support.net_servers import hold, reached, serving
from zlay_py.errors import NetError
from zlay_py.net.dial import NameResolver, Resolve, dial
from zlay_py.net.failures import FailureKind
from zlay_py.net.ssrf import AddressGuard

PRODUCTION = AddressGuard(allow_loopback=False)
DEVELOPMENT = AddressGuard(allow_loopback=True)


def names(*addresses: str) -> Resolve:
    return lambda _host: addresses


def failure_of(host: str, port: int, guard: AddressGuard, resolve: Resolve, timeout_s: float = 5.0) -> str:
    with pytest.raises(NetError) as caught:
        dial(host, port, guard=guard, timeout_s=timeout_s, resolve=resolve)
    return caught.value.kind


@pytest.fixture(name="silent_port")
def _silent_port() -> Iterator[int]:
    """On 127.0.0.2, a port whose connection attempts are never answered: its backlog is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.2", 0))
    listener.listen(0)
    waiting = [socket.socket() for _ in range(4)]
    for client in waiting:
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
    yield listener.getsockname()[1]
    for client in (*waiting, listener):
        client.close()


@pytest.fixture(name="closed_port")
def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_the_socket_is_connected_tuned_and_without_a_timeout() -> None:
    with serving(hold) as server:
        connection = dial("localhost", server.port, guard=DEVELOPMENT, timeout_s=5)
        with connection:
            assert connection.getpeername() == ("127.0.0.1", server.port)
            assert connection.gettimeout() is None
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


def test_a_private_address_from_dns_is_never_dialled() -> None:
    with serving(hold) as server:
        for addresses in (["127.0.0.1"], ["10.0.0.1", "127.0.0.1", "::1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]):
            assert failure_of("pds.example.com", server.port, PRODUCTION, names(*addresses)) == FailureKind.POLICY
            assert failure_of("pds.example.com", 443, PRODUCTION, names(*addresses)) == FailureKind.POLICY
        assert server.connections == 0


def test_the_message_of_a_refusal_does_not_show_the_address() -> None:
    with pytest.raises(NetError) as caught:
        dial("pds.example.com", 443, guard=PRODUCTION, timeout_s=5, resolve=names("10.1.2.3"))
    assert "10.1.2.3" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "10.0.0.1", "0.0.0.0"])
def test_addresses_and_localhost_pass_the_guard_like_names(host: str) -> None:
    assert failure_of(host, 443, PRODUCTION, NameResolver()) == FailureKind.POLICY


def test_other_spellings_of_loopback_end_at_the_guard() -> None:
    for host in ("127.1", "0x7f.1", "2130706433", "017700000001"):
        kind = failure_of(host, 443, PRODUCTION, NameResolver())
        assert kind in (FailureKind.POLICY, FailureKind.NAME_UNKNOWN), host


def test_the_checked_address_is_the_dialled_one() -> None:
    """DNS rebinding: the name is asked for once, its second answer can't replace the checked first one."""
    answers = iter([["127.0.0.1"], ["127.0.0.9"]])
    with serving(hold) as server:
        connection = dial("x.example.com", server.port, guard=DEVELOPMENT, timeout_s=5, resolve=lambda _: next(answers))
        with connection:
            assert connection.getpeername()[0] == "127.0.0.1"
        assert next(answers) == ["127.0.0.9"]


def test_the_next_address_is_tried_after_a_refusal() -> None:
    with serving(hold, host="127.0.0.3") as server:
        resolve = names("::1", "127.0.0.2", "10.0.0.1", "127.0.0.3")
        connection = dial("x.example.com", server.port, guard=DEVELOPMENT, timeout_s=5, resolve=resolve)
        with connection:
            assert connection.getpeername()[0] == "127.0.0.3"


def test_a_silent_address_leaves_time_for_the_next(silent_port: int) -> None:
    with socket.create_server(("127.0.0.3", silent_port)):
        resolve = names("127.0.0.2", "127.0.0.3")
        connection = dial("x.example.com", silent_port, guard=DEVELOPMENT, timeout_s=0.4, resolve=resolve)
        with connection:
            assert connection.getpeername()[0] == "127.0.0.3"


def test_silence_ends_at_the_deadline(silent_port: int) -> None:
    resolve = names("127.0.0.2")
    assert failure_of("x.example.com", silent_port, DEVELOPMENT, resolve, timeout_s=0.05) == FailureKind.TIMEOUT


def test_refused(closed_port: int) -> None:
    assert failure_of("localhost", closed_port, DEVELOPMENT, NameResolver()) == FailureKind.REFUSED


def test_a_name_without_addresses() -> None:
    assert failure_of("x.example.com", 443, PRODUCTION, names()) == FailureKind.NAME_UNKNOWN


def test_families_take_turns_and_the_number_of_tries_is_bounded(closed_port: int) -> None:
    tried: list[str] = []

    class Noting(AddressGuard):
        def allows(self, ip: str, port: int) -> bool:
            tried.append(ip)
            return super().allows(ip, port)

    many = [f"2a00::{index:x}" for index in range(1, 50)] + ["8.8.8.8"]
    with pytest.raises(NetError):
        dial("x.example.com", 9, guard=Noting(allow_loopback=False), timeout_s=5, resolve=names(*many))
    assert tried[:3] == ["2a00::1", "8.8.8.8", "2a00::2"]


def test_a_killed_dial_leaves_no_socket(silent_port: int) -> None:
    asked = Event()

    def resolve(_host: str) -> list[str]:
        asked.set()
        return ["127.0.0.2"]

    dialling = gevent.spawn(dial, "x.example.com", silent_port, guard=DEVELOPMENT, timeout_s=60, resolve=resolve)
    reached(asked)  # and it has gone on to connect: the lookup does not wait
    dialling.kill()  # an unclosed socket would be a ResourceWarning, which is an error in this suite
    assert dialling.dead


class Lookup:
    """Stands in for getaddrinfo, in the resolver's threads."""

    def __init__(self, *results: list[str] | Exception) -> None:
        self._results = iter(results)
        self.asked: list[object] = []

    def __call__(self, host: object, *_rest: object) -> list[Any]:
        self.asked.append(host)
        result = next(self._results)
        if isinstance(result, Exception):
            raise result
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in result]


def test_resolving_goes_through_the_lookup_and_drops_repeats() -> None:
    lookup = Lookup(["8.8.8.8", "8.8.8.8", "2a00::1"])
    assert NameResolver(lookup=lookup)("pds.example.com") == ["8.8.8.8", "2a00::1"]
    assert lookup.asked == [b"pds.example.com"]


def test_addresses_and_localhost_need_no_lookup() -> None:
    resolver = NameResolver(lookup=Lookup())
    assert resolver("localhost") == ["127.0.0.1", "::1"]
    assert resolver("8.8.8.8") == ["8.8.8.8"]
    assert resolver("::1") == ["::1"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), FailureKind.NAME_UNKNOWN),
        (socket.gaierror(socket.EAI_NODATA, "no address"), FailureKind.NAME_UNKNOWN),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), FailureKind.DNS),
        (socket.gaierror(socket.EAI_FAIL, "broken"), FailureKind.DNS),
    ],
)
def test_unknown_names_differ_from_names_without_an_answer(error: Exception, kind: FailureKind) -> None:
    assert failure_of("x.example.com", 443, PRODUCTION, NameResolver(lookup=Lookup(error))) == kind


@pytest.mark.parametrize("host", ["", "b\u00fcro.example.com", "a" * 254])
def test_what_can_be_no_name_is_not_looked_up(host: str) -> None:
    with pytest.raises(NetError) as caught:
        NameResolver(lookup=Lookup())(host)
    assert caught.value.kind == FailureKind.NAME_UNKNOWN


def test_a_slow_lookup_stops_neither_the_hub_nor_the_deadline() -> None:
    answered: threading.Event = monkey.get_original("threading", "Event")()
    ran = Event()

    def slow(*_rest: object) -> list[Any]:
        answered.wait(30)  # in a thread of the pool: a real wait
        return []

    gevent.spawn(ran.set)
    try:
        kind = failure_of("x.example.com", 443, PRODUCTION, NameResolver(1, slow), timeout_s=0.05)
        assert kind == FailureKind.TIMEOUT
        assert ran.is_set()
    finally:
        answered.set()


def test_a_name_that_does_not_exist_prints_nothing_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    """gevent's thread pool prints a traceback for every exception that leaves a thread; there are many dead names."""

    def refuse(*_arguments: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(NetError) as caught:
        NameResolver(lookup=refuse)("gone.example.com")
    assert caught.value.kind == FailureKind.NAME_UNKNOWN
    assert capfd.readouterr().err == ""
