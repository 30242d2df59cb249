"""The simulator's events for benchmarks: commits as in the real network, of accounts that nothing else happens to."""

from collections.abc import Iterator

from tools.bench.sizes import Sizes
from tools.bench.workload import Home, Workload
from tools.simulator.model import Emission, Step
from tools.simulator.worlds.frames import COMMIT
from tools.simulator.worlds.script import Action, Mix
from tools.simulator.worlds.world import World, WorldConfig
from zlay_py.atproto import keys

COMMITS = Mix({Action.CREATE: 95.0, Action.DELETE: 3.0, Action.UPDATE: 1.5, Action.SEVERAL: 0.5})
"""As counted in the network in July 2026: 141 of 148 commits were one create, 4 one delete, 2 one update."""


def world(sizes: Sizes) -> World:
    """Accounts with repositories of the real size; most sign with K-256, as nearly all do."""
    return World(
        WorldConfig(
            seed=1,
            hosts=sizes.hosts,
            accounts_per_host=sizes.accounts_per_host,
            p256_share=0.02,
            records_per_repo=sizes.records_per_repo,
        )
    )


def steps(made: World, events: int) -> Iterator[Step]:
    """The directory's documents, then every account's introduction, then commits."""
    yield from made.documents()
    yield from made.run(events, mix=COMMITS)


def workload(sizes: Sizes) -> Workload:
    """The commits alone."""
    made = world(sizes)
    homes = {
        change.did: Home(change.document.host, keys.parse_did_key(change.document.did_key))
        for change in made.documents()
        if change.document is not None
    }
    streams: list[list[bytes]] = [[] for _ in range(sizes.hosts)]
    for step in steps(made, sizes.events + 3 * len(made.accounts)):  # each is introduced by three events
        if isinstance(step, Emission) and step.kind == COMMIT:
            streams[step.host].append(step.wire)
    return Workload("simulated", streams, homes)
