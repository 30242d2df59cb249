"""`relay_app` as a process: started with a plan, watched until it dies of it."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import gevent
from gevent.event import AsyncResult, Event
from gevent.queue import Queue

from tests.crash.plan import Plan
from tests.support.relay_process import RelayProcess

ROOT = Path(__file__).resolve().parents[2]
START_S_MAX = 60.0


class Born:
    """A process that the nursery has made: of `subprocess.Popen` what is used here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended: AsyncResult[int] = AsyncResult()

    def poll(self) -> int | None:
        return self.ended.value if self.ended.ready() else None

    def wait(self, timeout: float | None = None) -> int:
        try:
            status = self.ended.get(timeout=timeout)
        except gevent.Timeout as error:
            raise subprocess.TimeoutExpired("relay_app", timeout or 0.0) from error
        assert status is not None
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class Nursery:
    """See `tests.crash.nursery`."""

    def __init__(self) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "CRASH_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nursery"],
            cwd=ROOT,
            env=clean,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._children: dict[int, Born] = {}
        self._born: Queue[Born] = Queue()
        self._reader = gevent.spawn(self._read)

    def bear(self, env: dict[str, str], log: Path) -> Born:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"env": env, "log": str(log)}).encode() + b"\n")
        self._process.stdin.flush()
        with gevent.Timeout(START_S_MAX):
            return self._born.get()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            what, pid, *rest = line.decode().split()
            if what == "born":
                child = self._children[int(pid)] = Born(int(pid))
                self._born.put(child)
            else:
                self._children.pop(int(pid)).ended.set(int(rest[0]))


class CrashProcess(RelayProcess):
    """Without a nursery: under gunicorn, with its master, in new processes."""

    def __init__(
        self, folder: Path, plc_url: str, hosts: list[str], nursery: Nursery | None = None, **settings: str
    ) -> None:
        super().__init__(folder, plc_url, hosts, **settings)
        self._nursery = nursery
        self._pause = Event()
        self.plan = Plan()

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start_or_die(self, plan: Plan) -> bool:
        """True: it serves. False: it is dead, as it was told, or of what it was told to meet."""
        self.plan = plan
        self._spawn()
        with gevent.Timeout(START_S_MAX):
            while self.alive:
                if self._serves():
                    return True
                self._pause.wait(0.05)  # there is no other way to learn that another process listens
        return False

    def _serves(self) -> bool:
        """Ready, or not for a reason that it can serve with: its disk may have been full from the start on."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/_ready", timeout=5):
                return True
        except urllib.error.HTTPError as error:
            with error:
                return b"starting or stopping" not in error.read()
        except (urllib.error.URLError, OSError):
            return False

    def wait_dead(self, timeout_s: float) -> bool:
        """False: it lives."""
        assert self._child is not None
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def lose_power(self) -> None:
        assert self._child is not None
        self._child.send_signal(signal.SIGUSR1)
        self._child.wait(START_S_MAX)

    def told_to_stop(self) -> None:
        """SIGTERM, and no waiting."""
        assert self._child is not None
        self._child.terminate()

    def close(self) -> None:
        if self._child is not None:
            self.bury()

    def bury(self) -> int:
        """Kills what is left. Returns the exit status of what was there."""
        assert self._child is not None
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
        status = self._child.wait()
        self._child = None
        return status

    def _spawn(self) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "CRASH_"))}
        env = clean | self.env | self.plan.encode()
        if self._nursery is not None:
            self._child = self._nursery.bear(env, self.log)  # type: ignore[assignment]
            return
        gunicorn = str(Path(sys.executable).with_name("gunicorn"))
        command = [gunicorn, "-c", "conf/gunicorn.conf.py", "tests.crash.relay_app:app"]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)
