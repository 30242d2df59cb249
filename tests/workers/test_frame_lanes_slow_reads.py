"""The lanes on a database whose every read gives up the hub, with hardly any room in memory: all in order."""

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from tests.support.gates import WAIT_S_MAX, Gate, SlowReads
from tests.workers.test_frame_lanes import Rig
from zlay_py.clock import SystemClock
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.tail import Tail
from zlay_py.identity.directory import Directory
from zlay_py.ingest.accounts import Accounts
from zlay_py.ingest.identity_store import SqlIdentityStore
from zlay_py.ingest.pipeline import Pipeline
from zlay_py.settings import Sync11, Validation
from zlay_py.state.identities import IdentityRowStore

REPOS, COMMITS = 8, 12


class Crowded(Rig):
    """Memory has room for one account and one identity."""

    def __post_init__(self) -> None:
        super().__post_init__()
        clock = SystemClock()
        accounts = Accounts(self.store, clock, cached_max=1)
        store = SqlIdentityStore(IdentityRowStore(self.database))
        directory = Directory(self.resolver, store, clock, cache_entries_max=1)
        pipeline = Pipeline(accounts, directory, clock, validation=Validation.STRICT, sync11=Sync11.STRICT)
        self.lanes._pipeline = pipeline
        self.pool._directory = directory
        self.projector._accounts = accounts


@pytest.fixture
def rig(tmp_path: Path, database_url: str) -> Iterator[Crowded]:
    database, tail = SlowReads(database_url), Tail()
    log = EventLog(tmp_path / "events", durability=Durability.FSYNC, clock=SystemClock(), tail=tail)
    log.open()
    made = Crowded(database, log, tail)
    yield made
    made.supervisor.stop(1.0)
    log.close()
    database.close()


def test_every_account_keeps_its_order_and_loses_nothing(rig: Crowded) -> None:
    """At first as it comes; then while SQL takes nothing, so that what memory knows is known nowhere else."""
    repos = [rig.repo(number) for number in range(REPOS)]
    rig.put(*(repo.commit([]) for _ in range(COMMITS) for repo in repos))
    rig.records(REPOS * COMMITS)
    assert rig.writer.drain(WAIT_S_MAX)
    assert rig.projector.drain(WAIT_S_MAX)
    gate = Gate(rig.database)
    blocker = gevent.spawn(rig.database.transaction, gate.hold)
    assert gate.reached.wait(WAIT_S_MAX)
    rig.put(*(repo.commit([]) for _ in range(COMMITS) for repo in repos))
    records = rig.records(2 * REPOS * COMMITS)
    gate.open()
    blocker.get(timeout=WAIT_S_MAX)
    gate.close()
    assert not +rig.stats.dropped
    assert rig.deaths == []
    revs: dict[int, list[str]] = {}
    for record in records:
        assert record.delta.verified
        assert record.delta.rev is not None
        revs.setdefault(record.uid, []).append(record.delta.rev)
    assert len(revs) == REPOS
    assert all(len(of_one) == 2 * COMMITS and of_one == sorted(of_one) for of_one in revs.values())
    assert not any(record.delta.discontinuous for record in records), "each was judged by the one before it"
    assert rig.writer.drain(WAIT_S_MAX)
    assert rig.projector.drain(WAIT_S_MAX)
    for repo in repos:
        row = rig.store.get(repo.did)
        assert row is not None
        assert row.rev == revs[row.uid][-1]
