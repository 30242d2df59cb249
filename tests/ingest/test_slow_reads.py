"""Reads that give up the hub: what other greenlets do meanwhile must not be undone by the answer.

Each test runs on both databases, behind a seam that brings an answer only when the test says so.
"""

import gevent
import pytest

from tests.ingest.conftest import HOME, Bench, FixedClock
from tests.support.gates import SlowReads, until
from tests.support.identities import NOW_US, DictResolver
from zlay_py.identity.directory import FRESH_NEGATIVE_US, Directory
from zlay_py.identity.model import Identity, IdentityState
from zlay_py.ingest.accounts import Accounts
from zlay_py.ingest.identity_store import SqlIdentityStore
from zlay_py.ingest.outcome import Accepted, Dropped, DropReason
from zlay_py.ingest.pipeline import Pipeline
from zlay_py.settings import Sync11, Validation
from zlay_py.state.accounts import AccountChange, AccountStore
from zlay_py.state.hosts import HostStore, NewHost
from zlay_py.state.identities import IdentityRowStore

A, B, C = (f"did:plc:{letter * 24}" for letter in "abc")
REV = "3zzzzzzzzzz22"


@pytest.fixture
def slow(database_url: str) -> SlowReads:
    return SlowReads(database_url)


@pytest.fixture(autouse=True)
def _closed(slow: SlowReads) -> object:
    yield
    slow.close()


def identity(did: str, host: str, *, resolved_us: int = NOW_US) -> Identity:
    return Identity(did, IdentityState.OK, None, host, None, resolved_us)


def test_a_row_from_before_does_not_replace_a_newer_state(slow: SlowReads) -> None:
    """A question over HTTP reads the row; meanwhile a frame moves the account on, the projector brings that to SQL,
    and memory has no room."""
    host = HostStore(slow).upsert(HOME, True, now_us=1)
    store = AccountStore(slow)
    for did in (A, B, C):
        store.create(did, host.id, 1)
    accounts = Accounts(store, FixedClock(), cached_max=1)
    slow.held = True
    reader = gevent.spawn(accounts.get, A)
    until(lambda: slow.waiting == 1)
    slow.held = False
    state = accounts.get(A)
    assert state is not None
    accounts.pin(state)
    state.rev = REV
    store.apply([AccountChange(state.uid, 1, rev=REV, commit_cid=bytes(36), data_cid=bytes(36))], 1)
    accounts.unpin(state)
    assert accounts.get(B) is not None
    assert accounts.get(C) is not None
    slow.let_go()
    read = reader.get(timeout=10)
    assert read is not None
    assert read.rev == REV
    now = accounts.get(A)
    assert now is not None
    assert now.rev == REV


def test_states_are_held_no_longer_than_they_are_looked_at(slow: SlowReads) -> None:
    host = HostStore(slow).upsert(HOME, True, now_us=1)
    store = AccountStore(slow)
    accounts = Accounts(store, FixedClock(), cached_max=1)
    accounts.create(A, host.id)
    accounts.create(B, host.id)
    assert accounts.get(C) is None
    assert accounts.get(A) is not None
    assert len(accounts) == 1
    slow.held = True
    reader = gevent.spawn(accounts.get, B)
    until(lambda: slow.waiting == 1)
    reader.kill()
    slow.let_go()
    assert accounts.get(B) is not None
    assert accounts.get(A) is not None
    assert len(accounts) == 1, "a reader that was killed holds nothing"


def test_a_frame_is_judged_by_the_state_that_it_changes(slow: SlowReads) -> None:
    """Between the look at the account and its change lies a read of its identity."""
    bench = Bench(slow, DictResolver(), FixedClock())
    repo = bench.repo()
    identities = SqlIdentityStore(IdentityRowStore(slow))
    identities.save([bench.resolver.answers[repo.did]])
    accounts = Accounts(AccountStore(slow), bench.clock, cached_max=1)
    directory = Directory(bench.resolver, identities, bench.clock, cache_entries_max=10)
    bench.pipeline = Pipeline(accounts, directory, bench.clock, validation=Validation.STRICT, sync11=Sync11.STRICT)
    host_id = bench.hosts[HOME].id
    AccountStore(slow).create(B, host_id, 1)
    accounts.create(repo.did, host_id)
    wire = repo.commit([])
    slow.held = True
    first = gevent.spawn(bench.once, wire)
    until(lambda: slow.waiting == 1)
    slow.held = False
    assert accounts.get(B) is not None  # there is room for one
    slow.let_go()
    assert isinstance(first.get(timeout=10), Accepted)
    again = bench.once(wire)
    assert isinstance(again, Dropped)
    assert again.reason is DropReason.REV_OLD


def test_an_identity_from_before_does_not_replace_a_newer_one(slow: SlowReads) -> None:
    """The answer of the directory came, was saved, and had to leave memory, all while the old row was on its way."""
    resolver, clock = DictResolver(), FixedClock()
    store = SqlIdentityStore(IdentityRowStore(slow))
    store.save([identity(A, "old.example.com")])
    directory = Directory(resolver, store, clock, cache_entries_max=1)
    slow.held = True
    reader = gevent.spawn(directory.cached, A)
    until(lambda: slow.waiting == 1)
    slow.held = False
    resolver.answers = {A: identity(A, "new.example.com"), B: identity(B, HOME, resolved_us=NOW_US + 1)}
    assert directory.refresh(A).pds_host == "new.example.com"
    directory.flush()
    directory.resolve(B)
    directory.flush()
    assert directory.unsaved == 0
    slow.let_go()
    read = reader.get(timeout=10)
    assert read is not None
    assert read.pds_host == "new.example.com"
    known = directory.cached(A)
    assert known is not None
    assert known.pds_host == "new.example.com"
    directory.close()


def test_an_answer_that_is_marked_while_it_is_taken_is_stale(slow: SlowReads) -> None:
    """`#identity` arrives when the directory has just said that there is no such DID: it may have been too early."""

    class HoldingResolver(DictResolver):
        def resolve(self, did: str) -> Identity:
            slow.held = True  # what is known of the DID already, is asked of the store before the answer counts
            return super().resolve(did)

    resolver, clock = HoldingResolver(), FixedClock()
    directory = Directory(resolver, SqlIdentityStore(IdentityRowStore(slow)), clock, cache_entries_max=10)
    resolver.answer(A, IdentityState.NOT_FOUND)
    asked = gevent.spawn(directory.resolve, A)
    until(lambda: slow.waiting == 1)
    slow.held = False
    directory.mark_stale(A)
    slow.let_go()
    assert asked.get(timeout=10).stale
    known = directory.cached(A)
    assert known is not None
    assert known.stale
    assert known.resolved_us + FRESH_NEGATIVE_US > clock.us, "not for its age"
    directory.close()


def test_many_who_read_the_same_identity_get_the_newest(slow: SlowReads) -> None:
    resolver, clock = DictResolver(), FixedClock()
    store = SqlIdentityStore(IdentityRowStore(slow))
    store.save([identity(A, "old.example.com")])
    directory = Directory(resolver, store, clock, cache_entries_max=10)
    slow.held = True
    readers = [gevent.spawn(directory.cached, A) for _ in range(5)]
    until(lambda: slow.waiting == 5)
    readers.pop().kill()
    slow.held = False
    resolver.answers = {A: identity(A, "new.example.com")}
    directory.refresh(A)
    slow.let_go()
    gevent.joinall(readers, timeout=10, raise_error=True)
    assert {found.pds_host for reader in readers if (found := reader.value)} == {"new.example.com"}
    assert directory._loads == {}
    directory.close()


def test_hosts_that_two_name_at_once_are_made_once(slow: SlowReads) -> None:
    hosts = HostStore(slow)
    slow.held = True
    named = [NewHost("a.test", tls=True, cursor=5), NewHost("b.test", tls=True)]
    both = [gevent.spawn(hosts.upsert_many, named, now_us=number) for number in range(2)]
    until(lambda: slow.waiting == 2)
    slow.let_go()
    gevent.joinall(both, timeout=10, raise_error=True)
    assert both[0].get() == both[1].get() == hosts.all()
