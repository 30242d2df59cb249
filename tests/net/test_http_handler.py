"""The HTTP side of the server, over real sockets: what it refuses, what it survives, what reaches the application."""

import json
from collections.abc import Iterator
from dataclasses import replace

import gevent
import pytest

from tests.support.ws_application import Application
from tests.support.ws_raw_client import RawClient, encode_request, handshake_headers
from zlay_py.net.http_limits import HttpLimits
from zlay_py.net.http_refusal import SERVER_HEADER
from zlay_py.net.http_server import HttpServer

LIMITS = HttpLimits(
    head_read_s=0.3, keep_alive_idle_s=0.3, body_read_s=0.3, linger_s=0.3, body_bytes_max=10_000, head_bytes_max=4096
)


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def server(application: Application) -> Iterator[HttpServer]:
    server = HttpServer(("127.0.0.1", 0), application, limits=LIMITS)
    server.start()
    yield server
    server.stop(timeout=1)
    assert server.body_budget.bytes_used == 0
    assert not server.idle


@pytest.fixture
def client(server: HttpServer) -> Iterator[RawClient]:
    assert server.server_port
    with RawClient(server.server_port) as client:
        yield client


def test_every_answer_names_the_relay(client: RawClient) -> None:
    """From the application, from the handler itself, and on an upgrade."""
    assert client.request("POST /upper HTTP/1.1", body=b"x").headers["server"] == SERVER_HEADER
    assert client.request("GET /nothing HTTP/1.1").headers["server"] == SERVER_HEADER
    assert "atproto-relay" in client.open_websocket().headers["server"]


def test_a_refusal_names_the_relay_too(client: RawClient) -> None:
    client.send(b"nonsense\r\n\r\n")
    response = client.read_response()
    assert response.status == 400
    assert response.headers["server"] == SERVER_HEADER
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.json()["error"] == "InvalidRequest"
    assert client.at_end()


def test_a_head_in_many_segments(client: RawClient) -> None:
    for byte in encode_request("POST /upper HTTP/1.1", {}, b"abc"):
        client.send(bytes([byte]))
    assert client.read_response().body == b"ABC"


def test_a_body_in_many_segments(client: RawClient) -> None:
    request = encode_request("POST /upper HTTP/1.1", {}, b"abcdef")
    client.send(request[:-4])
    gevent.sleep(0)
    client.send(request[-4:])
    assert client.read_response().body == b"ABCDEF"


def test_pipelined_requests_are_answered_in_order(client: RawClient) -> None:
    bodies = [b"one", b"two", b"three"]
    client.send(b"".join(encode_request("POST /upper HTTP/1.1", {}, body) for body in bodies))
    assert [client.read_response().body for _ in bodies] == [b"ONE", b"TWO", b"THREE"]


@pytest.mark.parametrize("path", ["/upper", "/echo"])
def test_a_chunked_body_reaches_the_application(client: RawClient, path: str) -> None:
    """As stream and as media, and the connection goes on after it."""
    body = json.dumps({"hostname": "pds.test"}).encode()
    chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(body[i : i + 5]), body[i : i + 5]) for i in range(0, len(body), 5))
    headers = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    client.send(encode_request(f"POST {path} HTTP/1.1", headers) + chunks + b"0\r\nTrailer: 1\r\n\r\n")
    response = client.read_response()
    if path == "/upper":
        assert response.body == body.upper()
    else:
        assert response.json() == {"got": {"hostname": "pds.test"}, "length": len(body)}
    assert client.request("POST /upper HTTP/1.1", body=b"next").body == b"NEXT"


def test_expect_100_continue(client: RawClient) -> None:
    client.send(encode_request("POST /upper HTTP/1.1", {"Expect": "100-continue", "Content-Length": "3"}))
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert client.read_response().body == b"ABC"


def test_a_response_without_length_is_chunked(client: RawClient) -> None:
    assert client.request("GET /pieces HTTP/1.1").body == b"one two"
    assert client.request("POST /upper HTTP/1.1", body=b"x").body == b"X"


def test_http_1_0_keep_alive_without_a_length_closes(client: RawClient) -> None:
    client.send(encode_request("GET /pieces HTTP/1.0", {"Connection": "keep-alive"}))
    head = client.read_until(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert b"keep-alive" not in head
    assert client.read(7) == b"one two"
    assert client.at_end()


def test_connection_close_is_obeyed(client: RawClient) -> None:
    assert client.request("GET /x HTTP/1.1", {"Connection": "close"}).headers["connection"] == "close"
    assert client.at_end()


def test_the_absolute_form_and_empty_lines_before_the_request(client: RawClient, application: Application) -> None:
    client.send(b"\r\n\r\n" + encode_request("GET http://relay.test/a%20b?c=d HTTP/1.1", {"X-One": "1"}))
    assert client.read_response().json()["message"] == "/a b"
    environ = application.environs[-1]
    assert environ["PATH_INFO"] == "/a b"
    assert environ["QUERY_STRING"] == "c=d"
    assert environ["RAW_URI"] == "/a%20b?c=d"
    assert environ["HTTP_X_ONE"] == "1"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"


def test_a_header_with_an_underscore_does_not_pass_for_another(client: RawClient, application: Application) -> None:
    client.request("GET / HTTP/1.1", {"X_Forwarded_For": "6.6.6.6", "X-Real": "1"})
    assert "HTTP_X_FORWARDED_FOR" not in application.environs[-1]
    assert application.environs[-1]["HTTP_X_REAL"] == "1"


def test_a_crash_of_the_application_is_a_json_500(client: RawClient) -> None:
    response = client.request("GET /crash HTTP/1.1")
    assert response.status == 500
    assert response.json()["error"] == "InternalServerError"
    assert client.at_end()


POST = "POST /upper HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + "Transfer-Encoding: chunked\r\n"
SMUGGLED = {
    "both lengths": CHUNKED + "Content-Length: 3\r\n\r\n0\r\n\r\n",
    "coding list": POST + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": CHUNKED + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": POST + "Transfer-Encoding: identity\r\n\r\n",
    "vertical tab in coding": POST + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "coding in 1.0": "POST /upper HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "length list": POST + "Content-Length: 3, 3\r\n\r\nabc",
    "signed length": POST + "Content-Length: +3\r\n\r\nabc",
    "negative length": POST + "Content-Length: -3\r\n\r\nabc",
    "hex length": POST + "Content-Length: 0x3\r\n\r\nabc",
    "underscored length": POST + "Content-Length: 1_0\r\n\r\nabcdefghij",
    "superscript length": POST + "Content-Length: \xb2\r\n\r\nab",
    "empty length": POST + "Content-Length:\r\n\r\n",
    "endless length": POST + "Content-Length: " + "9" * 40 + "\r\n\r\nabc",
    "space before colon": POST + "Content-Length : 3\r\n\r\nabc",
    "folded header": POST + "X: 1\r\n Content-Length: 3\r\n\r\nabc",
    "line without colon": POST + "nonsense\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare LF": "POST /upper HTTP/1.1\nHost: a\nContent-Length: 3\n\nabc",
    "one bare LF": "POST /upper HTTP/1.1\r\nHost: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare CR": "POST /upper HTTP/1.1\r\nHost: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "NUL": "GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
    "no host": "GET / HTTP/1.1\r\n\r\n",
    "two hosts": "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "host with a path": "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "space in target": "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces": "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": "GET /\r\n\r\n",
    "lower-case protocol": "GET / http/1.1\r\nHost: a\r\n\r\n",
    "method with a bracket": "GET( / HTTP/1.1\r\nHost: a\r\n\r\n",
    "connect": "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "hex chunk size": CHUNKED + "\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "signed chunk size": CHUNKED + "\r\n+3\r\nabc\r\n0\r\n\r\n",
    "chunk ends with LF": CHUNKED + "\r\n3\r\nabc\n0\r\n\r\n",
    "chunk line ends with LF": CHUNKED + "\r\n3\nabc\r\n0\r\n\r\n",
    "chunk too short": CHUNKED + "\r\n2\r\nabc\r\n0\r\n\r\n",
    "trailer ends with LF": CHUNKED + "\r\n0\r\nX: 1\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_request_that_two_parsers_could_read_differently_is_refused(
    client: RawClient, application: Application, name: str
) -> None:
    """And what follows it on the connection is never read as a request."""
    client.send(SMUGGLED[name].encode("latin-1") + encode_request("GET /smuggled HTTP/1.1", {}))
    response = client.read_response()
    assert response.status == 400
    assert response.headers["connection"] == "close"
    assert client.at_end()
    assert application.environs == []


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 4096 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 5000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 100 + b"\r\n", 431),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (POST.encode() + b"Expect: wonders\r\nContent-Length: 1\r\n\r\n", 417),
        (POST.encode() + b"Content-Length: 10001\r\n\r\n" + b"a" * 10001, 413),
        (CHUNKED.encode() + b"\r\nffffffff\r\n", 413),
        (CHUNKED.encode() + b"\r\n" + (b"fff\r\n" + b"a" * 4095 + b"\r\n") * 3, 413),
        (CHUNKED.encode() + b"\r\n" + b"1\r\na\r\n" * 8193, 400),
        (CHUNKED.encode() + b"\r\n0\r\n" + b"X: 1\r\n" * 33, 400),
        (CHUNKED.encode() + b"\r\n1;" + b"x" * 300, 400),
    ],
)
def test_limits(client: RawClient, application: Application, request_bytes: bytes, status: int) -> None:
    client.send(request_bytes)
    assert client.read_response().status == status
    assert client.at_end()
    assert application.environs == []


def test_a_slow_head_is_answered_with_408(client: RawClient) -> None:
    """One byte at a time, each in time: only the deadline over the whole head helps."""
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")

    def trickle() -> None:
        for _ in range(100):
            client.send(b"X")
            gevent.sleep(0.02)

    slow = gevent.spawn(trickle)
    try:
        response = client.read_response()
        assert not slow.ready()
    finally:
        slow.kill()
    assert response.status == 408
    assert response.json()["error"] == "RequestTimeout"


def test_a_slow_body_is_answered_with_408(client: RawClient, application: Application) -> None:
    client.send(b"POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
    assert client.read_response().status == 408
    assert client.at_end()
    assert application.environs == []


def test_a_silent_connection_is_closed_without_an_answer(client: RawClient) -> None:
    assert client.at_end()


def test_an_idle_keep_alive_connection_is_closed(client: RawClient) -> None:
    assert client.request("POST /upper HTTP/1.1", body=b"x").status == 200
    assert client.at_end()


def test_a_client_that_leaves_in_the_middle_of_a_body(server: HttpServer, client: RawClient) -> None:
    client.send(b"POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\na")
    client.sock.close()
    assert server.wait_drained(5)
    assert server.body_budget.bytes_used == 0


def test_bodies_share_one_budget(application: Application) -> None:
    limits = replace(LIMITS, bodies_in_flight_bytes_max=15_000, body_read_s=5)
    server = HttpServer(("127.0.0.1", 0), application, limits=limits)
    server.start()
    assert server.server_port
    with RawClient(server.server_port) as first, RawClient(server.server_port) as second:
        first.send(b"POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\na")
        while not server.body_budget.bytes_used:
            gevent.sleep(0)
        response = second.request("POST /upper HTTP/1.1", body=b"b" * 9000)
        assert response.status == 503
        assert response.headers["retry-after"] == "5"
        first.send(b"a" * 8999)
        assert first.read_response().status == 200
    server.stop(timeout=1)
    assert server.body_budget.bytes_used == 0


def test_a_drain_ends_idle_connections_and_finishes_the_rest(application: Application) -> None:
    """At once, not after the time that an idle connection has."""
    server = HttpServer(("127.0.0.1", 0), application)
    server.start()
    assert server.server_port
    with RawClient(server.server_port) as idle, RawClient(server.server_port) as busy:
        assert idle.request("POST /upper HTTP/1.1", body=b"x").status == 200
        busy.send(b"POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab")
        while not server.body_budget.bytes_used:
            gevent.sleep(0)
        server.begin_drain()
        assert idle.at_end()
        assert not server.wait_drained(0)
        busy.send(b"c")
        response = busy.read_response()
        assert response.body == b"ABC"
        assert response.headers["connection"] == "close"
        assert server.wait_drained(5)


def test_no_upgrade_while_draining(server: HttpServer) -> None:
    assert server.server_port
    request = encode_request("GET /stream HTTP/1.1", handshake_headers())
    with RawClient(server.server_port) as client:
        client.send(request[:20])
        while not len(server.pool or ()):
            gevent.sleep(0)
        gevent.sleep(0)
        server.begin_drain()
        client.send(request[20:])
        assert client.read_response().status == 503
        assert client.at_end()


def test_an_upgrade_needs_a_gate() -> None:
    """A plain WSGI function, as on the metrics port, never becomes a WebSocket."""

    def plain(environ: dict[str, object], start_response: object) -> list[bytes]:
        assert callable(start_response)
        start_response("200 OK", [])
        return [b"plain"]

    server = HttpServer(("127.0.0.1", 0), plain, limits=LIMITS)
    server.start()
    assert server.server_port
    with RawClient(server.server_port) as client:
        assert client.request("GET /stream HTTP/1.1", handshake_headers()).body == b"plain"
    server.stop(timeout=1)
