import socket

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.net_clients import (
    LONG_S,
    SOON_S,
    Subscribe,
    connect_failure,
    receive_failure,
)
from tests.support.net_servers import (
    accept_upgrade,
    answering,
    header,
    hold,
    read_client_frame,
    read_head,
    response,
    server_frame,
    serving,
    wait_for_end,
)
from tests.support.net_tls import TestAuthority
from zlay_py.errors import NetError
from zlay_py.net.failures import FailureKind
from zlay_py.net.ssrf import AddressGuard
from zlay_py.net.tls import client_context
from zlay_py.net.url import parse_url
from zlay_py.net.websocket_client import connect
from zlay_py.net.websocket_upgrade import HEAD_BYTES_MAX, UpgradeRefusedError, upgrade

BINARY, PING, PONG = 2, 9, 10


def test_the_request_and_the_headers_of_the_answer(subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    heads: list[bytes] = []

    def handler(connection: socket.socket) -> None:
        extra = ("Server: pds", "server: atproto-relay", "Set-Cookie: a=b; Domain=localhost")
        heads.append(accept_upgrade(connection, *extra))
        hold(connection)

    path = "/xrpc/com.atproto.sync.subscribeRepos?cursor=7"
    with serving(handler) as server:
        connection = subscribe(server, path=path)
        subscribe(server, path=path, headers={"User-Agent": "x (atproto-relay)", "X-Mine": "1"})
        host = f"localhost:{server.port}"
    assert connection.response_headers["server"] == "pds, atproto-relay", "no proxy can hide the other one's name"
    assert heads[0].startswith(b"GET /xrpc/com.atproto.sync.subscribeRepos?cursor=7 HTTP/1.1\r\n")
    assert header(heads[0], "Host") == host
    assert "atproto-relay" in (header(heads[0], "User-Agent") or "")
    for name in ("Origin", "Cookie", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"):
        assert header(heads[1], name) is None
    assert header(heads[1], "User-Agent") == "x (atproto-relay)"
    assert header(heads[1], "X-Mine") == "1"


def test_a_message_right_behind_the_handshake_is_not_lost(subscribe: Subscribe) -> None:
    def handler(connection: socket.socket) -> None:
        together: list[bytes] = []
        accept_upgrade(Recorder(connection, together))  # type: ignore[arg-type]
        connection.sendall(b"".join(together) + server_frame(BINARY, b"one") + server_frame(BINARY, b"two"))
        hold(connection)

    with serving(handler) as server:
        connection = subscribe(server)
        assert [connection.receive(LONG_S), connection.receive(LONG_S)] == [b"one", b"two"]


class Recorder:
    """Reads from a socket, and keeps what is to be sent."""

    def __init__(self, connection: socket.socket, kept: list[bytes]) -> None:
        self.recv = connection.recv
        self.sendall = kept.append


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: web"])
def test_a_handshake_without_end_ends_at_the_deadline(subscribe: Subscribe, first: bytes) -> None:
    def handler(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(first)
        wait_for_end(connection)

    assert connect_failure(subscribe, handler, timeout_s=SOON_S).kind == FailureKind.TIMEOUT


def test_a_dripping_handshake_does_not_move_the_deadline(subscribe: Subscribe) -> None:
    def handler(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nX: ")
        while True:
            connection.sendall(b"x")
            gevent.idle()

    error = connect_failure(subscribe, handler, timeout_s=SOON_S)
    assert error.kind in (FailureKind.TIMEOUT, FailureKind.TOO_LARGE)


@pytest.mark.parametrize("piece", [b"X: y\r\n", b"x", b"\n"])
def test_endless_headers_are_cut_off(subscribe: Subscribe, piece: bytes) -> None:
    def handler(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n" + piece * 100_000)
        hold(connection)

    assert connect_failure(subscribe, handler).kind == FailureKind.TOO_LARGE


def test_a_redirect_is_not_followed(subscribe: Subscribe) -> None:
    with serving(hold) as other:
        location = f"Location: ws://localhost:{other.port}/"
        error = connect_failure(subscribe, answering(response("302 Found", b"", location)))
        assert isinstance(error, UpgradeRefusedError)
        assert (error.kind, error.status) == (FailureKind.UPGRADE, 302)
        assert other.connections == 0


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (response("429 Too Many", b'{"error":"RateLimitExceeded"}', "Retry-After: 60"), 429),
        (response("501 Not Implemented", b""), 501),
        (response("200 OK", b"<html>"), 200),
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", 400),
        (b"HTTP/1.1 503 \r\nContent-Length: 999999999999\r\n\r\n" + bytes(100_000), 503),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: nonsense\r\n\r\n", 500),
    ],
)
def test_a_refusal_tells_its_status_whatever_the_body(subscribe: Subscribe, answer: bytes, status: int) -> None:
    error = connect_failure(subscribe, answering(answer))
    assert isinstance(error, UpgradeRefusedError)
    assert error.status == status
    if status == 429:
        assert error.headers["retry-after"] == "60"
        assert "RateLimitExceeded" in str(error)


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", FailureKind.CLOSED),
        (b"HTTP/1.1 101 Switching", FailureKind.CLOSED),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", FailureKind.HTTP),
        (b"HTTP/1.1 999 Odd\r\n\r\n", FailureKind.HTTP),
        (SWITCHING + b"no colon\r\n\r\n", FailureKind.HTTP),
        (SWITCHING + b" folded: x\r\n\r\n", FailureKind.HTTP),
        (SWITCHING + b"a b: x\r\n\r\n", FailureKind.HTTP),
        (SWITCHING + b"a: \x00\r\n\r\n", FailureKind.HTTP),
        (SWITCHING + b"X: y\r\n" * 101 + b"\r\n", FailureKind.HTTP),
        (SWITCHING + b"\r\n", FailureKind.UPGRADE),
        (SWITCHING + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", FailureKind.UPGRADE),
        (
            SWITCHING + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \xff\r\n\r\n",
            FailureKind.UPGRADE,
        ),
    ],
)
def test_answers_that_are_no_handshake(subscribe: Subscribe, answer: bytes, kind: FailureKind) -> None:
    assert connect_failure(subscribe, answering(answer)).kind == kind


@pytest.mark.parametrize("extra", ["Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: chat"])
def test_what_was_not_offered_can_not_be_chosen(subscribe: Subscribe, extra: str) -> None:
    def handler(connection: socket.socket) -> None:
        accept_upgrade(connection, extra)
        hold(connection)

    assert connect_failure(subscribe, handler).kind == FailureKind.UPGRADE


def test_a_connection_closed_right_after_accept(subscribe: Subscribe) -> None:
    assert connect_failure(subscribe, lambda _connection: None).kind == FailureKind.CLOSED


def test_an_address_on_the_inside_is_refused(subscribe: Subscribe) -> None:
    with serving(hold) as server:
        guard = AddressGuard(allow_loopback=False)
        for address in ("127.0.0.1", "10.0.0.1", "::1"):
            with pytest.raises(NetError) as caught:
                subscribe(server, guard=guard, resolve=lambda _, found=address: [found])
            assert caught.value.kind == FailureKind.POLICY
        assert server.connections == 0


@pytest.mark.parametrize("url", ["http://localhost/", "ws://", "ws://a@localhost/", "wss://localhost/\r\nX: y"])
def test_urls_that_are_not_requested(url: str) -> None:
    with pytest.raises(NetError) as caught:
        connect(
            url,
            guard=AddressGuard(allow_loopback=True),
            tls_context=client_context(),
            timeout_s=LONG_S,
            message_bytes_max=1,
        )
    assert caught.value.kind == FailureKind.BAD_URL


@given(st.binary(max_size=200), st.booleans())
def test_any_answer_to_the_upgrade_gives_our_error(answer: bytes, plausible: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall((SWITCHING if plausible else b"") + answer + b"\r\n\r\n")
        theirs.shutdown(socket.SHUT_WR)
        target = parse_url("ws://localhost/", plain="ws", secure="wss")
        with pytest.raises(NetError):
            upgrade(ours, "ws://localhost/", target, {})


def test_the_head_may_be_as_long_as_the_limit() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        head = b"HTTP/1.1 404 No\r\nX: "
        theirs.sendall(head + b"x" * (HEAD_BYTES_MAX - len(head) - 4) + b"\r\n\r\n")
        with pytest.raises(UpgradeRefusedError):
            upgrade(ours, "ws://localhost/", parse_url("ws://localhost/", plain="ws", secure="wss"), {})


def test_frames_over_tls(subscribe: Subscribe, authority: TestAuthority) -> None:
    big = bytes(range(256)) * 400

    def handler(connection: socket.socket) -> None:
        accept_upgrade(connection)
        connection.sendall(server_frame(BINARY, big) * 3 + server_frame(PING, b"p"))
        opcode, payload = read_client_frame(connection)
        connection.sendall(server_frame(BINARY, bytes([opcode]) + payload))
        hold(connection)

    with serving(handler, tls=authority.server_context("localhost")) as server:
        connection = subscribe(server, scheme="wss")
        assert [connection.receive(LONG_S) for _ in range(3)] == [big] * 3
        assert connection.receive(LONG_S) == bytes([PONG]) + b"p"
        assert receive_failure(connection, SOON_S) == FailureKind.TIMEOUT
        connection.close()


def test_tls_with_a_certificate_for_another_name(subscribe: Subscribe, authority: TestAuthority) -> None:
    with serving(hold, tls=authority.server_context("other.example.com")) as server:
        with pytest.raises(NetError) as caught:
            subscribe(server, scheme="wss")
        assert caught.value.kind == FailureKind.TLS


def test_a_tls_handshake_without_an_answer_ends_at_the_deadline(subscribe: Subscribe) -> None:
    with serving(hold) as server:
        with pytest.raises(NetError) as caught:
            subscribe(server, scheme="wss", timeout_s=SOON_S)
        assert caught.value.kind == FailureKind.TIMEOUT
        server.ended.get(timeout=LONG_S)
