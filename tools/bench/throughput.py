"""A whole relay between a simulated network and a consumer: three processes, which share what cores there are.

So events per second say as much about the others as about the relay. What holds elsewhere is the CPU time of the
relay's process per event. It counts from the moment when the hosts begin to send to the one when everything is
durable and in SQL, the look-ups of all identities included.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import gevent

from tools.bench import simulated
from tools.bench.child import Child
from tools.bench.measure import cpu_s, peak_rss_mb, rounded
from tools.bench.sizes import Sizes
from tools.relay_process import RelayProcess
from tools.simulator.ahead import streams
from tools.simulator.model import Emission
from zlay_py.settings import Durability

WAIT_S_MAX = 900.0
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Signed:
    """What the hosts send: a folder, and what tells the events in it apart."""

    folder: Path
    hosts: int
    events: Counter[str]


def measure(folder: Path, sizes: Sizes, modes: Sequence[Durability] = tuple(Durability)) -> dict[str, object]:
    """In each mode of durability, on the disk that `folder` is on."""
    signed = _sign(folder / "signed", sizes)
    found: dict[str, object] = {"events": signed.events.total(), "accounts": sizes.hosts * sizes.accounts_per_host}
    for durability in modes:
        own = folder / str(durability)
        own.mkdir()
        found[str(durability)] = _run(own, signed, durability)
    return found


def _sign(folder: Path, sizes: Sizes) -> Signed:
    made = simulated.world(sizes)
    events: Counter[str] = Counter()
    with streams.StreamWriter(folder, sizes.hosts) as writer:
        for step in simulated.steps(made, sizes.throughput_events):
            writer.write(step)
            if isinstance(step, Emission):
                events[f"{step.kind} {step.did} {step.rev or '-'}"] += 1
    return Signed(folder, sizes.hosts, events)


def _run(folder: Path, signed: Signed, durability: Durability) -> dict[str, object]:
    total, received = signed.events.total(), folder / "received"
    with ExitStack() as stack, gevent.Timeout(WAIT_S_MAX):
        network = stack.enter_context(Child("tools.bench.hosts", signed.folder))
        addresses = json.loads(network.line())
        relay = RelayProcess(
            folder,
            addresses["plc"],
            addresses["hosts"],
            RELAY_DURABILITY=str(durability),
            RELAY_LOG_LEVEL="info",
        )
        stack.callback(relay.close)
        relay.start()
        _wait(lambda: relay.metrics()["relay_hosts_connected"] == signed.hosts)
        consumer = stack.enter_context(Child("tools.bench.consumer", relay.port, total, received))
        consumer.expect("connected")
        pids = {"relay": relay.worker_pid, "network": network.pid, "consumer": consumer.pid}
        before = {name: cpu_s(pid) for name, pid in pids.items()}
        start_s = time.monotonic()
        network.say("play")
        consumer.expect("all")
        took_s = time.monotonic() - start_s
        shares = {name: rounded((cpu_s(pid) - before[name]) / took_s) for name, pid in pids.items()}
        _wait(lambda: _settled(relay.metrics(), total))
        used_s = cpu_s(pids["relay"]) - before["relay"]
        peak_mb = peak_rss_mb(pids["relay"])
        assert consumer.wait() == 0
        check(relay.metrics(), received, signed.events)
        assert relay.stop() == 0
    return {
        "relay_cpu_us_per_event": rounded(used_s / total * 1e6),
        "events_per_s": round(total / took_s),
        "seconds": rounded(took_s),
        "cores_used": shares,
        "relay_peak_rss_mb": peak_mb,
    }


def _settled(metrics: dict[str, float], total: int) -> bool:
    """Nothing is on its way any more."""
    queues = [value for name, value in metrics.items() if name.startswith("relay_queue_items")]
    return metrics["relay_log_durable_seq"] >= total and not any(queues)


def check(metrics: dict[str, float], received: Path, sent: Counter[str]) -> None:
    """Accepted is what was sent; received is what was sent, each event once, under seqs that grow."""
    accepted = sum(value for name, value in metrics.items() if name.startswith("relay_events_emitted_total"))
    dropped = {
        name: value for name, value in metrics.items() if name.startswith("relay_events_dropped_total") and value
    }
    assert accepted == sent.total(), f"{accepted:g} of {sent.total()} accepted; dropped: {dropped}"
    lines = [line.split(" ", 1) for line in received.read_text().splitlines()]
    seqs = [int(seq) for seq, _ in lines]
    assert seqs == sorted(set(seqs)), "a seq came twice, or went back"
    assert Counter(event for _, event in lines) == sent, "not what was sent"


def _wait(condition: Callable[[], bool]) -> None:
    """For what another process only tells when it is asked."""
    while not condition():
        gevent.sleep(POLL_S)
