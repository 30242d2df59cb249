"""How a serving process starts and ends, the same under gunicorn and without it.

    start          application.start()                      the hub is alive; nothing is accepted before it returns
    serve
    stop accepting, idle keep-alive connections are closed
    begin          application.begin_shutdown()             the consumers get their last frames and close 1012
    drain          requests and WebSockets under way end; what is left at the deadline is cut off
    finish         application.finish_shutdown()            nothing is connected any more: flush, save cursors, release

While a hook runs the heartbeat goes on, so that gunicorn's master does not take a long recovery for a hang.
"""

import resource
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import gevent

from zlay_py.clock import Clock
from zlay_py.logs import get_logger
from zlay_py.net.http_server import HttpServer
from zlay_py.net.websocket_frames import CloseCode
from zlay_py.net.websocket_handshake import WebSocketRunner

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = get_logger(__name__)

HEARTBEAT_S = 0.25
"""How often a waiting process looks around: gunicorn's master wants a sign every 120 s, a signal wants an answer."""
BEGIN_S_MAX = 5.0
"""For `begin_shutdown`: consumers that read get their last frames in well under a second."""
DRAIN_SHARE = 0.2
"""Of the time allowed for the whole end: consumers have two seconds for their close, a request a little more. The rest
is kept for `finish_shutdown`: draining the lanes, the last fsync, saving thousands of cursors."""
KILL_S = 1.0
"""For a hook that is cut off: its `finally` blocks."""


class RelayApplication(Protocol):
    """What a worker serves: a WSGI callable with a life of its own. A wrapper around it has to pass these on."""

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse", /) -> Iterable[bytes]: ...

    def upgrade_gate(self, environ: dict[str, Any], /) -> WebSocketRunner | None:
        """See `zlay_py.net.websocket_handshake.UpgradeGate`."""

    def start(self) -> None:
        """Called once, in its own greenlet. May block (recovery, waiting for the slot's lock). A LocalError stops the
        process and gunicorn's master with it. May be cut off by GreenletExit; `finish_shutdown` follows all the same.
        """

    def begin_shutdown(self) -> None:
        """Called once, first. Ends what would keep connections open; WebSockets it leaves open get close 1012 after.

        Nothing may have been started yet: see `start`.
        """

    def finish_shutdown(self) -> None:
        """Called once, last, also after a `start` that failed or was cut off. Leaves all durable and released."""


def raise_open_file_limit() -> int:
    """The soft limit (often 1,024) becomes the hard one, else it caps the consumers. Returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def run_with_heartbeat(work: Callable[[], None], heartbeat: Callable[[], None], give_up: Callable[[], bool]) -> bool:
    """Runs `work` in a greenlet beside `heartbeat`; re-raises what it raises. False: given up, and killed."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # handed to the caller, not to gevent's hub
            failures.append(error)

    greenlet = gevent.spawn(guarded)
    while not greenlet.dead:
        heartbeat()
        greenlet.join(HEARTBEAT_S)
        if not greenlet.dead and give_up():
            greenlet.kill(timeout=KILL_S)
            return False
    if failures:
        raise failures[0]
    return True


class Shutdown:
    """The order of the end, within `allowed_s` of the call, `finish_shutdown` included."""

    def __init__(
        self, application: RelayApplication, clock: Clock, allowed_s: float, heartbeat: Callable[[], None]
    ) -> None:
        self._application = application
        self._clock = clock
        self._heartbeat = heartbeat
        self._deadline_s = clock.monotonic_s() + allowed_s
        self._drain_until_s = clock.monotonic_s() + allowed_s * DRAIN_SHARE

    def run(self, servers: Sequence[HttpServer]) -> None:
        """Everything; raises what `finish_shutdown` raises."""
        for server in servers:
            server.begin_drain()
        self._begin()
        for server in servers:
            server.close_websockets(CloseCode.SERVICE_RESTART, "the relay restarts")
        for server in servers:
            self._drain(server)
        self.finish()

    def hurry(self, drain_s: float) -> None:
        """Cuts off what is still connected after `drain_s`. May be called from a signal handler."""
        self._drain_until_s = min(self._drain_until_s, self._clock.monotonic_s() + drain_s)

    def finish(self) -> None:
        """`finish_shutdown`, cut off at the deadline."""
        work = self._application.finish_shutdown
        if not run_with_heartbeat(work, self._heartbeat, lambda: self._clock.monotonic_s() >= self._deadline_s):
            log.error("the shutdown took too long and was cut off")

    def _begin(self) -> None:
        begin_until_s = self._clock.monotonic_s() + BEGIN_S_MAX

        def too_long() -> bool:
            return self._clock.monotonic_s() >= min(begin_until_s, self._drain_until_s)

        try:
            if not run_with_heartbeat(self._application.begin_shutdown, self._heartbeat, too_long):
                log.warning("begin_shutdown took too long and was cut off")
        except Exception:
            log.exception("begin_shutdown failed")  # flushing and saving matter more than a clean goodbye

    def _drain(self, server: HttpServer) -> None:
        while not server.wait_drained(HEARTBEAT_S):
            self._heartbeat()
            if self._clock.monotonic_s() >= self._drain_until_s:
                log.warning("connections did not end in time", websockets=len(server.websockets))
                server.stop(timeout=0)
                return
