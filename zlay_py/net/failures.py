"""Why a connection, request or handshake failed: a closed list, and the one place where library errors become ours.

Everything that waits on the network runs inside `within` (one deadline over all of it) and `mapped` (socket, TLS and
HTTP errors become `NetError`). What neither knows is a bug of ours and passes through.
"""

import errno
import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

import gevent

from zlay_py.errors import NetError


class FailureKind(StrEnum):
    """`NetError.kind`. Closed: metrics and the `hosts` table hold these values."""

    BAD_URL = "bad_url"
    """Not an absolute URL that we speak to."""
    NAME_UNKNOWN = "name_unknown"
    """DNS says, definitely, that the name has no address."""
    DNS = "dns"
    """DNS gave no answer; ask again later."""
    POLICY = "policy"
    """The address guard, or a rule of the caller, forbids the connection."""
    REFUSED = "refused"
    """Nobody listens on that port."""
    UNREACHABLE = "unreachable"
    """No route, host down."""
    TIMEOUT = "timeout"
    """A deadline of ours passed."""
    STALLED = "stalled"
    """The peer is there, but takes too long to finish a message, or does not read what we send."""
    TLS = "tls"
    """The certificate does not fit, or the TLS handshake failed."""
    UPGRADE = "upgrade"
    """The WebSocket handshake was answered, but not with a WebSocket."""
    HTTP = "http"
    """The answer is not HTTP."""
    REDIRECT = "redirect"
    """More redirects than allowed, or one that leads from https to http."""
    CLOSED = "closed"
    """The peer closed the connection."""
    PROTOCOL = "protocol"
    """WebSocket framing is broken (RFC 6455)."""
    TEXT_FRAME = "text_frame"
    """A text message, where atproto knows binary ones only."""
    DECODE = "decode"
    """The bytes arrived, but are not what they should be (JSON, CBOR)."""
    TOO_LARGE = "too_large"
    """More bytes than the caller allowed."""
    LOCAL = "local"
    """This machine ran out of descriptors, ports or memory: not the peer's doing."""


_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})
_CLOSED = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})

_DETAIL_CHARS_MAX = 300
"""Details go to logs and tables; a peer must not choose their length."""


def failure(kind: FailureKind, detail: str) -> NetError:
    return NetError(kind, detail[:_DETAIL_CHARS_MAX])


def from_exception(error: Exception, doing: str) -> NetError:
    """The NetError for a socket, TLS, DNS or HTTP library error; `doing` says what was being done."""
    return failure(_kind_of(error), f"{doing}: {error or type(error).__name__}")


def _kind_of(error: Exception) -> FailureKind:
    match error:
        case socket.gaierror():
            return FailureKind.NAME_UNKNOWN if error.errno in _NO_SUCH_NAME else FailureKind.DNS
        case _ if isinstance(error, _CLOSED):
            return FailureKind.CLOSED
        case TimeoutError():
            return FailureKind.TIMEOUT
        case ssl.SSLError():
            return FailureKind.TLS
        case ConnectionRefusedError():
            return FailureKind.REFUSED
        case http.client.IncompleteRead():
            return FailureKind.CLOSED
        case http.client.HTTPException():
            return FailureKind.HTTP
        case OSError() if error.errno in _OURS:
            return FailureKind.LOCAL
        case OSError() if error.errno == errno.EBADF:
            return FailureKind.CLOSED  # another greenlet closed the socket under the one that waited on it
        case OSError():
            return FailureKind.UNREACHABLE
    return FailureKind.HTTP


@contextmanager
def mapped(doing: str) -> Iterator[None]:
    """Turns the network errors of the standard library into NetError."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise from_exception(error, doing) from error


@contextmanager
def within(timeout_s: float, doing: str) -> Iterator[None]:
    """One deadline over the whole block, in seconds: raises NetError(TIMEOUT). Other greenlets' timeouts pass through.

    It strikes where the block waits. A block that is fed faster than it reads never waits, so each loop around a
    socket must also have a bound in bytes, and yield.
    """
    assert timeout_s > 0, "a deadline must lie in the future"
    timer = gevent.Timeout.start_new(timeout_s)
    try:
        yield
    except gevent.Timeout as fired:
        if fired is not timer:
            raise
        raise failure(FailureKind.TIMEOUT, f"{doing}: no end within {timeout_s:g} s") from None
    finally:
        timer.close()
