"""Start and end in order, with hooks that misbehave."""

import gevent
import pytest

from tests.support.ws_application import Application
from tests.support.ws_raw_client import RawClient
from zlay_py.clock import SystemClock
from zlay_py.errors import CorruptionError
from zlay_py.net.http_server import HttpServer
from zlay_py.workers.lifecycle import Shutdown, run_with_heartbeat


class BadApplication(Application):
    """Hooks that fail or hang, by name."""

    def __init__(self, bad: str = "", failure: str = "") -> None:
        super().__init__()
        self._bad = bad
        self._failure = failure

    def begin_shutdown(self) -> None:
        super().begin_shutdown()
        self._misbehave("begin")

    def finish_shutdown(self) -> None:
        super().finish_shutdown()
        self._misbehave("finish")

    def _misbehave(self, hook: str) -> None:
        if hook == self._bad:
            if self._failure == "hangs":
                gevent.sleep(3600)
            raise CorruptionError("on purpose")


def never() -> bool:
    return False


def nothing() -> None:
    return


@pytest.fixture
def beats() -> list[int]:
    return []


def test_work_runs_beside_the_heartbeat(beats: list[int]) -> None:
    done: list[bool] = []

    def work() -> None:
        while len(beats) < 3:
            gevent.sleep(0.01)
        done.append(True)

    assert run_with_heartbeat(work, lambda: beats.append(1), never)
    assert done == [True]


def test_what_work_raises_comes_out() -> None:
    def work() -> None:
        raise CorruptionError("on purpose")

    with pytest.raises(CorruptionError, match="on purpose"):
        run_with_heartbeat(work, nothing, never)


def test_work_that_is_given_up_is_killed() -> None:
    cleaned: list[bool] = []

    def work() -> None:
        try:
            gevent.sleep(3600)
        finally:
            cleaned.append(True)

    assert not run_with_heartbeat(work, nothing, lambda: True)
    assert cleaned == [True]


@pytest.mark.parametrize(("bad", "failure"), [("", ""), ("begin", "raises"), ("begin", "hangs"), ("finish", "hangs")])
def test_the_end_comes_in_order_and_in_time(bad: str, failure: str) -> None:
    """Consumers are told 1012 even where the application's own hook fails or hangs; finish is always called."""
    application = BadApplication(bad, failure)
    server = HttpServer(("127.0.0.1", 0), application)
    server.start()
    assert server.server_port
    with RawClient(server.server_port) as client, gevent.Timeout(10):
        client.open_websocket()
        ending = gevent.spawn(Shutdown(application, SystemClock(), 2.0, nothing).run, [server])
        assert client.read_frame().close_code() == 1012
        client.send_frame(8, (1012).to_bytes(2, "big"))
        assert client.at_end()
        ending.get()
    assert application.events == ["begin_shutdown", "finish_shutdown"]
    assert server.wait_drained(0)


def test_a_failure_at_the_end_is_not_hidden() -> None:
    with pytest.raises(CorruptionError):
        Shutdown(BadApplication("finish", "raises"), SystemClock(), 2.0, nothing).run([])


def test_hurry_cuts_the_drain_short() -> None:
    """A request that would have been given its time is cut off."""
    application = Application()
    server = HttpServer(("127.0.0.1", 0), application)
    server.start()
    assert server.server_port
    with RawClient(server.server_port) as client, gevent.Timeout(10):
        client.send(b"POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
        while not server.body_budget.bytes_used:
            gevent.sleep(0)
        shutdown = Shutdown(application, SystemClock(), 1000.0, nothing)
        shutdown.hurry(0.0)
        shutdown.run([server])
        assert client.at_end()
    assert application.events == ["begin_shutdown", "finish_shutdown"]
