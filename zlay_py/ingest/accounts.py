"""Account states as the pipeline must see them: SQL's rows plus what the log already holds and SQL not yet.

A state that the log is ahead of SQL with is pinned: evicting it would let the next frame of that account be
judged by an old rev. Pins are bounded by the projector's backlog, which stops the reading of sockets when
it is full (`workers.state_projector`).

SQL may answer late, and other greenlets run meanwhile. So a state is also held, as long as somebody reads its row
or judges a frame by it: else it could be changed, applied and evicted while a row from before all that is on its way,
and that row would be taken for the present; or one frame would change a state that the next one no longer finds.
"""

from collections import OrderedDict
from dataclasses import dataclass

from zlay_py.clock import Clock
from zlay_py.crashpoints import CrashPoint, Reached, pass_by
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

    def __init__(
        self,
        store: AccountStore,
        clock: Clock,
        *,
        cached_max: int = ACCOUNTS_CACHED_MAX,
        reached: Reached = pass_by,
    ) -> None:
        self._store = store
        self._clock = clock
        self._cached_max = cached_max
        self._reached = reached
        self._states: OrderedDict[str, AccountState] = OrderedDict()
        self._held: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._states)

    def get(self, did: str) -> AccountState | None:
        """The account's state, or None for a DID without a row. May give up the hub, for a read of SQL."""
        state = self._states.get(did)
        if state is not None:
            self._states.move_to_end(did)
            return state
        self.hold(did)
        try:
            row = self._store.get(did)
            return None if row is None else self._keep(row)
        finally:
            self.release(did)

    def create(self, did: str, host_id: int) -> AccountState:
        """The row of an account whose host authority is proven. Synchronous: its uid is needed by the log record."""
        self.hold(did)
        try:
            row = self._store.create(did, host_id, self._clock.now_us())
            self._reached(CrashPoint.ACCOUNT_MADE)
            return self._keep(row)
        finally:
            self.release(did)

    def move(self, account: AccountState, host_id: int) -> None:
        """The account's DID document names another host now."""
        self._store.move(account.uid, host_id)
        self._reached(CrashPoint.ACCOUNT_MOVED)
        account.host_id = host_id

    def hold(self, did: str) -> None:
        """Until `release` the state of this DID, if it is in memory or comes there, stays. May be nested."""
        self._held[did] = self._held.get(did, 0) + 1

    def release(self, did: str) -> None:
        self._held[did] -= 1
        if not self._held[did]:
            del self._held[did]

    def pin(self, account: AccountState) -> None:
        account.pins += 1

    def unpin(self, account: AccountState) -> None:
        account.pins -= 1

    def _keep(self, row: AccountRow) -> AccountState:
        known = self._states.get(row.did)
        if known is not None:  # another greenlet read the row while ours waited, and frames may have moved it on
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
        """Drops the least recently used state that no log record and no greenlet still needs."""
        for did, state in self._states.items():
            if state.pins == 0 and did not in self._held:
                del self._states[did]
                return
