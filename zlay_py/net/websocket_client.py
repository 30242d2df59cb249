"""Subscribing to a host: dial behind the guard, TLS, upgrade, then our own frame reader on the socket.

websocket-client only does the handshake (`websocket_upgrade`). Its reader has no size limit and costs ten times as much
per frame.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from ssl import SSLContext
from typing import Final

import gevent
from gevent.lock import BoundedSemaphore

from zlay_py.clock import Clock, SystemClock
from zlay_py.errors import NetError
from zlay_py.net import USER_AGENT
from zlay_py.net.dial import Resolve, dial, system_resolver
from zlay_py.net.failures import FailureKind, failure, from_exception, mapped, within
from zlay_py.net.ssrf import AddressGuard
from zlay_py.net.tls import start_tls
from zlay_py.net.url import parse_url
from zlay_py.net.websocket_frames import Control, Opcode, close_payload
from zlay_py.net.websocket_reader import FrameReader, encode_control, parse_close
from zlay_py.net.websocket_upgrade import upgrade

RECEIVE_BYTES = 65_536
"""Per system call. More does not make catching up faster, and a host that is no longer read keeps so much here."""

CONTROLS_MAX = 1_000
CONTROLS_WINDOW_S = 10.0
"""So many control frames in so many seconds are a flood. An hour's pings of a host that we did not read stay below."""

MESSAGE_S_MAX = 120.0
"""From the first to the last byte of a message: 5 MB at 42 kB/s. Slower, and many hosts together would fill memory."""

WRITE_S_MAX = 10.0
"""For a ping or pong to fit into the socket's buffer. The peer that does not read for so long is gone."""

CLOSE_S_MAX = 1.0
"""For the close frame when we leave: a courtesy only."""

_CLOSE_CODES: dict[str, int] = {FailureKind.TEXT_FRAME: 1003, FailureKind.TOO_LARGE: 1009, FailureKind.PROTOCOL: 1002}
_CLOCK: Final = SystemClock()


def connect(
    url: str,
    *,
    guard: AddressGuard,
    tls_context: SSLContext,
    headers: Mapping[str, str] | None = None,
    timeout_s: float,
    message_bytes_max: int,
    resolve: Resolve = system_resolver,
    clock: Clock = _CLOCK,
) -> "WebSocketConnection":
    """An open connection to a ws:// or wss:// URL. `timeout_s` covers DNS, TCP, TLS and upgrade together.

    Raises NetError; UpgradeRefusedError, with the status, where the host answers with anything but 101.
    Redirects count as that: they are not followed.
    """
    target = parse_url(url, plain="ws", secure="wss")
    sent = {"User-Agent": USER_AGENT, **(headers or {})}
    with within(timeout_s, f"subscribe to {target.authority}"):
        sock = dial(target.host, target.port, guard=guard, timeout_s=timeout_s, resolve=resolve)
        try:
            if target.tls:
                sock = start_tls(sock, target.host, tls_context)
            with mapped(f"upgrade at {target.authority}"):
                response_headers, rest = upgrade(sock, url, target, sent)
        except BaseException:
            sock.close()
            raise
    return WebSocketConnection(sock, response_headers, rest, message_bytes_max=message_bytes_max, clock=clock)


class WebSocketConnection:
    """One greenlet receives; `ping` and `close` may come from others."""

    def __init__(
        self,
        sock: socket.socket,
        response_headers: Mapping[str, str],
        received: bytes = b"",
        *,
        message_bytes_max: int,
        clock: Clock = _CLOCK,
        write_s_max: float = WRITE_S_MAX,
    ) -> None:
        """`received`: bytes that came behind the handshake."""
        self.response_headers = response_headers
        """Of the handshake, names in lower case."""
        self.closed = False
        """True after every error but TIMEOUT, and after `close`."""
        self.close_code: int | None = None
        """Of the peer's close frame; 1005 when that had none; None while there was no close frame."""
        self.close_reason = ""
        self.unanswered_pings = 0
        """Pings sent since anything at all arrived."""
        self._sock = sock
        self._reader = FrameReader(message_bytes_max)
        self._reader.feed(received)
        self._writing = BoundedSemaphore()
        self._clock = clock
        self._write_s_max = write_s_max
        self._message_end_s: float | None = None
        self._controls = 0
        self._controls_end_s = 0.0

    def receive(self, timeout_s: float) -> bytes:
        """The next whole binary message. Answers pings meanwhile.

        Raises NetError. TIMEOUT when nothing, not even a part of a message, arrived for `timeout_s`: the only one
        after which the connection goes on. Else it is closed: CLOSED (see `close_code`), TEXT_FRAME, PROTOCOL,
        TOO_LARGE, STALLED.

        Messages that are here already come without a switch to other greenlets: who takes many must yield.
        """
        try:
            item = self._reader.next()
            if type(item) is bytes:
                return item
            return self._receive_more(item, timeout_s)
        except NetError as error:
            if error.kind != FailureKind.TIMEOUT:
                self.close(_CLOSE_CODES.get(error.kind, 1000))
            raise

    def receive_kept_alive(self, silence_s: float) -> bytes:
        """As `receive`, and pings the host when it was silent for `silence_s`.

        Raises NetError(TIMEOUT) only when the ping brought nothing either, for as long again: the peer is dead.
        A host without events stays connected, one ping per `silence_s`.
        """
        while True:
            try:
                return self.receive(silence_s)
            except NetError as error:
                if error.kind != FailureKind.TIMEOUT or self.unanswered_pings:
                    raise
            self.ping()

    def ping(self, payload: bytes = b"") -> None:
        """Sends a ping of at most 125 bytes. Raises NetError when the connection can't take it."""
        self._send_control(Opcode.PING, payload)
        self.unanswered_pings += 1

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Sends a close frame, where that does not take long, and closes the socket. Never raises; twice is fine."""
        if self.closed:
            return
        self.closed = True
        frame = encode_control(Opcode.CLOSE, close_payload(code, reason), os.urandom(4))
        # not behind a writer that is stuck: its frame is torn in two anyway
        if self._writing.acquire(blocking=False):
            try:
                with suppress(NetError, OSError), within(CLOSE_S_MAX, "close"):
                    self._sock.sendall(frame)
            finally:
                self._writing.release()
                self._shut()
        else:
            self._shut()

    def _shut(self) -> None:
        self.closed = True
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _receive_more(self, item: bytes | Control | None, timeout_s: float) -> bytes:
        """Reads until there is a message. `item` is what the reader gave last."""
        while True:
            ping: bytes | None = None
            while isinstance(item, Control):
                self._count_control()
                if item.opcode is Opcode.CLOSE:
                    self._peer_closes(item.payload)
                elif item.opcode is Opcode.PING:
                    ping = item.payload
                item = self._reader.next()
            if ping is not None:
                # one pong for all pings of a read: RFC 6455 §5.5.3 asks only for the latest
                self._send_control(Opcode.PONG, ping)
            if item is not None:
                self._message_end_s = None
                return item
            self._reader.feed(self._read(timeout_s))
            item = self._reader.next()
            if type(item) is not bytes:
                gevent.sleep(0)  # pieces that come fast never make recv wait: others must run, and so must deadlines

    def _count_control(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s >= self._controls_end_s:
            self._controls, self._controls_end_s = 0, now_s + CONTROLS_WINDOW_S
        self._controls += 1
        if self._controls > CONTROLS_MAX:
            raise failure(FailureKind.PROTOCOL, f"over {CONTROLS_MAX} control frames in {CONTROLS_WINDOW_S:g} s")

    def _read(self, timeout_s: float) -> bytes:
        """What has arrived, at least one byte. Raises NetError."""
        wait_s = timeout_s
        if self._reader.inside_message:
            now_s = self._clock.monotonic_s()
            if self._message_end_s is None:
                self._message_end_s = now_s + MESSAGE_S_MAX
            wait_s = min(timeout_s, self._message_end_s - now_s)
            if wait_s <= 0:
                raise failure(FailureKind.STALLED, f"a message took over {MESSAGE_S_MAX:g} s")
        timer = gevent.Timeout.start_new(wait_s)
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except gevent.Timeout as fired:
            if fired is not timer:
                raise
            if wait_s < timeout_s:
                raise failure(FailureKind.STALLED, f"a message took over {MESSAGE_S_MAX:g} s") from None
            raise failure(FailureKind.TIMEOUT, f"silent for {timeout_s:g} s") from None
        except OSError as error:
            raise self._lost(error) from error
        except ValueError:  # how ssl says that another greenlet closed the socket
            if not self.closed:
                raise
            raise failure(FailureKind.CLOSED, "closed by us") from None
        finally:
            timer.close()
        if not data:
            raise failure(FailureKind.CLOSED, "the host closed the connection without a close frame")
        self.unanswered_pings = 0
        return data

    def _lost(self, error: OSError) -> NetError:
        if self.closed:
            return failure(FailureKind.CLOSED, "closed by us")
        if isinstance(error, TimeoutError):
            # the kernel's, after TCP_USER_TIMEOUT: the end, not the silence that a ping may break
            return failure(FailureKind.CLOSED, "the host no longer acknowledges what we send")
        return from_exception(error, "receive")

    def _peer_closes(self, payload: bytes) -> None:
        self.close_code, self.close_reason = parse_close(payload)
        self.close()
        raise failure(FailureKind.CLOSED, f"close frame {self.close_code} {self.close_reason}".rstrip())

    def _send_control(self, opcode: Opcode, payload: bytes) -> None:
        frame = encode_control(opcode, payload, os.urandom(4))
        try:
            with within(self._write_s_max, "send"), mapped("send"), self._writing:
                if self.closed:
                    raise failure(FailureKind.CLOSED, "closed by us")
                self._sock.sendall(frame)
        except NetError as error:
            self._shut()  # no close frame: it would land in the middle of the one that did not get out
            if error.kind == FailureKind.TIMEOUT:
                raise failure(FailureKind.STALLED, f"the host reads nothing for {self._write_s_max:g} s") from None
            raise
