"""Identities for tests: a resolver that answers from a dictionary, and a store in memory."""

from collections.abc import Sequence

from tests.support.repo import Repo
from zlay_py.errors import NetError
from zlay_py.identity.model import Identity, IdentityState
from zlay_py.net.failures import FailureKind


class DictResolver:
    """`answers` by DID; a DID that is not in it can't be resolved now."""

    def __init__(self) -> None:
        self.answers: dict[str, Identity] = {}
        self.asked: list[str] = []

    def resolve(self, did: str) -> Identity:
        self.asked.append(did)
        if did not in self.answers:
            raise NetError(FailureKind.TIMEOUT, "the directory does not answer")
        return self.answers[did]

    def register(self, repo: Repo, pds_host: str) -> None:
        self.answers[repo.did] = Identity(repo.did, IdentityState.OK, repo.signer.public, pds_host, None, NOW_US)

    def answer(self, did: str, state: IdentityState) -> None:
        self.answers[did] = Identity(did, state, None, None, None, NOW_US)


class MemoryStore:
    """An `IdentityStore`."""

    def __init__(self) -> None:
        self.rows: dict[str, Identity] = {}

    def load(self, did: str) -> Identity | None:
        return self.rows.get(did)

    def save(self, identities: Sequence[Identity]) -> None:
        self.rows.update({identity.did: identity for identity in identities})


NOW_US = 1_800_000_000_000_000
"""Of the clocks of these tests: later than every rev that the repositories make."""
