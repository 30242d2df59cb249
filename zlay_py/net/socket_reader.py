"""Buffered reads from one accepted connection, each whole step under one deadline.

gevent.pywsgi reads through `socket.makefile`, which has no deadline at all: a peer that sends one byte a
minute holds a greenlet for ever. A timeout per `recv` would not help against that either, so every method
here takes the moment at which the whole step must be done.
"""

from gevent.socket import socket as GeventSocket  # noqa: N812

from zlay_py.clock import Clock
from zlay_py.errors import RemoteError

READ_BYTES = 16 * 1024
"""One `recv`. A request head fits; a body of the largest size takes 16."""


class ReadTimeoutError(RemoteError):
    """The peer was too slow: answer 408 where that makes sense, and close."""


class PeerClosedError(RemoteError):
    """The peer went away: close, there is nobody to answer."""


class TooLongError(RemoteError):
    """What was asked for does not fit in its limit: answer with an error and close."""


class LineEndError(RemoteError):
    """A line feed without a carriage return: answer 400 and close."""


class SocketReader:
    """A buffer before a gevent socket. For one greenlet."""

    def __init__(self, sock: GeventSocket, clock: Clock) -> None:
        self._socket = sock
        self._clock = clock
        self._buffer = bytearray()

    def __len__(self) -> int:
        """Bytes received and not yet read."""
        return len(self._buffer)

    def wait(self, deadline_s: float) -> None:
        """Until there is at least one byte. Raises ReadTimeoutError, PeerClosedError."""
        if not self._buffer:
            self._fill(deadline_s)

    def read_head(self, bytes_max: int, deadline_s: float) -> bytes:
        """Up to and with the first empty line. Empty lines before it are skipped (RFC 9112 §2.2).

        Raises TooLongError, LineEndError, ReadTimeoutError, PeerClosedError.
        """
        while True:
            while self._buffer[:2] == b"\r\n":
                del self._buffer[:2]
            end = self._buffer.find(b"\r\n\r\n", 0, bytes_max)
            if end >= 0:
                return self._take(end + 4)
            if self._buffer.count(b"\n") != self._buffer.count(b"\r\n"):
                raise LineEndError("lines end with CRLF")
            if len(self._buffer) >= bytes_max:
                raise TooLongError(f"the request head has more than {bytes_max} bytes")
            self._fill(deadline_s)

    def read_line(self, bytes_max: int, deadline_s: float) -> bytes:
        """One line without its CRLF. Raises as `read_head`."""
        while True:
            end = self._buffer.find(b"\n", 0, bytes_max)
            if end >= 0:
                line = self._take(end + 1)
                if not line.endswith(b"\r\n"):
                    raise LineEndError("lines end with CRLF")
                return line[:-2]
            if len(self._buffer) >= bytes_max:
                raise TooLongError(f"a line has more than {bytes_max} bytes")
            self._fill(deadline_s)

    def read_exact(self, length: int, deadline_s: float) -> bytes:
        """This many bytes. Raises ReadTimeoutError, PeerClosedError."""
        while len(self._buffer) < length:
            self._fill(deadline_s)
        return self._take(length)

    def take(self) -> bytes:
        """Everything that is in the buffer."""
        return self._take(len(self._buffer))

    def discard(self, bytes_max: int, deadline_s: float) -> None:
        """Reads and forgets until the peer closes, or either limit is reached."""
        self._buffer.clear()
        discarded = 0
        try:
            while discarded < bytes_max:
                self._fill(deadline_s)
                discarded += len(self._buffer)
                self._buffer.clear()
        except RemoteError:
            return

    def _take(self, length: int) -> bytes:
        data = bytes(self._buffer[:length])
        del self._buffer[:length]
        return data

    def _fill(self, deadline_s: float) -> None:
        remaining_s = deadline_s - self._clock.monotonic_s()
        if remaining_s <= 0:
            raise ReadTimeoutError("the peer took too long")
        self._socket.settimeout(remaining_s)
        try:
            data = self._socket.recv(READ_BYTES)
        except TimeoutError as error:
            raise ReadTimeoutError("the peer took too long") from error
        except OSError as error:
            raise PeerClosedError(str(error)) from error
        if not data:
            raise PeerClosedError("end of stream")
        self._buffer += data
