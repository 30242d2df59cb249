"""Looks up identities for frames that wait and, in the background, for frames that did not.

Who asks matters: a question belongs to the host whose frame raised it, so that no host answers another's, or uses up
what another may ask. did:web has greenlets of its own, since strangers run those servers, and can make each
answer take as long as we let it.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import gevent
from gevent.event import Event

from zlay_py.errors import NetError, StorageFullError
from zlay_py.identity.directory import Directory
from zlay_py.ingest.outcome import Need
from zlay_py.logs import get_logger
from zlay_py.state.failures import StateUnavailableError
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

GREENLETS_PER_THREAD = 16
"""Look-ups in flight for each of RESOLVER_THREADS: a greenlet that waits for an answer costs almost nothing."""

WEB_SHARE = 4
"""did:web gets one greenlet for this many of the directory's."""

QUEUE_MAX = 100_000
"""Questions of each kind that wait (as in zlay). Past that a background one is forgotten: the next frame asks again."""

TRIES_MAX = 3
"""Of one urgent look-up that fails for a passing reason, within the time that a parked frame may wait."""

RETRY_AFTER_S = (0.25, 1.0)


class Answer(NamedTuple):
    """The end of a look-up for `asker`'s question about `did`. `away`: our database, not the network, is at fault."""

    did: str
    asker: str
    refreshed: bool
    failed: bool
    away: bool = False


class _Question(NamedTuple):
    did: str
    asker: str


class ResolverPool:
    """`ask` queues a question; `on_answer` is called after every look-up, wanted or not."""

    def __init__(self, directory: Directory, *, resolver_threads: int) -> None:
        self.on_answer: Callable[[Answer], None] = lambda _answer: None
        self._directory = directory
        greenlets = resolver_threads * GREENLETS_PER_THREAD
        self._plc = _Queues(greenlets)
        self._web = _Queues(max(2, greenlets // WEB_SHARE))

    def __len__(self) -> int:
        return len(self._plc) + len(self._web)

    def start(self, supervisor: Supervisor) -> None:
        for method, queues in (("plc", self._plc), ("web", self._web)):
            for number in range(queues.greenlets):
                # half of them never touch the background, so that it can't keep a waiting frame waiting
                urgent_only = number % 2 == 0
                supervisor.spawn(f"resolver-{method}-{number}", self._runner(queues, urgent_only))

    def ask(self, did: str, asker: str, need: Need, *, urgent: bool) -> None:
        """Queues the question once; a refresh asked for later makes one of the question that waits."""
        queues = self._web if did.startswith("did:web:") else self._plc
        refresh = need is Need.REFRESH
        if not queues.put(_Question(did, asker), refresh, urgent) and urgent:
            self.on_answer(Answer(did, asker, refresh, failed=True))

    def _runner(self, queues: "_Queues", urgent_only: bool) -> Callable[[], None]:
        def run() -> None:
            while True:
                question, refresh, urgent = queues.get(urgent_only)
                self.on_answer(self._look_up(question, refresh, TRIES_MAX if urgent else 1))

        return run

    def _look_up(self, question: _Question, refresh: bool, tries: int) -> Answer:
        did, asker = question
        for attempt in range(tries):
            if attempt:
                gevent.sleep(RETRY_AFTER_S[attempt - 1])
            try:
                if refresh:
                    self._directory.refresh(did, asker)
                else:
                    self._directory.resolve(did, asker)
            except NetError as error:
                log.debug("identity not resolved", did=did, asker=asker, failure=error.kind, detail=error.detail)
                continue
            except (StateUnavailableError, StorageFullError) as error:
                log.warning("identities can't be read: the database is away", error=str(error))
                return Answer(did, asker, refresh, failed=True, away=True)
            return Answer(did, asker, refresh, failed=False)
        return Answer(did, asker, refresh, failed=True)


class _Queues:
    """The questions of one DID method: question → whether it is a refresh, first in, first out."""

    def __init__(self, greenlets: int) -> None:
        self.greenlets = greenlets
        self._urgent: OrderedDict[_Question, bool] = OrderedDict()
        self._background: OrderedDict[_Question, bool] = OrderedDict()
        self._ready = Event()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._background)

    def put(self, question: _Question, refresh: bool, urgent: bool) -> bool:
        """False: there is no room."""
        queue = self._urgent if urgent else self._background
        if question in queue:
            queue[question] = queue[question] or refresh
            return True
        if len(queue) >= QUEUE_MAX:
            return False
        queue[question] = refresh
        self._ready.set()
        return True

    def get(self, urgent_only: bool) -> tuple[_Question, bool, bool]:
        """The next question, whether it is a refresh, and whether it is urgent. Waits for one."""
        while True:
            if self._urgent:
                return *self._urgent.popitem(last=False), True
            if self._background and not urgent_only:
                return *self._background.popitem(last=False), False
            self._ready.clear()
            self._ready.wait()
