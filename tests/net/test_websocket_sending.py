"""The serving end of a WebSocket over real sockets: sending, backpressure, and what a connection keeps."""

import gc
from collections.abc import Iterator
from dataclasses import replace

import gevent
import pytest
from gevent import socket

from tests.support.ws_application import Application
from tests.support.ws_raw_client import Frame, RawClient, encode_client_frame
from tests.support.ws_server import BINARY, CLOSE, LIMITS, PING, PONG, accepted, running_server
from zlay_py.clock import SystemClock
from zlay_py.net.http_server import HttpServer
from zlay_py.net.websocket_frames import Opcode, encode_frame
from zlay_py.net.websocket_handler import WebSocketUpgradeHandler
from zlay_py.net.websocket_server import ServerWebSocket, WebSocketClosedError


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


def test_large_frames_arrive_whole(client: RawClient, application: Application) -> None:
    client.open_websocket()
    websocket = accepted(application)
    sizes = [0, 125, 126, 65_535, 65_536, 5_000_000]

    def send_all() -> None:
        for index, size in enumerate(sizes):
            websocket.send_binary(bytes([index]) * size)

    sending = gevent.spawn(send_all)
    for index, size in enumerate(sizes):
        assert client.read_frame() == Frame(BINARY, bytes([index]) * size)
    sending.get(timeout=5)
    assert websocket.bytes_pending == 0
    assert websocket.bytes_sent == sum(len(encode_frame(Opcode.BINARY, bytes(size))) for size in sizes)


def test_several_frames_in_one_send(client: RawClient, application: Application) -> None:
    client.open_websocket()
    frames = b"".join(encode_client_frame(BINARY, b"%d" % number, masked=False) for number in range(20))
    accepted(application).send_raw(frames)
    assert [client.read_frame().payload for _ in range(20)] == [b"%d" % number for number in range(20)]


def read_flood(client: RawClient, frames: int) -> list[Frame]:
    """Reads frames of the mode `flood`, checks each, returns the other ones."""
    others = []
    number = 0
    while number < frames:
        frame = client.read_frame()
        if frame.opcode == BINARY:
            assert frame.payload == bytes([number % 251]) * 100_000, f"frame {number} is corrupt"
            number += 1
        else:
            others.append(frame)
    return others


def wait_until_blocked(websocket: ServerWebSocket) -> None:
    """Until the kernel takes no more: some bytes wait, and many turns of the loop have moved none."""
    turns = 0
    while turns < 200:
        before = websocket.bytes_sent
        gevent.sleep(0)
        turns = turns + 1 if websocket.bytes_pending and websocket.bytes_sent == before else 0


def test_control_frames_during_a_blocked_send(server: HttpServer, application: Application) -> None:
    """Pings answered, a ping of ours, and none of it inside a data frame."""
    assert server.server_port
    with RawClient(server.server_port, receive_buffer_bytes=8192) as client:
        client.open_websocket("/stream?mode=flood")
        websocket = accepted(application)
        wait_until_blocked(websocket)
        client.send_frame(PING, b"during")
        client.send_frame(PING, b"again")
        heard_s = websocket.last_heard_s
        while websocket.last_heard_s == heard_s:
            gevent.sleep(0)
        websocket.ping(b"ours")
        websocket.ping(b"ours again")
        others = read_flood(client, 200)
        assert others == [Frame(PONG, b"during"), Frame(PING, b"ours")]
        client.send_frame(PING, b"after")
        others = []
        number = 200
        while not others:
            frame = client.read_frame()
            if frame.opcode == BINARY:
                assert frame.payload == bytes([number % 251]) * 100_000
                number += 1
            else:
                others.append(frame)
        assert others == [Frame(PONG, b"after")]


def test_a_close_during_a_blocked_send_comes_after_the_frame(server: HttpServer, application: Application) -> None:
    """The writer is freed at once; the frame it was sending still arrives whole."""
    server.websocket_limits = replace(LIMITS, close_wait_s=5)
    assert server.server_port
    with RawClient(server.server_port, receive_buffer_bytes=8192) as client:
        client.open_websocket("/stream?mode=flood")
        websocket = accepted(application)
        wait_until_blocked(websocket)
        websocket.begin_close(1012, "the relay restarts")
        assert application.ended.wait(1)
        number = 0
        while (frame := client.read_frame()).opcode == BINARY:
            assert frame.payload == bytes([number % 251]) * 100_000
            number += 1
        assert frame == Frame(CLOSE, (1012).to_bytes(2, "big") + b"the relay restarts")
        client.send_frame(CLOSE, (1012).to_bytes(2, "big"))
        assert client.at_end()


def test_abort_frees_a_blocked_writer(server: HttpServer, application: Application) -> None:
    assert server.server_port
    with RawClient(server.server_port, receive_buffer_bytes=8192) as client:
        client.open_websocket("/stream?mode=flood")
        websocket = accepted(application)
        wait_until_blocked(websocket)
        websocket.abort()
        assert application.ended.wait(1)
        assert websocket.closed
        assert websocket.bytes_pending == 0


def test_a_client_that_takes_nothing_is_given_up(server: HttpServer, application: Application) -> None:
    server.websocket_limits = replace(LIMITS, write_stall_s=0.3)
    assert server.server_port
    with RawClient(server.server_port, receive_buffer_bytes=8192) as client:
        client.open_websocket("/stream?mode=flood")
        assert accepted(application).wait_closed(5)
        assert application.ended.wait(5)


def test_a_slow_client_that_takes_something_is_not_given_up(server: HttpServer, application: Application) -> None:
    """Progress counts, not the time a send takes."""
    server.websocket_limits = replace(LIMITS, write_stall_s=0.4)
    assert server.server_port
    with RawClient(server.server_port, receive_buffer_bytes=8192) as client:
        client.open_websocket()
        websocket = accepted(application)
        sending = gevent.spawn(websocket.send_binary, b"x" * 3_000_000)
        read = 0
        with gevent.Timeout(20):
            while not sending.ready():
                read += len(client.read(60_000))
                gevent.sleep(0.02)
        sending.get()
        assert not websocket.closed


def test_the_socket_options(client: RawClient, application: Application) -> None:
    client.open_websocket()
    raw = accepted(application)._raw
    assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
    assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 64 * 1024


def test_sending_to_a_reset_connection(client: RawClient, application: Application) -> None:
    client.open_websocket()
    websocket = accepted(application)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    client.sock.close()
    assert websocket.wait_closed(5)
    with pytest.raises(WebSocketClosedError):
        websocket.send_binary(b"x" * 1000)
    assert websocket.bytes_pending == 0


def test_the_request_is_freed_while_the_socket_lives(client: RawClient, application: Application) -> None:
    """An idle consumer keeps no environ, no headers and no read buffer of its handshake."""
    client.open_websocket()
    accepted(application)
    handlers = [thing for thing in gc.get_objects() if isinstance(thing, WebSocketUpgradeHandler)]
    (handler,) = [handler for handler in handlers if "websocket" in vars(handler)]
    assert handler.environ is None
    assert handler.reader is None
    assert handler.response_headers is None


def test_a_unix_socket_works_too() -> None:
    """No TCP options there."""
    ours, theirs = socket.socketpair()
    websocket = ServerWebSocket(ours, LIMITS, SystemClock())
    websocket.start(b"")
    websocket.send_binary(b"x")
    assert theirs.recv(100) == b"\x82\x01x"
    theirs.close()
    assert websocket.wait_closed(5)
    ours.close()


def test_a_stopping_server_kills_what_is_left(server: HttpServer, application: Application, client: RawClient) -> None:
    client.open_websocket()
    websocket = accepted(application)
    server.stop(timeout=0.1)
    assert websocket.closed
    assert client.at_end()
