"""Is this host allowed to speak for this account? (atproto sync spec, Message Validation Checklist; account migration.)

The stream's host must be the one that the DID document names as `#atproto_pds`. A mismatch is asked about
once more, freshly, before it drops anything: the document may have just changed.
"""

from dataclasses import dataclass
from typing import TypeAlias

from zlay_py.identity.directory import Directory
from zlay_py.identity.model import Identity, IdentityState
from zlay_py.ingest.accounts import Accounts, AccountState
from zlay_py.ingest.outcome import Dropped, DropReason, Need, Waiting
from zlay_py.ingest.work import Work


@dataclass(frozen=True, slots=True)
class Authoritative:
    """The host speaks for the account. `identity` is None when the row says so and the identity is not known yet."""

    account: AccountState
    identity: Identity | None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Neither memory nor SQL knows the DID: nothing can be said yet."""


Standing: TypeAlias = Authoritative | Unknown | Waiting | Dropped

DROP_BY_STATE = {
    IdentityState.NOT_FOUND: DropReason.IDENTITY_NOT_FOUND,
    IdentityState.TOMBSTONED: DropReason.IDENTITY_NOT_FOUND,
    IdentityState.UNUSABLE: DropReason.IDENTITY_UNUSABLE,
}


class Authority:
    """Decides, and writes the account row (new, or moved to this host) when the document says so.

    The document first, then the row: a start that found the row with an older document beside it would take that for
    the newer one, and the account back to the host that it has left.
    """

    def __init__(self, accounts: Accounts, directory: Directory) -> None:
        self._accounts = accounts
        self._directory = directory

    def check(self, work: Work, did: str) -> Standing:
        account = self._accounts.get(did)
        identity = self._directory.cached(did)
        host = work.host
        if identity is None:
            if account is not None and account.host_id == host.id:
                return Authoritative(account, None)
            if account is None:
                return Unknown()
            return (
                Dropped(DropReason.IDENTITY_UNRESOLVABLE, did) if work.identity_failed else Waiting(did, Need.IDENTITY)
            )
        if identity.pds_host == host.name:
            return Authoritative(self._row_at(host.id, did, account), identity)
        if identity.pds_host is None and account is not None and account.host_id == host.id:
            # tombstoned, gone or broken: the host that had the account may still say that it is deleted
            return Authoritative(account, identity)
        if identity.state is IdentityState.NOT_FOUND and not identity.stale:
            return Dropped(DropReason.IDENTITY_NOT_FOUND, did)
        if not work.identity_asked:
            return Waiting(did, Need.REFRESH)
        reason = DROP_BY_STATE.get(identity.state, DropReason.HOST_NOT_AUTHORITATIVE)
        return Dropped(reason, f"{did} is at {identity.pds_host}")

    def _row_at(self, host_id: int, did: str, account: AccountState | None) -> AccountState:
        if account is None:
            self._directory.keep_host(did)
            return self._accounts.create(did, host_id)
        if account.host_id != host_id:
            self._directory.keep_host(did)
            self._accounts.move(account, host_id)
        return account
