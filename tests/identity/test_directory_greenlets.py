"""The directory under many greenlets: one look-up for all, bounds, and changes that come in between."""

import random
from collections.abc import Iterator

import gevent
import pytest
from gevent.pool import Group

from tests.identity.fakes import (
    DID,
    KEY,
    OTHER_KEY,
    ManualClock,
    MemoryStore,
    ScriptedResolver,
    did,
    identity,
    net_error,
)
from zlay_py.errors import NetError
from zlay_py.identity.directory import Directory
from zlay_py.identity.look_ups import LookUps
from zlay_py.identity.model import Identity


@pytest.fixture
def resolver() -> ScriptedResolver:
    made = ScriptedResolver(ManualClock())
    made.answers[DID] = identity()
    return made


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def directory(resolver: ScriptedResolver, clock: ManualClock) -> Iterator[Directory]:
    made = Directory(resolver, MemoryStore(), clock, cache_entries_max=1_000, in_flight_max=8)
    yield made
    resolver.gate.set()
    made.close()


def test_many_who_ask_at_once_share_one_request(directory: Directory, resolver: ScriptedResolver) -> None:
    resolver.gate.clear()
    greenlets = [gevent.spawn(directory.resolve if n % 2 else directory.refresh, DID) for n in range(100)]
    gevent.idle()
    assert directory.under_way == 1
    resolver.gate.set()
    gevent.joinall(greenlets, timeout=10, raise_error=True)
    assert resolver.asked == [DID]
    assert len({id(greenlet.get()) for greenlet in greenlets}) == 1
    assert directory.under_way == 0


def test_many_who_ask_share_one_failure(directory: Directory, resolver: ScriptedResolver) -> None:
    resolver.answers[DID] = net_error()
    resolver.gate.clear()
    greenlets = [gevent.spawn(directory.resolve, DID) for _ in range(20)]
    gevent.idle()
    resolver.gate.set()
    gevent.joinall(greenlets, timeout=10)
    assert all(isinstance(greenlet.exception, NetError) for greenlet in greenlets)
    assert len({id(greenlet.exception) for greenlet in greenlets}) == 20
    assert resolver.asked == [DID]


def test_the_first_who_asked_may_be_killed(directory: Directory, resolver: ScriptedResolver) -> None:
    resolver.gate.clear()
    first, second = gevent.spawn(directory.resolve, DID), gevent.spawn(directory.resolve, DID)
    gevent.idle()
    first.kill()
    resolver.gate.set()
    assert second.get(timeout=10).key is KEY
    assert resolver.asked == [DID]


def test_look_ups_in_flight_are_bounded_and_all_get_their_turn(
    directory: Directory, resolver: ScriptedResolver
) -> None:
    resolver.gate.clear()
    greenlets = [gevent.spawn(directory.resolve, did(number)) for number in range(50)]
    gevent.idle()
    assert (resolver.running, directory.under_way) == (8, 50)
    resolver.gate.set()
    gevent.joinall(greenlets, timeout=10, raise_error=True)
    assert resolver.running_max == 8
    assert sorted(resolver.asked) == sorted(did(number) for number in range(50))


def test_past_the_bound_a_look_up_fails_at_once(resolver: ScriptedResolver) -> None:
    greenlets: Group = Group()
    look_ups = LookUps(resolver, ManualClock(), greenlets, lambda _: None, in_flight_max=2, under_way_max=3)
    resolver.gate.clear()
    asking = [gevent.spawn(look_ups.ask, did(number)) for number in range(3)]
    gevent.idle()
    with pytest.raises(NetError, match="3 DIDs"):
        look_ups.ask(did(3))
    joining = gevent.spawn(look_ups.ask, did(0))
    gevent.idle()
    resolver.gate.set()
    gevent.joinall([*asking, joining], timeout=10, raise_error=True)


def test_a_bug_in_a_look_up_reaches_everybody_and_the_next_one_starts_anew(
    directory: Directory, resolver: ScriptedResolver
) -> None:
    resolver.answers[DID] = ZeroDivisionError("ours")
    resolver.gate.clear()
    greenlets = [gevent.spawn(directory.resolve, DID) for _ in range(3)]
    gevent.idle()
    resolver.gate.set()
    gevent.joinall(greenlets, timeout=10)
    assert all(isinstance(greenlet.exception, ZeroDivisionError) for greenlet in greenlets)
    resolver.answers[DID] = identity()
    assert directory.resolve(DID).key is KEY


def test_an_answer_that_was_asked_before_the_mark_is_stale(directory: Directory, resolver: ScriptedResolver) -> None:
    """The document may have changed between the directory's answer and ours: the next one must be asked."""
    resolver.gate.clear()
    waiting = gevent.spawn(directory.resolve, DID)
    gevent.idle()
    directory.mark_stale(DID)
    resolver.answers[DID] = identity(key=OTHER_KEY)
    resolver.gate.set()
    answer = waiting.get(timeout=10)
    assert (answer.key, answer.stale) == (KEY, True)
    assert directory.resolve(DID).key is OTHER_KEY
    assert len(resolver.asked) == 2


def test_a_refresh_after_a_mark_waits_for_the_old_look_up_and_asks_once_for_all(
    directory: Directory, resolver: ScriptedResolver
) -> None:
    directory.resolve(DID)
    directory.mark_stale(DID)
    resolver.gate.clear()
    old = gevent.spawn(directory.resolve, DID)
    gevent.idle()
    directory.mark_stale(DID)
    assert resolver.asked == [DID, DID]
    late = [gevent.spawn(directory.refresh, DID) for _ in range(5)]
    gevent.idle()
    resolver.gate.set()
    gevent.joinall([old, *late], timeout=10, raise_error=True)
    assert resolver.asked == [DID, DID, DID], "one for the mark, one that it outdated"
    assert not any(greenlet.get().stale for greenlet in late)


def test_refreshes_wait_for_an_outdated_look_up_and_join_one_new_one(
    directory: Directory, resolver: ScriptedResolver
) -> None:
    directory.resolve(DID)
    resolver.gate.clear()
    first = gevent.spawn(directory.refresh, DID)
    gevent.idle()
    directory.mark_stale(DID)
    resolver.answers[DID] = identity(key=OTHER_KEY)
    late = [gevent.spawn(directory.refresh, DID) for _ in range(5)]
    gevent.idle()
    resolver.gate.set()
    gevent.joinall([first, *late], timeout=10, raise_error=True)
    assert first.get().key is KEY
    assert {(greenlet.get().key, greenlet.get().stale) for greenlet in late} == {(OTHER_KEY, False)}
    assert len(resolver.asked) == 3


class RestlessResolver(ScriptedResolver):
    """Gives way at random, and fails at random; never twice at once for one DID."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(ManualClock())
        self._rng = rng
        self._busy: set[str] = set()

    def resolve(self, did: str) -> Identity:
        assert did not in self._busy, "one look-up for each DID"
        self._busy.add(did)
        try:
            for _ in range(self._rng.randrange(4)):
                gevent.sleep(0)
            if self._rng.random() < 0.2:
                raise net_error()
            return super().resolve(did)
        finally:
            self._busy.remove(did)


@pytest.mark.parametrize("seed", range(5))
def test_any_interleaving_keeps_the_promises(seed: int) -> None:
    """400 greenlets on 30 DIDs and a memory for 10: every answer is its DID's, and what was known stays known."""
    rng = random.Random(seed)
    clock = ManualClock()
    resolver, store = RestlessResolver(rng), MemoryStore()
    directory = Directory(resolver, store, clock, cache_entries_max=10, in_flight_max=4)
    for number in range(0, 30, 2):
        resolver.answers[did(number)] = identity(did(number))
    known: set[str] = set()

    def ask() -> None:
        for _ in range(10):
            name = did(rng.randrange(30))
            method = rng.choice([directory.resolve, directory.refresh, directory.cached, directory.mark_stale])
            before = name in known
            try:
                answer = method(name)
            except NetError:
                assert not before, "an outage never makes a known DID unknown"
                continue
            assert answer is None or answer.did == name
            assert not before or answer is not None or method == directory.mark_stale
            if isinstance(answer, Identity):
                known.add(name)
            assert resolver.running <= 4
            clock.forward(rng.random() * 5)
            gevent.sleep(0)

    greenlets = Group()
    for _ in range(400):
        greenlets.spawn(ask)
    assert greenlets.join(timeout=30, raise_error=True)
    assert directory.under_way == 0
    directory.close()
    assert set(store.rows) == {did(number) for number in range(0, 30, 2)}
