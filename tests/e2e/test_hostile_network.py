"""Everything that a host may get wrong, at once and in every mode: what is good comes out, what is not does not, hosts
that behave wait for nobody, and in the end the relay says of every account what is so. Judged."""

from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest

from tests.support.scene import Scene
from tools.simulator.model import Intent
from tools.simulator.oracle.rules import Expectation, Policy, rule
from tools.simulator.servers.outages import Fault
from tools.simulator.worlds.accounts import Account
from tools.simulator.worlds.world import HOSTILE, Mix

MODES = list(product(("strict", "optimistic"), ("ratchet", "strict", "lenient")))
STARTS = [1, 200, 2**16 - 60, 2**32 - 60, 1, 2**16 - 60]
FUTURE_CURSOR = 1
"""Of the ways of ERROR: the one that says that a host's seqs began anew."""

FAULTS = [intent for intent in Intent if intent is not Intent.GOOD]
WAYS = 8
"""Of each intent: most have no more, and these are of accounts of both curves."""
CLOSING: list[Intent] = [Intent.POISON, Intent.TEXT, Intent.OVERSIZED_FRAME, Intent.ERROR]
"""Each costs its host a connection."""
PROMPT_S_MAX = 5.0
"""For an event of a host that nothing is wrong with, on a busy machine; what waits for a reconnect or for a host that
hangs takes longer."""


def decided(policy: Policy) -> list[Intent]:
    """Of which it can be said what must become of them, once a relay knows the account."""
    return [intent for intent in Intent if rule(intent, "#commit", policy).expectation is not Expectation.MAY]


@pytest.mark.parametrize(("validation", "sync11"), MODES)
def test_every_intent_in_every_mode(tmp_path: Path, validation: Any, sync11: Any) -> None:
    """Each intent in several ways, of accounts that the relay knows: it owes every event one thing, and does it."""
    with Scene(
        tmp_path,
        hosts=3,
        accounts_per_host=6,
        web_dids=4,
        validation=validation,
        sync11=sync11,
        seed=len(sync11),
        settings={"RELAY_INITIAL_SEQ": str(STARTS[MODES.index((validation, sync11))]), "RELAY_HISTORY_FRAMES": "10"},
    ) as scene:
        world = scene.world
        scene.start()
        scene.introduce()
        scene.settle()
        special = _lead_whole_lives(scene)
        pasts = [account for accounts in special.values() for account in accounts]
        others = cycle([one for one in world.accounts if one.active and one not in pasts])
        for intent in FAULTS:
            for variant in range(0 if intent in CLOSING else WAYS):
                account = special[intent][variant % 2] if intent in special else next(others)
                scene.play(world.fault(intent, account, variant=variant))
        for host in range(3):  # each has to connect again
            scene.play(world.fault(CLOSING[host], host=host))
        for _ in range(9):
            scene.play(world.commit(next(others)))
        scene.settle()
        scene.play(world.fault(Intent.ERROR, host=0, variant=0))
        for account in pasts:
            scene.play(world.commit(account))
        found = scene.verdict(emitted=[*FAULTS, Intent.GOOD], decided=decided(scene.policy))
        in_doubt = sum(tally.may for tally in found.tallies.values())
        assert in_doubt * 10 < found.received, found.summary()


def _lead_whole_lives(scene: Scene) -> dict[Intent, list[Account]]:
    """Accounts that move, change their keys and names, come and go, all of it rightly. Returns those that have a past
    which somebody may try to speak from; of either DID method, and curve."""
    world = scene.world
    web, plc = world.accounts[:4], world.accounts[4:]
    movers, rotators = [web[0], plc[0]], [web[1], plc[2]]
    renamer, sleeper, leaver, tombstone = plc[3:7]
    for mover, rotator in zip(movers, rotators, strict=True):
        scene.play(world.migrate(mover, (mover.host + 1) % 3))
        scene.play(world.rotate_key(rotator, sync=False))
    scene.play(world.change_handle(renamer, "renamed.test"))
    scene.play([*world.deactivate(sleeper), *world.reactivate(sleeper), *world.suspend(sleeper)])
    scene.play([*world.limit(renamer), *world.close(leaver), *world.delete(leaver)])
    scene.play(world.tombstone(tombstone))
    scene.settle()
    for variant, rotator in enumerate(rotators):  # only the #identity has told of their new keys
        scene.play(world.fault(Intent.OLD_KEY, rotator, variant=variant))
    scene.play([*world.reactivate(sleeper), *world.commit(sleeper), *world.close(sleeper)])
    for account in (*movers, *rotators, renamer):
        scene.play(world.commit(account))
    scene.settle()
    return {Intent.LATE_GOODBYE: movers, Intent.OLD_KEY: rotators}


@pytest.mark.parametrize("seed", [3, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_a_hostile_mix_of_everything(tmp_path: Path, seed: int) -> None:
    """As it comes, without waiting in between, and with a kill: much is in doubt, and what is not has to be right."""
    with Scene(tmp_path, hosts=3, accounts_per_host=4, web_dids=2, validation="optimistic", seed=seed) as scene:
        mix = Mix({name: weight for name, weight in HOSTILE.weights.items() if name is not Intent.ERROR})
        scene.start()
        scene.introduce()
        scene.settle()
        steps = list(scene.world.run(300, mix=mix))
        for part in range(0, len(steps), 50):
            scene.play(steps[part : part + 50])
            if part == 100:
                scene.relay.kill()
                scene.start()
        found = scene.verdict(decided=[Intent.GOOD])
        assert sum(tally.must_not for tally in found.tallies.values()) > 10


TROUBLES: list[tuple[Fault, float | None]] = [
    (Fault.REFUSE, None),
    (Fault.ACCEPT_CLOSE, None),
    (Fault.UPGRADE_STATUS, 503),
    (Fault.UPGRADE_HANG, None),
    (Fault.STALL, None),
    (Fault.DRIP, 5),
]


def test_hosts_in_trouble_delay_nobody_and_lose_nothing(tmp_path: Path) -> None:
    """Two hosts that are all right; the others are in a trouble each, and one sends what nobody can take."""
    good, junk, first = 2, 2, 3
    with Scene(tmp_path, hosts=first + len(TROUBLES), accounts_per_host=1) as scene:
        world, hosts = scene.world, scene.network.hosts
        scene.start()
        scene.introduce()
        scene.settle()
        for host, (fault, amount) in zip(hosts[first:], TROUBLES, strict=True):
            host.fail(fault, amount)
            if fault not in (Fault.STALL, Fault.DRIP):  # the others are of those that are connected
                host.fail(Fault.DROP)
        held_up = []
        for turn in range(10):
            if turn < len(CLOSING):
                scene.play(world.fault(CLOSING[turn], host=junk, variant=0))
            for account in world.accounts[good:]:
                held_up += scene.play(world.commit(account))
            for account in world.accounts[:good]:
                scene.wait_out(scene.play(world.commit(account)), PROMPT_S_MAX)
        in_trouble = [one for one in held_up if one.host >= first]
        assert not any(map(scene.is_out, in_trouble)), "they were in no trouble"
        for host in hosts[first:]:
            host.clear()
        scene.wait_out(held_up)
        found = scene.verdict(decided=[Intent.GOOD, *CLOSING])
        assert not found.doubts


def test_a_host_that_counts_anew_is_read_on(tmp_path: Path) -> None:
    """Its seqs are gone, or it only says so: what it sends after that comes out."""
    with Scene(tmp_path, hosts=2, accounts_per_host=1) as scene:
        world, hosts = scene.world, scene.network.hosts
        scene.start()
        scene.introduce()
        scene.settle()
        world.reset_seqs(0)
        hosts[0].fail(Fault.SEQ_RESET)
        scene.play(world.fault(Intent.ERROR, host=1, variant=FUTURE_CURSOR))
        for host in hosts:
            scene.until(lambda host=host: host.cursors[-1] is None and host.connections == 1, "not read live")  # type: ignore[misc]
        for account in world.accounts:
            scene.wait_out(scene.play(world.commit(account)))
        scene.settle()
        scene.relay.kill()
        scene.start()
        for account in world.accounts:
            scene.play([*world.commit(account), *world.identity(account)])
        found = scene.verdict(decided=[Intent.GOOD, Intent.ERROR])
        assert found.received == 2 * (3 + 3) + 1


def test_hosts_behind_tls(tmp_path: Path) -> None:
    """With certificates of an authority that only RELAY_CA_FILE names."""
    with Scene(tmp_path, hosts=2, accounts_per_host=2, tls=True) as scene:
        scene.start()
        scene.introduce()
        scene.settle()
        scene.network.disconnect()
        for account in scene.world.accounts:
            scene.play([*scene.world.commit(account), *scene.world.fault(Intent.BAD_SIGNATURE, account)])
        scene.play(scene.world.migrate(scene.world.accounts[0], 1))
        scene.verdict(decided=[Intent.GOOD, Intent.BAD_SIGNATURE])
