"""The serving end of a WebSocket over real sockets: what clients may send, and how both sides close."""

from collections.abc import Iterator
from dataclasses import replace

import gevent
import pytest

from tests.support.ws_application import Application
from tests.support.ws_raw_client import Frame, RawClient, encode_client_frame
from tests.support.ws_server import BINARY, CLOSE, CONTINUATION, LIMITS, PING, PONG, TEXT, accepted, running_server
from zlay_py.net.http_server import HttpServer
from zlay_py.net.websocket_server import WebSocketClosedError


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


@pytest.mark.parametrize("size", [0, 1, 125])
def test_a_ping_is_answered_with_its_payload(client: RawClient, size: int) -> None:
    client.open_websocket()
    client.send_frame(PING, b"p" * size)
    assert client.read_frame() == Frame(PONG, b"p" * size)


def test_messages_are_ignored(client: RawClient, application: Application) -> None:
    """Text, binary, fragments with a ping between them, bytes that are not UTF-8 (event-stream spec, Framing)."""
    client.open_websocket()
    client.send_frame(TEXT, b"\xff\xfe")
    client.send_frame(BINARY, b"x" * 900)
    client.send_frame(TEXT, b"a" * 300, fin=False)
    client.send_frame(PING, b"between")
    client.send_frame(CONTINUATION, b"b" * 300, fin=False)
    client.send_frame(CONTINUATION, b"c" * 300)
    assert client.read_frame() == Frame(PONG, b"between")
    client.send_frame(PING, b"after")
    assert client.read_frame() == Frame(PONG, b"after")
    assert not accepted(application).closed


def test_frames_in_single_bytes(client: RawClient) -> None:
    client.open_websocket()
    for byte in encode_client_frame(BINARY, b"x" * 200) + encode_client_frame(PING, b"ping"):
        client.send(bytes([byte]))
    assert client.read_frame() == Frame(PONG, b"ping")


VIOLATIONS = {
    "unmasked": (encode_client_frame(BINARY, b"x", masked=False), 1002),
    "unmasked ping": (encode_client_frame(PING, b"x", masked=False), 1002),
    "RSV1": (encode_client_frame(BINARY, b"x", rsv=4), 1002),
    "RSV3 ping": (encode_client_frame(PING, b"x", rsv=1), 1002),
    "opcode 3": (encode_client_frame(3, b"x"), 1002),
    "opcode 15": (encode_client_frame(15, b"x"), 1002),
    "fragmented ping": (encode_client_frame(PING, b"x", fin=False), 1002),
    "ping of 126 bytes": (encode_client_frame(PING, b"x" * 126), 1002),
    "continuation of nothing": (encode_client_frame(CONTINUATION, b"x"), 1002),
    "message in a message": (encode_client_frame(TEXT, b"x", fin=False) + encode_client_frame(TEXT, b"x"), 1002),
    "long form of a short length": (b"\x82\xfe\x00\x01" + bytes(5), 1002),
    "too big": (encode_client_frame(BINARY, b"x" * 1001), 1009),
    "too big, only announced": (b"\x82\xff" + (2**40).to_bytes(8, "big"), 1009),
    "too big in pieces": (
        encode_client_frame(BINARY, b"x" * 600, fin=False) + encode_client_frame(CONTINUATION, b"x" * 600),
        1009,
    ),
    "close code 999": (encode_client_frame(CLOSE, (999).to_bytes(2, "big")), 1002),
    "close code 1005": (encode_client_frame(CLOSE, (1005).to_bytes(2, "big")), 1002),
    "close code 5000": (encode_client_frame(CLOSE, (5000).to_bytes(2, "big")), 1002),
    "half a close code": (encode_client_frame(CLOSE, b"\x03"), 1002),
    "close reason not UTF-8": (encode_client_frame(CLOSE, (1000).to_bytes(2, "big") + b"\xff"), 1007),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_protocol_error_is_closed_with_its_code(client: RawClient, application: Application, name: str) -> None:
    data, code = VIOLATIONS[name]
    client.open_websocket()
    client.send(data)
    frame = client.read_frame()
    assert frame.close_code() == code
    assert frame.payload[2:].decode()
    assert accepted(application).wait_closed(5)
    client.send_frame(PING, b"too late")  # read and ignored
    assert client.at_end()


def test_a_flood_is_closed_with_1008(server: HttpServer, application: Application, client: RawClient) -> None:
    server.websocket_limits = replace(LIMITS, inbound_bytes_per_window=5000)
    client.open_websocket()
    for _ in range(8):
        client.send_frame(BINARY, b"x" * 700)
    assert client.read_frame().close_code() == 1008


def test_a_flood_of_pings_is_not_answered_for_ever(server: HttpServer, client: RawClient) -> None:
    server.websocket_limits = replace(LIMITS, pongs_per_window=3)
    client.open_websocket()
    client.send(b"".join(encode_client_frame(PING, bytes([number])) for number in range(10)))
    client.send_frame(CLOSE, (1000).to_bytes(2, "big"))
    frames = [client.read_frame() for _ in range(4)]
    assert [frame.opcode for frame in frames] == [PONG, PONG, PONG, CLOSE]


def test_any_bytes_of_a_client_count_as_a_sign_of_life(client: RawClient, application: Application) -> None:
    client.open_websocket()
    websocket = accepted(application)
    before_s, pong_before_s = websocket.last_heard_s, websocket.last_pong_s
    client.send_frame(PING)
    client.read_frame()
    assert websocket.last_heard_s > before_s
    assert websocket.last_pong_s == pong_before_s
    websocket.ping(b"are you there")
    assert client.read_frame() == Frame(PING, b"are you there")
    client.send_frame(PONG, b"are you there")
    client.send_frame(PING, b"sync")
    client.read_frame()
    assert websocket.last_pong_s > pong_before_s


# Closing


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 3000, 4999])
def test_a_close_with_a_reason_is_answered_with_its_code(
    client: RawClient, application: Application, code: int
) -> None:
    client.open_websocket()
    client.send_frame(CLOSE, code.to_bytes(2, "big") + "genug für heute".encode())
    assert client.read_frame() == Frame(CLOSE, code.to_bytes(2, "big"))
    assert client.at_end()
    websocket = accepted(application)
    assert (websocket.close_code, websocket.close_reason) == (code, "genug für heute")


def test_an_empty_close_is_answered_with_an_empty_one(client: RawClient, application: Application) -> None:
    client.open_websocket()
    client.send_frame(CLOSE)
    assert client.read_frame() == Frame(CLOSE, b"")
    assert client.at_end()
    assert accepted(application).close_code == 1005


def test_closing_with_a_reason(client: RawClient, application: Application) -> None:
    """The server waits for the answer, then ends the connection first."""
    client.open_websocket()
    websocket = accepted(application)
    closing = gevent.spawn(websocket.close, 1008, "ConsumerTooSlow")
    assert client.read_frame() == Frame(CLOSE, (1008).to_bytes(2, "big") + b"ConsumerTooSlow")
    assert websocket.closed
    assert not closing.ready()
    client.send_frame(CLOSE, (1008).to_bytes(2, "big"))
    assert client.at_end()
    closing.get(timeout=5)
    assert websocket.close_code == 1008


def test_a_long_reason_is_cut_at_a_character(client: RawClient, application: Application) -> None:
    client.open_websocket()
    accepted(application).begin_close(1008, "ü" * 100)
    assert client.read_frame().payload[2:].decode() == "ü" * 61


def test_a_client_that_does_not_answer_a_close_is_cut_off(client: RawClient, application: Application) -> None:
    client.open_websocket()
    accepted(application).begin_close(1012)
    assert client.read_frame().close_code() == 1012
    assert client.at_end()
    assert application.ended.wait(5)


def test_a_client_is_cut_off_even_where_the_handler_does_not_notice(
    client: RawClient, application: Application
) -> None:
    client.open_websocket("/stream?mode=stuck")
    accepted(application).begin_close(1012)
    assert client.read_frame().close_code() == 1012
    assert client.at_end()
    assert not application.ended.is_set()


def test_both_sides_close_at_once(client: RawClient, application: Application) -> None:
    client.open_websocket()
    accepted(application).begin_close(1001)
    client.send_frame(CLOSE, (1000).to_bytes(2, "big"))
    assert client.read_frame().close_code() == 1001
    assert client.at_end()


def test_nothing_follows_a_close_frame(client: RawClient, application: Application) -> None:
    client.open_websocket()
    websocket = accepted(application)
    websocket.begin_close(1001)
    with pytest.raises(WebSocketClosedError):
        websocket.send_binary(b"too late")
    websocket.ping()
    websocket.begin_close(1000)
    assert client.read_frame().close_code() == 1001
    client.send_frame(PING)
    client.send_frame(CLOSE)
    assert client.at_end()


def test_a_handler_that_returns_closes_with_1000(client: RawClient) -> None:
    client.open_websocket("/stream?mode=leave")
    assert client.read_frame() == Frame(BINARY, b"bye")
    assert client.read_frame().close_code() == 1000


def test_a_handler_that_crashes_closes_with_1011(client: RawClient) -> None:
    client.open_websocket("/stream?mode=crash")
    assert client.read_frame().close_code() == 1011


def test_a_client_that_vanishes_wakes_the_handler(client: RawClient, application: Application) -> None:
    client.open_websocket()
    websocket = accepted(application)
    told: list[bool] = []
    websocket.on_closed = lambda: told.append(websocket.closed)
    client.sock.close()
    assert websocket.wait_closed(5)
    assert application.ended.wait(5)
    assert told == [True]
    assert websocket.close_code == 1006


def test_on_closed_is_called_once_for_an_orderly_end(client: RawClient, application: Application) -> None:
    client.open_websocket()
    websocket = accepted(application)
    told: list[bool] = []
    websocket.on_closed = lambda: told.append(True)
    client.send_frame(CLOSE)
    assert client.read_frame().opcode == CLOSE
    assert client.at_end()
    websocket.abort()
    assert told == [True]
