"""The relay without gunicorn: one process, the same server, for `python -m zlay_py` and small installations."""

import signal
import sys

import gevent
from gevent.event import Event
from gevent.socket import AF_INET, AF_INET6, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET
from gevent.socket import socket as GeventSocket  # noqa: N812

from zlay_py.clock import Clock, SystemClock
from zlay_py.errors import ConfigError, LocalError
from zlay_py.exit_status import CONFIG_WRONG, START_FAILED
from zlay_py.logs import get_logger
from zlay_py.net.http_server import HttpServer
from zlay_py.workers.lifecycle import RelayApplication, Shutdown, raise_open_file_limit, run_with_heartbeat

log = get_logger(__name__)

GRACEFUL_S = 30.0
"""From the signal to the end, as gunicorn's graceful_timeout."""
BACKLOG = 2048
"""Connections that wait while the relay starts or restarts, as gunicorn's default."""
QUICK_DRAIN_S = 1.0


def listen(bind: str, port: int) -> GeventSocket:
    """A listening TCP socket; port 0 takes a free one. Raises ConfigError."""
    sock = GeventSocket(AF_INET6 if ":" in bind else AF_INET, SOCK_STREAM)
    try:
        sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        sock.bind((bind, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ConfigError(f"RELAY_PORT: can't listen on {bind}:{port}: {error.strerror or error}") from error
    return sock


def serve(application: RelayApplication, bind: str, port: int, *, clock: Clock | None = None) -> int:
    """Starts the application, serves until TERM, INT or QUIT, shuts down. Returns the exit status of the process.

    The caller has monkey-patched. QUIT, or a second signal, ends the connections in a second instead of many.
    """
    server = _Process(application, clock or SystemClock())
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    watchers = [gevent.signal_handler(number, server.on_signal, number) for number in numbers]
    try:
        raise_open_file_limit()
        server.run(listen(bind, port))
    except LocalError as error:
        sys.stderr.write(f"zlay_py: {error}\n")
        return CONFIG_WRONG if isinstance(error, ConfigError) else START_FAILED
    finally:
        for watcher in watchers:
            watcher.cancel()
    return 0


class _Process:
    """One run of `serve`."""

    def __init__(self, application: RelayApplication, clock: Clock) -> None:
        self._application = application
        self._clock = clock
        self._stop = Event()
        self._quick = False
        self._shutdown: Shutdown | None = None

    def on_signal(self, number: int) -> None:
        self._quick = self._quick or number == signal.SIGQUIT or self._stop.is_set()
        self._stop.set()
        if self._shutdown is not None and self._quick:
            self._shutdown.hurry(QUICK_DRAIN_S)

    def run(self, listener: GeventSocket) -> None:
        server = HttpServer(listener, self._application, clock=self._clock)
        try:
            if run_with_heartbeat(self._application.start, _no_heartbeat, self._stop.is_set):
                server.start()
                log.info("listening", bind=server.server_host, port=server.server_port)
                self._stop.wait()
        finally:
            self._shut_down(server)

    def _shut_down(self, server: HttpServer) -> None:
        self._shutdown = Shutdown(self._application, self._clock, GRACEFUL_S, _no_heartbeat)
        if self._quick:
            self._shutdown.hurry(QUICK_DRAIN_S)
        self._shutdown.run([server])


def _no_heartbeat() -> None:
    """There is no master to convince."""
