"""The relay of one process: start and stop, in the order of the flow."""

import os
import sys
from collections.abc import Callable, Iterable

from zlay_py import __version__
from zlay_py.api.wsgi import Served, create_app
from zlay_py.clock import SystemClock
from zlay_py.errors import LocalError
from zlay_py.exit_status import BROKEN
from zlay_py.fanout.broadcaster import Broadcaster
from zlay_py.logs import get_logger
from zlay_py.net.websocket_handshake import WebSocketRunner
from zlay_py.net.websocket_server import ServerWebSocket
from zlay_py.runtime.ending import Ending
from zlay_py.runtime.ingest import Ingest
from zlay_py.runtime.seams import Seams
from zlay_py.runtime.storage import Storage
from zlay_py.settings import Settings
from zlay_py.workers.metrics_server import MetricsServer
from zlay_py.workers.probes import Probes
from zlay_py.workers.summary import Summary
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

_PRODUCTION = Seams()


class Relay:
    """Objects exist from `start` on; `http` is None before."""

    def __init__(self, settings: Settings, seams: Seams = _PRODUCTION) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.supervisor = Supervisor(self._broken)
        self.serving = False
        self.http: Callable[..., Iterable[bytes]] | None = None
        self._seams = seams
        self._ending = Ending(self.clock, seams.reached)

    def start(self) -> None:
        """Opens what is ours, catches the projections up, serves, and only then reads from hosts.

        Raises LocalError: a setting, a lock, or a file of ours is in the way.
        """
        settings, seams = self.settings, self._seams
        self.stores = storage = Storage(settings, seams, self.clock, self._ending)
        self.event_log = storage.event_log
        self.ingest = Ingest(settings, seams, self.clock, storage, self._ending, self._broken)
        self.cursor_saver = self.ingest.cursor_saver
        self.broadcaster = Broadcaster(self.event_log, storage.tail, self.clock, on_corruption=self._broken)
        self.http = create_app(Served(self.ingest.accounts, storage.hosts, self.ingest.registry))
        self._serve_metrics()
        Summary(self.ingest.stats, self.ingest.slurper, self.event_log, self.broadcaster).start(self.supervisor)
        self.ingest.start(self.supervisor)
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

        Ends whatever `start` has got to, all of it or a part.
        """
        self._ending.run()

    def _serve_metrics(self) -> None:
        ingest, settings = self.ingest, self.settings
        probes = Probes(
            ingest.stats,
            self.event_log,
            self.stores.hosts,
            ingest.budget,
            ingest.lanes,
            ingest.writer,
            ingest.projector,
            ingest.resolver,
            ingest.slurper,
            self.broadcaster,
            self.supervisor,
        )

        def not_ready() -> list[str]:
            return probes.not_ready() if self.serving else ["starting or stopping"]

        self.metrics_server = MetricsServer(probes.metrics(), not_ready, settings.metrics_bind, settings.metrics_port)
        self._ending.add("metrics port", self.metrics_server.stop)
        self.metrics_server.start()

    def _broken(self, loop: str, error: BaseException) -> None:
        """A loop that everything depends on is dead. Nothing acknowledged is lost by ending here: the log has it."""
        what = "our storage or machine" if isinstance(error, LocalError) else "a bug of ours"
        log.critical("the relay stops", loop=loop, cause=what, error=repr(error))
        sys.stderr.flush()
        os._exit(BROKEN)
