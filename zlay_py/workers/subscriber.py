"""One host: connect, read frames, hand them to the lanes, keep the place, connect again. For ever."""

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from ssl import SSLContext

import gevent

from zlay_py.atproto import events, frame
from zlay_py.atproto.frame import FRAME_BYTES_MAX, Frame, FrameKind
from zlay_py.clock import Clock
from zlay_py.errors import FrameError, InvalidDataError, NetError
from zlay_py.eventlog.log import EventLog
from zlay_py.ingest.low_water import LowWater
from zlay_py.ingest.outcome import DropReason
from zlay_py.ingest.stats import IngestStats
from zlay_py.ingest.work import HostContext, Work
from zlay_py.logs import get_logger
from zlay_py.net import websocket_client
from zlay_py.net.backoff import Backoff
from zlay_py.net.failures import FailureKind
from zlay_py.net.hostname import HostAddress
from zlay_py.net.ssrf import AddressGuard
from zlay_py.net.websocket_client import WebSocketConnection
from zlay_py.state.hosts import HostStatus, HostStore
from zlay_py.workers.dial_gate import DialGate
from zlay_py.workers.frame_lanes import FrameLanes

log = get_logger(__name__)

PATH = "/xrpc/com.atproto.sync.subscribeRepos"

HANDSHAKE_S_MAX = 30.0
"""DNS, TCP, TLS and upgrade together."""

SILENCE_S_MAX = 30.0
"""Nothing received for this long: we ping. Nothing for as long again: the connection is dead."""

UNFINISHED_FRAMES_MAX = 2_000
"""Of one host between socket and log, parked ones included. Past it the socket is not read."""

PARKED_BYTES_MAX = 8 * 1024 * 1024
"""Of one host's frames that wait for identities. Past it the socket is not read: it waits alone."""

REPEATED_FRAMES_MAX = 100
"""Seqs in a row that do not grow: after so many the connection is closed (atproto event-stream spec)."""

BELOW_CURSOR_CONNECTIONS = 3
"""Connections in a row that never get above our cursor: the host's seqs were reset."""

RESET_INTERVAL_S = 86_400.0
"""A host's cursor is reset by itself at most this often: a reset loses its place."""

POISON_HASHES_MAX = 16
"""Of undecodable frames remembered per host. Met again, such a frame is skipped instead of closing once more."""

OFFLINE_AFTER_FAILURES = 3
"""Failed connections in a row before the host counts as offline. It is retried all the same."""

RELAY_MARKER = "atproto-relay"


class Subscriber:
    """The reader of one host. `run` ends only when it is killed."""

    def __init__(
        self,
        host: HostContext,
        address: HostAddress,
        lanes: FrameLanes,
        event_log: EventLog,
        hosts: HostStore,
        stats: IngestStats,
        clock: Clock,
        gate: DialGate,
        backoff: Backoff,
        *,
        guard: AddressGuard,
        tls_context: SSLContext,
        user_agent: str,
    ) -> None:
        self.host = host
        self.connected = False
        self._address = address
        self._lanes = lanes
        self._log = event_log
        self._hosts = hosts
        self._stats = stats
        self._clock = clock
        self._gate = gate
        self._backoff = backoff
        self._guard = guard
        self._tls_context = tls_context
        self._user_agent = user_agent
        self._last_read: int | None = host.water.mark
        self._failures = 0
        self._below_cursor = 0
        self._reset_at_s: float | None = None
        self._poison: OrderedDict[bytes, None] = OrderedDict()

    def run(self) -> None:
        while True:
            progress = False
            try:
                progress = self._connection()
            except (NetError, FrameError) as error:
                self._failed(error)
            except Exception:
                # a bug of ours that this host brought out must not take the other hosts down
                log.exception("a subscription met a bug of ours", host=self.host.name)
                self._failures += 1
            if progress:
                self._backoff.reset()
            gevent.sleep(self._backoff.next())

    def _connection(self) -> bool:
        """One connection from dial to end; True if it brought anything new."""
        start = self._last_read
        connection = self._connect(start)
        self.connected = True
        try:
            self._established()
            self._read(connection, start)
        except (NetError, FrameError) as error:
            self._failed(error)
        finally:
            self.connected = False
            connection.close()
        return self._last_read != start

    def _connect(self, cursor: int | None) -> WebSocketConnection:
        query = "" if cursor is None else f"?cursor={cursor}"
        with self._gate:
            connection = websocket_client.connect(
                self._address.ws_url(PATH + query),
                guard=self._guard,
                tls_context=self._tls_context,
                headers={"User-Agent": self._user_agent},
                timeout_s=HANDSHAKE_S_MAX,
                message_bytes_max=FRAME_BYTES_MAX,
            )
        if RELAY_MARKER in connection.response_headers.get("server", "").lower():
            connection.close()
            raise NetError(FailureKind.POLICY, "the host is a relay itself")
        return connection

    def _established(self) -> None:
        if self._failures:
            log.info("host connected again", host=self.host.name, cursor=self._last_read)
        self._failures = 0
        self._hosts.set_status(self.host.id, HostStatus.ACTIVE, None, self._clock.now_us())

    def _failed(self, error: NetError | FrameError) -> None:
        kind = error.kind if isinstance(error, NetError) else FailureKind.DECODE
        self._failures += 1
        if self._failures == 1:
            log.info("host connection ended", host=self.host.name, failure=kind, detail=str(error)[:200])
        if self._failures == OFFLINE_AFTER_FAILURES:
            log.warning("host is offline; it is retried", host=self.host.name, failure=kind, detail=str(error)[:200])
        if self._failures >= OFFLINE_AFTER_FAILURES:
            self._hosts.set_status(self.host.id, HostStatus.OFFLINE, kind, self._clock.now_us())

    def _read(self, connection: WebSocketConnection, cursor: int | None) -> None:
        repeated = 0
        grew = False
        try:
            while True:
                event = self._decode(connection.receive_kept_alive(SILENCE_S_MAX))
                if event is None:
                    continue
                if event.kind is FrameKind.ERROR:
                    self._error_frame(event)
                    return
                if event.kind in (FrameKind.UNKNOWN, FrameKind.INFO):
                    continue
                if not event.seq:  # without a place in the stream there is nothing to resume from or to wait for
                    self._stats.dropped[DropReason.EVENT_INVALID] += 1
                    continue
                if self._last_read is not None and event.seq <= self._last_read:
                    if event.seq != cursor:  # the first frame may repeat the cursor: some hosts count it in
                        self._stats.dropped[DropReason.SEQ_REPEATED] += 1
                        repeated += 1
                    if repeated >= REPEATED_FRAMES_MAX:
                        raise NetError(FailureKind.POLICY, f"{repeated} seqs in a row not above {self._last_read}")
                    continue
                repeated, grew = 0, True
                self._take(event)
                gevent.sleep(0)  # a busy host never waits in recv, and would keep every other greenlet from running
        finally:
            self._judge_seqs(grew, repeated)

    def _decode(self, message: bytes) -> Frame | None:
        """None for a frame that broke the stream before and is skipped now."""
        try:
            event = frame.decode(message)
        except FrameError as error:
            digest = sha256(message).digest()
            if digest in self._poison:
                self._stats.dropped[DropReason.POISON_FRAME] += 1
                log.warning("a frame that can't be decoded is skipped", host=self.host.name, detail=str(error)[:200])
                return None
            self._poison[digest] = None
            if len(self._poison) > POISON_HASHES_MAX:
                self._poison.popitem(last=False)
            self._stats.undecodable += 1
            raise
        self._stats.received[event.kind] += 1
        return event

    def _take(self, event: Frame) -> None:
        host, water = self.host, self.host.water
        self._last_read = event.seq
        water.begin(event.seq, self._log.current_seq)
        if event.seq in host.already_logged:
            host.already_logged.discard(event.seq)
            self._stats.dropped[DropReason.ALREADY_LOGGED] += 1
            water.done(event.seq)
            return
        self._lanes.put(Work(host, water, event, self._clock.now_us()))
        while water.unfinished >= UNFINISHED_FRAMES_MAX or host.parked_bytes >= PARKED_BYTES_MAX:
            host.room.clear()
            host.room.wait()

    def _error_frame(self, event: Frame) -> None:
        try:
            name, message = events.parse_error(event)
        except InvalidDataError as error:
            name, message = "", str(error)
        log.warning("host sent an error", host=self.host.name, error=name[:64], message=message[:200])
        if name == "FutureCursor":
            self._reset_cursor("FutureCursor")

    def _judge_seqs(self, grew: bool, repeated: int) -> None:
        """Counts connections that sent only seqs below our cursor."""
        if grew or not repeated:
            self._below_cursor = 0 if grew else self._below_cursor
            return
        self._below_cursor += 1
        if self._below_cursor >= BELOW_CURSOR_CONNECTIONS:
            self._below_cursor = 0
            self._reset_cursor(f"{BELOW_CURSOR_CONNECTIONS} connections below the cursor")

    def _reset_cursor(self, reason: str) -> None:
        """The host's seqs began anew: a new epoch, without a cursor, so that old marks can't hide new events."""
        now_s = self._clock.monotonic_s()
        if self._reset_at_s is not None and now_s - self._reset_at_s < RESET_INTERVAL_S:
            return
        self._reset_at_s = now_s
        host = self.host
        host.epoch = self._hosts.bump_epoch(host.id, None)
        log.warning("host cursor reset", host=host.name, reason=reason, old_cursor=self._last_read, epoch=host.epoch)
        host.water = LowWater(None)
        host.already_logged.clear()
        self._last_read = None


SubscriberFactory = Callable[[HostContext, HostAddress], Subscriber]
