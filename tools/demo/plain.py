"""The same numbers as lines, for a pipe, a file or a terminal that can do nothing."""

from tools.demo import draw
from tools.demo.snapshot import Addresses, Snapshot


def line(snapshot: Snapshot) -> str:
    """One second in one line. A stage is named, an empty queue is not."""
    rate = snapshot.rates[-1] if snapshot.rates else 0.0
    parts = [
        f"{draw.clock(snapshot.elapsed_s):>5}",
        f"sent {draw.count(snapshot.emitted)}",
        f"received {draw.count(snapshot.received)}",
        f"dropped {draw.count(snapshot.dropped + snapshot.undecodable)}",
        f"came out {draw.count(snapshot.out)}",
        f"verified {draw.share(snapshot.verified_share)}",
        f"{rate:.0f} events/s",
        f"lag {draw.count(snapshot.lag)}",
        f"memory {draw.size(snapshot.memory_bytes)}",
        f"CPU {snapshot.cpu_share:.0%}",
        *(f"{name} {number}" for name, number in snapshot.queues.items() if number),
    ]
    return "  ".join([*parts, snapshot.stage] if snapshot.stage else parts)


def heading(addresses: Addresses) -> str:
    note = f" ({addresses.note})" if addresses.note else ""
    return f"firehose {addresses.firehose}  metrics {addresses.metrics}/metrics{note}"
