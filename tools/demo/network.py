"""The simulated network of the demo, in a process of its own: the usual life of a network at a given rate, some
attacks in it, and now and then a host that loses its connections.

    python -m tools.demo.network --hosts N --accounts N --rate N --seed N --ledger FILE

Prints one JSON line with its addresses when it listens. Then it reads commands, one per line, and answers each with a
JSON line of its counts: `introduce` lets every account appear, `play` begins the rest, `hold` stops it for a moment,
`settled` is `play` with a mark in the ledger that the relay is done with all that was sent, `quiet` ends the events and
leaves everything else running, `count` does nothing else. The end of its input ends it.
"""

import argparse
import json
import math
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import gevent
from gevent.fileobject import FileObjectThread

from tools.simulator.model import Emission, Intent, Step
from tools.simulator.oracle.ledger import NOT_READ, Ledger
from tools.simulator.oracle.normalise import KINDS
from tools.simulator.servers.network import Network
from tools.simulator.servers.outages import Fault
from tools.simulator.worlds.world import LIFELIKE, Action, Mix, World, WorldConfig

EVENTS_MAX = 10**9
"""No demo gets there."""
TICK_S = 0.02
DROP_EVERY_S = 9.0
WAVE_S, WAVE_SHARE = 11.0, 0.35
"""The rate swings by about a third around what was asked for: a network breathes, and the graph shows that it lives."""
SPICE_EACH = 2.5
"""Weight of each attack, where everything lifelike weighs 1,000: about one event in twenty is not as it should be."""
SPICE = tuple(
    intent
    for intent in Intent
    if intent not in {Intent.GOOD, Intent.OVERSIZED_FRAME, Intent.TEXT, Intent.ERROR, Intent.INFO}
)
RARE: dict[Action | Intent, float] = {
    Intent.LARGE: 0.2,
    Intent.LARGE_RECORD: 0.2,
    Intent.TOO_MANY_BYTES: 0.2,
    Intent.POISON: 0.3,
}
"""A megabyte at a time, and what costs a host its connection."""
SPICE_PER_ACCOUNT_S = 0.1
"""At most. A relay asks the directory about one account only so often, whoever makes it want to: under more attacks on
one account than that it learns late of a key that was changed, and drops what is good. That is not for this demo."""


def mix(rate: float, accounts: int) -> Mix:
    """Life, and as many attacks as fit so many accounts at that rate."""
    spice: dict[Action | Intent, float] = {**dict.fromkeys(SPICE, SPICE_EACH), **RARE}
    life, attacks = sum(LIFELIKE.weights.values()), sum(spice.values())
    most = SPICE_PER_ACCOUNT_S * accounts / rate  # of all events, as a part of 1
    share = min(1.0, most * life / (attacks * (1 - most))) if most < 1 else 1.0
    return Mix({**LIFELIKE.weights, **{intent: weight * share for intent, weight in spice.items()}})


class Player:
    """Makes steps happen in their time."""

    def __init__(self, network: Network, world: World, rate: float) -> None:
        self._network = network
        self._world = world
        self._steps = world.run(EVENTS_MAX, mix=mix(rate, len(world.accounts)))
        self._rate = rate
        self._quiet = False
        self.held = False
        """Until the next `play`: what is due meanwhile comes then."""
        self._running: gevent.Greenlet[[], None] | None = None
        self.sent = 0
        self.seqs: dict[str, int] = {}
        """By host: the newest that a relay has to come to know of."""
        self.intents: Counter[Intent] = Counter()

    def introduce(self) -> None:
        """All accounts that there are at the beginning, at once."""
        for account in self._world.accounts:
            for step in self._world.introduce(account):
                self._play(step)

    def play(self) -> None:
        """Begins, or goes on."""
        self.held = False
        if self._running is None:
            self._running = gevent.spawn(self._run)
            self._running.link_exception(lambda _: gevent.get_hub().throw(SystemExit(1)))

    def _run(self) -> None:
        began_s = last_s = time.monotonic()
        drop_at_s = began_s + DROP_EVERY_S
        due = 0.0
        victim = 0
        while not self._quiet:
            gevent.sleep(TICK_S)
            now_s = time.monotonic()
            wave = 1 + WAVE_SHARE * math.sin((now_s - began_s) / WAVE_S * math.tau)
            due += (now_s - last_s) * self._rate * wave
            last_s = now_s
            while due >= 1 and not self.held and not self._quiet:
                due -= self._next()
            if now_s >= drop_at_s:
                self._network.hosts[victim % len(self._network.hosts)].fail(Fault.DROP)
                victim += 1
                drop_at_s += DROP_EVERY_S

    def quiet(self) -> None:
        self._quiet = True

    def report(self) -> None:
        ends = [asdict(end) for end in self._world.ends()] if self._quiet else []
        say({"sent": self.sent, "seqs": self.seqs, "intents": self.intents, "quiet": self._quiet, "ends": ends})

    def _next(self) -> int:
        """One step. Returns how many events it is: a changed document is none."""
        return self._play(next(self._steps))

    def _play(self, step: Step) -> int:
        self._network.play((step,))
        if not isinstance(step, Emission):
            return 0
        self.sent += 1
        self.intents[step.intent] += 1
        if step.kind in KINDS and step.intent not in NOT_READ:
            self.seqs[self._network.hosts[step.host].name] = step.seq
        return 1


def main() -> int:
    parser = argparse.ArgumentParser(description="The simulated network of the demo.")
    parser.add_argument("--hosts", type=int, required=True)
    parser.add_argument("--accounts", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    wanted = parser.parse_args()
    commands = FileObjectThread(sys.stdin.fileno(), "rb", closefd=False)
    with Ledger(wanted.ledger) as ledger, Network(wanted.hosts, ledger=ledger) as network:
        say({"plc": network.plc.origin, "hosts": [host.name for host in network.hosts]})
        world = World(WorldConfig(seed=wanted.seed, hosts=wanted.hosts, accounts_per_host=wanted.accounts))
        network.play(world.documents())
        player = Player(network, world, wanted.rate)
        for command in commands:
            if command == b"introduce\n":
                player.introduce()
            elif command in (b"play\n", b"settled\n"):
                if command == b"settled\n":
                    ledger.settled()
                player.play()
            elif command == b"hold\n":
                player.held = True
            elif command == b"quiet\n":
                player.quiet()
            player.report()
    return 0


def say(item: dict[str, object]) -> None:
    print(json.dumps(item), flush=True)


if __name__ == "__main__":
    sys.exit(main())
