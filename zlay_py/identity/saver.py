"""Brings answers to the store, behind the back of those who wait for them.

An answer is in force before it is on disk: losing it costs one more look-up. So answers gather while a save runs, and
the next save takes them together.
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
        self._running = False
        self._not_before_s = float("-inf")
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._unsaved)

    def get(self, did: str) -> Identity | None:
        """An answer that the store does not have yet."""
        return self._unsaved.get(did)

    def put(self, identity: Identity) -> None:
        self._unsaved.pop(identity.did, None)  # the newest answer is the last to be forgotten
        self._unsaved[identity.did] = identity
        if len(self._unsaved) > UNSAVED_MAX:
            del self._unsaved[next(iter(self._unsaved))]
            self.forgotten += 1
        if not self._running and self._clock.monotonic_s() >= self._not_before_s:
            self._running = True
            self._greenlets.spawn(self._run)

    def flush(self) -> None:
        """Saves what there is, now. Raises LocalError."""
        while batch := list(islice(self._unsaved.values(), BATCH_MAX)):
            self._store.save(batch)
            for identity in batch:
                if self._unsaved.get(identity.did) is identity:  # a newer answer may have come meanwhile
                    del self._unsaved[identity.did]

    def _run(self) -> None:
        try:
            self.flush()
        except LocalError as error:
            self._not_before_s = self._clock.monotonic_s() + RETRY_S
            if self._on_error is None:
                raise
            self._on_error(error)
        finally:
            self._running = False
