"""`serve`, the relay without gunicorn, in a process of its own."""

import signal
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from tests.support.ws_process import ServerProcess
from tests.support.ws_raw_client import RawClient
from zlay_py.workers.pywsgi_server import listen

SCRIPT = """
import sys
from gevent import monkey
monkey.patch_all()
from tests.support.ws_gunicorn_app import app
from zlay_py import logs
from zlay_py.settings import load_settings
from zlay_py.workers.pywsgi_server import serve
logs.configure(load_settings())
sys.exit(serve(app, sys.argv[1], int(sys.argv[2])))
"""


def start(folder: Path, *, port: int = 0, **environment: str) -> ServerProcess:
    return ServerProcess(folder, "-c", SCRIPT, "127.0.0.1", str(port), **environment)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ServerProcess]:
    with start(tmp_path) as process:
        yield process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_it_serves_and_ends_in_order(process: ServerProcess, number: signal.Signals) -> None:
    with RawClient(process.wait_port()) as client, gevent.Timeout(10):
        assert client.request("POST /upper HTTP/1.1", body=b"x").body == b"X"
        client.open_websocket("/stream?mode=hello")
        assert client.read_frame().payload == b"hello"
        process.send(number)
        assert client.read_frame().close_code() == 1012
        assert process.wait_exit() == 0
    assert process.events() == ["start", "started", "begin_shutdown", "finish_shutdown"]
    assert "Traceback" not in process.log


def test_a_failed_start_is_one_line_and_a_status(tmp_path: Path) -> None:
    with start(tmp_path, ZLAY_TEST_START="local_error") as process:
        assert process.wait_exit() == 3
        assert process.log.count("zlay_py: evts-1 is not what we wrote") == 1
        assert "Traceback" not in process.log
        assert process.events()[-1] == "finish_shutdown"


def test_a_signal_during_the_start(tmp_path: Path) -> None:
    with start(tmp_path, ZLAY_TEST_START="blocks") as process:
        process.wait_event("start")
        process.send(signal.SIGTERM)
        assert process.wait_exit() == 0
        assert process.events() == ["start", "begin_shutdown", "finish_shutdown"]


def test_a_port_that_is_taken_is_status_2(tmp_path: Path) -> None:
    taken = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    with start(tmp_path, port=port) as process:
        assert process.wait_exit() == 2
        assert f"can't listen on 127.0.0.1:{port}" in process.log
        assert process.events() == []
    taken.close()
