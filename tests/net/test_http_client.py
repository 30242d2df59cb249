import json
import socket
from contextlib import suppress

import gevent
import pytest
from gevent.event import Event

from tests.support.net_clients import LIMITS, HandClock, MakeClient, get_failure, url_of
from tests.support.net_servers import (
    Handler,
    ScriptedServer,
    answering,
    header,
    hold,
    reached,
    read_head,
    response,
    serving,
    wait_for_end,
)
from zlay_py import __version__
from zlay_py.errors import NetError
from zlay_py.net.failures import FailureKind, within
from zlay_py.net.http_client import IDLE_MAX, IDLE_PER_ORIGIN_MAX, IDLE_S_MAX
from zlay_py.net.http_exchange import HttpRequest, exchange
from zlay_py.net.url import parse_url

DOCUMENT = {"did": "did:web:localhost", "ok": True}
DOCUMENT_BYTES = json.dumps(DOCUMENT).encode()


def test_a_json_answer_and_the_request_that_brought_it(client: MakeClient) -> None:
    requests: list[bytes] = []
    answer = response("200 OK", DOCUMENT_BYTES, "X-One: 1", "X-One: 2", "Set-Cookie: a=b")
    with serving(answering(answer, answer, requests=requests)) as server:
        http = client()
        url = url_of(server, "/xrpc/com.atproto.server.describeServer?a=b%20c")
        status, document = http.get_json(url, **LIMITS)
        assert (status, document) == (200, DOCUMENT)
        got = http.get(url, accept="application/did+ld+json", headers={"X-Mine": "yes"}, **LIMITS)
        assert got.headers["x-one"] == "1, 2"
        assert (got.url, got.body) == (url, DOCUMENT_BYTES)
        assert server.connections == 1, "the connection was used again"
    first, second = requests
    assert first.startswith(b"GET /xrpc/com.atproto.server.describeServer?a=b%20c HTTP/1.1\r\n")
    assert header(first, "Host") == f"localhost:{server.port}"
    assert header(first, "Accept") == "application/json"
    assert header(first, "Accept-Encoding") == "identity"
    assert header(second, "Accept") == "application/did+ld+json"
    assert header(second, "X-Mine") == "yes"
    assert header(second, "Cookie") is None, "cookies of a host are nobody's business"
    agent = header(first, "User-Agent") or ""
    assert "atproto-relay" in agent
    assert __version__ in agent


@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"])
def test_no_proxy_from_the_environment(client: MakeClient, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(answering(response("200 OK", b"{}"))) as server:
        assert client().get_json(url_of(server), **LIMITS) == (200, {})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (response("404 Not Found", b'{"error":"RepoNotFound"}'), (404, {"error": "RepoNotFound"})),
        (response("502 Bad Gateway", b"<html>"), (502, None)),
        (response("500 Error", b"[" * 9_000), (500, None)),
        (response("302 Found", b"", "Location: http://10.0.0.1/"), (302, None)),
        (response("200 OK", b"null"), (200, None)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nTrailer: 1\r\n\r\n", (200, {})),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", (200, {})),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", (200, {})),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", (200, {})),
    ],
)
def test_answers(client: MakeClient, answer: bytes, expected: tuple[int, object]) -> None:
    with serving(answering(answer)) as server:
        assert client().get_json(url_of(server), **LIMITS) == expected


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (response("200 OK", b"not json"), FailureKind.DECODE),
        (response("200 OK", b""), FailureKind.DECODE),
        (response("200 OK", b"[" * 9_000), FailureKind.DECODE),
        (response("200 OK", b"9" * 9_000), FailureKind.DECODE),
        (response("200 OK", b"\xff\xfe"), FailureKind.DECODE),
        (response("200 OK", b"{}", "Content-Encoding: gzip"), FailureKind.DECODE),
        (response("103 Early Hints"), FailureKind.HTTP),
        (response("200 OK", bytes(10_001)), FailureKind.TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n", FailureKind.TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(10_001), FailureKind.TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2711\r\n" + bytes(10_001), FailureKind.TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}", FailureKind.HTTP),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}", FailureKind.CLOSED),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", FailureKind.CLOSED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}", FailureKind.CLOSED),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n", FailureKind.HTTP),
        (b"HTTP/1.1 200 OK\r\nA: " + bytes(65_536), FailureKind.TOO_LARGE),
        (b"SSH-2.0-OpenSSH_9.6\r\n", FailureKind.HTTP),
        (b"\x15\x03\x01\x00\x02\x02\x16", FailureKind.HTTP),
        (b"", FailureKind.CLOSED),
    ],
)
def test_answers_that_fail(client: MakeClient, answer: bytes, kind: FailureKind) -> None:
    with serving(answering(answer)) as server:
        assert get_failure(client(), url_of(server)) == kind


def test_a_body_of_just_the_limit_passes(client: MakeClient) -> None:
    body = json.dumps("x" * 9_998).encode()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2710\r\n" + body + b"\r\n0\r\n\r\n"
    with serving(answering(response("200 OK", body), chunked, response("200 OK", body))) as server:
        http = client()
        for _ in range(3):
            assert len(http.get(url_of(server), **LIMITS).body) == 10_000
        assert server.connections == 1


def endless(beginning: bytes, repeated: bytes) -> Handler:
    def handler(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(beginning)
        while True:
            connection.sendall(repeated)

    return handler


@pytest.mark.parametrize(
    ("beginning", "repeated"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000),
        (b"HTTP/1.1 200 OK\r\n\r\n", bytes(65_536)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"Trailer: x\r\n" * 5_000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"extension=1;" * 100),
    ],
)
def test_answers_without_end_are_cut_off_long_before_the_deadline(
    client: MakeClient, beginning: bytes, repeated: bytes
) -> None:
    with serving(endless(beginning, repeated)) as server:
        kind = get_failure(client(), url_of(server), timeout_s=60)
        assert kind in (FailureKind.TOO_LARGE, FailureKind.HTTP)


@pytest.mark.parametrize("sent_first", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_the_deadline_is_for_everything_together(client: MakeClient, sent_first: bytes) -> None:
    def drip(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(sent_first)
        wait_for_end(connection)

    with serving(drip) as server:
        assert get_failure(client(), url_of(server), timeout_s=0.05) == FailureKind.TIMEOUT
        server.ended.get(timeout=10)


def test_a_drip_of_headers_does_not_move_the_deadline(client: MakeClient) -> None:
    def drip(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            connection.sendall(b"x")
            gevent.idle()

    with serving(drip) as server:
        kind = get_failure(client(), url_of(server), timeout_s=0.05)
        assert kind in (FailureKind.TIMEOUT, FailureKind.HTTP, FailureKind.TOO_LARGE)


class EndlessSocket:
    """Has a body without end ready whenever it is asked: recv never waits, so it never lets others run."""

    def __init__(self) -> None:
        self._head = b"HTTP/1.1 200 OK\r\n\r\n"

    def sendall(self, data: bytes) -> None:
        pass

    def recv_into(self, buffer: memoryview, _size: int) -> int:
        data, self._head = self._head or b"x", b""
        buffer[: len(data)] = data
        return len(data)


def test_a_sender_that_never_lets_us_wait_still_meets_the_deadline() -> None:
    url = "http://localhost/"
    request = HttpRequest("GET", parse_url(url, plain="http", secure="https"), url, {})
    sock: object = EndlessSocket()
    with pytest.raises(NetError) as caught, within(0.05, "read"):
        exchange(sock, request, bytes_max=100_000_000, reused=False)  # type: ignore[arg-type]
    assert caught.value.kind == FailureKind.TIMEOUT


def test_another_timeout_passes_through(client: MakeClient) -> None:
    with serving(hold) as server, pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        client().get(url_of(server), timeout_s=60, bytes_max=10)


def test_a_kept_connection_that_the_server_closed_is_replaced(client: MakeClient) -> None:
    with serving(answering(response("200 OK", b"1"))) as server:
        http = client()
        for count in (1, 2, 3):
            assert http.get_json(url_of(server), **LIMITS) == (200, 1)
            server.ended.get(timeout=10)
            assert server.connections == count


@pytest.mark.parametrize(
    ("second", "kind"),
    [(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", FailureKind.CLOSED), (b"HT", FailureKind.HTTP)],
)
def test_an_answer_cut_off_on_a_kept_connection_is_not_asked_for_again(
    client: MakeClient, second: bytes, kind: FailureKind
) -> None:
    with serving(answering(response("200 OK", b"1"), second)) as server:
        http = client()
        assert http.get_json(url_of(server), **LIMITS) == (200, 1)
        assert get_failure(http, url_of(server)) == kind
        assert server.connections == 1


def test_connections_that_must_not_be_kept_are_not(client: MakeClient) -> None:
    for answer in (response("200 OK", b"1", "Connection: close"), b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1"):
        with serving(answering(answer, answer)) as server:
            http = client()
            for _ in range(2):
                assert http.get_json(url_of(server), **LIMITS) == (200, 1)
            assert server.connections == 2


def test_a_connection_is_kept_for_a_while_only(client: MakeClient) -> None:
    clock = HandClock()
    with serving(answering(*[response("200 OK", b"1")] * 3)) as server:
        http = client(clock=clock)
        http.get(url_of(server), **LIMITS)
        clock.now_s += IDLE_S_MAX
        http.get(url_of(server), **LIMITS)
        assert server.connections == 1
        clock.now_s += IDLE_S_MAX + 1
        http.get(url_of(server), **LIMITS)
        assert server.connections == 2


def test_the_number_of_kept_connections_is_bounded(client: MakeClient) -> None:
    """Of many requests at once to one origin, 16 connections stay; 64 in all, of the origins used last."""
    go, waiting = Event(), []

    def together(connection: socket.socket) -> None:
        read_head(connection)
        waiting.append(connection)
        if len(waiting) % 20 == 0:
            go.set()
        go.wait(10)
        connection.sendall(response("200 OK", b"1"))
        with suppress(ConnectionError):
            while read_head(connection):
                connection.sendall(response("200 OK", b"2"))

    http = client()
    servers = [ScriptedServer(together) for _ in range(6)]
    try:
        for server in servers:
            if server is servers[4]:
                assert http.get_json(url_of(servers[0]), **LIMITS) == (200, 2)
            go.clear()
            jobs = [gevent.spawn(http.get, url_of(server), **LIMITS) for _ in range(20)]
            gevent.joinall(jobs, raise_error=True)
            for _ in range(20 - IDLE_PER_ORIGIN_MAX):
                server.ended.get(timeout=10)
        for server in servers[1:3]:
            for _ in range(IDLE_PER_ORIGIN_MAX):
                server.ended.get(timeout=10)
        assert IDLE_MAX == 4 * IDLE_PER_ORIGIN_MAX
        assert all(server.ended.empty() for server in (servers[0], *servers[3:]))
    finally:
        for server in servers:
            server.stop()


def test_a_post_is_sent_once_and_its_answer_decoded(client: MakeClient) -> None:
    bodies: list[bytes] = []

    def handler(connection: socket.socket) -> None:
        head = read_head(connection)
        assert header(head, "Content-Type") == "application/json"
        assert header(head, "Authorization") == "Bearer x"
        length = int(header(head, "Content-Length") or "-1")
        body = b""
        while len(body) < length:
            body += connection.recv(length - len(body))
        bodies.append(body)
        connection.sendall(response("200 OK", b""))

    with serving(handler) as server:
        got = client().post_json(
            url_of(server), {"hostname": "pds.example.com"}, headers={"Authorization": "Bearer x"}, **LIMITS
        )
        assert got == (200, None)
    assert bodies == [b'{"hostname": "pds.example.com"}']


def test_a_post_never_travels_on_a_kept_connection(client: MakeClient) -> None:
    asked = Event()

    def handler(connection: socket.socket) -> None:
        head = read_head(connection)
        if head.startswith(b"GET"):
            connection.sendall(response("200 OK", b"1"))
            hold(connection)
        else:
            asked.set()  # and hang up without an answer

    with serving(handler) as server:
        http = client()
        http.get(url_of(server), **LIMITS)
        with pytest.raises(NetError) as caught:
            http.post(url_of(server), b"x" * 10, content_type="text/plain", **LIMITS)
        assert caught.value.kind == FailureKind.CLOSED
        reached(asked)
        assert server.connections == 2
