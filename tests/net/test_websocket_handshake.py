"""The opening handshake over real sockets: what becomes a WebSocket, what is refused, and how."""

import base64
import hashlib
from collections.abc import Iterator

import gevent
import pytest

from tests.support.ws_application import Application
from tests.support.ws_raw_client import Frame, RawClient, encode_client_frame, encode_request, handshake_headers
from tests.support.ws_server import BINARY, PING, PONG, TEXT, accepted, running_server
from zlay_py.net.http_server import HttpServer


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def server(application: Application) -> Iterator[HttpServer]:
    with running_server(application) as server:
        yield server


@pytest.fixture
def client(server: HttpServer) -> Iterator[RawClient]:
    assert server.server_port
    with RawClient(server.server_port) as client:
        yield client


def test_the_handshake(client: RawClient) -> None:
    """RFC 6455 §1.3: the accept value of the RFC's own example."""
    response = client.request(
        "GET /stream?mode=hello HTTP/1.1", handshake_headers(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==")
    )
    assert response.status == 101
    assert response.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert response.headers["upgrade"] == "websocket"
    assert response.headers["connection"] == "Upgrade"
    assert not {"content-length", "transfer-encoding"} & set(response.headers)
    assert client.read_frame() == Frame(BINARY, b"hello")


def test_the_handshake_in_single_bytes(client: RawClient) -> None:
    key = base64.b64encode(bytes(16)).decode()
    for byte in encode_request("GET /stream?mode=hello HTTP/1.1", handshake_headers(Sec_WebSocket_Key=key)):
        client.send(bytes([byte]))
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    assert client.read_response().headers["sec-websocket-accept"] == base64.b64encode(digest).decode()
    assert client.read_frame().payload == b"hello"


def test_frames_in_the_segment_of_the_handshake(client: RawClient, application: Application) -> None:
    """A ping, a message to ignore, and half of another ping whose rest comes later."""
    late = encode_client_frame(PING, b"late")
    client.open_websocket(extra=encode_client_frame(PING, b"early") + encode_client_frame(TEXT, b"x") + late[:5])
    assert client.read_frame() == Frame(PONG, b"early")
    client.send(late[5:])
    assert client.read_frame() == Frame(PONG, b"late")
    assert not accepted(application).closed


def test_a_handshake_pipelined_after_a_request(client: RawClient) -> None:
    client.send(encode_request("POST /upper HTTP/1.1", {}, b"x"))
    client.send(encode_request("GET /stream?mode=hello HTTP/1.1", handshake_headers()))
    assert client.read_response().body == b"X"
    assert client.read_response().status == 101
    assert client.read_frame().payload == b"hello"


def test_a_wrong_path_gets_the_answer_of_the_application(client: RawClient) -> None:
    response = client.request("GET /xrpc/no.such.method HTTP/1.1", handshake_headers())
    assert response.status == 501
    assert response.json()["error"] == "MethodNotImplemented"


def test_a_gate_that_refuses_leaves_the_answer_to_the_application(client: RawClient) -> None:
    """And the connection is an ordinary one: the next request is served."""
    assert client.request("GET /stream?mode=refused HTTP/1.1", handshake_headers()).status == 400
    client.open_websocket("/stream?mode=hello")
    assert client.read_frame().payload == b"hello"


@pytest.mark.parametrize("target", ["/stream", "/stream?mode=refused"])
def test_while_draining_an_upgrade_is_told_to_come_back(server: HttpServer, client: RawClient, target: str) -> None:
    """Also where the gate refuses, as that of a relay that stops does: its 426 would read as "never"."""
    request = encode_request(f"GET {target} HTTP/1.1", handshake_headers())
    client.send(request[:20])
    while server.idle or not len(server.pool or ()):  # until the request is under way
        gevent.sleep(0)
    server.begin_drain()
    client.send(request[20:])
    response = client.read_response()
    assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert response.json()["error"] == "ServiceUnavailable"
    assert client.at_end()


@pytest.mark.parametrize(
    "headers", [{}, {"Upgrade": "h2c", "Connection": "Upgrade"}, {"Upgrade": "websocket", "Connection": "close"}]
)
def test_a_request_for_the_stream_that_is_no_upgrade(client: RawClient, headers: dict[str, str]) -> None:
    response = client.request("GET /stream HTTP/1.1", headers)
    assert response.status == 426
    assert response.json()["error"] == "UpgradeRequired"
    assert response.headers["upgrade"] == "websocket"


@pytest.mark.parametrize("version", ["8", "14", "13, 8", ""])
def test_another_version_is_426(client: RawClient, version: str) -> None:
    response = client.request("GET /stream HTTP/1.1", handshake_headers(Sec_WebSocket_Version=version))
    assert response.status == 426
    assert response.headers["upgrade"] == "websocket"
    assert response.headers["sec-websocket-version"] == "13"
    assert response.json()["error"] == "UpgradeRequired"
    client.open_websocket("/stream?mode=hello")


@pytest.mark.parametrize("key", ["", "short", "!" * 24, base64.b64encode(bytes(15)).decode(), "é" * 12])
def test_a_bad_key_is_a_json_400(client: RawClient, key: str) -> None:
    response = client.request("GET /stream HTTP/1.1", handshake_headers(Sec_WebSocket_Key=key))
    assert response.status == 400
    assert response.json()["error"] == "InvalidRequest"
    assert "Sec-WebSocket-Key" in response.json()["message"]


def test_http_1_0_can_not_upgrade(client: RawClient) -> None:
    assert client.request("GET /stream HTTP/1.0", handshake_headers()).status == 400


def test_a_handshake_with_a_body_is_refused(client: RawClient) -> None:
    assert client.request("GET /stream HTTP/1.1", handshake_headers(), b"body").status == 400


def test_only_get_upgrades(client: RawClient) -> None:
    assert client.request("POST /stream HTTP/1.1", handshake_headers()).status == 405
