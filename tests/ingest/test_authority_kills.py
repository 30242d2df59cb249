"""Who may speak for an account after a kill: what SQL then knows of its identity is what was saved by then."""

from collections.abc import Iterator, Sequence

import gevent
import pytest
from gevent.event import Event

from tests.ingest.conftest import HOME, OTHER, Bench, FixedClock
from tests.support.identities import DictResolver
from tests.support.repo import Repo, did_plc
from zlay_py.identity.model import Identity
from zlay_py.ingest.identity_store import SqlIdentityStore
from zlay_py.ingest.outcome import DropReason
from zlay_py.state.database import Database
from zlay_py.state.identities import IdentityRowStore

BUSY = did_plc(99)


class BusyStore(SqlIdentityStore):
    """Whoever saves BUSY waits."""

    def __init__(self, database: Database) -> None:
        super().__init__(IdentityRowStore(database))
        self.gate = Event()

    def save(self, identities: Sequence[Identity]) -> None:
        if any(identity.did == BUSY for identity in identities):
            self.gate.wait()
        super().save(identities)


@pytest.fixture
def busy(database: Database) -> Iterator[Bench]:
    """Answers are saved when they have been asked for, until `keep_busy`."""
    store = BusyStore(database)
    bench = Bench(database, DictResolver(), FixedClock(), identities=store)
    bench.resolver.register(Repo(BUSY), HOME)
    yield bench
    store.gate.set()
    bench.directory.close()


def keep_busy(bench: Bench) -> None:
    """The saver waits for the database, and what is answered from here on is not saved."""
    bench.directory.flush()
    bench.directory.resolve(BUSY)
    gevent.idle()


def next_life(bench: Bench, *, directory_up: bool) -> Bench:
    """As after a kill: nothing but the database is left."""
    resolver = bench.resolver if directory_up else DictResolver()
    store = SqlIdentityStore(IdentityRowStore(bench.database))
    return Bench(bench.database, resolver, bench.clock, identities=store, seq=bench.seq)


@pytest.mark.parametrize("directory_up", [True, False])
@pytest.mark.parametrize("known_at_home", [True, False])
def test_a_kill_does_not_take_an_account_back_to_the_host_that_it_left(
    busy: Bench, known_at_home: bool, directory_up: bool
) -> None:
    repo = busy.repo()
    if known_at_home:
        busy.accept(repo.account())
    else:  # somebody has spoken of it, so that its identity is known, and it has no row
        busy.accept(repo.identity(), OTHER)
        busy.directory.resolve(repo.did)
    keep_busy(busy)
    busy.resolver.register(repo, OTHER)
    busy.accept(repo.identity(), OTHER)
    busy.accept(repo.account(), OTHER)
    busy.accept(repo.commit([]), OTHER)
    later = next_life(busy, directory_up=directory_up)
    assert later.drop(repo.account(False, "deactivated"), HOME) is DropReason.HOST_NOT_AUTHORITATIVE
    account = later.accounts.get(repo.did)
    assert account is not None
    assert account.host_id == later.hosts[OTHER].id
    later.accept(repo.create("app.bsky.feed.post/a"), OTHER)
    later.directory.close()
