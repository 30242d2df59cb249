"""The relay's Prometheus metrics. Owns: the registry, the closed set of names and labels, the text for the scraper.
Refuses to own: what is counted, and the port. Every series exists from the start at 0, so a rate never begins with a
gap and a misspelt label is an error here instead of a new series there. No label ever holds a DID, an address or a
host's name: the number of series is fixed when the object is built.
"""

import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, Info, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from zlay_py import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Of what `Metrics.exposition` returns."""
APPEND_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""A batch takes about a millisecond and its fsync a few; a second means that the disk is the bottleneck."""
VERIFICATIONS = ("verified", "unverified")


class Series:
    """One metric with at most one label: its values counted here, or read from elsewhere at scrape time.

    An increment is an addition to a dictionary. `read_from` is for parts that keep their own numbers.
    """

    def __init__(self, family: type[CounterMetricFamily | GaugeMetricFamily], name: str, help_text: str) -> None:
        self.name = name
        self._family = family
        self._help = help_text
        self._label: str | None = None
        self._values: dict[str, float] = {"": 0}
        self._read: Callable[[], Mapping[Any, float]] | None = None

    def by(self, label: str, values: Iterable[str]) -> "Series":
        """Gives it a label with a closed set of values (an Enum of strings, for one). Raises ValueError for none."""
        self._label = label
        self._values = {str(value): 0 for value in values}
        if not self._values:
            raise ValueError(f"{self.name}: the label {label} has no values")
        return self

    def inc(self, value: str = "", amount: float = 1) -> None:
        """Raises KeyError for a value that was not declared."""
        self._values[value] += amount

    def set(self, number: float, value: str = "") -> None:
        """Raises KeyError for a value that was not declared."""
        if value not in self._values:
            raise KeyError(value)
        self._values[value] = number

    def read_from(self, read: Callable[[], Mapping[Any, float]]) -> None:
        """Values by label (text, or an Enum of text), asked for at each scrape. Others than declared are left out."""
        self._read = read

    def read_number_from(self, read: Callable[[], float]) -> None:
        """The same for a metric without a label."""
        self._read = lambda: {"": read()}

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """One scrape, as `prometheus_client.registry.Collector`."""
        numbers = self._values if self._read is None else self._read()
        family = self._family(self.name, self._help, labels=None if self._label is None else [self._label])
        for value in self._values:
            family.add_metric([] if self._label is None else [value], numbers.get(value, 0))
        return [family]


class Metrics:
    """All metrics of one process, on a registry of their own.

    The four sets of label values belong to higher layers and are handed in: frame kinds, drop reasons, host statuses,
    and the names of the queues whose depth is watched.
    """

    def __init__(
        self,
        *,
        event_kinds: Iterable[str],
        drop_reasons: Iterable[str],
        host_statuses: Iterable[str],
        queues: Iterable[str],
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client forgot one
        self.registry = CollectorRegistry()
        self._names: set[str] = set()
        kinds = tuple(event_kinds)
        self.events_received = self.counter_by("relay_events_received", "Frames read from hosts.", "kind", kinds)
        self.events_emitted = self.counter_by("relay_events_emitted", "Events put into the log.", "kind", kinds)
        self.events_dropped = self.counter_by(
            "relay_events_dropped", "Events that did not come out.", "reason", drop_reasons
        )
        self.verifications = self.counter_by(
            "relay_verifications", "#commit and #sync emitted, by whether checked.", "result", VERIFICATIONS
        )
        self.frames_undecodable = self.counter(
            "relay_frames_undecodable", "Frames that broke the framing and closed their connection."
        )
        self.commits_unproven = self.counter(
            "relay_commits_unproven", "#commit emitted with a checked signature and without a proven inversion."
        )
        self.commits_discontinuous = self.counter(
            "relay_commits_discontinuous", "#commit and #sync emitted that did not follow the last known state."
        )
        self.hosts_connected = self.gauge("relay_hosts_connected", "Hosts with an open connection.")
        self.hosts = self.gauge_by("relay_hosts", "Known hosts.", "status", host_statuses)
        self.queue_items = self.gauge_by("relay_queue_items", "What waits in a queue.", "queue", queues)
        self.frame_bytes = self.gauge("relay_frame_bytes", "Payload bytes of frames between socket and log.")
        self.log_bytes = self.gauge("relay_log_bytes", "Size of the event log on disk.")
        self.log_seq = self.gauge("relay_log_seq", "The newest seq.")
        self.log_durable_seq = self.gauge("relay_log_durable_seq", "The newest seq that is certainly on the disk.")
        self.log_oldest_seq = self.gauge("relay_log_oldest_seq", "The oldest seq that can be replayed.")
        self.log_append_seconds = self._histogram("relay_log_append_seconds", "Time to append a batch, fsync included.")
        self.consumers = self.gauge("relay_consumers", "Connected firehose consumers.")
        self.greenlets = self.gauge("relay_greenlets", "Loops that the supervisor watches.")
        self._add_process()

    def counter(self, name: str, help_text: str) -> Series:
        """A number that grows; `_total` is added to its name."""
        return self._add(Series(CounterMetricFamily, name, help_text))

    def counter_by(self, name: str, help_text: str, label: str, values: Iterable[str]) -> Series:
        """One for each value of `label`. Raises ValueError for a name that is taken."""
        return self._add(Series(CounterMetricFamily, name, help_text).by(label, values))

    def gauge(self, name: str, help_text: str) -> Series:
        """A number that goes up and down."""
        return self._add(Series(GaugeMetricFamily, name, help_text))

    def gauge_by(self, name: str, help_text: str, label: str, values: Iterable[str]) -> Series:
        """One for each value of `label`. Raises ValueError for a name that is taken."""
        return self._add(Series(GaugeMetricFamily, name, help_text).by(label, values))

    def exposition(self) -> bytes:
        """The text that a Prometheus server reads, of type `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _add(self, series: Series) -> Series:
        self._claim(series.name)
        self.registry.register(series)
        return series

    def _histogram(self, name: str, help_text: str) -> Histogram:
        self._claim(name)
        return Histogram(name, help_text, registry=self.registry, buckets=APPEND_BUCKETS_S)

    def _claim(self, name: str) -> None:
        if name in self._names:
            raise ValueError(f"two metrics are called {name}")
        self._names.add(name)

    def _add_process(self) -> None:
        """Memory, CPU, open files and garbage collection under the usual names, and what runs."""
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        build = Info("relay_build", "What runs.", registry=self.registry)
        build.info({"version": __version__, "python": platform.python_version()})
