"""The two programs that the demo starts, each on a leash: whatever becomes of the demo, they end."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tools.relay_process import RelayProcess, free_port

ROOT = Path(__file__).resolve().parents[2]
LEASH = Path(__file__).with_name("leash.py")
USUAL_PORT, USUAL_METRICS_PORT = 3000, 3001
LOG_TAIL_LINES = 15
END_S_MAX = 35.0
"""For a program that was told to end; the relay allows itself 30 s."""
LOOK_S = 0.05
SETTINGS_PREFIXES = ("RELAY_", "DATABASE_", "RESOLVER_", "FRAME_", "VALIDATOR_", "GUNICORN_")
"""Of variables that would make the demo's relay another one than the demo says."""
NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class DemoError(Exception):
    """The demo can't go on. The message is for the user, and says where to look."""


class Child:
    """A program in a group of its own, so that Ctrl-C reaches the demo alone, with what it prints in `log`.

    `death`: the signal that it gets when the demo dies. `talks`: its stdout and stdin are for `lines` and `tell`.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        env: dict[str, str],
        folder: Path,
        log: Path,
        death: signal.Signals,
        *,
        talks: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(death))]
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [*leash, *command],
                cwd=folder,
                env=env,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def status(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def lines(self) -> Iterator[bytes]:
        """What it prints, to its end."""
        assert self._process.stdout is not None
        yield from self._process.stdout

    def tell(self, line: str) -> None:
        """Does nothing when it has ended: `check` is for that."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def check(self) -> None:
        """Raises DemoError with the end of its log when it has ended."""
        if self.status is not None:
            raise DemoError(f"the {self.name} has ended with status {self.status}\n{self.last_words()}")

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join([*lines[-LOG_TAIL_LINES:], f"its whole log: {self.log}"])

    def end(self, hurry: Callable[[], bool]) -> int:
        """TERM, and KILL to its whole group when that takes too long or `hurry()`. Returns the exit status."""
        if self.status is None:
            self._process.terminate()
        deadline = time.monotonic() + END_S_MAX
        pause = threading.Event()
        while self.status is None and not hurry() and time.monotonic() < deadline:
            pause.wait(LOOK_S)
        self.kill()
        return self._process.wait()

    def kill(self) -> None:
        if self.status is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@dataclass(frozen=True, slots=True)
class Ports:
    relay: int
    metrics: int
    note: str = ""


def choose_ports(wanted: int | None) -> Ports:
    """The relay's usual ones when they are free; with `wanted` that one and the next. Raises DemoError."""
    first, second = (USUAL_PORT, USUAL_METRICS_PORT) if wanted is None else (wanted, wanted + 1)
    taken = [port for port in (first, second) if not is_free(port)]
    if not taken:
        return Ports(first, second)
    if wanted is not None:
        raise DemoError(f"port {taken[0]} is taken; the relay needs {first} and, for its metrics, {second}")
    return Ports(free_port(), free_port(), f"port {taken[0]} is taken")


def is_free(port: int) -> bool:
    """On both addresses that the name localhost may mean."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as error:
            if family == socket.AF_INET or error.errno not in NO_SUCH_ADDRESS:
                return False
    return True


class Relay(RelayProcess):
    """The relay as `make run` starts it, with its defaults, but on this machine alone and on data of its own."""

    def __init__(self, folder: Path, plc_url: str, hosts: list[str], ports: Ports) -> None:
        super().__init__(
            folder,
            plc_url,
            hosts,
            RELAY_PORT=str(ports.relay),
            RELAY_METRICS_PORT=str(ports.metrics),
            RELAY_VALIDATION="optimistic",
            RELAY_LOG_LEVEL="info",
            RELAY_LOG_FORMAT="console",
        )
        self.port, self.metrics_port = ports.relay, ports.metrics
        gunicorn = str(Path(sys.executable).with_name("gunicorn"))
        command = [gunicorn, "-c", str(ROOT / "conf" / "gunicorn.conf.py"), "zlay_py.app:app"]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS_PREFIXES)}
        # From its own folder: a .env in the project's must not lead the demo to somebody's real data.
        self.child = Child("relay", command, clean | self.env, folder, self.log, signal.SIGTERM)

    @property
    def ready(self) -> bool:
        """It listens and can take events. Raises DemoError when it has ended instead."""
        self.child.check()
        return self._ready()
