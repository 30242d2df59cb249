"""Brings answers to the store, behind the back of those who wait for them.

An answer is in force before it is on disk, and so is a mark that it is stale: who rests something durable on one sees
to that first (`Directory.keep_host`, `Directory.flush`). So they gather while a save runs, and the next save takes them
together.
"""

from collections.abc import Callable
from itertools import islice

from gevent.pool import Group

from zlay_py.clock import Clock
from zlay_py.errors import LocalError
from zlay_py.identity.model import Identity
from zlay_py.identity.store import IdentityStore

BATCH_MAX = 500
"""Identities of one save: one transaction of some milliseconds."""

UNSAVED_MAX = 50_000
"""Answers that wait while the store fails: 25 MB. Past that the oldest is forgotten, to be looked up again one day."""

RETRY_S = 1.0
"""Between a failed save and the next one. The next answer, or `flush`, starts it."""


class IdentitySaver:
    """`on_error` is told of every failed save; without it the error is the hub's to print."""

    def __init__(
        self, store: IdentityStore, clock: Clock, greenlets: Group, on_error: Callable[[LocalError], None] | None
    ) -> None:
        self._store = store
        self._clock = clock
        self._greenlets = greenlets
        self._on_error = on_error
        self._unsaved: dict[str, Identity] = {}
        self._replaced: set[str] = set()
        self._running = False
        self._not_before_s = float("-inf")
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._unsaved)

    def get(self, did: str) -> Identity | None:
        """An answer that the store does not have yet."""
        return self._unsaved.get(did)

    def may_save_older(self, did: str) -> bool:
        """What `get` gives took the place of another, which may be on its way to the store at this moment."""
        return did in self._replaced

    def put(self, identity: Identity) -> None:
        if self._unsaved.pop(identity.did, None) is not None:  # the newest answer is the last to be forgotten
            self._replaced.add(identity.did)
        self._unsaved[identity.did] = identity
        if len(self._unsaved) > UNSAVED_MAX:
            self._remove(next(iter(self._unsaved)))
            self.forgotten += 1
        if not self._running and self._clock.monotonic_s() >= self._not_before_s:
            self._running = True
            self._greenlets.spawn(self._run)

    def flush(self) -> None:
        """Saves what there is now, or what has taken its place by then. Raises LocalError.

        Not what comes meanwhile: there may be no end to that.
        """
        dids = iter(list(self._unsaved))
        while some := list(islice(dids, BATCH_MAX)):
            batch = [self._unsaved[did] for did in some if did in self._unsaved]
            self._store.save(batch)
            for identity in batch:
                if self._unsaved.get(identity.did) is identity:  # a newer answer may have come meanwhile
                    self._remove(identity.did)

    def _remove(self, did: str) -> None:
        del self._unsaved[did]
        self._replaced.discard(did)

    def _run(self) -> None:
        try:
            while self._unsaved:
                self.flush()
        except LocalError as error:
            self._not_before_s = self._clock.monotonic_s() + RETRY_S
            if self._on_error is None:
                raise
            self._on_error(error)
        finally:
            self._running = False
