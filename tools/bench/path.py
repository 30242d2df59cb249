"""The whole way of an event but for the sockets: subscriber, decoding, lanes, pipeline, log, tail, projection into SQL.

All of it is the relay's own, put together as `zlay_py.runtime` does; only the connection to a host is a list of frames
(the subscriber's own seam), so the WebSocket's reading is not in it. Accounts and keys are known, as in a relay that
has run for a while. Flush mode, log and database in memory: CPU, not the disk.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import gevent
from gevent.event import Event
from gevent.pool import Pool

from tools.bench.measure import folder_in_memory, least_us, rounded
from tools.bench.sampler import Sampler
from tools.bench.workload import Workload
from zlay_py.atproto.frame import FrameKind
from zlay_py.clock import SystemClock
from zlay_py.errors import NetError
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.tail import Tail
from zlay_py.identity.directory import Directory
from zlay_py.identity.model import Identity, IdentityState
from zlay_py.ingest.accounts import Accounts
from zlay_py.ingest.identity_store import SqlIdentityStore
from zlay_py.ingest.low_water import LowWater
from zlay_py.ingest.pipeline import Pipeline
from zlay_py.ingest.stats import IngestStats
from zlay_py.ingest.work import HostContext
from zlay_py.net.backoff import Backoff
from zlay_py.net.failures import FailureKind
from zlay_py.net.hostname import HostAddress, parse_hostname
from zlay_py.net.ssrf import AddressGuard
from zlay_py.net.tls import client_context
from zlay_py.settings import Sync11, Validation
from zlay_py.state.accounts import AccountStore
from zlay_py.state.database import Database
from zlay_py.state.hosts import HostRow, HostStore
from zlay_py.state.identities import IdentityRowStore
from zlay_py.workers.byte_budget import ByteBudget
from zlay_py.workers.dial_gate import DialGate
from zlay_py.workers.frame_lanes import FrameLanes
from zlay_py.workers.log_writer import LogWriter
from zlay_py.workers.resolver_pool import ResolverPool
from zlay_py.workers.state_projector import StateProjector
from zlay_py.workers.subscriber import Subscriber
from zlay_py.workers.supervisor import Supervisor

LANES, LANE_CAPACITY = 16, 4096
"""The relay's defaults."""

WAIT_S_MAX = 300.0


def measure(workload: Workload, rounds: int, sampler: Sampler | None = None) -> dict[str, object]:
    """µs of CPU per event, from the frame in memory to the account's row, and how many of these a core has time for."""
    best = float("inf")
    for _ in range(rounds):
        with ExitStack() as stack:
            rig = _Rig(stack.enter_context(folder_in_memory()), stack, workload)
            best = min(best, least_us(partial(rig.run, sampler), len(workload), 1))
            rig.check()
    return {"cpu_us_per_event": rounded(best), "events_per_core_s": round(1e6 / best)}


class _Rig:
    def __init__(self, folder: Path, stack: ExitStack, workload: Workload) -> None:
        self._count = len(workload)
        clock = SystemClock()
        database = Database(f"sqlite:///{folder / 'relay.sqlite'}")
        stack.callback(database.close)
        database.migrate()
        self._stats, budget = IngestStats(), ByteBudget()
        self._log = EventLog(folder / "events", durability=Durability.FLUSH, clock=clock, tail=Tail())
        self._log.open()
        stack.callback(self._log.close)
        hosts, self._store = HostStore(database), AccountStore(database)
        rows = [hosts.upsert(f"host{n}.example.com", True, now_us=1) for n in range(len(workload.streams))]
        identities = SqlIdentityStore(IdentityRowStore(database))
        accounts = Accounts(self._store, clock)
        directory = Directory(_NoNetwork(), identities, clock, cache_entries_max=250_000)
        stack.callback(directory.close)
        self._remember(workload, rows, identities, directory, accounts, clock.now_us())
        pipeline = Pipeline(accounts, directory, clock, validation=Validation.STRICT, sync11=Sync11.STRICT)
        self._projector = StateProjector(self._store, accounts, 0)
        self._writer = LogWriter(self._log, self._projector, budget, clock)
        resolver = ResolverPool(directory, resolver_threads=4)
        self._lanes = FrameLanes(
            pipeline, self._writer, resolver, self._stats, budget, clock, lanes=LANES, capacity=LANE_CAPACITY
        )
        self._deaths: list[BaseException] = []
        self._supervisor = Supervisor(lambda _name, error: self._deaths.append(error))
        stack.callback(self._supervisor.stop, 1.0)
        for worker in (self._projector, self._writer, resolver, self._lanes):
            worker.start(self._supervisor)
        gate = DialGate(clock)
        self._streams = [_Stream(stream) for stream in workload.streams]
        self._subscribers = [
            Subscriber(
                HostContext(row.id, row.hostname, row.epoch, LowWater(0)),
                parse_hostname(row.hostname, False),
                self._lanes,
                self._log,
                hosts,
                self._stats,
                clock,
                gate,
                Backoff(60.0, 60.0, rng=lambda: 0.5),
                guard=AddressGuard(allow_loopback=False),
                tls_context=client_context(None),
                user_agent="bench",
                connect=stream,
            )
            for row, stream in zip(rows, self._streams, strict=True)
        ]

    def _remember(
        self,
        workload: Workload,
        rows: list[HostRow],
        identities: SqlIdentityStore,
        directory: Directory,
        accounts: Accounts,
        now_us: int,
    ) -> None:
        """Rows and identities, in SQL and in memory."""
        known = [
            Identity(did, IdentityState.OK, home.key, rows[home.host].hostname, None, now_us)
            for did, home in workload.homes.items()
        ]
        identities.save(known)
        list(Pool(500).imap(lambda one: accounts.create(one[0], rows[one[1].host].id), workload.homes.items()))
        assert all(directory.cached(identity.did) is not None for identity in known)

    def run(self, sampler: Sampler | None) -> None:
        """Every frame in, and what it leads to done."""
        if sampler is not None:
            sampler.start()
        for subscriber in self._subscribers:
            self._supervisor.spawn(subscriber.host.name, subscriber.run)
        with gevent.Timeout(WAIT_S_MAX):
            for stream in self._streams:
                stream.ended.wait()
            assert self._lanes.drain(WAIT_S_MAX)
            assert self._writer.drain(WAIT_S_MAX)
            assert self._projector.drain(WAIT_S_MAX)
        if sampler is not None:
            sampler.stop()

    def check(self) -> None:
        """Every event was accepted, verified and proven, and is where it belongs."""
        stats = self._stats
        assert not self._deaths, self._deaths
        assert stats.accepted[FrameKind.COMMIT] == self._count == self._log.current_seq, +stats.dropped
        assert (stats.verified, stats.unproven) == (self._count, 0)
        assert self._projector.applied_seq == self._count
        assert len(self._log.read(1, bytes_max=1_000_000)) > 0


class _NoNetwork:
    def resolve(self, did: str) -> Identity:
        raise NetError(FailureKind.REFUSED, f"{did} is not among those that are known")


class _Stream:
    """A `Connect` to a host that has these frames to send, and then nothing more to say, which sets `ended`."""

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = frames
        self.ended = Event()

    def __call__(self, address: HostAddress, cursor: int | None, *, timeout_s: float) -> "_Connection":
        assert address.tls
        assert cursor == 0
        assert timeout_s > 0
        return _Connection(self._frames, self.ended)


class _Connection:
    response_headers: Mapping[str, str] = {}

    def __init__(self, frames: list[bytes], ended: Event) -> None:
        self._frames = iter(frames)
        self._ended = ended

    def receive_kept_alive(self, silence_s: float) -> bytes:
        message = next(self._frames, None)
        if message is None:
            self._ended.set()
            Event().wait()  # until it is killed
            raise NetError(FailureKind.TIMEOUT, f"silent for {silence_s:g} s")
        return message

    def close(self) -> None:
        """Nothing to close."""
