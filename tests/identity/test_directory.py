"""The directory alone: what is known, how long, and when the network is asked."""

from collections.abc import Iterator

import gevent
import pytest

from tests.identity.fakes import (
    DID,
    KEY,
    OTHER_KEY,
    START_US,
    ManualClock,
    MemoryStore,
    ScriptedResolver,
    did,
    gone,
    identity,
    net_error,
)
from zlay_py.errors import LocalError, NetError, StorageFullError
from zlay_py.identity.allowance import BURST, REFILL_S
from zlay_py.identity.directory import FRESH_NEGATIVE_US, FRESH_US, Directory
from zlay_py.identity.model import IdentityState
from zlay_py.net.failures import FailureKind, failure

DAY_S, NEGATIVE_S = FRESH_US / 1e6, FRESH_NEGATIVE_US / 1e6


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def resolver(clock: ManualClock) -> ScriptedResolver:
    return ScriptedResolver(clock)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def directory(clock: ManualClock, resolver: ScriptedResolver, store: MemoryStore) -> Iterator[Directory]:
    made = Directory(resolver, store, clock, cache_entries_max=1_000)
    yield made
    resolver.gate.set()
    store.error = None
    store.gate.set()
    made.close()


def test_what_nobody_asked_is_none(directory: Directory, resolver: ScriptedResolver) -> None:
    assert directory.cached(DID) is None
    assert resolver.asked == []


def test_an_answer_is_known_from_then_on_and_saved(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    resolver.answers[DID] = identity()
    answer = directory.resolve(DID)
    assert answer == identity()
    assert directory.cached(DID) is directory.resolve(DID) is answer
    assert resolver.asked == [DID]
    directory.flush()
    assert store.rows == {DID: answer}
    assert directory.unsaved == 0


def test_what_the_store_knows_needs_no_network_and_is_loaded_once(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    store.rows[DID] = identity()
    assert directory.cached(DID) == directory.resolve(DID) == identity()
    assert directory.cached(DID) is not None
    assert store.loads == 1
    assert resolver.asked == []


def test_a_usable_answer_is_fresh_for_a_day_and_then_stands_until_the_next(
    directory: Directory, resolver: ScriptedResolver, clock: ManualClock
) -> None:
    resolver.answers[DID] = identity()
    directory.resolve(DID)
    clock.forward(DAY_S - 1)
    assert not directory.resolve(DID).stale
    clock.forward(1)
    old = directory.cached(DID)
    assert old is not None
    assert (old.stale, old.key) == (True, KEY)
    resolver.answers[DID] = identity(key=OTHER_KEY)
    new = directory.resolve(DID)
    assert (new.stale, new.key, new.resolved_us) == (False, OTHER_KEY, clock.now_us())
    assert directory.cached(DID) is new
    assert len(resolver.asked) == 2


def test_a_clock_that_was_set_back_makes_nothing_stale_by_itself(
    directory: Directory, clock: ManualClock, store: MemoryStore
) -> None:
    store.rows[did(1)] = identity(did(1), at_us=START_US + 1_000_000)
    store.rows[did(2)] = identity(did(2), at_us=START_US + FRESH_US)
    near, far = directory.cached(did(1)), directory.cached(did(2))
    assert near is not None
    assert not near.stale
    assert far is not None
    assert far.stale, "a clock that was a year ahead must not keep a key for a year"


@pytest.mark.parametrize("state", [IdentityState.NOT_FOUND, IdentityState.TOMBSTONED, IdentityState.UNUSABLE])
def test_a_definite_no_is_remembered_for_a_while(
    directory: Directory, resolver: ScriptedResolver, clock: ManualClock, state: IdentityState
) -> None:
    resolver.answers[DID] = gone(state)
    assert directory.resolve(DID).state is state
    clock.forward(NEGATIVE_S - 1)
    assert directory.resolve(DID).state is state
    assert resolver.asked == [DID]
    clock.forward(1)
    known = directory.cached(DID)
    assert known is not None, "a miss would let an unverified frame pass"
    assert (known.state, known.stale) == (state, True)
    resolver.answers[DID] = identity()
    assert directory.resolve(DID).state is IdentityState.OK


def test_an_invented_did_leaves_nothing_on_disk(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore, clock: ManualClock
) -> None:
    for _ in range(3):
        assert directory.resolve(DID).state is IdentityState.NOT_FOUND
        clock.forward(NEGATIVE_S)
    directory.flush()
    assert len(resolver.asked) == 3
    assert store.rows == {}


@pytest.mark.parametrize("state", [IdentityState.NOT_FOUND, IdentityState.TOMBSTONED])
def test_a_did_that_was_known_and_is_gone_does_not_come_back_at_the_next_start(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore, state: IdentityState
) -> None:
    store.rows[DID] = identity()
    resolver.answers[DID] = gone(state)
    assert directory.refresh(DID).state is state
    directory.flush()
    assert store.rows[DID].state is state
    assert store.rows[DID].key is None


def test_without_any_answer_the_error_is_the_callers(directory: Directory, resolver: ScriptedResolver) -> None:
    resolver.answers[DID] = net_error()
    with pytest.raises(NetError, match="no end") as caught:
        directory.resolve(DID)
    assert caught.value is not resolver.answers[DID], "a shared error would collect everybody's tracebacks"
    assert caught.value.kind == "timeout"
    assert directory.cached(DID) is None
    assert directory.failures == 1


def test_after_failures_a_did_is_left_alone_longer_and_longer(
    directory: Directory, resolver: ScriptedResolver, clock: ManualClock
) -> None:
    resolver.answers[DID] = net_error()
    for number, wait_s in enumerate((0.2, 0.8, 3.2, 12.8, 51.2, 60, 60), start=1):
        with pytest.raises(NetError, match="no end"):
            directory.resolve(DID)
        assert len(resolver.asked) == number
        clock.forward(wait_s - 0.01)
        with pytest.raises(NetError, match="no end"):
            directory.resolve(DID)
        assert len(resolver.asked) == number, f"too soon after failure {number}"
        clock.forward(0.02)
    resolver.answers[DID] = identity()
    directory.resolve(DID)
    resolver.answers[DID] = net_error()
    clock.forward(DAY_S)
    assert directory.resolve(DID).stale
    clock.forward(REFILL_S)
    directory.resolve(DID)
    assert len(resolver.asked) == 10, "a success ends the row of failures"


def test_an_old_answer_stands_when_a_new_one_can_not_be_had(
    directory: Directory, resolver: ScriptedResolver, clock: ManualClock
) -> None:
    resolver.answers[DID] = identity()
    directory.resolve(DID)
    clock.forward(DAY_S)
    resolver.answers[DID] = net_error()
    answer = directory.resolve(DID)
    assert (answer.key, answer.stale) == (KEY, True)
    assert len(resolver.asked) == 2


def test_once_the_directory_answers_for_one_did_the_others_that_it_failed_are_asked_again(
    directory: Directory, resolver: ScriptedResolver, clock: ManualClock
) -> None:
    """It was away, and is back; a document that can't be read, and a did:web server, are no better for that."""
    unreadable, web = did(3), "did:web:pds.example.com"
    resolver.answers = {one: net_error() for one in (DID, unreadable, web)}
    resolver.answers[unreadable] = failure(FailureKind.DECODE, "not JSON")
    for one in (DID, unreadable, web):
        with pytest.raises(NetError):
            directory.resolve(one)
    resolver.answers = {one: identity(one) for one in (DID, unreadable, web)}
    with pytest.raises(NetError):
        directory.resolve(DID)
    directory.resolve(did(4))
    assert directory.resolve(DID).key == KEY
    for one in (unreadable, web):
        with pytest.raises(NetError):
            directory.resolve(one)
    clock.forward(0.2)
    for one in (unreadable, web):
        assert directory.resolve(one).key == KEY


def test_a_refresh_that_fails_gives_what_is_known_and_says_so(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    store.rows[DID] = identity()
    resolver.answers[DID] = net_error()
    answer = directory.refresh(DID)
    assert (answer.key, answer.stale) == (KEY, True)
    known = directory.cached(DID)
    assert known is not None
    assert known.stale, "it is to be asked again"


def test_a_marked_identity_stays_in_force_until_the_next_answer(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    store.rows[DID] = identity()
    directory.mark_stale(DID)
    known = directory.cached(DID)
    assert known is not None
    assert (known.stale, known.key, known.state) == (True, KEY, IdentityState.OK)
    assert resolver.asked == []
    resolver.answers[DID] = identity(key=OTHER_KEY)
    assert directory.resolve(DID).key is OTHER_KEY
    known = directory.cached(DID)
    assert known is not None
    assert not known.stale


def test_marking_what_nobody_knows_is_nothing(directory: Directory, resolver: ScriptedResolver) -> None:
    directory.mark_stale(DID)
    assert directory.cached(DID) is None
    assert resolver.asked == []


def test_a_did_is_refreshed_in_a_short_burst_and_then_slowly(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore, clock: ManualClock
) -> None:
    store.rows[DID] = identity()
    resolver.answers[DID] = identity(key=OTHER_KEY)
    for number in range(BURST):
        directory.mark_stale(DID)
        assert not directory.refresh(DID).stale
        assert len(resolver.asked) == number + 1
    for _ in range(100):
        directory.mark_stale(DID)
        assert directory.refresh(DID).stale
        assert directory.resolve(DID).stale
    assert len(resolver.asked) == BURST
    clock.forward(REFILL_S)
    assert not directory.refresh(DID).stale
    directory.mark_stale(DID)
    assert directory.refresh(DID).key is OTHER_KEY
    assert len(resolver.asked) == BURST + 1


def test_checks_that_fail_do_not_use_up_what_an_identity_event_may_ask(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    """Of an account whose host sends bad signatures the key is rotated; either way to ask finds the new one."""
    store.rows[DID] = identity()
    resolver.answers[DID] = identity()
    for _ in range(20):
        assert not directory.refresh(DID).stale
    assert len(resolver.asked) == BURST
    for ask, key in ((directory.resolve, OTHER_KEY), (directory.refresh, KEY)):
        resolver.answers[DID] = identity(key=key)
        directory.mark_stale(DID)
        assert ask(DID).key is key
    for _ in range(20):
        directory.mark_stale(DID)
        directory.resolve(DID)
    assert len(resolver.asked) == 2 * BURST, "and that has its bound, too"


def test_a_mark_outlives_the_process_and_the_answer_to_it_ends_it(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore, clock: ManualClock
) -> None:
    store.rows[DID] = identity()
    store.rows[did(1)] = identity(did(1))
    directory.mark_stale(DID)
    directory.flush()
    assert (store.rows[DID].stale, store.rows[did(1)].stale) == (True, False)
    second = Directory(resolver, store, clock, cache_entries_max=10)
    known = second.cached(DID)
    assert known is not None
    assert (known.stale, known.key) == (True, KEY)
    resolver.answers[DID] = identity(key=OTHER_KEY)
    assert second.resolve(DID).key is OTHER_KEY
    second.close()
    assert (store.rows[DID].stale, store.rows[DID].key) == (False, OTHER_KEY)


def test_an_answer_that_was_outdated_on_its_way_is_saved_with_its_mark(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    resolver.answers[DID] = identity()
    resolver.gate.clear()
    asking = gevent.spawn(directory.resolve, DID)
    gevent.idle()
    directory.mark_stale(DID)
    resolver.gate.set()
    asking.join(timeout=5)
    directory.flush()
    assert store.rows[DID].stale


def test_a_refresh_that_fails_is_owed_by_the_next_process(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    store.rows[DID] = identity()
    resolver.answers[DID] = net_error()
    assert directory.refresh(DID).stale
    directory.mark_stale(DID)
    directory.flush()
    assert store.rows[DID].stale


def test_a_mark_on_an_invented_did_leaves_nothing_on_disk(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    assert directory.resolve(DID).state is IdentityState.NOT_FOUND
    directory.mark_stale(DID)
    directory.flush()
    assert store.rows == {}


def test_a_mark_stays_when_memory_has_no_room_for_it(
    clock: ManualClock, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    directory = Directory(resolver, store, clock, cache_entries_max=2)
    for number in range(20):
        store.rows[did(number)] = identity(did(number))
    directory.mark_stale(did(0))
    for number in range(20):
        directory.cached(did(number))
        gevent.idle()
    known = directory.cached(did(0))
    assert known is not None
    assert known.stale
    directory.close()


def test_what_is_kept_of_a_host_is_the_newest_and_only_where_it_is_another(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    directory.keep_host(DID)
    assert store.batches == [], "nothing is known"
    resolver.answers[DID] = identity(host="new.example.com")
    directory.resolve(DID)
    directory.keep_host(DID)
    directory.flush()
    assert store.batches == [1], "without a row there was none to go back to"
    directory.keep_host(DID)
    assert store.batches == [1], "the store has it"
    store.rows[DID] = identity()
    directory.keep_host(DID)
    assert store.rows[DID].pds_host == "new.example.com"
    assert store.batches == [1, 1]


def test_a_flush_does_not_wait_for_what_comes_meanwhile(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    """A busy host marks one DID after the other; whoever waits for the marks of before must get on."""
    for number in range(4):
        store.rows[did(number)] = identity(did(number))
    directory.mark_stale(did(0))
    store.gate.clear()
    flushing = gevent.spawn(directory.flush)
    for number in range(1, 4):
        gevent.idle()
        directory.mark_stale(did(number))
        store.gate.set()
        store.gate.clear()
    gevent.idle()
    flushing.join(timeout=5)
    assert flushing.successful()
    assert store.rows[did(0)].stale
    assert directory.unsaved > 0
    store.gate.set()
    gevent.idle()
    assert directory.unsaved == 0, "the saver goes on until there is nothing more"


def test_an_older_answer_on_its_way_to_the_store_is_not_the_last_word(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    """There is no row yet, but there will be one, of a host that the account has left meanwhile."""
    store.gate.clear()
    resolver.answers[DID] = identity(host="old.example.com")
    directory.resolve(DID)
    gevent.idle()
    resolver.answers[DID] = identity(host="new.example.com")
    directory.refresh(DID)
    keeping = gevent.spawn(directory.keep_host, DID)
    gevent.idle()
    assert not keeping.ready()
    store.gate.set()
    keeping.join(timeout=5)
    assert store.rows[DID].pds_host == "new.example.com"


def test_the_interval_of_one_did_is_not_anothers(directory: Directory, resolver: ScriptedResolver) -> None:
    for number in range(3):
        resolver.answers[did(number)] = identity(did(number))
        directory.resolve(did(number))
        directory.refresh(did(number))
    assert len(resolver.asked) == 6


def test_answers_gather_while_a_save_runs(directory: Directory, resolver: ScriptedResolver, store: MemoryStore) -> None:
    store.gate.clear()
    for number in range(10):
        resolver.answers[did(number)] = identity(did(number))
        directory.resolve(did(number))
    assert directory.unsaved == 10, "nobody waited for the store"
    store.gate.set()
    directory.flush()
    assert sum(store.batches) >= 10
    assert len(store.batches) <= 3
    assert len(store.rows) == 10


def test_an_answer_that_is_replaced_while_it_is_saved_is_saved_again(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    store.gate.clear()
    resolver.answers[DID] = identity()
    directory.resolve(DID)
    gevent.idle()
    resolver.answers[DID] = identity(key=OTHER_KEY)
    directory.refresh(DID)
    store.gate.set()
    directory.flush()
    assert store.rows[DID].key is OTHER_KEY


def test_a_store_that_fails_to_save_is_told_about_and_tried_again(
    clock: ManualClock, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    errors: list[LocalError] = []
    directory = Directory(resolver, store, clock, cache_entries_max=10, on_save_error=errors.append)
    for number in range(30):
        resolver.answers[did(number)] = identity(did(number))
        directory.resolve(did(number))
        if number == 4:
            directory.flush()
            store.save_error = StorageFullError("no space")
        gevent.idle()
    assert len(errors) == 1, "not one try for each answer"
    assert directory.unsaved == 25
    answer = directory.cached(did(6))
    assert answer is not None, "it is neither in memory, which is small, nor on disk"
    store.save_error = None
    clock.forward(1)
    resolver.answers[did(98)] = identity(did(98))
    directory.resolve(did(98))
    gevent.idle()
    assert directory.unsaved == 0
    assert len(store.rows) == 31
    directory.close()


def test_a_store_that_fails_to_load_is_the_callers_to_know(
    directory: Directory, store: MemoryStore, resolver: ScriptedResolver
) -> None:
    store.error = StorageFullError("broken")
    for method in (directory.cached, directory.resolve, directory.refresh, directory.mark_stale):
        with pytest.raises(StorageFullError):
            method(DID)
    assert resolver.asked == []


def test_memory_stays_within_its_bound_and_the_store_has_the_rest(
    clock: ManualClock, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    directory = Directory(resolver, store, clock, cache_entries_max=50)
    for number in range(200):
        resolver.answers[did(number)] = identity(did(number))
        directory.resolve(did(number))
        clock.forward(1)
        assert len(directory) <= 50
    directory.flush()
    assert directory.evicted == 150
    loads = store.loads
    assert directory.cached(did(0)) == identity(did(0))
    assert store.loads == loads + 1
    assert len(resolver.asked) == 200
    directory.close()


def test_close_ends_what_is_under_way_and_saves_what_is_there(
    directory: Directory, resolver: ScriptedResolver, store: MemoryStore
) -> None:
    resolver.answers[did(1)] = identity(did(1))
    directory.resolve(did(1))
    resolver.gate.clear()
    waiting = gevent.spawn(directory.resolve, did(2))
    gevent.idle()
    directory.close()
    waiting.join(timeout=5)
    assert isinstance(waiting.exception, NetError)
    assert list(store.rows) == [did(1)]
    assert directory.under_way == 0
