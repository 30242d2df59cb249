"""One host: connect, read frames, hand them to the lanes, keep the place, connect again. For ever."""

from collections.abc import Callable
from ssl import SSLContext
from typing import Protocol

import gevent

from zlay_py.atproto import events, frame
from zlay_py.atproto.frame import Frame, FrameKind
from zlay_py.clock import Clock
from zlay_py.crashpoints import CrashPoint, Reached, pass_by
from zlay_py.errors import (
    CorruptionError,
    FrameError,
    InvalidDataError,
    NetError,
    StorageFailedError,
    StorageFullError,
)
from zlay_py.eventlog.log import EventLog
from zlay_py.ingest.low_water import LowWater
from zlay_py.ingest.outcome import DropReason
from zlay_py.ingest.replay import Replay
from zlay_py.ingest.stats import IngestStats
from zlay_py.ingest.work import HostContext, Work
from zlay_py.logs import get_logger
from zlay_py.net import RELAY_MARKER
from zlay_py.net.backoff import Backoff
from zlay_py.net.failures import FailureKind
from zlay_py.net.hostname import HostAddress
from zlay_py.net.ssrf import AddressGuard
from zlay_py.state.failures import StateUnavailableError
from zlay_py.state.hosts import CursorRow, HostStatus, HostStore
from zlay_py.workers.dial_gate import DialGate
from zlay_py.workers.dialler import Connect, Connection, Dialler, handshake_s
from zlay_py.workers.host_stream import ConnectionSeqs, PoisonMemory, StuckPlace

log = get_logger(__name__)

_FRAME_READ = CrashPoint.FRAME_READ  # finding it costs more than the call: every frame

TURN_FRAMES_MAX = 8
TURN_BYTES_MAX = 65_536
"""What one host may read before the others get their turn, whichever is less: a millisecond or two of decoding. A turn
for each frame costs a tenth of all the CPU time, in switches between this greenlet and the lanes."""

SILENCE_S_MAX = 30.0
"""Nothing received for this long: we ping. Nothing for as long again: the connection is dead."""

UNFINISHED_FRAMES_MAX = 2_000
"""Of one host between socket and log, parked ones included. Past it the socket is not read."""

PARKED_BYTES_MAX = 8 * 1024 * 1024
"""Of one host's frames that wait for identities. Past it the socket is not read: it waits alone."""

STEADY_S = 60.0
"""A connection that lived so long was a good one, events or not: the next delay is a first one."""

BELOW_CURSOR_CONNECTIONS = 3
"""Connections in a row that bring seqs below our cursor and none above it: the host's seqs were reset."""

RESET_INTERVAL_S = 86_400.0
"""A host's cursor is reset by itself at most this often: a reset loses its place."""

PARKED_BYTES_MAX_ALL = 256 * 1024 * 1024
"""Of all hosts' together: past it the hosts that have some are not read."""

OFFLINE_AFTER_FAILURES = 3
"""Failed connections in a row before the host counts as offline. It is retried all the same."""


class TakesWork(Protocol):
    """The frame lanes, as a subscriber sees them."""

    parked_bytes: int
    """Of all hosts' frames that wait for identities."""

    def put(self, work: Work) -> None:
        """Waits while there is no room."""


class Subscriber:
    """The reader of one host. `run` ends only when it is killed, or when our own storage is broken."""

    def __init__(
        self,
        host: HostContext,
        address: HostAddress,
        lanes: TakesWork,
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
        connect: Connect | None = None,
        reached: Reached = pass_by,
    ) -> None:
        """`connect`: how the host is reached, if not over the network."""
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
        self._reached = reached
        self._connect = connect or Dialler(guard, tls_context, user_agent)
        self._last_read: int | None = host.water.mark
        self._failures = 0
        self._dial_failures = 0
        self._below_cursor = 0
        self._reset_at_s: float | None = None
        self._reset_due: str | None = None
        """Why: it was decided, and the database has not said that it is done."""
        self._poison = PoisonMemory()
        self._stuck = StuckPlace()

    def doubt(self) -> None:
        """The host was offline when we last knew of it: its first dial is one of those that may keep nobody waiting."""
        self._dial_failures = max(1, self._dial_failures)

    def run(self) -> None:
        """Raises StorageFailedError, CorruptionError."""
        while True:
            good = False
            try:
                good = self._connection()
            except NetError as error:
                self._failed(error.kind, str(error))
            except (StorageFailedError, CorruptionError):
                raise
            except Exception:
                # a bug of ours that this host brought out must not take the other hosts down
                log.exception("a subscription met a bug of ours", host=self.host.name)
                self._failures += 1
            if good:
                self._backoff.reset()
            gevent.sleep(self._backoff.next())

    def _connection(self) -> bool:
        """One connection from dial to end; True if it brought anything new, or lasted."""
        if self._reset_due is not None:
            self._reset_cursor(self._reset_due)
        start = self._last_read
        connection = self._dial(start)
        seqs = ConnectionSeqs(start)
        since_s = self._clock.monotonic_s()
        self.connected = True
        try:
            self._established()
            self._read(connection, seqs)
        except NetError as error:
            self._ended_by(error.kind, str(error))
        except FrameError as error:
            self._ended_by(FailureKind.DECODE, str(error))
        finally:
            self.connected = False
            connection.close()
        self._judge_seqs(seqs)
        return self._last_read != start or self._clock.monotonic_s() - since_s >= STEADY_S

    def _dial(self, last_read: int | None) -> Connection:
        cursor = last_read
        if last_read is not None and (steps := self._stuck.steps(last_read)):
            cursor = last_read + steps
            log.info(
                "host sends a frame that we can't take; a later cursor is tried",
                host=self.host.name,
                reason=self._stuck.kind,
                last_read=last_read,
                cursor=cursor,
            )
        failures = self._dial_failures
        with self._gate.place(doubtful=failures > 0):
            try:
                connection = self._connect(self._address, cursor, timeout_s=handshake_s(failures))
            except NetError:
                self._dial_failures += 1
                raise
        self._dial_failures = 0
        if RELAY_MARKER in connection.response_headers.get("server", "").lower():
            connection.close()
            raise NetError(FailureKind.POLICY, "the host is a relay itself")
        return connection

    def _established(self) -> None:
        if self._failures:
            log.info("host connected again", host=self.host.name, cursor=self._last_read)
        self._failures = 0
        self._save_status(HostStatus.ACTIVE, None)

    def _ended_by(self, kind: str, detail: str) -> None:
        self._stuck.failed(kind, self._last_read)
        self._failed(kind, detail)

    def _failed(self, kind: str, detail: str) -> None:
        self._failures += 1
        if self._failures == 1:
            log.info("host connection ended", host=self.host.name, failure=kind, detail=detail[:200])
        if self._failures == OFFLINE_AFTER_FAILURES:
            log.warning("host is offline; it is retried", host=self.host.name, failure=kind, detail=detail[:200])
        if self._failures >= OFFLINE_AFTER_FAILURES:
            self._save_status(HostStatus.OFFLINE, kind)

    def _save_status(self, status: HostStatus, failure_kind: str | None) -> None:
        """The status is for those who ask for it: while the database is away, it is left as it was."""
        try:
            self._hosts.set_status(self.host.id, status, failure_kind, self._clock.now_us())
        except (StateUnavailableError, StorageFullError) as error:
            log.warning("a host's status could not be saved", host=self.host.name, status=status, error=str(error))

    def _read(self, connection: Connection, seqs: ConnectionSeqs) -> None:
        """Until the host ends it by an error frame. Raises NetError, FrameError."""
        poison_logged = False
        turn_frames = turn_bytes = 0
        while True:
            message = connection.receive_kept_alive(SILENCE_S_MAX)
            turn_frames, turn_bytes = turn_frames + 1, turn_bytes + len(message)
            try:
                event = frame.decode(message)
            except FrameError as error:
                if not self._poison.met_before(message):
                    self._stats.undecodable += 1
                    raise
                self._stats.dropped[DropReason.POISON_FRAME] += 1
                if not poison_logged:  # once: a host could fill our log with it
                    detail = str(error)[:200]
                    log.warning("a frame that can't be decoded is skipped", host=self.host.name, detail=detail)
                poison_logged = True
                seqs.useless()
            else:
                self._stats.received[event.kind] += 1
                if event.kind is FrameKind.ERROR:
                    self._error_frame(event)
                    return
                self._event(event, seqs)
            if turn_frames >= TURN_FRAMES_MAX or turn_bytes >= TURN_BYTES_MAX:
                turn_frames = turn_bytes = 0
                gevent.sleep(0)  # a busy host never waits in recv, and would keep every other greenlet from running

    def _event(self, event: Frame, seqs: ConnectionSeqs) -> None:
        """Raises NetError when the host has sent too many that are none, or none anew."""
        last_read = self._last_read
        if event.kind in (FrameKind.UNKNOWN, FrameKind.INFO):
            if event.seq and (last_read is None or event.seq > last_read):
                # a kind of times to come, or gone by: ignored, but the place is behind it
                self._advance(event.seq)
                self.host.water.done(event.seq)
            seqs.useless()
        elif not event.seq:  # without a place in the stream there is nothing to resume from or to wait for
            self._stats.dropped[DropReason.EVENT_INVALID] += 1
            seqs.useless()
        elif last_read is None or event.seq > last_read:
            seqs.new()
            self._take(event)
        elif not seqs.is_cursor(event.seq):
            self._stats.dropped[DropReason.SEQ_REPEATED] += 1
            seqs.repeated(event.seq)

    def _take(self, event: Frame) -> None:
        host, water = self.host, self.host.water
        self._advance(event.seq)
        self._reached(_FRAME_READ)
        known = host.replay.drop_reason(event.seq, event.did)
        if known is not None:
            self._stats.dropped[known] += 1
            water.done(event.seq)
            return
        self._lanes.put(Work(host, water, event, self._clock.now_us()))
        while water.unfinished >= UNFINISHED_FRAMES_MAX or self._parks_too_much():
            host.room.clear()
            host.room.wait()

    def _parks_too_much(self) -> bool:
        """Alone, or as one of many: a host that has nothing parked is never held up by the others'."""
        parked = self.host.parked_bytes
        return parked >= PARKED_BYTES_MAX or (parked > 0 and self._lanes.parked_bytes >= PARKED_BYTES_MAX_ALL)

    def _advance(self, seq: int) -> None:
        """The place in the host's stream is at `seq` now."""
        if self._stuck.steps(self._last_read):
            self._stats.dropped[DropReason.POISON_FRAME] += 1
            log.warning(
                "a frame that we can't take was stepped over",
                host=self.host.name,
                reason=self._stuck.kind,
                last_read=self._last_read,
                next_read=seq,
            )
            self._stuck.forget()
        self._last_read = seq
        live = self.host.water.mark is None
        self.host.water.begin(seq, self._log.current_seq)
        if live:
            self._save_first_mark()

    def _save_first_mark(self) -> None:
        """Of a host that is read live, before its first frame goes anywhere. Marks are saved every few seconds: a kill
        before the first time would make the next start go live again, past all that the host sent meanwhile."""
        host = self.host
        assert host.water.mark is not None
        try:
            self._hosts.save_cursors([CursorRow(host.id, host.epoch, host.water.mark)], checkpoint_seq=0)
        except (StateUnavailableError, StorageFullError) as error:
            log.warning("a host's first mark could not be saved; it is with the next ones", error=str(error))
        self._reached(CrashPoint.FIRST_MARK_SAVED)

    def _error_frame(self, event: Frame) -> None:
        try:
            name, message = events.parse_error(event)
        except InvalidDataError as error:
            name, message = "", str(error)
        log.warning("host sent an error", host=self.host.name, error=name[:64], message=message[:200])
        if name != "FutureCursor":
            return
        if self._stuck.steps(self._last_read):
            self._stuck.forget()  # we stepped beyond the end of its stream: that says nothing about the place itself
        else:
            self._reset_cursor("FutureCursor")

    def _judge_seqs(self, seqs: ConnectionSeqs) -> None:
        """Counts connections that brought only seqs below our cursor."""
        if seqs.grew:
            self._below_cursor = 0
        elif seqs.below:
            self._below_cursor += 1
            if self._below_cursor >= BELOW_CURSOR_CONNECTIONS:
                self._reset_cursor(f"{BELOW_CURSOR_CONNECTIONS} connections below the cursor")

    def _reset_cursor(self, reason: str) -> None:
        """The host's seqs began anew: a new epoch, without a cursor, so that old marks can't hide new events."""
        now_s = self._clock.monotonic_s()
        if self._reset_at_s is not None and now_s - self._reset_at_s < RESET_INTERVAL_S:
            return
        host = self.host
        try:
            epoch = self._hosts.bump_epoch(host.id, host.epoch, None)
        except (StateUnavailableError, StorageFullError) as error:
            log.warning("a host's cursor could not be reset; tried again", host=host.name, error=str(error))
            # perhaps it was, and the answer got lost: until we know, no mark that we save counts
            self._reset_due = reason
            return
        self._reached(CrashPoint.EPOCH_BEGUN)
        host.epoch = epoch
        # together with the epoch, before anything can wait: an old mark must not be saved as one of the new epoch
        host.water = LowWater(None)
        host.replay = Replay()
        old_cursor, self._last_read = self._last_read, None
        self._reset_at_s, self._reset_due = now_s, None
        self._stuck.forget()
        self._below_cursor = 0
        log.warning("host cursor reset", host=host.name, reason=reason, old_cursor=old_cursor, epoch=host.epoch)


SubscriberFactory = Callable[[HostContext, HostAddress], Subscriber]
