"""The relay as an operator runs it: gunicorn in a process of its own, on free ports, on the data of one folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event

ROOT = Path(__file__).resolve().parents[1]
START_S_MAX = 40.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RelayProcess:
    """One relay at a time over `folder`; `start` after `kill` or `stop` goes on with the same data."""

    def __init__(self, folder: Path, plc_url: str, hosts: list[str], **settings: str) -> None:
        self.folder = folder
        self.log = folder / "relay.log"
        self.port, self.metrics_port = free_port(), free_port()
        self.env = {
            "RELAY_PORT": str(self.port),
            "RELAY_METRICS_PORT": str(self.metrics_port),
            "RELAY_BIND": "127.0.0.1",
            "RELAY_METRICS_BIND": "127.0.0.1",
            "RELAY_UPSTREAM": "",
            "RELAY_HOSTS": ",".join(hosts),
            "RELAY_ALLOW_LOCAL_HOSTS": "true",
            "RELAY_PLC_URL": plc_url,
            "RELAY_DATA_DIR": str(folder / "events"),
            "RELAY_VALIDATION": "strict",
            "RELAY_LOG_LEVEL": "debug",
            "RELAY_LOG_FORMAT": "json",
            **settings,
        }
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/xrpc/com.atproto.sync.subscribeRepos"

    @property
    def worker_pid(self) -> int:
        """Of the process that does the work: the master's only child."""
        assert self._child is not None
        [worker] = Path(f"/proc/{self._child.pid}/task/{self._child.pid}/children").read_text().split()
        return int(worker)

    def start(self) -> None:
        """Returns when `/_ready` says so. Fails with the end of the log when the process ends before."""
        self._spawn()
        assert self._child is not None
        pause = Event()
        with gevent.Timeout(START_S_MAX):
            while not self._ready():
                assert self._child.poll() is None, self.log.read_text()[-4000:]
                pause.wait(0.05)  # there is no other way to learn that another process listens

    def run_to_the_end(self) -> int:
        """For a start that must fail. Returns the exit status."""
        self._spawn()
        assert self._child is not None
        status = self._child.wait(START_S_MAX)
        self._child = None
        return status

    def _spawn(self) -> None:
        command = [str(Path(sys.executable).with_name("gunicorn")), "-c", "conf/gunicorn.conf.py", "zlay_py.app:app"]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                command, cwd=ROOT, env=clean | self.env, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        """SIGKILL to master and worker at once: nothing gets to finish."""
        assert self._child is not None
        os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._child = None

    def stop(self, timeout_s: float = 30.0) -> int:
        """SIGTERM to the master. Returns the exit status."""
        assert self._child is not None
        self._child.terminate()
        status = self._child.wait(timeout_s)
        self._child = None
        return status

    def close(self) -> None:
        if self._child is not None:
            self.kill()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as response:
            return json.load(response)

    def metrics(self) -> dict[str, float]:
        """Value by series, as the scraper sees them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as response:
            lines = response.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def lines(self) -> list[dict[str, Any]]:
        """The log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def drops(self) -> list[dict[str, Any]]:
        """What the log says was dropped, in order."""
        return [line for line in self.lines() if line["event"] == "dropped"]

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/_ready", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False
