"""Consumers over real sockets: how they leave, and how they are sent away."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest
from gevent.event import Event
from structlog.testing import capture_logs

from tests.fanout.streams import WAIT_S_MAX, Stream
from tests.support.ws_raw_client import Frame, RawClient
from tests.support.ws_server import BINARY, CLOSE
from zlay_py.net.http_server import HttpServer
from zlay_py.net.websocket_handshake import WebSocketRunner
from zlay_py.net.websocket_server import ServerWebSocket, WebSocketLimits

LIMITS = WebSocketLimits(send_buffer_bytes=64 * 1024)
AT_ONCE_S = 2.0
"""Far below the 30 s after which a ping would find out."""


class Application:
    """Every upgrade becomes a consumer with cursor 0."""

    def __init__(self, stream: Stream) -> None:
        self.connected: list[ServerWebSocket] = []
        self.ended = Event()
        self._stream = stream

    def upgrade_gate(self, _: dict[str, Any]) -> WebSocketRunner:
        def run(websocket: ServerWebSocket) -> None:
            self.connected.append(websocket)
            try:
                self._stream.broadcaster.serve(websocket, 0, remote="test", user_agent="test")
            finally:
                self.ended.set()

        return run

    def __call__(self, _: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("404 Not Found", [])
        return []


@pytest.fixture
def application(stream: Stream) -> Application:
    return Application(stream)


@pytest.fixture
def server(application: Application, capfd: pytest.CaptureFixture[str]) -> Iterator[HttpServer]:
    """Stopped at the end; and then nothing was said of a failure, by us or by gevent."""
    server = HttpServer(("127.0.0.1", 0), application, websocket_limits=LIMITS)
    server.start()
    with capture_logs() as lines:
        yield server
        server.stop(timeout=5)
    assert [line for line in lines if line["log_level"] in ("error", "critical")] == []
    assert "Traceback" not in capfd.readouterr().err
    assert not server.websockets


@contextmanager
def consumer(server: HttpServer, receive_buffer_bytes: int | None = None) -> Iterator[RawClient]:
    assert server.server_port
    with RawClient(server.server_port, receive_buffer_bytes) as client:
        client.open_websocket()
        yield client


def until(condition: Callable[[], object]) -> None:
    with gevent.Timeout(WAIT_S_MAX):
        while not condition():
            gevent.sleep(0)


def test_at_a_stop_who_is_blocked_in_a_send_is_told_to_come_back(
    stream: Stream, application: Application, server: HttpServer
) -> None:
    stream.append(1000, pad=5000)
    with consumer(server, receive_buffer_bytes=16 * 1024) as client:
        until(lambda: application.connected and application.connected[0].bytes_pending)
        stream.broadcaster.close_all()
        assert application.ended.wait(WAIT_S_MAX)
        last = client.read_frame()
        while last.opcode == BINARY:
            last = client.read_frame()
        assert (last.opcode, last.close_code(), client.at_end()) == (CLOSE, 1012, True)


def test_at_a_stop_who_waits_is_told_to_come_back(stream: Stream, application: Application, server: HttpServer) -> None:
    stream.append(1)
    with consumer(server) as client:
        assert client.read_frame().opcode == BINARY
        until(lambda: application.connected[0].on_closed)
        stream.broadcaster.close_all()
        assert client.read_frame().close_code() == 1012
        assert application.ended.wait(AT_ONCE_S)


def test_an_event_and_the_stop_at_the_same_moment(stream: Stream, application: Application, server: HttpServer) -> None:
    """The event wakes the consumer before the end of its connection does, which then must not hit it elsewhere."""
    stream.append(1)
    with consumer(server) as client:
        assert client.read_frame().opcode == BINARY
        until(lambda: application.connected[0].on_closed)
        stream.append(1)
        stream.broadcaster.close_all()
        assert client.read_frame().close_code() == 1012
        assert application.ended.wait(AT_ONCE_S)


def test_who_leaves_while_nothing_happens_is_gone_at_once(
    stream: Stream, application: Application, server: HttpServer
) -> None:
    stream.append(1)
    with consumer(server) as client:
        assert client.read_frame().opcode == BINARY
        until(lambda: application.connected[0].on_closed)
    assert application.ended.wait(AT_ONCE_S)
    until(lambda: not server.websockets)
    assert len(stream.broadcaster) == 0


def test_who_says_goodbye_while_nothing_happens_is_gone_at_once(
    stream: Stream, application: Application, server: HttpServer
) -> None:
    with consumer(server) as client:
        until(lambda: application.connected and application.connected[0].on_closed)
        client.send_frame(CLOSE, (1001).to_bytes(2, "big"))
        assert client.read_frame() == Frame(CLOSE, (1001).to_bytes(2, "big"))
        assert client.at_end()
    assert application.ended.wait(AT_ONCE_S)
    assert len(stream.broadcaster) == 0
