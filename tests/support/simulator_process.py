"""The simulator as a process of its own: its addresses, its control port, its end."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import gevent

from tools.simulator.servers.server import Server

ROOT = Path(__file__).resolve().parents[2]
READY_S_MAX = 60.0
END_S_MAX = 20.0


def run_simulator(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """For a command that ends by itself."""
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=READY_S_MAX)


def free_base_port() -> int:
    """With two free ports above it, as far as one can know."""
    while True:
        first = Server()
        following: list[Server] = []
        try:
            following = [Server(first.port + 1), Server(first.port + 2)]
        except OSError:
            continue
        else:
            return first.port
        finally:
            for server in (first, *following):
                server.stop()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tools.simulator", *arguments]


class SimulatorProcess:
    """`python -m tools.simulator` with these arguments. `ready`: the line that it printed. Ends at the latest with the
    context."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.ready: dict[str, Any] = {}

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        with gevent.Timeout(READY_S_MAX):
            line = self._process.stdout.readline()
        if not line:
            raise AssertionError(self._process.stderr.read())
        self.ready = json.loads(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    @property
    def plc_url(self) -> str:
        return str(self.ready["plc"])

    @property
    def hosts(self) -> list[str]:
        """Their names, `localhost:PORT`."""
        return list(self.ready["hosts"])

    def subscribe_url(self, host: int = 0) -> str:
        origin = str(self.ready["origins"][host]).replace("http", "ws", 1)
        return f"{origin}/xrpc/com.atproto.sync.subscribeRepos"

    def get(self, path: str) -> Any:
        """From the control port."""
        with urllib.request.urlopen(self.ready["control"] + path, timeout=END_S_MAX) as response:
            return json.load(response)

    def post(self, path: str, body: object) -> tuple[int, Any]:
        """Status and answer of the control port."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.ready["control"] + path, data=data, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=END_S_MAX) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def fail(self, target: str, fault: str, **numbers: float) -> None:
        status, answer = self.post("/faults", {"target": target, "fault": fault, **numbers})
        assert status == 200, answer

    def clear(self, target: str, fault: str = "all") -> None:
        status, answer = self.post("/faults", {"target": target, "clear": fault})
        assert status == 200, answer

    def play(self, rate: float | None = None) -> None:
        status, answer = self.post("/play", {"rate": rate})
        assert status == 200, answer

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait_end(self) -> tuple[int, str]:
        """Exit status and what it wrote to its standard error."""
        _, errors = self._process.communicate(timeout=END_S_MAX)
        return self._process.returncode, errors

    def stop(self) -> tuple[int, str]:
        """By the control port."""
        status, answer = self.post("/stop", {})
        assert status == 200, answer
        return self.wait_end()
