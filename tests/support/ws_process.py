"""A server in a process of its own: gunicorn or `serve`, its log in a file, its hooks' events in another."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import gevent

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent
GUNICORN_CONF = PROJECT_ROOT / "conf" / "gunicorn.conf.py"
TARGET = "tests.support.ws_gunicorn_app:app"
TIMEOUT_S = 20.0
"""A process that is slower than this to do what it is waited for has failed."""
POLL_S = 0.02


class ServerProcess:
    """Runs in `folder`, which holds `.env`, the data directory, the log and the events.

    A variable that is given as empty text is left out of the environment.
    """

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.log_path = folder / "log"
        self.events_path = folder / "events"
        self.events_path.touch()
        known = {name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "GUNICORN"))}
        settings = {"RELAY_BIND": "127.0.0.1", "RELAY_PORT": "0", "RELAY_METRICS_PORT": "0", "RELAY_DATA_DIR": "data"}
        own = {"PYTHONPATH": str(PROJECT_ROOT), "ZLAY_TEST_EVENTS": str(self.events_path)}
        given = {name: value for name, value in {**known, **settings, **own, **environment}.items() if value}
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env=given,
                stdout=log,
                stderr=log,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for pid in {self.pid, *self.worker_pids()}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()

    @classmethod
    def gunicorn(
        cls, folder: Path, *arguments: str, conf: str = str(GUNICORN_CONF), **environment: str
    ) -> "ServerProcess":
        """By its script: a master started as `python -m gunicorn` can't start itself again on USR2."""
        script = Path(sys.executable).parent / "gunicorn"
        return cls(folder, str(script), "-c", conf, *arguments, TARGET, **environment)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def events(self) -> list[str]:
        """Names of the hooks called so far, in order, of all workers."""
        return [line.split(" ")[1] for line in self.events_path.read_text().splitlines()]

    def worker_pids(self) -> list[int]:
        """Every worker that has called a hook, in order of their first."""
        return list(dict.fromkeys(int(line.split(" ")[0]) for line in self.events_path.read_text().splitlines()))

    def wait_port(self) -> int:
        """Until it listens. Connections wait in the backlog until the application has started."""
        found = self.wait_log(r'(?:Listening at: http://127\.0\.0\.1:|"port": )(\d+)')
        return int(found[1])

    def wait_event(self, name: str, count: int = 1) -> None:
        self._wait(lambda: self.events().count(name) >= count, f"event {name}")

    def wait_log(self, pattern: str) -> re.Match[str]:
        self._wait(lambda: re.search(pattern, self.log) is not None, f"log line {pattern}")
        found = re.search(pattern, self.log)
        assert found is not None
        return found

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait_exit(self) -> int:
        """The exit status."""
        self._wait(lambda: self._process.poll() is not None, "exit")
        return self._process.wait()

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        try:
            with gevent.Timeout(TIMEOUT_S):
                while not condition():
                    gevent.sleep(POLL_S)
        except gevent.Timeout:
            raise TimeoutError(f"no {what} after {TIMEOUT_S:g} s; log:\n{self.log}") from None


def wait_gone(pid: int) -> None:
    """Until no process has this id (one that is no child of ours)."""
    with gevent.Timeout(TIMEOUT_S, TimeoutError(f"process {pid} is still there")):
        while Path(f"/proc/{pid}").exists():
            gevent.sleep(POLL_S)
