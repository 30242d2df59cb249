"""Who is silent: a consumer has nothing to say, unless it is asked."""

from collections.abc import Callable
from typing import cast

import gevent
import pytest

from tests.fanout.streams import WAIT_S_MAX, FakeSocket, Stream
from tests.support.net_clients import HandClock
from zlay_py.fanout.consumer import SILENT_S_MAX, Consumer
from zlay_py.net.websocket_server import ServerWebSocket

BETWEEN_PINGS_S = 31.0


class IdleSocket(FakeSocket):
    """A connection on which nothing is sent. `on_ping` gets the number of each ping."""

    def __init__(self, clock: HandClock, on_ping: Callable[[int], None]) -> None:
        super().__init__(after=1)
        self.last_heard_s = clock.now_s
        self.pings = 0
        self.aborted = False
        self._on_ping = on_ping

    def ping(self) -> None:
        self.pings += 1
        self._on_ping(self.pings)

    def abort(self) -> None:
        self.aborted = self.closed = True


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def run(stream: Stream, clock: HandClock, socket: IdleSocket) -> None:
    """As long as it takes until the socket is closed. A ping is due at once instead of after 30 s."""
    consumer = Consumer(
        stream.log,
        stream.tail,
        clock,
        cast(ServerWebSocket, socket),
        id=1,
        remote="test",
        user_agent="test",
        connected_us=0,
        cursor=None,
        ping_after_s=0.001,
    )
    with gevent.Timeout(WAIT_S_MAX):
        consumer.run()


def test_who_had_no_reason_to_speak_is_asked_first(stream: Stream, clock: HandClock) -> None:
    """An hour of events, and then nothing."""

    def leave(_: int) -> None:
        socket.closed = True

    socket = IdleSocket(clock, leave)
    clock.now_s += 3600
    run(stream, clock, socket)
    assert (socket.pings, socket.aborted) == (1, False)


def test_who_answers_is_kept(stream: Stream, clock: HandClock) -> None:
    def answer(number: int) -> None:
        socket.last_heard_s = clock.now_s + 1
        clock.now_s += BETWEEN_PINGS_S
        socket.closed = number == 20

    socket = IdleSocket(clock, answer)
    run(stream, clock, socket)
    assert (socket.pings, socket.aborted) == (20, False)


@pytest.mark.parametrize("answered", [0, 5])
def test_who_does_not_answer_any_more_is_given_up(stream: Stream, clock: HandClock, answered: int) -> None:
    def answer(number: int) -> None:
        if number <= answered:
            socket.last_heard_s = clock.now_s + 1
        clock.now_s += BETWEEN_PINGS_S

    socket = IdleSocket(clock, answer)
    started_s = clock.now_s
    run(stream, clock, socket)
    assert socket.aborted
    silent_s = clock.now_s - started_s - answered * BETWEEN_PINGS_S
    assert SILENT_S_MAX <= silent_s < SILENT_S_MAX + BETWEEN_PINGS_S
