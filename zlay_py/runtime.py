"""The composition root: builds every object once, in the order in which an event meets them; starts and stops them."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from random import SystemRandom

import gevent

from zlay_py import __version__
from zlay_py.api.wsgi import Served, create_app
from zlay_py.clock import SystemClock
from zlay_py.errors import LocalError, StorageFullError
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.lock import OwnerLock
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.recovery import Recovery
from zlay_py.eventlog.segment import segment_first_seq
from zlay_py.eventlog.tail import Tail
from zlay_py.exit_status import BROKEN
from zlay_py.fanout.broadcaster import Broadcaster
from zlay_py.identity.directory import Directory
from zlay_py.identity.resolver import DidResolver
from zlay_py.ingest.accounts import Accounts
from zlay_py.ingest.identity_store import SqlIdentityStore
from zlay_py.ingest.pipeline import Pipeline
from zlay_py.ingest.replay import find_already_logged, leftovers_of
from zlay_py.ingest.stats import IngestStats
from zlay_py.ingest.work import HostContext
from zlay_py.logs import get_logger
from zlay_py.net import USER_AGENT
from zlay_py.net.backoff import Backoff
from zlay_py.net.hostname import HostAddress, parse_hostname
from zlay_py.net.http_client import HttpClient
from zlay_py.net.ssrf import AddressGuard
from zlay_py.net.tls import client_context
from zlay_py.net.websocket_handshake import WebSocketRunner
from zlay_py.net.websocket_server import ServerWebSocket
from zlay_py.settings import Settings
from zlay_py.state.accounts import AccountStore
from zlay_py.state.database import Database
from zlay_py.state.failures import StateUnavailableError
from zlay_py.state.hosts import HostStore
from zlay_py.state.identities import IdentityRowStore
from zlay_py.state.meta import MetaStore
from zlay_py.workers.byte_budget import ByteBudget
from zlay_py.workers.cursor_saver import CursorSaver
from zlay_py.workers.dial_gate import DialGate
from zlay_py.workers.frame_lanes import FrameLanes
from zlay_py.workers.host_registry import HostRegistry
from zlay_py.workers.log_writer import LogWriter
from zlay_py.workers.metrics_server import MetricsServer
from zlay_py.workers.probes import Probes
from zlay_py.workers.resolver_pool import ResolverPool
from zlay_py.workers.retention import Retention
from zlay_py.workers.slurper import BootstrapList, Slurper
from zlay_py.workers.state_projector import StateProjector
from zlay_py.workers.subscriber import Subscriber
from zlay_py.workers.summary import Summary
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

STOP_S_MAX = 20.0
"""For the waits of an orderly stop, all together. Of gunicorn's graceful timeout some 24 s are left for it (see
`workers.lifecycle`), and saving and closing come after."""

DRAIN_S_MAX = 8.0
"""For one of the waits: what the lanes can't get done must not take the log writer's time as well."""

SEQS_UNRECORDED_MAX = 2**20
"""How far the log can have been ahead of what the database recorded of it: some five times the projector's backlog."""

BOOTSTRAP_RETRY_S = 5.0
BOOTSTRAP_RETRY_S_MAX = 300.0
"""A bootstrap relay that is away is asked again within five minutes."""

RECONNECT_S = 1.0
RECONNECT_S_MAX = 3_600.0
"""A host that can't be reached is tried hourly, and never given up."""

SLOT_POLL_S = 0.1
"""While the worker before us finishes: how often we look whether it has."""

SLOT_LOCK = "slot-0.lock"

DISK_SHARE = 0.8
"""Of the free space, for the event log, where no budget is set."""


@dataclass(frozen=True, slots=True)
class _Stores:
    """SQL, by table family."""

    database: Database
    hosts: HostStore
    accounts: AccountStore
    meta: MetaStore


class Relay:
    """The whole relay of one process. Objects exist from `start` on; `http` is None before."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.stats = IngestStats()
        self.registry = HostRegistry()
        self.supervisor = Supervisor(self._broken)
        self.serving = False
        self._slot = OwnerLock(settings.data_dir, SLOT_LOCK)
        self._ending: list[tuple[str, Callable[[], object]]] = []
        self._stop_until_s = 0.0
        self.http: Callable[..., Iterable[bytes]] | None = None

    def start(self) -> None:
        """Opens what is ours, catches the projections up, serves, and only then reads from hosts.

        Raises LocalError: a setting, a lock, or a file of ours is in the way.
        """
        settings = self.settings
        self._open_storage()
        self._build_ingest()
        self.broadcaster = Broadcaster(self.event_log, self.tail, self.clock, on_corruption=self._broken)
        self.http = create_app(Served(self.accounts, self.stores.hosts, self.registry))
        self._serve_metrics()
        self._start_workers()
        self.serving = True
        log.info("relay started", version=__version__, port=settings.port, next_seq=self.event_log.next_seq)

    def consumer_runner(self, cursor: int | None, *, remote: str, user_agent: str) -> WebSocketRunner:
        """Serves one accepted firehose connection."""

        def run(websocket: ServerWebSocket) -> None:
            self.broadcaster.serve(websocket, cursor, remote=remote, user_agent=user_agent)

        return run

    def begin_stop(self) -> None:
        self.serving = False
        if self.http is not None:
            log.info("relay stops", consumers=len(self.broadcaster))
            self.broadcaster.close_all()

    def finish_stop(self) -> None:
        """From the sockets to the disk, in the order of the flow, so that nothing read is left behind.

        Ends whatever `start` has got to, all of it or a part. A step that fails, or is cut off, is logged and keeps
        none of the others from running: a full disk must not leave files open and the data directory locked.
        """
        if not self._ending:
            return
        self._stop_until_s = self.clock.monotonic_s() + STOP_S_MAX
        settled, cut_off = True, None
        while self._ending:
            name, step = self._ending.pop()
            try:
                settled = step() is not False and settled
            except Exception as error:
                settled = False
                log.error("a step of the stop failed; the others follow", step=name, error=repr(error), exc_info=True)
            except BaseException as error:  # killed: what is left is done without waiting for anything
                settled, cut_off = False, error
                self._stop_until_s = self.clock.monotonic_s()
        log.info("relay stopped", settled=settled)
        if cut_off is not None:
            raise cut_off

    def _at_end(self, name: str, step: Callable[[], object]) -> None:
        """`finish_stop` runs these steps, last one first. One that returns False has left something behind."""
        self._ending.append((name, step))

    def _wait_s(self) -> float:
        """For the next wait of the stop."""
        return max(0.0, min(DRAIN_S_MAX, self._stop_until_s - self.clock.monotonic_s()))

    def _open_storage(self) -> None:
        settings = self.settings
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self._at_end("slot lock", self._slot.release)
        self._slot.acquire(self._wait_for_slot)
        database = Database(settings.database_url)
        self._at_end("database", database.close)
        database.migrate()
        self.stores = _Stores(database, HostStore(database), AccountStore(database), MetaStore(database))
        self.tail = Tail(frames_max=settings.history_frames, bytes_max=settings.history_mb * 1024 * 1024)
        self.event_log, recovery = self._open_log()
        self._at_end("event log", self.event_log.close)
        log.info("event log open", **asdict(recovery))

    def _open_log(self) -> tuple[EventLog, Recovery]:
        """A log that is behind the database (its folder was emptied, or is an old copy) must not give out again the
        seqs that the database knows of, nor those that the database had not heard of yet."""
        meta, folder = self.stores.meta, self.settings.data_dir
        known_seq = max(meta.applied_seq(), meta.cursor_checkpoint())
        beyond = known_seq + 1 + SEQS_UNRECORDED_MAX
        emptied = known_seq and all(segment_first_seq(path.name) is None for path in folder.iterdir())
        event_log = self._make_log(max(self.settings.initial_seq, beyond if emptied else 1))
        recovery = event_log.open()
        if recovery.next_seq <= known_seq:
            event_log.close()
            event_log = self._make_log(beyond)
            recovery = event_log.open()
        elif not emptied:
            return event_log, recovery
        log.warning(
            "the event log is behind its database: events are missing, and seqs go on where none was given out before",
            known_seq=known_seq,
            next_seq=recovery.next_seq,
        )
        return event_log, recovery

    def _make_log(self, initial_seq: int) -> EventLog:
        return EventLog(
            self.settings.data_dir,
            durability=Durability(self.settings.durability),
            clock=self.clock,
            initial_seq=initial_seq,
            tail=self.tail,
        )

    def _build_ingest(self) -> None:
        settings, stores = self.settings, self.stores
        self.guard = AddressGuard(allow_loopback=settings.allow_local_hosts)
        self.tls_context = client_context(settings.ca_file)
        self.client = HttpClient(self.guard, user_agent=USER_AGENT, tls_context=self.tls_context)
        self.directory = Directory(
            DidResolver(self.client, settings.plc_url, allow_local_hosts=settings.allow_local_hosts),
            SqlIdentityStore(IdentityRowStore(stores.database)),
            self.clock,
            cache_entries_max=settings.validator_cache_size,
            on_save_error=self._identities_not_saved,
        )
        self._at_end("identities", self.directory.close)
        self.accounts = Accounts(stores.accounts, self.clock)
        pipeline = Pipeline(
            self.accounts, self.directory, self.clock, validation=settings.validation, sync11=settings.sync11
        )
        self.budget = ByteBudget()
        self.projector = StateProjector(stores.accounts, self.accounts, stores.meta.applied_seq())
        self.writer = LogWriter(self.event_log, self.projector, self.budget, self.clock)
        self.resolver = ResolverPool(self.directory, resolver_threads=settings.resolver_threads)
        self.lanes = FrameLanes(
            pipeline,
            self.writer,
            self.resolver,
            self.stats,
            self.budget,
            self.clock,
            lanes=settings.frame_workers,
            capacity=settings.frame_queue_capacity,
        )
        self.gate = DialGate(self.clock)
        already_logged = self._catch_up()
        self.slurper = self._build_slurper(already_logged)

    def _catch_up(self) -> dict[int, set[int]]:
        """Brings SQL up to the log. Returns, by host id, what the hosts will send again although the log has it."""
        stores = self.stores
        applied = self.projector.catch_up(self.event_log)
        marks = {row.id: (row.epoch, row.cursor) for row in stores.hosts.all()}
        stored = stores.hosts.leftovers()
        found = find_already_logged(self.event_log, stores.meta.cursor_checkpoint(), marks, stored)
        self.cursor_saver = CursorSaver(
            stores.hosts, self.registry, self.event_log, leftovers=leftovers_of(found, marks), stored=stored
        )
        log.info("caught up", events_applied=applied, already_logged=sum(map(len, found.values())))
        return found

    def _build_slurper(self, already_logged: dict[int, set[int]]) -> Slurper:
        settings = self.settings
        bootstrap = None
        if settings.upstream:
            bootstrap = BootstrapList(self.client, settings.upstream, allow_local=settings.allow_local_hosts)
        return Slurper(
            self.stores.hosts,
            self.registry,
            self._make_subscriber,
            bootstrap,
            self.clock,
            Backoff(BOOTSTRAP_RETRY_S, BOOTSTRAP_RETRY_S_MAX, rng=SystemRandom().random),
            extra_hosts=tuple(parse_hostname(name, settings.allow_local_hosts) for name in settings.hosts),
            allow_local=settings.allow_local_hosts,
            already_logged=already_logged,
        )

    def _make_subscriber(self, host: HostContext, address: HostAddress) -> Subscriber:
        return Subscriber(
            host,
            address,
            self.lanes,
            self.event_log,
            self.stores.hosts,
            self.stats,
            self.clock,
            self.gate,
            Backoff(RECONNECT_S, RECONNECT_S_MAX, rng=SystemRandom().random),
            guard=self.guard,
            tls_context=self.tls_context,
            user_agent=USER_AGENT,
        )

    def _start_workers(self) -> None:
        settings = self.settings
        self._at_end("loops", lambda: self.supervisor.stop(1.0))
        self._at_end("cursors", self.cursor_saver.save)
        self._at_end("account states", lambda: self.projector.drain(self._wait_s()))
        self._at_end("log writer", lambda: self.writer.drain(self._wait_s()))
        self._at_end("frame lanes", lambda: self.lanes.drain(self._wait_s()))
        for worker in (self.projector, self.writer, self.resolver, self.lanes, self.cursor_saver):
            worker.start(self.supervisor)
        Retention(
            self.event_log,
            self.projector,
            self.clock,
            retention_hours=settings.retention_hours,
            budget_bytes=self._disk_budget_bytes(),
        ).start(self.supervisor)
        Summary(self.stats, self.slurper, self.event_log, self.broadcaster).start(self.supervisor)
        self._at_end("subscriptions", self.slurper.stop)
        self.slurper.start(self.supervisor)

    def _serve_metrics(self) -> None:
        probes = Probes(
            self.stats,
            self.event_log,
            self.stores.hosts,
            self.budget,
            self.lanes,
            self.writer,
            self.projector,
            self.resolver,
            self.slurper,
            self.broadcaster,
            self.supervisor,
        )

        def not_ready() -> list[str]:
            return probes.not_ready() if self.serving else ["starting or stopping"]

        settings = self.settings
        self.metrics_server = MetricsServer(probes.metrics(), not_ready, settings.metrics_bind, settings.metrics_port)
        self._at_end("metrics port", self.metrics_server.stop)
        self.metrics_server.start()

    def _wait_for_slot(self, holder: int | None) -> bool:
        """The worker before us still writes: it was told to stop, and its end is our beginning."""
        log.debug("waiting for the worker before us", holder=holder)
        gevent.sleep(SLOT_POLL_S)
        return True

    def _disk_budget_bytes(self) -> int:
        """The setting; without one, 80 % of what was free at the first start, remembered so that it does not shrink."""
        if self.settings.disk_budget_gb is not None:
            return int(self.settings.disk_budget_gb * 1e9)
        remembered = self.stores.meta.get("disk_budget_bytes")
        if remembered is None:
            remembered = str(int(shutil.disk_usage(self.settings.data_dir).free * DISK_SHARE))
            self.stores.meta.put("disk_budget_bytes", remembered)
        return int(remembered)

    def _identities_not_saved(self, error: LocalError) -> None:
        if isinstance(error, StateUnavailableError | StorageFullError):
            log.warning("identities could not be saved; tried again", error=str(error))
        else:
            self._broken("identity saver", error)

    def _broken(self, loop: str, error: BaseException) -> None:
        """A loop that everything depends on is dead. Nothing acknowledged is lost by ending here: the log has it."""
        what = "our storage or machine" if isinstance(error, LocalError) else "a bug of ours"
        log.critical("the relay stops", loop=loop, cause=what, error=repr(error))
        sys.stderr.flush()
        os._exit(BROKEN)
