"""gunicorn's gevent worker with our server, our start and our end.

Signals of a worker, as gunicorn's master sends them:

- TERM (a graceful stop, or the old worker of a HUP): shut down in order, within `graceful_timeout`.
- QUIT and INT (the master got QUIT or INT, or Ctrl-C reached the process group): the same in seconds; connections
  are cut off early, but what was accepted is still flushed and the cursors are saved.
- ABRT: the hub was blocked for longer than `timeout`; the process ends at once, as after a crash.

HUP starts a new worker before the old one is told to stop, so both run for a moment. They share the listening
socket, and connections wait in its backlog: the old worker accepts nothing more, the new one nothing until
`start` has returned, which must therefore wait for what the old one still holds (the slot's lock, the database)
rather than fail. A worker forked on HUP has the code the master has loaded: new code needs USR2 or a restart.

A start that fails ends with exit status 3. That halts the master, with 3, instead of an endless series of workers.
"""

import os
import sys
from types import FrameType
from typing import Any, cast

import gevent
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]
from gunicorn.http.wsgi import base_environ  # type: ignore[import-untyped]
from gunicorn.workers.base import Worker  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventPyWSGIWorker  # type: ignore[import-untyped]

from zlay_py.clock import Clock, SystemClock
from zlay_py.errors import LocalError
from zlay_py.net.http_server import HttpServer
from zlay_py.net.websocket_handler import WebSocketUpgradeHandler
from zlay_py.workers.lifecycle import (
    HEARTBEAT_S,
    RelayApplication,
    Shutdown,
    raise_open_file_limit,
    run_with_heartbeat,
)

QUICK_DRAIN_S = 1.0
"""After QUIT or INT: time for the close frames to leave."""

MASTER_MARGIN_S = 1.0
"""The master counts its `graceful_timeout` from the signal, and kills: be done before."""


class RelayWorker(GeventPyWSGIWorker):  # type: ignore[misc]  # gunicorn has no types
    """Serves a `RelayApplication`. gunicorn's `worker_connections` holds, its HTTP limits don't: see `HttpLimits`."""

    alive: bool
    server_class = HttpServer
    wsgi_handler = WebSocketUpgradeHandler

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._clock: Clock = SystemClock()
        self._quick = False
        self._shutdown: Shutdown | None = None

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Called by the master before the first worker."""
        if cfg.is_ssl:
            log.error("certfile and keyfile are not supported: TLS ends at the reverse proxy")
            sys.exit(2)

    def load_wsgi(self) -> None:
        """Loads the application and starts it, while `booted` is still false: see the module on exit status 3."""
        raise_open_file_limit()
        try:
            super().load_wsgi()
            started = run_with_heartbeat(self._application().start, self.notify, lambda: not self.alive)
        except LocalError as error:
            self._fail(error)
        if not started:
            self.log.info("told to stop while starting")

    def run(self) -> None:
        """Serves until a signal, then shuts down. Called by `init_process`, which exits with 0 after it."""
        servers = [self._serve(sock) for sock in self.sockets] if self.alive else []
        while self.alive:
            self.notify()
            gevent.sleep(HEARTBEAT_S)
        self._shutdown = self._new_shutdown()
        if self._quick:
            self._shutdown.hurry(QUICK_DRAIN_S)
        self._shutdown.run(servers)

    def notify(self) -> None:
        """The heartbeat. A worker whose master is gone shuts down in order; the stock one drops everything."""
        Worker.notify(self)
        if self.alive and self.ppid != os.getppid():
            self.log.info("the master is gone, shutting down")
            self.alive = False

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # as `signal.signal` calls it
        """Runs in a signal handler, at any point of the program: sets flags and moments only."""
        self._quick = True
        self.alive = False
        if self._shutdown is not None:
            self._shutdown.hurry(QUICK_DRAIN_S)

    def _serve(self, sock: Any) -> HttpServer:
        sock.setblocking(True)
        server = HttpServer(
            sock, self._application(), connections_max=self.worker_connections, environ=base_environ(self.cfg)
        )
        server.start()
        return server

    def _new_shutdown(self) -> Shutdown:
        allowed_s = max(0.0, self.cfg.graceful_timeout - MASTER_MARGIN_S)
        return Shutdown(self._application(), self._clock, allowed_s, self.notify)

    def _application(self) -> RelayApplication:
        return cast(RelayApplication, self.wsgi)

    def _fail(self, error: LocalError) -> None:
        """One line that says what to do, and the status that halts the master."""
        sys.stderr.write(f"zlay_py can't start: {error}\n")
        sys.stderr.flush()
        if getattr(self, "wsgi", None) is not None:
            self._new_shutdown().finish()
        sys.exit(Arbiter.WORKER_BOOT_ERROR)
