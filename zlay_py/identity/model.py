"""What is known about one DID."""

from dataclasses import dataclass
from enum import StrEnum

from zlay_py.atproto.keys import PublicKey


class IdentityState(StrEnum):
    """How a look-up ended, definitely. A passing failure is no state: the last definite answer stands."""

    OK = "ok"
    """There is a key and a host."""
    NOT_FOUND = "not_found"
    """Nobody has registered it; or it is of a kind that nobody here can look up."""
    TOMBSTONED = "tombstoned"
    """The directory says that it has been given up."""
    UNUSABLE = "unusable"
    """There is a document, without a valid signing key, or without a valid PDS, or without both."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One definite answer. About 500 bytes in memory, key included."""

    did: str
    state: IdentityState
    key: PublicKey | None
    """The `#atproto` signing key."""
    pds_host: str | None
    """The PDS by its host name in lower case, `localhost:PORT` in development: `net.hostname.HostAddress.name`."""
    handle: str | None
    """A claim of the document, not checked."""
    resolved_us: int
    """When it was asked, microseconds since 1970."""
    stale: bool = False
    """It should be asked again. Until that is answered, it stands."""
