"""What one HTTP connection may cost, each bound with its reason. Tests hand in smaller ones."""

from dataclasses import dataclass, field

from zlay_py.net.http_body import BODY_BYTES_MAX
from zlay_py.net.http_head import HEAD_BYTES_MAX


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Times in seconds, sizes in bytes. A step that takes longer than its time ends the connection."""

    head_read_s: float = 10.0
    """From the first byte of a request (or from the accept) to the end of its headers: a slow phone needs 2."""
    keep_alive_idle_s: float = 75.0
    """Between two requests: above nginx's 60, so that the proxy closes first and no request meets a closing socket."""
    drain_first_byte_s: float = 0.5
    """While the server shuts down: time for a request that was on its way already."""
    body_read_s: float = 20.0
    response_write_s: float = 60.0
    """For one piece of a response, at most a page of a list: under 1 MB."""
    linger_s: float = 1.0
    linger_bytes_max: int = 512 * 1024
    """After a refusal what still comes is read and forgotten this long: closing at once would reset the connection
    and the client would never see the answer (RFC 9112 §9.6)."""
    head_bytes_max: int = HEAD_BYTES_MAX
    body_bytes_max: int = BODY_BYTES_MAX
    bodies_in_flight_bytes_max: int = 64 * 1024 * 1024
    """All bodies being read or handled at one time, whatever the number of connections; past it 503."""


@dataclass(slots=True)
class BodyBudget:
    """Bytes promised to request bodies of one server."""

    bytes_max: int
    bytes_used: int = field(default=0)

    def reserve(self, size: int) -> bool:
        if self.bytes_used + size > self.bytes_max:
            return False
        self.bytes_used += size
        return True

    def release(self, size: int) -> None:
        self.bytes_used -= size
        assert self.bytes_used >= 0, "more body bytes released than reserved"
