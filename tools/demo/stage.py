"""Everything that runs in a demo, and how it comes to run."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from tools.demo import draw
from tools.demo.consumer import Consumer
from tools.demo.network_process import NetworkProcess
from tools.demo.options import Options
from tools.demo.processes import DemoError, Relay, choose_ports
from tools.demo.sampling import Sampler
from tools.demo.signals import Interrupts
from tools.demo.snapshot import Addresses, Snapshot

START_S_MAX = 60.0
"""For each of the two programs, on a machine that is busy with something else."""
LOOK_S = 0.02
HOLD_S_MAX = 0.5
"""A host that has just dropped its connection is not read for longer than that: then it is another time's turn."""


class StoppedEarlyError(Exception):
    """A signal before there was anything to judge."""


@dataclass(slots=True)
class Stage:
    network: NetworkProcess
    relay: Relay
    consumer: Consumer
    sampler: Sampler
    """For the screen, by a thread."""
    probe: Sampler
    """For `settled`."""
    addresses: Addresses

    def check(self) -> None:
        """Raises DemoError when one of them does not run any more."""
        self.network.child.check()
        self.relay.child.check()
        if self.consumer.ended:
            raise DemoError(
                f"the consumer has lost its connection: {self.consumer.ended}\n{self.relay.child.last_words()}"
            )

    def snapshot(self, stage: str = "") -> Snapshot:
        return replace(self.sampler.latest, stage=stage, events=tuple(self.consumer.shown))

    def settled(self) -> bool:
        """The relay has judged all that the hosts sent, and the consumer has all that came out of it.

        Asked at this moment, and only to be believed while the hosts send nothing. Raises DemoError as `check` does.
        """
        self.check()
        try:
            now = self.probe.sample()
        except OSError:
            return False
        sent = self.network.state
        seqs = {host.name: host.seq for host in now.hosts if host.name in sent.seqs}
        judged = bool(seqs) and seqs == sent.seqs and not any(now.queues.values())
        return judged and self.consumer.last_seq >= now.relay_seq

    def settle(self, interrupts: Interrupts) -> None:
        """The hosts hold their breath for a moment, so that it is certain what the relay had seen before what.

        Without, the judge could not say what must become of an event that comes shortly before a key changes.
        """
        self.network.ask("hold")
        until_s = time.monotonic() + HOLD_S_MAX
        while not (settled := self.settled()) and time.monotonic() < until_s and not interrupts.count:
            interrupts.wait(LOOK_S)
        self.network.ask("settled" if settled else "play")


def start(options: Options, folder: Path, stack: ExitStack, interrupts: Interrupts, console: Console) -> Stage:
    """Everything that it starts ends with `stack`. Raises DemoError, StoppedEarlyError."""
    ports = choose_ports(options.port)
    hosts, accounts = draw.many(options.hosts, "host"), draw.many(options.accounts, "account")
    console.print(f"starting {hosts} with {accounts} each, and a PLC directory …", highlight=False)
    network = NetworkProcess(options, folder)
    stack.callback(network.child.kill)
    _wait(lambda: network.ready, "network", interrupts)
    console.print("starting the relay under gunicorn …", highlight=False)
    relay = Relay(folder, network.plc_url, network.hosts, ports)
    stack.callback(relay.child.kill)
    _wait(lambda: relay.ready, "relay", interrupts)
    consumer = Consumer(relay.ws_url, cursor=0)
    stack.callback(consumer.close)
    note = f"{ports.note}, so others were taken" if ports.note else ""
    addresses = Addresses(f"http://localhost:{ports.relay}", f"http://localhost:{ports.metrics}", note)

    sampler, probe = (Sampler(relay, consumer, lambda: network.ask("count")) for _ in range(2))
    stage = Stage(network, relay, consumer, sampler, probe, addresses)
    network.ask("introduce")
    _wait(stage.settled, "introduction of all accounts", interrupts)
    network.ask("settled")
    sampler.sample()  # the first screen has numbers already
    sampler.start()
    stack.callback(sampler.stop)
    return stage


def _wait(ready: Callable[[], bool], name: str, interrupts: Interrupts) -> None:
    deadline = time.monotonic() + START_S_MAX
    while not ready():
        if interrupts.count:
            raise StoppedEarlyError
        if time.monotonic() > deadline:
            raise DemoError(f"the {name} has not come up in {START_S_MAX:.0f} s")
        interrupts.wait(LOOK_S)
