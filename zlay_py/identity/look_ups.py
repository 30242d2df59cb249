"""Look-ups under way: one for each DID, whoever asks; so many at once; and none too soon after a failure."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore
from gevent.pool import Group

from zlay_py.clock import Clock
from zlay_py.errors import NetError
from zlay_py.identity.model import Identity
from zlay_py.net.failures import FailureKind, failure

UNDER_WAY_MAX = 100_000
"""DIDs being looked up or waiting for a slot. Past that a look-up fails at once."""

FAILURE_WAIT_S = 0.2
FAILURE_WAIT_S_MAX = 60.0
"""After a failure a DID is left alone, four times longer each time: a quick second try is let through, and a dead
did:web server does not hold look-ups up for ten seconds each time that it is named."""

DIRECTORY_AWAY = frozenset(
    {
        FailureKind.NAME_UNKNOWN,
        FailureKind.DNS,
        FailureKind.REFUSED,
        FailureKind.UNREACHABLE,
        FailureKind.TIMEOUT,
        FailureKind.STALLED,
        FailureKind.TLS,
        FailureKind.HTTP,
        FailureKind.CLOSED,
    }
)
"""Failures of a did:plc look-up that are the directory's, not the DID's: they count no longer once it has answered for
any other. Else accounts that appeared while it was away would have to wait when it is back."""

TROUBLED_MAX = 100_000
"""DIDs whose last failure is remembered, about 30 MB. The one longest ago is forgotten first."""

_PLC = "did:plc:"


class Resolver(Protocol):
    """`identity.resolver.DidResolver`, or a test's."""

    def resolve(self, did: str) -> Identity:
        """Raises NetError where there is no definite answer now."""


class _Failed(NamedTuple):
    """How a look-up failed, without the traceback that would live as long as somebody remembers it."""

    kind: str
    detail: str


class _Trouble(NamedTuple):
    """Failures in a row, and when the next look-up may start. `plc_answers`: how many there had been by the last."""

    failures: int
    not_before_s: float
    last: _Failed
    plc_answers: int


class _LookUp:
    """One on its way. `outdated`: its DID was marked after it began, so the answer may be the old one."""

    __slots__ = ("outdated", "result")

    def __init__(self) -> None:
        self.outdated = False
        self.result: AsyncResult[Identity | _Failed] = AsyncResult()


class LookUps:
    """`accept` is called with every definite answer, before those who wait get it. Its errors are theirs as well.

    Whether the answer `is_outdated` is to be asked last: it may become so as long as `accept` waits for anything.
    """

    def __init__(
        self,
        resolver: Resolver,
        clock: Clock,
        greenlets: Group,
        accept: Callable[[Identity], None],
        *,
        in_flight_max: int,
        under_way_max: int = UNDER_WAY_MAX,
    ) -> None:
        self.begun = 0
        self.failed = 0
        self._resolver = resolver
        self._clock = clock
        self._greenlets = greenlets
        self._accept = accept
        self._under_way_max = under_way_max
        self._slots = BoundedSemaphore(in_flight_max)
        self._under_way: dict[str, _LookUp] = {}
        self._trouble: OrderedDict[str, _Trouble] = OrderedDict()
        self._plc_answers = 0
        """Definite ones of the directory, to anybody."""

    def __len__(self) -> int:
        return len(self._under_way)

    def __contains__(self, did: str) -> bool:
        return did in self._under_way

    def ask(self, did: str) -> Identity:
        """Waits for the look-up of `did`, beginning it if there is none. Raises NetError."""
        look_up = self._under_way.get(did)
        if look_up is None:
            look_up = self._begin(did)
        outcome = look_up.result.get()
        if isinstance(outcome, Identity):
            return outcome
        assert outcome is not None
        raise NetError(*outcome)

    def outdate(self, did: str) -> None:
        """Whatever is under way for `did` began before something changed: its answer will be stale."""
        look_up = self._under_way.get(did)
        if look_up is not None:
            look_up.outdated = True

    def is_outdated(self, did: str) -> bool:
        """Was `did` marked while its look-up was under way?"""
        look_up = self._under_way.get(did)
        return look_up is not None and look_up.outdated

    def wait(self, did: str) -> None:
        """Returns when the look-up of `did` that is under way, if any, has ended."""
        look_up = self._under_way.get(did)
        if look_up is not None:
            look_up.result.wait()

    def wait_for_outdated(self, did: str) -> None:
        """Returns when no outdated look-up of `did` is in the way of a new one."""
        look_up = self._under_way.get(did)
        if look_up is not None and look_up.outdated:
            look_up.result.wait()

    def _begin(self, did: str) -> _LookUp:
        trouble = self._trouble.get(did)
        if trouble is not None and self._is_left_alone(did, trouble):
            raise NetError(*trouble.last)
        if len(self._under_way) >= self._under_way_max:
            raise failure(FailureKind.LOCAL, f"{self._under_way_max} DIDs are being looked up already")
        look_up = self._under_way[did] = _LookUp()
        # in a greenlet of its own: whoever asked first may be killed, and the others still wait
        self._greenlets.spawn(self._run, did, look_up)
        return look_up

    def _run(self, did: str, look_up: _LookUp) -> None:
        outcome: Identity | _Failed | Exception = _Failed(FailureKind.LOCAL, "the look-up was ended")
        try:
            with self._slots:
                self.begun += 1
                identity = self._resolver.resolve(did)
            self._trouble.pop(did, None)
            self._plc_answers += did.startswith(_PLC)
            self._accept(identity)  # may wait for the store, and the DID be marked meanwhile
            outcome = replace(identity, stale=True) if look_up.outdated else identity
        except NetError as error:
            self.failed += 1
            outcome = _Failed(error.kind, error.detail)
            self._note_trouble(did, outcome)
        except Exception as error:  # the store's, or a bug of ours: everybody who waits must hear of it
            outcome = error
        finally:  # also when this greenlet is killed
            del self._under_way[did]
            if isinstance(outcome, Exception):
                look_up.result.set_exception(outcome)
            else:
                look_up.result.set(outcome)

    def _is_left_alone(self, did: str, trouble: _Trouble) -> bool:
        if did.startswith(_PLC) and trouble.last.kind in DIRECTORY_AWAY and self._plc_answers > trouble.plc_answers:
            return False
        return self._clock.monotonic_s() < trouble.not_before_s

    def _note_trouble(self, did: str, last: _Failed) -> None:
        before = self._trouble.pop(did, None)
        failures = 1 if before is None else before.failures + 1
        wait_s = min(FAILURE_WAIT_S * 4.0 ** min(failures - 1, 10), FAILURE_WAIT_S_MAX)
        self._trouble[did] = _Trouble(failures, self._clock.monotonic_s() + wait_s, last, self._plc_answers)
        if len(self._trouble) > TROUBLED_MAX:
            self._trouble.popitem(last=False)
