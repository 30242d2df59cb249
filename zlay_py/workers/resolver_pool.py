"""Looks up identities for frames that wait and, in the background, for frames that did not."""

from collections import OrderedDict
from collections.abc import Callable

import gevent
from gevent.event import Event

from zlay_py.errors import NetError
from zlay_py.identity.directory import Directory
from zlay_py.logs import get_logger
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

GREENLETS_PER_THREAD = 16
"""Look-ups in flight for each of RESOLVER_THREADS: a greenlet that waits for an answer costs almost nothing."""

QUEUE_DIDS_MAX = 100_000
"""DIDs waiting to be looked up (as in zlay). Past that a background request is forgotten: the next frame asks again."""

TRIES_MAX = 3
"""Of one look-up that fails for a passing reason, within the time that a parked frame may wait."""

RETRY_AFTER_S = (0.25, 1.0)


class ResolverPool:
    """`ask` queues a DID; `on_answer(did, failed)` is called after every look-up, wanted or not."""

    def __init__(self, directory: Directory, *, resolver_threads: int) -> None:
        self.on_answer: Callable[[str, bool], None] = lambda _did, _failed: None
        self.failures = 0
        self._directory = directory
        self._greenlets = resolver_threads * GREENLETS_PER_THREAD
        self._urgent: OrderedDict[str, bool] = OrderedDict()
        self._background: OrderedDict[str, bool] = OrderedDict()
        self._ready = Event()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._background)

    def start(self, supervisor: Supervisor) -> None:
        for number in range(self._greenlets):
            supervisor.spawn(f"resolver-{number}", self._run)

    def ask(self, did: str, *, refresh: bool, urgent: bool) -> None:
        """Queues the DID once; `refresh` means that what is known already does not answer the question."""
        queue = self._urgent if urgent else self._background
        if did in queue:
            queue[did] = queue[did] or refresh
            return
        if len(self) >= QUEUE_DIDS_MAX:
            if urgent:
                self.on_answer(did, True)
            return
        queue[did] = refresh
        self._ready.set()

    def _run(self) -> None:
        while True:
            if self._urgent:
                did, refresh = self._urgent.popitem(last=False)
            elif self._background:
                did, refresh = self._background.popitem(last=False)
            else:
                self._ready.clear()
                self._ready.wait()
                continue
            self.on_answer(did, not self._look_up(did, refresh))

    def _look_up(self, did: str, refresh: bool) -> bool:
        for attempt in range(TRIES_MAX):
            if attempt:
                gevent.sleep(RETRY_AFTER_S[attempt - 1])
            try:
                if refresh:
                    self._directory.refresh(did)
                else:
                    self._directory.resolve(did)
            except NetError as error:
                log.debug("identity not resolved", did=did[:64], failure=error.kind, detail=error.detail[:200])
                continue
            return True
        self.failures += 1
        return False
