"""What is between the hosts' sockets and the log, and what follows the log. Owns: who is given what."""

from collections.abc import Callable
from random import SystemRandom

from zlay_py.clock import Clock
from zlay_py.crashpoints import CrashPoint
from zlay_py.errors import LocalError, StorageFullError
from zlay_py.identity.directory import Directory
from zlay_py.identity.resolver import DidResolver
from zlay_py.ingest.accounts import Accounts
from zlay_py.ingest.identity_store import SqlIdentityStore
from zlay_py.ingest.outcome import Need
from zlay_py.ingest.pipeline import Pipeline
from zlay_py.ingest.replay import Replay, find_replays, leftovers_of
from zlay_py.ingest.stats import IngestStats
from zlay_py.ingest.told_identities import ToldIdentities
from zlay_py.ingest.work import HostContext
from zlay_py.logs import Throttle, get_logger
from zlay_py.net import USER_AGENT
from zlay_py.net.backoff import Backoff
from zlay_py.net.hostname import HostAddress, parse_hostname
from zlay_py.net.http_client import HttpClient
from zlay_py.net.ssrf import AddressGuard
from zlay_py.net.tls import client_context
from zlay_py.runtime.ending import Ending
from zlay_py.runtime.seams import Seams
from zlay_py.runtime.storage import Storage
from zlay_py.settings import Settings
from zlay_py.state.failures import StateUnavailableError
from zlay_py.state.identities import IdentityRowStore
from zlay_py.workers.byte_budget import ByteBudget
from zlay_py.workers.cursor_saver import CursorSaver
from zlay_py.workers.dial_gate import DialGate
from zlay_py.workers.frame_lanes import FrameLanes
from zlay_py.workers.host_registry import HostRegistry
from zlay_py.workers.log_writer import LogWriter
from zlay_py.workers.resolver_pool import ResolverPool
from zlay_py.workers.retention import Retention
from zlay_py.workers.slurper import BootstrapList, Slurper
from zlay_py.workers.state_projector import StateProjector
from zlay_py.workers.subscriber import Subscriber
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

BOOTSTRAP_RETRY_S = 5.0
BOOTSTRAP_RETRY_S_MAX = 300.0
"""A bootstrap relay that is away is asked again within five minutes."""

RECONNECT_S = 1.0
RECONNECT_S_MAX = 3_600.0
"""A host that can't be reached is tried hourly, and never given up."""

OnBroken = Callable[[str, BaseException], None]


class Ingest:
    """Built and caught up with the log, not yet running: `start` does that, and `ending` stops what it started."""

    def __init__(
        self, settings: Settings, seams: Seams, clock: Clock, storage: Storage, ending: Ending, on_broken: OnBroken
    ) -> None:
        self._settings = settings
        self._seams = seams
        self._clock = clock
        self._storage = storage
        self._ending = ending
        self._on_broken = on_broken
        self.stats = IngestStats()
        self.registry = HostRegistry()
        self._guard = AddressGuard(allow_loopback=settings.allow_local_hosts)
        self._tls_context = client_context(settings.ca_file)
        self._client = HttpClient(self._guard, user_agent=USER_AGENT, tls_context=self._tls_context)
        self._identity_rows = IdentityRowStore(storage.database)
        self.directory = self._make_directory()
        ending.add("identities", self.directory.close)
        self.accounts = Accounts(storage.accounts, clock, reached=seams.reached)
        self.budget = ByteBudget()
        self.projector = StateProjector(
            storage.accounts, self.accounts, storage.meta.applied_seq(), reached=seams.reached
        )
        self.writer = LogWriter(storage.event_log, self.projector, self.budget, clock, reached=seams.reached)
        self.resolver = ResolverPool(self.directory, resolver_threads=settings.resolver_threads)
        self.lanes = FrameLanes(
            Pipeline(self.accounts, self.directory, clock, validation=settings.validation, sync11=settings.sync11),
            self.writer,
            self.resolver,
            self.stats,
            self.budget,
            clock,
            lanes=settings.frame_workers,
            capacity=settings.frame_queue_capacity,
            reached=seams.reached,
        )
        self._gate = DialGate(clock)
        self._throttle = Throttle(clock)
        replays = self._catch_up()
        self.slurper = self._make_slurper(replays)

    def start(self, supervisor: Supervisor) -> None:
        """Every loop; the sockets last."""
        ending, settings = self._ending, self._settings
        ending.add("loops", lambda: supervisor.stop(1.0))
        ending.add("cursors", self.cursor_saver.save, CrashPoint.STOP_CURSORS_SAVED)
        ending.add("account states", lambda: self.projector.drain(ending.wait_s()), CrashPoint.STOP_STATES_APPLIED)
        ending.add("log writer", lambda: self.writer.drain(ending.wait_s()), CrashPoint.STOP_LOG_WRITTEN)
        ending.add("frame lanes", lambda: self.lanes.drain(ending.wait_s()), CrashPoint.STOP_LANES_DRAINED)
        for worker in (self.projector, self.writer, self.resolver, self.lanes, self.cursor_saver):
            worker.start(supervisor)
        Retention(
            self._storage.event_log,
            self.projector,
            self._clock,
            retention_hours=settings.retention_hours,
            budget_bytes=self._storage.disk_budget_bytes(),
            interval_s=self._seams.retention_interval_s,
        ).start(supervisor)
        ending.add("subscriptions", self.slurper.stop, CrashPoint.STOP_UNSUBSCRIBED)
        self.slurper.start(supervisor)

    def _make_directory(self) -> Directory:
        settings = self._settings
        return Directory(
            DidResolver(self._client, settings.plc_url, allow_local_hosts=settings.allow_local_hosts),
            SqlIdentityStore(self._identity_rows, self._seams.reached),
            self._clock,
            cache_entries_max=settings.validator_cache_size,
            on_save_error=self._identities_not_saved,
        )

    def _catch_up(self) -> dict[int, Replay]:
        """Brings SQL up to the log. Returns, by host id, what the hosts will send again although it was judged."""
        storage = self._storage
        applied = self.projector.catch_up(storage.event_log)
        hosts = storage.hosts.all()
        marks = {row.id: (row.epoch, row.cursor) for row in hosts}
        told = ToldIdentities(
            self._identity_rows,
            storage.accounts.dids,
            {row.id: row.hostname for row in hosts},
            lambda did, host: self.resolver.ask(did, host, Need.IDENTITY, urgent=False),
        )
        stored = storage.hosts.leftovers()
        checkpoint = storage.meta.cursor_checkpoint()
        found = find_replays(storage.event_log, checkpoint, marks, stored, storage.accounts.dids, told.take)
        self.cursor_saver = CursorSaver(
            storage.hosts,
            self.registry,
            storage.event_log,
            leftovers=leftovers_of(found, marks),
            stored=stored,
            save_first=self.directory.flush,
            save_interval_s=self._seams.cursor_save_interval_s,
            reached=self._seams.reached,
        )
        log.info("caught up", events_applied=applied, already_logged=sum(len(host.logged) for host in found.values()))
        self._seams.reached(CrashPoint.CAUGHT_UP)
        return found

    def _make_slurper(self, replays: dict[int, Replay]) -> Slurper:
        settings = self._settings
        bootstrap = None
        if settings.upstream:
            bootstrap = BootstrapList(self._client, settings.upstream, allow_local=settings.allow_local_hosts)
        return Slurper(
            self._storage.hosts,
            self.registry,
            self._make_subscriber,
            bootstrap,
            self._clock,
            Backoff(BOOTSTRAP_RETRY_S, BOOTSTRAP_RETRY_S_MAX, rng=SystemRandom().random),
            extra_hosts=tuple(parse_hostname(name, settings.allow_local_hosts) for name in settings.hosts),
            allow_local=settings.allow_local_hosts,
            replays=replays,
        )

    def _make_subscriber(self, host: HostContext, address: HostAddress) -> Subscriber:
        return Subscriber(
            host,
            address,
            self.lanes,
            self._storage.event_log,
            self._storage.hosts,
            self.stats,
            self._clock,
            self._gate,
            Backoff(RECONNECT_S, RECONNECT_S_MAX, rng=SystemRandom().random),
            guard=self._guard,
            tls_context=self._tls_context,
            user_agent=USER_AGENT,
            reached=self._seams.reached,
        )

    def _identities_not_saved(self, error: LocalError) -> None:
        if isinstance(error, StateUnavailableError | StorageFullError):
            if (left_out := self._throttle.allow("identities")) is not None:
                log.warning("identities could not be saved; tried again", error=str(error), left_out=left_out)
        else:
            self._on_broken("identity saver", error)
