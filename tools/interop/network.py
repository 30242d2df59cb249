"""The processes of the interop run: the real network, the relay, the consumers."""

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
SOURCE = Path(os.environ.get("ZLAY_REALNET") or ROOT.parent / "shared" / "realnet")
NEEDED = ("npm", "gcc", "g++", "make")
LINE_S_MAX = 120.0
"""For the next JSON line of a process."""


def missing() -> str | None:
    """Why this can't run here; None when it can."""
    if not SOURCE.is_dir():
        return f"no folder {SOURCE} (set ZLAY_REALNET)"
    absent = [name for name in NEEDED if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def install() -> Path:
    """The real network's packages in the ignored cache folder, installed once."""
    folder = CACHE / "realnet"
    done = folder / ".installed"
    if not done.exists():
        print(f"installing the real network into {folder} (about 70 s)", file=sys.stderr, flush=True)
        subprocess.run(["bash", str(SOURCE / "install.sh"), str(folder), "--py"], check=True, stdout=sys.stderr)
        done.touch()
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get_json(url: str, timeout_s: float = 30.0) -> Any:
    with urllib.request.urlopen(url, timeout=timeout_s) as response:
        return json.load(response)


class Process:
    """A child whose stdout is read line by line, and that is gone after the `with`."""

    def __init__(
        self, name: str, command: list[str], *, cwd: Path, env: dict[str, str] | None = None, log: Path
    ) -> None:
        self.name = name
        self.log = log
        self._stderr = log.open("wb")
        self.child = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def line(self, timeout_s: float = LINE_S_MAX) -> str | None:
        """The next line; None at the end. Raises queue.Empty."""
        return self._lines.get(timeout=timeout_s)

    def json_until(self, key: str, value: object, timeout_s: float = LINE_S_MAX) -> dict[str, Any]:
        """The first JSON line in which `key` has `value`."""
        while (text := self.line(timeout_s)) is not None:
            if text.startswith("{") and (item := json.loads(text)).get(key) == value:
                found: dict[str, Any] = item
                return found
        raise RuntimeError(f"{self.name} ended; see {self.log}")

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout_s: float = 40.0) -> int:
        if self.child.poll() is None:
            os.killpg(self.child.pid, how)
            try:
                self.child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
                self.child.wait()
        self._stderr.close()
        return self.child.returncode

    def _read(self) -> None:
        assert self.child.stdout is not None
        for raw in self.child.stdout:
            self._lines.put(raw.decode(errors="replace").rstrip("\n"))
        self._lines.put(None)


def start_relay(folder: Path, port: int, metrics_port: int, plc_url: str, hosts: list[str], **extra: str) -> Process:
    """The relay as an operator runs it, strict in everything, with every drop in its log."""
    env = {
        "RELAY_PORT": str(port),
        "RELAY_METRICS_PORT": str(metrics_port),
        "RELAY_BIND": "127.0.0.1",
        "RELAY_METRICS_BIND": "127.0.0.1",
        "RELAY_UPSTREAM": "",
        "RELAY_HOSTS": ",".join(hosts),
        "RELAY_ALLOW_LOCAL_HOSTS": "true",
        "RELAY_PLC_URL": plc_url,
        "RELAY_DATA_DIR": str(folder / "events"),
        "RELAY_VALIDATION": "strict",
        "RELAY_SYNC11": "strict",
        "RELAY_LOG_LEVEL": "debug",
        "RELAY_LOG_FORMAT": "json",
        **extra,
    }
    gunicorn = [str(Path(sys.executable).with_name("gunicorn")), "-c", "conf/gunicorn.conf.py", "zlay_py.app:app"]
    return Process("relay", gunicorn, cwd=ROOT, env=env, log=folder / "relay.log")


def wait_ready(url: str, relay: Process, timeout_s: float = 60.0) -> None:
    """Until `/_health` answers."""
    pause = threading.Event()
    for _ in range(int(timeout_s * 10)):
        try:
            get_json(f"{url}/_health", timeout_s=2)
        except (urllib.error.URLError, OSError, ValueError):
            if relay.child.poll() is not None:
                raise RuntimeError(f"the relay ended with status {relay.child.returncode}; see {relay.log}") from None
            pause.wait(0.1)
        else:
            return
    raise RuntimeError(f"the relay does not answer at {url}; see {relay.log}")
