"""The real gunicorn with the real configuration file, and a small application with all the hooks."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
import websocket
from websockets.sync.client import connect

from tests.support.ws_process import GUNICORN_CONF, ServerProcess, wait_gone
from tests.support.ws_raw_client import RawClient
from tools.relay_process import free_port
from zlay_py.eventlog.lock import OwnerLock


@pytest.fixture
def gunicorn(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess.gunicorn(tmp_path) as process:
        yield process


def test_websocket_client_is_served(gunicorn: ServerProcess) -> None:
    """websocket-client: handshake, a message, a close with code and reason."""
    client = websocket.create_connection(f"ws://127.0.0.1:{gunicorn.wait_port()}/stream?mode=hello", timeout=10)
    assert "atproto-relay" in (client.getheaders() or {})["server"]
    assert client.recv() == b"hello"
    client.ping("x")
    assert client.recv_data(control_frame=True) == (10, b"x")
    client.send_close(3001, b"enough")
    assert client.recv_data() == (8, (3001).to_bytes(2, "big"))
    client.shutdown()  # type: ignore[no-untyped-call]


def test_websockets_is_served(gunicorn: ServerProcess) -> None:
    """`websockets` offers compression, which is declined, and checks the close handshake strictly."""
    with connect(f"ws://127.0.0.1:{gunicorn.wait_port()}/stream?mode=hello", open_timeout=10) as client:
        assert client.recv(timeout=10) == b"hello"
        assert client.ping("x").wait(10)
        client.close(3001, "enough")
    assert client.close_code == 3001


def test_http_beside_it(gunicorn: ServerProcess) -> None:
    """Bad first requests too: gunicorn's own log_request dies on them."""
    port = gunicorn.wait_port()
    for _ in range(3):
        with RawClient(port) as client:
            client.send(b"\x16\x03\x01 not HTTP at all\r\n\r\n")
            assert client.read_response().status == 400
    with RawClient(port) as client:
        assert client.request("POST /upper HTTP/1.1", body=b"x").body == b"X"
        assert client.request("GET /stream HTTP/1.1").status == 426
    assert "Traceback" not in gunicorn.log


def test_term_with_open_websockets(gunicorn: ServerProcess) -> None:
    """Each is told 1012, one that never answers delays nothing for long, the exit status is 0."""
    port = gunicorn.wait_port()
    clients = [RawClient(port) for _ in range(50)]
    for client in clients:
        client.open_websocket("/stream?mode=hello")
        assert client.read_frame().payload == b"hello"
    with RawClient(port) as idle, gevent.Timeout(10):
        assert idle.request("POST /upper HTTP/1.1", body=b"x").status == 200
        gunicorn.send(signal.SIGTERM)
        for client in clients:
            assert client.read_frame().close_code() == 1012
        for client in clients[1:]:
            client.send_frame(8, (1012).to_bytes(2, "big"))
        assert all(client.at_end() for client in clients)
        assert idle.at_end()
        assert gunicorn.wait_exit() == 0
    assert gunicorn.events() == ["start", "started", "begin_shutdown", "finish_shutdown"]
    assert "Worker exiting" in gunicorn.log
    assert "Traceback" not in gunicorn.log
    for client in clients:
        client.sock.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_quick_end_still_finishes(gunicorn: ServerProcess, number: signal.Signals) -> None:
    """Sooner than a request under way would be waited for after TERM (a fifth of 29 s)."""
    port = gunicorn.wait_port()
    with RawClient(port) as client, RawClient(port) as slow:
        slow.send(b"POST /upper HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
        client.open_websocket()
        with gevent.Timeout(5):
            gunicorn.send(number)
            assert client.read_frame().close_code() == 1012
            assert gunicorn.wait_exit() == 0
    assert gunicorn.events()[-2:] == ["begin_shutdown", "finish_shutdown"]


def test_a_local_error_at_start_halts_the_master(tmp_path: Path) -> None:
    """One line that says what to do, no second worker."""
    with ServerProcess.gunicorn(tmp_path, ZLAY_TEST_START="local_error") as process:
        assert process.wait_exit() == 3
        assert process.log.count("zlay_py can't start: evts-1 is not what we wrote at offset 28") == 1
        assert process.events() == ["start", "finish_shutdown"]


def test_a_bug_at_start_halts_the_master(tmp_path: Path) -> None:
    with ServerProcess.gunicorn(tmp_path, ZLAY_TEST_START="bug") as process:
        assert process.wait_exit() == 3
        assert "KeyError" in process.log
        assert process.events().count("start") == 1


def test_term_while_the_start_waits(tmp_path: Path) -> None:
    with ServerProcess.gunicorn(tmp_path, ZLAY_TEST_START="blocks") as process:
        process.wait_event("start")
        process.send(signal.SIGTERM)
        assert process.wait_exit() == 0
        assert process.events() == ["start", "begin_shutdown", "finish_shutdown"]


def test_a_long_start_keeps_its_heartbeat(tmp_path: Path) -> None:
    """The master would abort a worker that is silent for `timeout`; connections wait meanwhile."""
    with ServerProcess.gunicorn(tmp_path, "--timeout", "1", ZLAY_TEST_START="slow") as process:
        with RawClient(process.wait_port()) as client:
            assert client.request("POST /upper HTTP/1.1", body=b"x").body == b"X"
        assert len(process.worker_pids()) == 1


def test_a_worker_whose_master_is_killed_ends_in_order(gunicorn: ServerProcess) -> None:
    with RawClient(gunicorn.wait_port()) as client:
        client.open_websocket()
        (worker,) = gunicorn.worker_pids()
        gunicorn.send(signal.SIGKILL)
        assert client.read_frame().close_code() == 1012
    gunicorn.wait_event("finish_shutdown")
    wait_gone(worker)


def test_hup_replaces_the_worker(gunicorn: ServerProcess) -> None:
    port = gunicorn.wait_port()
    with RawClient(port) as client:
        client.open_websocket()
        gunicorn.send(signal.SIGHUP)
        assert client.read_frame().close_code() == 1012
    gunicorn.wait_event("finish_shutdown")
    gunicorn.wait_event("started", 2)
    old, new = gunicorn.worker_pids()
    wait_gone(old)
    with RawClient(port) as client:
        client.open_websocket("/stream?mode=hello")
        assert client.read_frame().payload == b"hello"
    assert gunicorn.worker_pids() == [old, new]
    gunicorn.send(signal.SIGTERM)
    assert gunicorn.wait_exit() == 0


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("RELAY_LOG_LEVEL=loud", "RELAY_LOG_LEVEL='loud'"),
        ("RELAY_LOG_LEVLE=info", "RELAY_LOG_LEVLE in .env is no setting"),
        ("RELAY_DATA_DIR=elsewhere", "RELAY_DATA_DIR can't change while the relay runs"),
    ],
)
def test_a_bad_setting_on_hup_changes_nothing(tmp_path: Path, line: str, complaint: str) -> None:
    environment = {"RELAY_DATA_DIR": ""} if "DATA_DIR" in line else {}
    (tmp_path / ".env").write_text("RELAY_DATA_DIR=data\n" if environment else "")
    with ServerProcess.gunicorn(tmp_path, **environment) as process, RawClient(process.wait_port()) as client:
        client.open_websocket()
        workers = process.worker_pids()
        (tmp_path / ".env").write_text(line + "\n")
        process.send(signal.SIGHUP)
        process.wait_log("The running configuration stays")
        assert complaint in process.log
        client.send_frame(9, b"still there?")
        assert client.read_frame().payload == b"still there?"
        assert process.worker_pids() == workers
        (tmp_path / ".env").write_text("RELAY_DATA_DIR=data\n" if environment else "RELAY_LOG_LEVEL=debug\n")
        process.send(signal.SIGHUP)
        assert client.read_frame().close_code() == 1012
        process.wait_event("started", 2)
        process.send(signal.SIGTERM)
        assert process.wait_exit() == 0


def test_a_broken_configuration_file_on_hup_changes_nothing(tmp_path: Path) -> None:
    """gunicorn itself would exit, and leave its workers behind."""
    conf = tmp_path / "conf.py"
    conf.write_text(GUNICORN_CONF.read_text())
    with ServerProcess.gunicorn(tmp_path, conf=str(conf)) as process, RawClient(process.wait_port()) as client:
        client.open_websocket()
        conf.write_text("bind = (")
        process.send(signal.SIGHUP)
        process.wait_log("The running configuration stays")
        client.send_frame(9, b"still there?")
        assert client.read_frame().payload == b"still there?"
        conf.write_text(GUNICORN_CONF.read_text())
        process.send(signal.SIGHUP)
        assert client.read_frame().close_code() == 1012
        process.send(signal.SIGTERM)
        assert process.wait_exit() == 0


def test_a_bad_setting_at_start_is_one_line_and_status_2(tmp_path: Path) -> None:
    with ServerProcess.gunicorn(tmp_path, RELAY_LOG_LEVEL="loud") as process:
        assert process.wait_exit() == 2
        (line,) = process.log.splitlines()
        assert "RELAY_LOG_LEVEL='loud'" in line
        assert process.events() == []


def test_a_stranger_that_owns_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    lock = OwnerLock(tmp_path / "data")
    lock.acquire()
    with ServerProcess.gunicorn(tmp_path, "--pid", "pid") as process:
        assert process.wait_exit() == 2
        assert f"held by process {os.getpid()}" in process.log.splitlines()[-1]
        assert process.events() == []
        assert not (tmp_path / "pid").exists()
    lock.release()


@pytest.mark.parametrize("named", [True, False], ids=["named-port", "any-port"])
def test_a_usr2_successor_waits_for_its_predecessor(tmp_path: Path, named: bool) -> None:
    """New code without a refused connection: the old one serves until it is told to end, then the new one does."""
    port = free_port() if named else 0
    with ServerProcess.gunicorn(tmp_path, RELAY_PORT=str(port)) as gunicorn:
        assert gunicorn.wait_port() == port or not named
        succeed(gunicorn)


def succeed(gunicorn: ServerProcess) -> None:
    port = gunicorn.wait_port()
    gunicorn.send(signal.SIGUSR2)
    gunicorn.wait_log(f"waiting for master {gunicorn.pid} to let go")
    with RawClient(port) as client:
        client.open_websocket("/stream?mode=hello")
        assert client.read_frame().payload == b"hello"
        gunicorn.send(signal.SIGTERM)
        assert client.read_frame().close_code() == 1012
    assert gunicorn.wait_exit() == 0
    gunicorn.wait_event("started", 2)
    with RawClient(port) as client:
        assert client.request("POST /upper HTTP/1.1", body=b"x").body == b"X"
    new_worker = gunicorn.worker_pids()[-1]
    stat = Path(f"/proc/{new_worker}/stat").read_text().rpartition(")")[2].split()
    os.kill(int(stat[1]), signal.SIGTERM)
    gunicorn.wait_event("finish_shutdown", 2)
    wait_gone(int(stat[1]))


def test_tls_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cert").touch()
    with ServerProcess.gunicorn(tmp_path, "--certfile", "cert", "--keyfile", "cert") as process:
        assert process.wait_exit() == 2
        assert "TLS ends at the reverse proxy" in process.log
