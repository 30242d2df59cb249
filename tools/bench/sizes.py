"""How much is measured: enough for numbers, or as little as shows that the benchmarks work."""

from dataclasses import dataclass

from tools.bench import fanout, projection


@dataclass(frozen=True, slots=True)
class Sizes:
    """`rounds` of which the smallest counts."""

    rounds: int
    hosts: int
    accounts_per_host: int
    records_per_repo: int
    events: int
    """Of a simulated workload."""
    samples: int
    """Of them, for single steps."""
    projection: projection.Size
    fanout: fanout.Load
    throughput_events: int


FULL = Sizes(
    rounds=5,
    hosts=8,
    accounts_per_host=50,
    records_per_repo=10_000,
    events=8_000,
    samples=2_000,
    projection=projection.Size(accounts=50_000, events=20_000),
    fanout=fanout.Load(consumers=(1, 10, 100), batches=(1, 8, 64), deliveries=20_000),
    throughput_events=30_000,
)

QUICK = Sizes(
    rounds=1,
    hosts=2,
    accounts_per_host=4,
    records_per_repo=100,
    events=100,
    samples=40,
    projection=projection.Size(accounts=50, events=500),
    fanout=fanout.Load(consumers=(1, 3), batches=(1, 8), deliveries=60),
    throughput_events=200,
)
