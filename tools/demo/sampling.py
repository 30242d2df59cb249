"""Reads the numbers where they are kept, twice a second, and makes rates of them."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tools.demo.snapshot import HostLine, Snapshot

EVERY_S = 0.5
RATE_SAMPLES = 3
"""A rate is over the last three samples, one second: smooth enough to read, quick enough to believe."""
SHARE_SAMPLES = 7
"""CPU time is counted in hundredths of a second: over three seconds it is right to a percent."""
RATES_MAX = 400
"""More than any terminal has columns for."""


class RelayNumbers(Protocol):
    """What is asked of the relay. Both raise OSError (also as URLError) while it does not answer."""

    def metrics(self) -> dict[str, float]: ...

    def get(self, path: str) -> Any: ...


class ConsumerNumbers(Protocol):
    count: int
    last_seq: int


class Emitted(Protocol):
    """The simulator's account of what its hosts sent. `intents`: how many events of each."""

    @property
    def sent(self) -> int: ...
    @property
    def intents(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    metrics: Mapping[str, float]
    seqs: Mapping[str, int]


class Sampler:
    """`sample` takes one; `start` lets a thread do so until `stop`."""

    def __init__(
        self,
        relay: RelayNumbers,
        consumer: ConsumerNumbers,
        emitted: Callable[[], Emitted],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.latest = Snapshot()
        self._relay = relay
        self._consumer = consumer
        self._emitted = emitted
        self._monotonic_s = monotonic_s
        self._began_s = monotonic_s()
        self._samples: deque[_Sample] = deque(maxlen=SHARE_SAMPLES)
        self._rates: deque[float] = deque(maxlen=RATES_MAX)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def sample(self) -> Snapshot:
        """Asks the consumer first and the hosts last: no number runs ahead of the one that it comes from."""
        consumed, last_seq = self._consumer.count, self._consumer.last_seq
        hosts = self._relay.get("/xrpc/com.atproto.sync.listHosts?limit=1000")["hosts"]
        metrics = self._relay.metrics()
        emitted = self._emitted()
        seqs = {host["hostname"]: host.get("seq", 0) for host in hosts}
        self._samples.append(_Sample(self._monotonic_s(), metrics, seqs))
        self._rates.append(self._rate(lambda sample: total(sample.metrics, "relay_events_emitted_total")))
        relay_seq = int(metrics["relay_log_seq"])
        self.latest = Snapshot(
            elapsed_s=self._monotonic_s() - self._began_s,
            hosts=tuple(self._host(host) for host in hosts),
            hosts_connected=int(metrics["relay_hosts_connected"]),
            emitted=emitted.sent,
            intents=dict(emitted.intents),
            received=int(total(metrics, "relay_events_received_total")),
            out=int(total(metrics, "relay_events_emitted_total")),
            dropped=int(total(metrics, "relay_events_dropped_total")),
            verified=int(metrics['relay_verifications_total{result="verified"}']),
            unverified=int(metrics['relay_verifications_total{result="unverified"}']),
            undecodable=int(metrics["relay_frames_undecodable_total"]),
            drops={
                reason: number for reason, number in labelled(metrics, "relay_events_dropped_total").items() if number
            },
            queues=labelled(metrics, "relay_queue_items"),
            relay_seq=relay_seq,
            consumed=consumed,
            lag=relay_seq - last_seq,
            memory_bytes=int(metrics["process_resident_memory_bytes"]),
            cpu_share=self._cpu_share(),
            log_bytes=int(metrics["relay_log_bytes"]),
            rates=tuple(self._rates),
        )
        return self.latest

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            try:
                self.sample()
            except OSError:
                continue  # the screen keeps the last numbers; whether the relay has died is looked at elsewhere

    def _host(self, host: Mapping[str, Any]) -> HostLine:
        name = host["hostname"]
        rate = self._rate(lambda sample: sample.seqs.get(name, 0))
        return HostLine(name, host["status"], host.get("seq", 0), host.get("accountCount", 0), rate)

    def _rate(self, number: Callable[[_Sample], float], samples: int = RATE_SAMPLES) -> float:
        """Growth per second; 0 for a number that has begun anew."""
        recent = list(self._samples)[-samples:]
        first, last = recent[0], recent[-1]
        seconds = last.at_s - first.at_s
        return max(0.0, number(last) - number(first)) / seconds if seconds > 0 else 0.0

    def _cpu_share(self) -> float:
        return self._rate(lambda sample: sample.metrics["process_cpu_seconds_total"], SHARE_SAMPLES)


def labelled(metrics: Mapping[str, float], name: str) -> dict[str, int]:
    """Value by the label's value, of a metric with one label."""
    prefix = name + "{"
    return {
        series[len(prefix) : -2].partition('="')[2]: int(number)
        for series, number in metrics.items()
        if series.startswith(prefix)
    }


def total(metrics: Mapping[str, float], name: str) -> float:
    return sum(number for series, number in metrics.items() if series.startswith(name + "{"))
