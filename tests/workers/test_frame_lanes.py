"""Frames between the sockets and the log: order by DID, parking, bounds, and what an end leaves behind."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from tests.support.identities import NOW_US, DictResolver, MemoryStore
from tests.support.repo import Repo, did_plc, with_seq
from zlay_py.atproto import frame
from zlay_py.clock import SystemClock
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import Record
from zlay_py.eventlog.tail import Tail
from zlay_py.identity.directory import Directory
from zlay_py.identity.model import Identity
from zlay_py.ingest.accounts import Accounts
from zlay_py.ingest.low_water import LowWater
from zlay_py.ingest.outcome import DropReason, Need, Outcome
from zlay_py.ingest.pipeline import Pipeline
from zlay_py.ingest.stats import IngestStats
from zlay_py.ingest.work import HostContext, Work
from zlay_py.settings import Sync11, Validation
from zlay_py.state.accounts import AccountStore
from zlay_py.state.database import Database
from zlay_py.state.failures import StateUnavailableError
from zlay_py.state.hosts import HostStore
from zlay_py.state.meta import MetaStore
from zlay_py.workers import resolver_pool
from zlay_py.workers.byte_budget import ByteBudget
from zlay_py.workers.frame_lanes import FrameLanes
from zlay_py.workers.log_writer import LogWriter
from zlay_py.workers.resolver_pool import ResolverPool
from zlay_py.workers.state_projector import StateProjector
from zlay_py.workers.supervisor import Supervisor

HOME = "pds.example.com"
POST = "app.bsky.feed.post"
WAIT_S_MAX = 20.0


class GatedResolver(DictResolver):
    """Holds back the answers for the DIDs in `held` until `gate` is set; for those in `read_before_the_gate`, an
    answer that was read before it, once `reading` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.held: set[str] = set()
        self.read_before_the_gate: set[str] = set()
        self.gate, self.reading = Event(), Event()

    def resolve(self, did: str) -> Identity:
        if did in self.held:
            self.gate.wait()
        answer = super().resolve(did)
        if did in self.read_before_the_gate:
            self.reading.set()
            self.gate.wait()
        return answer


class BuggyPipeline(Pipeline):
    """Fails on the DIDs in `broken` as a bug would, and on those in `away` as a database that is locked."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.broken: set[str] = set()
        self.away: set[str] = set()

    def process(self, work: Work) -> Outcome:
        if work.frame.did in self.away:
            raise StateUnavailableError("locked")
        if work.frame.did in self.broken:
            raise KeyError("a bug")
        return super().process(work)


@dataclass
class Rig:
    """Everything from a frame to SQL, with the loops running."""

    database: Database
    log: EventLog
    tail: Tail

    def __post_init__(self) -> None:
        clock = SystemClock()
        row = HostStore(self.database).upsert(HOME, True, now_us=NOW_US)
        self.host = HostContext(row.id, row.hostname, row.epoch, LowWater(None))
        self.stats, self.budget, self.resolver = IngestStats(), ByteBudget(), GatedResolver()
        self.store = AccountStore(self.database)
        accounts = Accounts(self.store, clock)
        directory = Directory(self.resolver, MemoryStore(), clock, cache_entries_max=100)
        self.pipeline = BuggyPipeline(accounts, directory, clock, validation=Validation.STRICT, sync11=Sync11.STRICT)
        self.projector = StateProjector(self.store, accounts, MetaStore(self.database).applied_seq())
        self.writer = LogWriter(self.log, self.projector, self.budget, clock)
        self.pool = pool = ResolverPool(directory, resolver_threads=1)
        self.lanes = FrameLanes(self.pipeline, self.writer, pool, self.stats, self.budget, clock, lanes=2, capacity=8)
        self.deaths: list[str] = []
        self.supervisor = Supervisor(lambda name, _error: self.deaths.append(name))
        for worker in (self.projector, self.writer, pool, self.lanes):
            worker.start(self.supervisor)
        self.seq = 0

    def repo(self, number: int) -> Repo:
        repo = Repo(did_plc(number))
        self.resolver.register(repo, HOME)
        return repo

    def put(self, *wires: bytes) -> None:
        for wire in wires:
            self.seq += 1
            self.host.water.begin(self.seq, self.log.current_seq)
            self.lanes.put(Work(self.host, self.host.water, frame.decode(with_seq(wire, self.seq)), NOW_US))

    def await_drops(self, reason: DropReason, count: int) -> None:
        with gevent.Timeout(WAIT_S_MAX):
            while self.stats.dropped[reason] < count:
                self.host.room.clear()
                self.host.room.wait()

    def records(self, count: int) -> list[Record]:
        """The first records of the log, once there are so many."""
        assert self.tail.wait(count, WAIT_S_MAX), self.deaths
        return self.log.read(1, bytes_max=10**8)


@pytest.fixture
def rig(tmp_path: Path, database_url: str) -> Iterator[Rig]:
    database = Database(database_url)
    tail = Tail()
    log = EventLog(tmp_path / "events", durability=Durability.FSYNC, clock=SystemClock(), tail=tail)
    log.open()
    made = Rig(database, log, tail)
    yield made
    made.resolver.gate.set()
    made.supervisor.stop(1.0)
    log.close()
    database.close()


def test_a_did_that_waits_keeps_its_order_and_keeps_nobody_waiting(rig: Rig) -> None:
    slow, quick = rig.repo(1), rig.repo(2)
    rig.resolver.held.add(slow.did)
    rig.put(slow.account(), slow.commit([]), slow.create(f"{POST}/a"))
    rig.put(quick.account(), quick.commit([]), quick.create(f"{POST}/a"))
    early = rig.records(3)
    assert [record.upstream_seq for record in early] == [4, 5, 6]
    assert rig.host.water.mark == 0, "the mark waits for parked frames"
    assert rig.lanes.parked_frames() == 3
    rig.resolver.gate.set()
    late = rig.records(6)[3:]
    assert [record.upstream_seq for record in late] == [1, 2, 3]
    assert rig.lanes.drain(WAIT_S_MAX)
    assert rig.writer.drain(WAIT_S_MAX)
    assert rig.host.water.mark == 6


def test_a_backlog_of_a_did_that_waits_is_kept_whole(rig: Rig) -> None:
    """A host that is caught up with sends hundreds of events of one account while its identity is looked up."""
    slow = rig.repo(1)
    rig.resolver.held.add(slow.did)
    rig.put(*(slow.commit([]) for _ in range(300)))
    assert rig.lanes.drain(WAIT_S_MAX)
    assert rig.lanes.parked_frames() == 300
    rig.resolver.gate.set()
    assert [record.upstream_seq for record in rig.records(300)] == list(range(1, 301))
    assert rig.writer.drain(WAIT_S_MAX)
    assert rig.host.water.mark == 300
    assert (rig.budget.used_bytes, rig.lanes.parked_bytes) == (0, 0)


def test_without_an_answer_the_parked_frames_are_dropped_and_the_mark_goes_on(rig: Rig) -> None:
    stranger = Repo(did_plc(3))
    rig.put(stranger.account(), stranger.commit([]))
    rig.await_drops(DropReason.IDENTITY_UNRESOLVABLE, 2)
    assert rig.host.water.mark == 2
    assert rig.log.read(1, bytes_max=1000) == []


def test_a_bug_that_one_frame_meets_costs_that_frame_only(rig: Rig) -> None:
    good, bad = rig.repo(1), rig.repo(2)
    rig.pipeline.broken.add(bad.did)
    rig.put(bad.commit([]), good.commit([]))
    [record] = rig.records(1)
    assert record.upstream_seq == 2
    assert rig.lanes.drain(WAIT_S_MAX)
    assert rig.stats.dropped[DropReason.INTERNAL_ERROR] == 1
    assert rig.deaths == []


def test_sql_follows_the_log_and_a_second_start_finds_nothing_to_do(rig: Rig) -> None:
    repo = rig.repo(1)
    rig.put(repo.account(), repo.commit([]), repo.create(f"{POST}/a"))
    rig.records(3)
    assert rig.writer.drain(WAIT_S_MAX)
    assert rig.projector.drain(WAIT_S_MAX)
    row = rig.store.get(repo.did)
    assert row is not None
    assert (row.rev, row.commit_cid, row.data_cid) == (repo.rev, repo.commit_cid, repo.root)
    applied = MetaStore(rig.database).applied_seq()
    assert applied == rig.log.current_seq == 3
    again = StateProjector(rig.store, Accounts(rig.store, SystemClock()), applied)
    assert again.catch_up(rig.log) == 0


def test_a_lost_projection_is_caught_up_from_the_log(rig: Rig) -> None:
    """As after a kill between the log and SQL: the row is there (it was made before the record), the rest is not."""
    repo = rig.repo(1)
    rig.put(repo.account(), repo.commit([]), repo.create(f"{POST}/a"))
    rig.records(3)
    assert rig.writer.drain(WAIT_S_MAX)
    assert rig.projector.drain(WAIT_S_MAX)

    def forget(cursor: object) -> None:
        cursor.execute(  # type: ignore[attr-defined]
            "UPDATE accounts SET rev = NULL, commit_cid = NULL, data_cid = NULL, applied_seq = 0"
        )

    rig.database.transaction(forget)
    accounts = Accounts(rig.store, SystemClock())
    assert StateProjector(rig.store, accounts, 0).catch_up(rig.log) == 3
    account = accounts.get(repo.did)
    assert account is not None
    assert (account.rev, account.data) == (repo.rev, repo.root)


def test_parked_frames_use_their_hosts_allowance_and_not_what_the_others_run_on(rig: Rig) -> None:
    slow = rig.repo(1)
    rig.resolver.held.add(slow.did)
    rig.put(*(slow.commit([]) for _ in range(5)))
    assert rig.lanes.drain(WAIT_S_MAX)
    assert rig.budget.used_bytes == 0
    assert rig.host.parked_bytes > 0
    rig.resolver.gate.set()
    rig.records(5)
    assert (rig.host.parked_bytes, rig.budget.used_bytes) == (0, 0)


def test_a_strangers_frames_about_an_account_do_not_cost_its_own_host_anything(rig: Rig) -> None:
    slow = rig.repo(1)
    rig.resolver.held.add(slow.did)
    stranger = HostContext(99, "stranger.example.com", 0, LowWater(None))
    for number in range(1, 51):
        stranger.water.begin(number, 0)
        rig.lanes.put(Work(stranger, stranger.water, frame.decode(with_seq(slow.account(), number)), NOW_US))
    rig.put(slow.account(), slow.commit([]))
    assert rig.lanes.drain(WAIT_S_MAX)
    assert stranger.parked_bytes > rig.host.parked_bytes > 0, "each host pays for its own"
    rig.resolver.gate.set()
    assert [record.upstream_seq for record in rig.records(2)] == [1, 2]
    assert rig.lanes.drain(WAIT_S_MAX)
    assert rig.stats.dropped[DropReason.HOST_NOT_AUTHORITATIVE] == 50


def test_an_older_answer_is_not_taken_for_the_refresh_that_a_frame_waits_for(rig: Rig) -> None:
    """The account moves here while a look-up that has read the old document is still under way."""
    repo = rig.repo(1)
    rig.resolver.answers[repo.did] = replace(rig.resolver.answers[repo.did], pds_host="old.example.com")
    rig.put(repo.account())
    assert rig.lanes.drain(WAIT_S_MAX)
    rig.await_drops(DropReason.HOST_NOT_AUTHORITATIVE, 1)
    rig.resolver.read_before_the_gate.add(repo.did)
    rig.put(repo.identity())
    rig.records(1)
    rig.resolver.reading.wait()
    rig.resolver.read_before_the_gate.clear()
    rig.resolver.register(repo, HOME)
    rig.put(repo.account())
    assert rig.lanes.drain(WAIT_S_MAX)
    rig.resolver.gate.set()
    assert [record.upstream_seq for record in rig.records(2)] == [2, 3]


def test_a_frame_that_our_database_keeps_waiting_is_not_dropped_and_keeps_nobody_else_waiting(rig: Rig) -> None:
    known, new = rig.repo(1), rig.repo(2)
    rig.put(known.account())
    rig.records(1)
    rig.pipeline.away.add(new.did)
    rig.put(new.account(), *(known.commit([]) for _ in range(40)), *(new.commit([]) for _ in range(40)))
    rig.records(41)
    assert rig.lanes.drain(WAIT_S_MAX)
    assert rig.lanes.waiting_for_database == 41, "no limit of frames: nothing is dropped for our own fault"
    rig.pipeline.away.clear()
    rig.records(82)
    assert rig.lanes.waiting_for_database == 0
    assert rig.stats.dropped.total() == 0


def test_a_flood_in_the_background_does_not_refuse_a_frame_that_waits(rig: Rig) -> None:
    for number in range(resolver_pool.QUEUE_MAX + 10):
        rig.pool.ask(f"did:plc:{number}", "flood.example.com", Need.IDENTITY, urgent=False)
    repo = rig.repo(1)
    rig.put(repo.account())
    rig.records(1)


def test_slow_did_web_servers_keep_only_did_web_waiting(rig: Rig) -> None:
    for number in range(200):
        did = f"did:web:slow{number}.example.com"
        rig.resolver.held.add(did)
        rig.pool.ask(did, "flood.example.com", Need.IDENTITY, urgent=True)
    repo = rig.repo(1)
    rig.put(repo.account())
    rig.records(1)
