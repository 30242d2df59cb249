"""The demo's end of `network`: starts it, tells it what to do, and has its latest counts."""

import json
import os
import queue
import signal
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.demo.options import Options
from tools.demo.processes import ROOT, Child

LEDGER = "ledger.jsonl"
ANSWER_S_MAX = 10.0
"""It is busy with nothing for longer than a few milliseconds; the machine may be."""


@dataclass(frozen=True, slots=True)
class NetworkState:
    """As the network told when it was asked. `seqs`: by host, its newest. `intents`: how many events of each."""

    sent: int = 0
    seqs: dict[str, int] = field(default_factory=dict)
    intents: dict[str, int] = field(default_factory=dict)
    quiet: bool = False
    """No more events will come, and these counts are the last ones."""
    ends: tuple[dict[str, Any], ...] = ()
    """How the accounts stand then, as `AccountEnd`."""


class NetworkProcess:
    """`addresses` is None until it listens; then `plc_url` and `hosts` are known."""

    def __init__(self, options: Options, folder: Path) -> None:
        self.ledger = folder / LEDGER
        self.state = NetworkState()
        self._asking = threading.Lock()
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._addresses: dict[str, Any] | None = None
        numbers = {"hosts": options.hosts, "accounts": options.accounts, "rate": options.rate, "seed": options.seed}
        command = [sys.executable, "-m", "tools.demo.network", "--ledger", str(self.ledger)]
        for name, number in numbers.items():
            command += [f"--{name}", str(number)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        # Nothing of it is worth keeping, so nothing keeps it from ending with the demo.
        self.child = Child("network", command, env, folder, folder / "network.log", signal.SIGKILL, talks=True)
        threading.Thread(target=self._read, name="network", daemon=True).start()

    @property
    def ready(self) -> bool:
        """It listens. Raises DemoError when it has ended instead."""
        self.child.check()
        return self._addresses is not None

    @property
    def plc_url(self) -> str:
        assert self._addresses is not None
        return str(self._addresses["plc"])

    @property
    def hosts(self) -> list[str]:
        assert self._addresses is not None
        return list(self._addresses["hosts"])

    def ask(self, command: str) -> NetworkState:
        """Tells it something, and returns its counts after that. Raises TimeoutError when it does not answer."""
        with self._asking:
            self.child.tell(command)
            try:
                self.state = NetworkState(**self._answers.get(timeout=ANSWER_S_MAX))
            except queue.Empty:
                raise TimeoutError("the simulated network does not answer") from None
            return self.state

    def _read(self) -> None:
        for line in self.child.lines():
            if self._addresses is None:
                self._addresses = json.loads(line)
            else:
                self._answers.put(json.loads(line))
