"""What the metrics and `/_ready` say of a running relay: every number is read where it is kept, when asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from zlay_py.atproto.frame import FrameKind
from zlay_py.errors import LocalError
from zlay_py.eventlog.log import EventLog
from zlay_py.fanout.broadcaster import Broadcaster
from zlay_py.ingest.outcome import DropReason
from zlay_py.ingest.stats import IngestStats
from zlay_py.metrics import Metrics
from zlay_py.state.hosts import HostStatus, HostStore
from zlay_py.workers.byte_budget import ByteBudget
from zlay_py.workers.frame_lanes import FrameLanes
from zlay_py.workers.log_writer import LogWriter
from zlay_py.workers.resolver_pool import ResolverPool
from zlay_py.workers.slurper import Slurper
from zlay_py.workers.state_projector import StateProjector
from zlay_py.workers.supervisor import Supervisor

QUEUES = ("lanes", "parked", "log", "state", "resolver")


@dataclass(frozen=True, slots=True)
class Probes:
    """The parts that keep numbers."""

    stats: IngestStats
    event_log: EventLog
    hosts: HostStore
    budget: ByteBudget
    lanes: FrameLanes
    writer: LogWriter
    projector: StateProjector
    resolver: ResolverPool
    slurper: Slurper
    broadcaster: Broadcaster
    supervisor: Supervisor
    _hosts_by_status: dict[HostStatus, int] = field(default_factory=dict)
    """As SQL last said."""

    def metrics(self) -> Metrics:
        """All metrics, each connected to its part."""
        metrics = Metrics(event_kinds=FrameKind, drop_reasons=DropReason, host_statuses=HostStatus, queues=QUEUES)
        self._connect_events(metrics)
        event_log = self.event_log
        metrics.hosts.read_from(self._count_hosts)
        metrics.hosts_connected.read_number_from(self.slurper.connected)
        metrics.queue_items.read_from(self._queue_items)
        metrics.frame_bytes.read_number_from(lambda: self.budget.used_bytes)
        metrics.log_seq.read_number_from(lambda: event_log.current_seq)
        metrics.log_durable_seq.read_number_from(lambda: event_log.durable_seq)
        metrics.log_oldest_seq.read_number_from(lambda: event_log.oldest_seq)
        metrics.log_bytes.read_number_from(lambda: event_log.disk_bytes)
        self.writer.on_append = metrics.log_append_seconds.observe
        metrics.consumers.read_number_from(lambda: len(self.broadcaster))
        metrics.greenlets.read_number_from(lambda: len(self.supervisor))
        return metrics

    def not_ready(self) -> list[str]:
        """Why the relay can't do its work now; nothing when it can."""
        reasons = []
        if self.writer.full:
            reasons.append("the disk of the event log is full")
        if self.event_log.failure is not None:
            reasons.append(f"the event log has stopped: {self.event_log.failure}")
        if self.projector.failing:
            reasons.append("the database takes no account states")
        waiting = self.lanes.waiting_for_database
        if waiting:
            reasons.append(f"{waiting} frames wait for the database")
        return reasons

    def _count_hosts(self) -> Mapping[HostStatus, int]:
        """The last numbers known while SQL is away: everything else on the page is wanted then more than ever."""
        try:
            counts = self.hosts.count_by_status()
        except LocalError:
            return self._hosts_by_status
        self._hosts_by_status.clear()
        self._hosts_by_status.update(counts)
        return counts

    def _connect_events(self, metrics: Metrics) -> None:
        stats = self.stats
        metrics.events_received.read_from(lambda: stats.received)
        metrics.events_emitted.read_from(lambda: stats.accepted)
        metrics.events_dropped.read_from(lambda: stats.dropped)
        metrics.frames_undecodable.read_number_from(lambda: stats.undecodable)
        metrics.verifications.read_from(lambda: {"verified": stats.verified, "unverified": stats.unverified})
        metrics.commits_unproven.read_number_from(lambda: stats.unproven)
        metrics.commits_discontinuous.read_number_from(lambda: stats.discontinuous)

    def _queue_items(self) -> Mapping[str, float]:
        return {
            "lanes": self.lanes.queued_frames(),
            "parked": self.lanes.parked_frames(),
            "log": len(self.writer),
            "state": len(self.projector),
            "resolver": len(self.resolver),
        }
