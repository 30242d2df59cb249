"""What the screen shows at one moment: only data, no knowledge of where it comes from or how it looks."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class HostLine:
    """One host as the relay's `listHosts` tells it. `rate`: growth of its seq, per second."""

    name: str
    status: str
    seq: int
    accounts: int
    rate: float


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event as the consumer decoded it. `handle`: what the DID document says, empty when that is not known."""

    seq: int
    kind: str
    did: str
    ops: tuple[tuple[str, str], ...] = ()
    """Action and path."""
    note: str = ""
    """What there is to say of an event without operations."""
    frame_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counts are totals since the start; rates are per second over the last few samples."""

    elapsed_s: float = 0.0
    stage: str = ""
    """What is being waited for; empty while all is running."""
    hosts: tuple[HostLine, ...] = ()
    hosts_connected: int = 0
    emitted: int = 0
    """By the simulated hosts, as the simulator counts."""
    intents: dict[str, int] = field(default_factory=dict)
    """How many of these were meant as what."""
    received: int = 0
    out: int = 0
    dropped: int = 0
    verified: int = 0
    unverified: int = 0
    undecodable: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    queues: dict[str, int] = field(default_factory=dict)
    relay_seq: int = 0
    consumed: int = 0
    """Events that the consumer got."""
    lag: int = 0
    """The relay's newest seq less the consumer's."""
    memory_bytes: int = 0
    cpu_share: float = 0.0
    """Of one core."""
    log_bytes: int = 0
    rates: tuple[float, ...] = ()
    """Events out per second, oldest first."""
    events: tuple[EventLine, ...] = ()
    """Newest last."""

    @property
    def verified_share(self) -> float | None:
        """Of the `#commit` and `#sync` events that came out; None before the first."""
        checked = self.verified + self.unverified
        return self.verified / checked if checked else None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the relay can be reached while the demo runs."""

    http: str
    metrics: str
    note: str = ""
    """Why the ports are not the usual ones; empty when they are."""

    @property
    def firehose(self) -> str:
        return self.http.replace("http", "ws", 1) + "/xrpc/com.atproto.sync.subscribeRepos"
