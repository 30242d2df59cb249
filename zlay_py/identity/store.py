"""Where identities outlive the process: implemented above this package, over SQL."""

from collections.abc import Sequence
from typing import Protocol

from zlay_py.identity.model import Identity


class IdentityStore(Protocol):
    """Both methods raise LocalError when the storage fails."""

    def load(self, did: str) -> Identity | None:
        """What was last saved of the DID. Some microseconds: it is called for every unknown DID."""

    def save(self, identities: Sequence[Identity]) -> None:
        """Keeps all of them; returns when they are."""
