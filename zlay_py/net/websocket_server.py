"""The serving end of one WebSocket after the 101: ready bytes out, control frames in.

Instead of gevent-websocket's `WebSocket`, which has no write lock (a pong inside a large frame corrupts the
stream), no close codes, no size limit, and a `__del__` that writes.

How it works. All bytes leave through one queue in order, each entry whole frames, so nothing can end up inside
a frame. The writer's greenlet tries the socket first; only what the kernel does not take is queued, and the hub
sends it when the socket is writable. Reading is a hub callback too: no greenlet, no stack, a few hundred bytes per
consumer. Everything runs in the thread of the hub that made the object; only `send_raw`, `send_binary`, `close`
and `wait_closed` block, the rest may be called from hub callbacks as well.

    OPEN ── begin_close / the client's close frame / a protocol error ──▶ CLOSING ──▶ DEAD
      └───────────── broken connection, abort() ──────────────────────────────────────▶ DEAD
"""

import socket as std_socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event
from gevent.socket import socket as GeventSocket  # noqa: N812

from zlay_py.clock import Clock
from zlay_py.errors import RemoteError
from zlay_py.net.websocket_frames import (
    MESSAGE_BYTES_MAX,
    ClientFrameError,
    ClientFrameParser,
    CloseCode,
    Opcode,
    encode_close,
    encode_frame,
    parse_close,
)

if TYPE_CHECKING:
    from gevent._types import _IoWatcher, _TimerWatcher

READ_BYTES = 4096
"""One `recv` in the hub: thirty pongs. A flooding client gets no more than this per turn of the loop."""
_READ = 1
_WRITE = 2


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """What one consumer may cost. Times in seconds, sizes in bytes."""

    message_bytes_max: int = MESSAGE_BYTES_MAX
    send_buffer_bytes: int = 512 * 1024
    """SO_SNDBUF (the kernel doubles it): without a cap a client that stops reading pins 4 MB of kernel memory."""
    write_stall_s: float = 60.0
    """The kernel took no byte for this long while some were waiting: the client has stopped reading, or is gone."""
    close_wait_s: float = 2.0
    """From our close frame to the end: time for the frames before it, and for the client's answer."""
    inbound_window_s: float = 10.0
    inbound_bytes_per_window: int = 256 * 1024
    """Pings, pongs and stray messages; beyond it the client floods us and is closed with 1008."""
    pongs_per_window: int = 100
    """Pings beyond this are not answered; a busy client pings once a second."""


class WebSocketClosedError(RemoteError):
    """The connection is closing or gone: stop sending, return from the handler."""


class _State(Enum):
    OPEN = "open"
    CLOSING = "closing"
    DEAD = "dead"


class ServerWebSocket:
    """One consumer's connection. Made by the upgrade handler, which also starts and releases it."""

    __slots__ = (
        "__weakref__",
        "_clock",
        "_close_received",
        "_closed_event",
        "_drained",
        "_finished",
        "_grace_timer",
        "_inbound_bytes",
        "_limits",
        "_loop",
        "_parser",
        "_pending",
        "_ping_queued",
        "_pong_queued",
        "_pongs",
        "_raw",
        "_read_watcher",
        "_state",
        "_window_start_s",
        "_write_watcher",
        "bytes_pending",
        "bytes_sent",
        "close_code",
        "close_reason",
        "last_heard_s",
        "last_pong_s",
        "on_closed",
    )

    def __init__(self, sock: GeventSocket, limits: WebSocketLimits, clock: Clock) -> None:
        self._raw: std_socket.socket = sock._sock  # type: ignore[attr-defined]  # the plain one: sends never block
        self._limits = limits
        self._clock = clock
        self._loop = gevent.get_hub().loop
        self._state = _State.OPEN
        self._parser: ClientFrameParser | None = ClientFrameParser(limits.message_bytes_max)
        self._pending: deque[bytes | memoryview] = deque()
        self._read_watcher: _IoWatcher | None = None
        self._write_watcher: _IoWatcher | None = None
        self._grace_timer: _TimerWatcher | None = None
        self._closed_event = Event()
        self._finished = Event()
        self._drained: Event | None = None
        self._close_received = False
        self._ping_queued = self._pong_queued = False
        self._inbound_bytes = self._pongs = 0
        self._window_start_s = clock.monotonic_s()
        self.bytes_sent = 0
        """Taken by the kernel so far."""
        self.bytes_pending = 0
        """Waiting in this process for the kernel to take them."""
        self.last_heard_s = self._window_start_s
        """Monotonic time of the last bytes of the client, whatever they were."""
        self.last_pong_s = self._window_start_s
        self.close_code: int = CloseCode.ABNORMAL
        """What the client said in its close frame; 1006 while or where it said nothing."""
        self.close_reason = ""
        self.on_closed: Callable[[], None] | None = None
        """Called once when `closed` becomes true, often by the hub: must not block. Wakes a greenlet that waits
        for something else than this socket. Set it, then look at `closed`: the client may have been faster."""
        self._set_options(sock)

    # For the consumer's greenlet

    @property
    def closed(self) -> bool:
        """True from the moment either side began to close, or the connection broke."""
        return self._state is not _State.OPEN

    def wait_closed(self, timeout_s: float | None = None) -> bool:
        """Blocks until `closed`; False when `timeout_s` passed first."""
        return bool(self._closed_event.wait(timeout_s))

    def send_raw(self, data: bytes) -> None:
        """Sends one or several whole, ready frames, and waits until the kernel has them all.

        A call that does not have to wait does not switch greenlets. Raises WebSocketClosedError, also when the
        client takes no byte for `write_stall_s`, or when somebody closes or aborts the connection meanwhile.
        """
        if self._state is not _State.OPEN:
            raise WebSocketClosedError("the connection is closed")
        if not self._send_or_queue(data):
            self._wait_drained()
        elif self._state is not _State.OPEN:
            raise WebSocketClosedError("the connection broke")

    def send_binary(self, payload: bytes) -> None:
        """Sends one binary message. As `send_raw`."""
        self.send_raw(encode_frame(Opcode.BINARY, payload))

    def ping(self, payload: bytes = b"") -> None:
        """Sends a ping without waiting; does nothing when closed, or while an earlier one could not leave yet.

        Whether the client lives shows in `last_heard_s`.
        """
        if self._state is _State.OPEN and not self._ping_queued:
            self._ping_queued = not self._send_or_queue(encode_frame(Opcode.PING, payload))

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """`begin_close`, then waits for the client's answer, at most `close_wait_s`."""
        self.begin_close(code, reason)
        self._finished.wait(self._limits.close_wait_s)
        self.abort()

    # For anybody, also hub callbacks: these never block

    def begin_close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Sends a close frame after what is being sent, frees a blocked writer, and sees that all ends soon.

        Nothing more can be sent. The reason is cut to 123 bytes. Does nothing when already closed.
        """
        if self._state is _State.OPEN:
            self._leave_open(encode_close(code, reason))

    def abort(self) -> None:
        """Ends the connection at once, without a close frame; a blocked writer is freed."""
        if self._state is not _State.DEAD:
            with suppress(OSError):  # gone already
                self._raw.shutdown(std_socket.SHUT_RDWR)
            self._die()

    # For the upgrade handler

    def start(self, early: bytes) -> None:
        """Starts to read; `early` is what the client sent in one piece with its handshake."""
        watcher = self._loop.io(self._raw.fileno(), _READ)
        self._read_watcher = watcher
        watcher.start(self._on_readable)
        if early:
            self._receive(early)

    # Sending

    def _send_or_queue(self, data: bytes) -> bool:
        """Without waiting. True: nothing is left here (the kernel has it, or the connection broke)."""
        sent = 0
        if not self._pending:
            try:
                sent = self._raw.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._die()
                return True
            self.bytes_sent += sent
            if sent == len(data):
                return True
        self._queue(memoryview(data)[sent:] if sent else data)
        return False

    def _queue(self, data: bytes | memoryview) -> None:
        """Behind what waits already. The hub sends it."""
        self._pending.append(data)
        self.bytes_pending += len(data)
        if self._drained is not None:
            self._drained.clear()
        if self._write_watcher is None:
            self._write_watcher = self._loop.io(self._raw.fileno(), _WRITE)
        if len(self._pending) == 1:
            self._write_watcher.start(self._on_writable)

    def _wait_drained(self) -> None:
        if self._drained is None:
            self._drained = Event()
        while self._pending and self._state is _State.OPEN:
            sent_before = self.bytes_sent
            self._drained.wait(self._limits.write_stall_s)
            if self._pending and self._state is _State.OPEN and self.bytes_sent == sent_before:
                self.abort()
                raise WebSocketClosedError(f"the client took no byte for {self._limits.write_stall_s:g} s")
        if self._state is not _State.OPEN:
            raise WebSocketClosedError("the connection was closed while sending")

    def _on_writable(self) -> None:
        try:
            while self._pending:
                chunk = self._pending[0]
                sent = self._raw.send(chunk)
                self.bytes_sent += sent
                self.bytes_pending -= sent
                if sent < len(chunk):
                    self._pending[0] = memoryview(chunk)[sent:]
                    return
                self._pending.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._die()
            return
        if self._write_watcher is not None:
            self._write_watcher.stop()
        self._ping_queued = self._pong_queued = False
        if self._drained is not None:
            self._drained.set()
        self._finish_if_through()

    # Receiving

    def _on_readable(self) -> None:
        try:
            data = self._raw.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._die()
            return
        if data:
            self._receive(data)
        else:
            self._die()

    def _receive(self, data: bytes) -> None:
        self.last_heard_s = now_s = self._clock.monotonic_s()
        if self._parser is None:
            return  # after a close frame or a protocol error: only the end of the stream is of interest
        if now_s - self._window_start_s >= self._limits.inbound_window_s:
            self._window_start_s = now_s
            self._inbound_bytes = self._pongs = 0
        self._inbound_bytes += len(data)
        try:
            if self._inbound_bytes > self._limits.inbound_bytes_per_window:
                raise ClientFrameError(CloseCode.POLICY, "too many bytes from a client")
            for opcode, payload in self._parser.feed(data):
                self._control(opcode, payload)
        except ClientFrameError as error:
            self._parser = None
            self.begin_close(error.code, error.detail)

    def _control(self, opcode: Opcode, payload: bytes) -> None:
        if opcode is Opcode.PONG:
            self.last_pong_s = self.last_heard_s
        elif opcode is Opcode.PING:
            self._pongs += 1
            # While one pong waits the next is dropped (RFC 6455 §5.5.3 asks for the latest only, and one is enough).
            if self._state is _State.OPEN and not self._pong_queued and self._pongs <= self._limits.pongs_per_window:
                self._pong_queued = not self._send_or_queue(encode_frame(Opcode.PONG, payload))
        elif opcode is Opcode.CLOSE:
            self.close_code, self.close_reason = parse_close(payload)
            self._parser = None
            self._close_received = True
            if self._state is _State.OPEN:
                self._leave_open(encode_close(self.close_code))
            self._finish_if_through()

    # Ending

    def _leave_open(self, close_frame: bytes) -> None:
        self._state = _State.CLOSING
        self._grace_timer = self._loop.timer(self._limits.close_wait_s)
        self._grace_timer.start(self.abort)
        self._send_or_queue(close_frame)
        self._finish_if_through()
        self._announce_closed()

    def _finish_if_through(self) -> None:
        """After both close frames the server ends the TCP connection first (RFC 6455 §7.1.1)."""
        if self._state is not _State.CLOSING or not self._close_received or self._pending:
            return
        with suppress(OSError):  # the client was faster
            self._raw.shutdown(std_socket.SHUT_WR)
        self._die()

    def _die(self) -> None:
        if self._state is _State.DEAD:
            return
        self._state = _State.DEAD
        for watcher in (self._read_watcher, self._write_watcher, self._grace_timer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._read_watcher = self._write_watcher = self._grace_timer = None
        self._parser = None
        self._pending.clear()
        self.bytes_pending = 0
        self._finished.set()
        self._announce_closed()

    def _announce_closed(self) -> None:
        if self._closed_event.is_set():
            return
        self._closed_event.set()
        if self._drained is not None:
            self._drained.set()
        if self.on_closed is not None:
            self.on_closed()

    def _set_options(self, sock: GeventSocket) -> None:
        sock.setsockopt(std_socket.SOL_SOCKET, std_socket.SO_SNDBUF, self._limits.send_buffer_bytes)
        if sock.family in (std_socket.AF_INET, std_socket.AF_INET6):
            sock.setsockopt(std_socket.IPPROTO_TCP, std_socket.TCP_NODELAY, 1)
            # A client that is gone without a word: unacknowledged data ends the connection in the same time.
            unacknowledged_ms = int(self._limits.write_stall_s * 1000)
            sock.setsockopt(std_socket.IPPROTO_TCP, std_socket.TCP_USER_TIMEOUT, unacknowledged_ms)
