"""Account states as the pipeline must see them: SQL's rows plus what the log already holds and SQL not yet.

A state that the log is ahead of SQL with is pinned: evicting it would let the next frame of that account be
judged by an old rev. Pins are bounded by the projector's backlog, which stops the reading of sockets when
it is full (`workers.state_projector`).
"""

from collections import OrderedDict
from dataclasses import dataclass

from zlay_py.clock import Clock
from zlay_py.state.accounts import AccountRow, AccountStore

ACCOUNTS_CACHED_MAX = 500_000
"""Accounts kept in memory (as zlay's DID cache); about 600 bytes each. Pinned ones come on top."""


@dataclass(slots=True)
class AccountState:
    """One account. `rev`, `commit`, `data` (MST root) are those of the last accepted commit or sync; None before it."""

    uid: int
    did: str
    host_id: int
    upstream_status: str
    local_status: str
    rev: str | None
    commit: bytes | None
    data: bytes | None
    pins: int = 0
    """Entries in the log (or on their way to it) that SQL has not applied."""


class Accounts:
    """The accounts by DID. Reads go through to SQL on a miss; writes of revs and statuses go by way of the log."""

    def __init__(self, store: AccountStore, clock: Clock, *, cached_max: int = ACCOUNTS_CACHED_MAX) -> None:
        self._store = store
        self._clock = clock
        self._cached_max = cached_max
        self._states: OrderedDict[str, AccountState] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def get(self, did: str) -> AccountState | None:
        """The account's state, or None for a DID without a row."""
        state = self._states.get(did)
        if state is not None:
            self._states.move_to_end(did)
            return state
        row = self._store.get(did)
        return None if row is None else self._keep(row)

    def create(self, did: str, host_id: int) -> AccountState:
        """The row of an account whose host authority is proven. Synchronous: its uid is needed by the log record."""
        return self._keep(self._store.create(did, host_id, self._clock.now_us()))

    def move(self, account: AccountState, host_id: int) -> None:
        """The account's DID document names another host now."""
        self._store.move(account.uid, host_id)
        account.host_id = host_id

    def pin(self, account: AccountState) -> None:
        account.pins += 1

    def unpin(self, account: AccountState) -> None:
        account.pins -= 1

    def _keep(self, row: AccountRow) -> AccountState:
        known = self._states.get(row.did)
        if known is not None:  # another greenlet read the same row while ours waited for SQL
            return known
        state = AccountState(
            row.uid,
            row.did,
            row.host_id,
            row.upstream_status,
            row.local_status,
            row.rev,
            row.commit_cid,
            row.data_cid,
        )
        self._states[row.did] = state
        if len(self._states) > self._cached_max:
            self._evict()
        return state

    def _evict(self) -> None:
        """Drops the least recently used state that no log record still needs."""
        for did, state in self._states.items():
            if state.pins == 0:
                del self._states[did]
                return
