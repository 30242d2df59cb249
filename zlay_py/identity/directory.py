"""The one place to ask who a DID is: memory, then the store, then the network, as seldom as possible.

    cached()   memory ─▶ not yet saved ─▶ store          never waits for the network
    resolve()  the same, then one look-up for everybody who asks for that DID
    refresh()  a look-up although something is known, within each DID's allowance

An answer stands until the next definite one: what is old, marked, or could not be asked again is `stale` and in force.
Anything else would let any host, or an outage of the directory, turn verified accounts into unknown ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gevent.pool import Group

from zlay_py.clock import Clock
from zlay_py.errors import LocalError, NetError
from zlay_py.identity.allowance import RefreshAllowance
from zlay_py.identity.cache import IdentityCache
from zlay_py.identity.look_ups import LookUps, Resolver
from zlay_py.identity.model import Identity, IdentityState
from zlay_py.identity.saver import IdentitySaver
from zlay_py.identity.store import IdentityStore

FRESH_US = 24 * 3600 * 1_000_000
"""A usable answer is asked again after a day, as by the reference relay; changes are told earlier by `#identity`."""

FRESH_NEGATIVE_US = 60 * 1_000_000
"""Any other: a new account's first events may overtake its registration, and a broken document gets repaired."""

IN_FLIGHT_MAX = 1_280
"""Look-ups on the network at once. Who asks is bounded before that (`workers.resolver_pool`): 16 for each of 64
RESOLVER_THREADS, and a quarter more for did:web."""


@dataclass(slots=True)
class _Load:
    """The greenlets that read one DID's row from the store at the same time."""

    readers: int = 0
    overtaken: bool = False
    """A newer answer has come since the first of them began."""


class Directory:
    """For any number of greenlets. Every method raises LocalError when the store fails."""

    def __init__(
        self,
        resolver: Resolver,
        store: IdentityStore,
        clock: Clock,
        *,
        cache_entries_max: int,
        in_flight_max: int = IN_FLIGHT_MAX,
        on_save_error: Callable[[LocalError], None] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._greenlets = Group()
        self._cache = IdentityCache(cache_entries_max)
        self._saver = IdentitySaver(store, clock, self._greenlets, on_save_error)
        self._look_ups = LookUps(resolver, clock, self._greenlets, self._accept, in_flight_max=in_flight_max)
        self._allowance = RefreshAllowance()
        self._loads: dict[str, _Load] = {}

    def __len__(self) -> int:
        """Identities in memory."""
        return len(self._cache)

    @property
    def under_way(self) -> int:
        """DIDs being looked up or waiting for it."""
        return len(self._look_ups)

    @property
    def look_ups(self) -> int:
        """Look-ups begun since the start."""
        return self._look_ups.begun

    @property
    def failures(self) -> int:
        """Look-ups without a definite answer since the start."""
        return self._look_ups.failed

    @property
    def evicted(self) -> int:
        """Identities that memory had no room for, since the start."""
        return self._cache.evicted

    @property
    def unsaved(self) -> int:
        """Answers that the store does not have yet."""
        return len(self._saver)

    def cached(self, did: str) -> Identity | None:
        """What is known, stale or not; None: nobody has asked yet. A store hit is in memory from then on."""
        known = self._cache.get(did)
        if known is None:
            known = self._saver.get(did) or self._load(did)
            if known is None:
                return None
            self._cache.put(known)
        return self._put_stale(known) if not known.stale and self._is_old(known) else known

    def resolve(self, did: str, asker: str = "") -> Identity:
        """A fresh answer, from memory or store if there is one. Raises NetError where nothing is known at all.

        `asker`: the host on whose behalf; each has an allowance of its own for a DID that is known. If only the
        network's answer is missing, the old one is given, with `stale` set.
        """
        known = self.cached(did)
        if known is None:
            return self._look_ups.ask(did)
        return self._renewed(did, asker, known) if known.stale else known

    def refresh(self, did: str, asker: str = "") -> Identity:
        """A new answer, although something is known: a signature or a host does not fit. Raises as `resolve`.

        Past the DID's allowance what is known is given. If the look-up fails, so is what is
        known, with `stale` set: it does not say how things are now.
        """
        known = self.cached(did)
        if known is None:
            return self._look_ups.ask(did)
        self._look_ups.wait(did)  # what is under way may have read the old document already
        return self._renewed(did, asker, known)

    def mark_stale(self, did: str) -> None:
        """Something about the DID has changed (`#identity`). What is known stays in force until it is asked again.

        The mark is saved as an answer is: behind the caller's back, before the next `flush` returns.
        """
        self._look_ups.outdate(did)
        known = self.cached(did)
        if known is not None and not known.stale:
            self._doubt(known)

    def keep_host(self, did: str) -> None:
        """Returns when the store names no other host of the DID than the answer in force does.

        For what is about to rest on that host and outlive the process: with an older answer beside it, the next start
        would take that for the news.
        """
        stored = self._store.load(did)
        newest = self._cache.get(did) or self._saver.get(did)
        if newest is None:
            return  # it was saved, and evicted, while we waited
        if self._saver.may_save_older(did) or (stored is not None and stored.pds_host != newest.pds_host):
            self._store.save([newest])

    def flush(self) -> None:
        """Saves every answer and mark that is not in the store yet. Raises LocalError."""
        self._saver.flush()

    def close(self) -> None:
        """Ends the look-ups, whose waiters get NetError, and saves the answers. Raises LocalError."""
        self._greenlets.kill()
        self.flush()

    def _load(self, did: str) -> Identity | None:
        """From the store, unless a newer answer comes while it is asked.

        If that one has been saved and evicted by then, what the store said is older than it, and is asked again.
        """
        while True:
            load = self._loads.setdefault(did, _Load())
            load.readers += 1
            try:
                stored = self._store.load(did)
            finally:
                load.readers -= 1
                if not load.readers and not load.overtaken:
                    del self._loads[did]
            newer = self._cache.get(did) or self._saver.get(did)
            if newer is not None:
                return newer
            if not load.overtaken:
                return stored

    def _is_old(self, known: Identity) -> bool:
        fresh_us = FRESH_US if known.state is IdentityState.OK else FRESH_NEGATIVE_US
        # after the clock was set back, an answer from the future is as young as it is far
        return abs(self._clock.now_us() - known.resolved_us) >= fresh_us

    def _put_stale(self, known: Identity) -> Identity:
        stale = replace(known, stale=True)
        self._cache.put(stale)
        return stale

    def _doubt(self, known: Identity) -> Identity:
        """Puts what is known in doubt for a reason that its age does not tell to the next start."""
        self._overtake_load(known.did)
        stale = self._put_stale(known)
        if known.state is not IdentityState.NOT_FOUND:  # that is too old a minute later anyway
            self._saver.put(stale)
        return stale

    def _overtake_load(self, did: str) -> None:
        load = self._loads.pop(did, None)
        if load is not None:
            load.overtaken = True

    def _renewed(self, did: str, asker: str, known: Identity) -> Identity:
        """The answer of a look-up that began after the last mark, if one may be made; else what is known."""
        self._look_ups.wait_for_outdated(did)
        known = self.cached(did) or known
        # apart: checks that fail must not use up what an `#identity` may ask
        purse = f"{did} {asker} {'told' if known.stale else 'doubted'}"
        # another's look-up is this one's too, and costs nothing
        if did in self._look_ups or self._allowance.take(purse, self._clock.monotonic_s()):
            try:
                return self._look_ups.ask(did)
            except NetError:
                known = self.cached(did) or known
                return known if known.stale else self._doubt(known)
        return known

    def _accept(self, answer: Identity) -> None:
        """Puts a definite answer in force, and has it saved if it is worth it.

        An invented DID must leave nothing on disk. One that was there and is gone must not come back at the next start.
        """
        exists = answer.state is not IdentityState.NOT_FOUND
        before = None if exists else self.cached(answer.did)
        # nothing waits from here on: whoever is loading, or has marked the DID, must find all of this or nothing
        if self._look_ups.is_outdated(answer.did):
            answer = replace(answer, stale=True)
        self._overtake_load(answer.did)
        self._cache.put(answer)
        if exists or (before is not None and before.state is not IdentityState.NOT_FOUND):
            self._saver.put(answer)
