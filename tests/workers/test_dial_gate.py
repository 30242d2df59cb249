"""The gate in front of thousands of dials: a pace, places, and no way for the dead to take them all."""

from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event
from gevent.queue import Queue

from zlay_py.workers.dial_gate import DialGate

WAIT_S_MAX = 10.0


class SleepingClock:
    """Time passes only in `sleep`."""

    def __init__(self) -> None:
        self.s = 100.0

    def now_us(self) -> int:
        return int(self.s * 1e6)

    def monotonic_s(self) -> float:
        return self.s

    def sleep(self, seconds: float) -> None:
        self.s += seconds


class Dials:
    """Greenlets that stay in the gate until they are let go."""

    def __init__(self, gate: DialGate) -> None:
        self.entered: Queue[str] = Queue()
        self.inside: list[str] = []
        self.most_doubtful = 0
        self._gate = gate
        self._ends: dict[str, Event] = {}
        self._greenlets: dict[str, gevent.Greenlet[..., object]] = {}

    def start(self, name: str, *, doubtful: bool) -> None:
        self._ends[name] = Event()
        self._greenlets[name] = gevent.spawn(self._dial, name, doubtful)

    def _dial(self, name: str, doubtful: bool) -> None:
        with self._gate.place(doubtful=doubtful):
            self.inside.append(name)
            self.most_doubtful = max(self.most_doubtful, sum(other.startswith("dead") for other in self.inside))
            self.entered.put(name)
            try:
                self._ends[name].wait()
            finally:
                self.inside.remove(name)

    def take(self, count: int) -> set[str]:
        """The next so many that got in."""
        return {self.entered.get(timeout=WAIT_S_MAX) for _ in range(count)}

    def end(self, name: str) -> None:
        self._ends[name].set()
        self._greenlets[name].join(WAIT_S_MAX)

    def kill(self, name: str) -> None:
        self._greenlets[name].kill(timeout=WAIT_S_MAX)

    def close(self) -> None:
        gevent.killall(list(self._greenlets.values()), timeout=WAIT_S_MAX)


Make = Callable[[int], Dials]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Dials] = []

    def new(at_once: int) -> Dials:
        clock = SleepingClock()
        made.append(Dials(DialGate(clock, at_once=at_once, sleep=clock.sleep)))
        return made[-1]

    yield new
    for dials in made:
        dials.close()


def test_turns_come_at_the_pace() -> None:
    clock = SleepingClock()
    gate = DialGate(clock, dials_per_s=50, sleep=clock.sleep)
    turns = []
    for _ in range(4):
        with gate.place(doubtful=False):
            turns.append(clock.s)
    assert turns == pytest.approx([100.0, 100.02, 100.04, 100.06])
    clock.s += 10
    with gate.place(doubtful=True):
        assert clock.s == pytest.approx(110.06), "a pause gives no credit and costs nothing"


def test_dead_hosts_use_half_of_the_places_and_the_others_go_past_them(make: Make) -> None:
    dials = make(4)
    for number in range(5):
        dials.start(f"dead-{number}", doubtful=True)
    assert dials.take(2) == {"dead-0", "dead-1"}
    dials.start("alive-0", doubtful=False)
    dials.start("alive-1", doubtful=False)
    assert dials.take(2) == {"alive-0", "alive-1"}, "they came later, and waited for none of the dead"
    dials.end("dead-0")
    assert dials.take(1) == {"dead-2"}, "the dead have their turn, too"
    assert dials.most_doubtful == 2


def test_hosts_without_failures_may_use_every_place(make: Make) -> None:
    dials = make(3)
    for number in range(4):
        dials.start(f"alive-{number}", doubtful=False)
    assert len(dials.take(3)) == 3
    dials.end("alive-0")
    assert dials.take(1) == {"alive-3"}


def test_a_dial_that_is_killed_gives_its_places_back(make: Make) -> None:
    dials = make(2)
    for number in range(3):
        dials.start(f"dead-{number}", doubtful=True)
    dials.take(1)
    dials.kill("dead-1")  # which waits for a place
    dials.kill("dead-0")  # which has one
    assert dials.take(1) == {"dead-2"}
    dials.kill("dead-2")
    dials.start("alive-0", doubtful=False)
    dials.start("alive-1", doubtful=False)
    assert len(dials.take(2)) == 2
