"""A pipeline with everything real but the network: a database of either kind, identities from a dictionary."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.support.identities import NOW_US, DictResolver, MemoryStore
from tests.support.repo import Repo, did_plc, with_seq
from zlay_py.atproto import frame
from zlay_py.identity.directory import Directory
from zlay_py.identity.store import IdentityStore
from zlay_py.ingest.accounts import Accounts
from zlay_py.ingest.low_water import LowWater
from zlay_py.ingest.outcome import Accepted, Dropped, DropReason, Need, Outcome, Waiting
from zlay_py.ingest.pipeline import Pipeline
from zlay_py.ingest.work import HostContext, Work
from zlay_py.settings import Sync11, Validation
from zlay_py.state.accounts import AccountStore
from zlay_py.state.database import Database
from zlay_py.state.hosts import HostStore, NewHost

HOME, OTHER = "pds.example.com", "other.example.com"


class FixedClock:
    """Moves only when told."""

    def __init__(self) -> None:
        self.us = NOW_US
        self.s = 1_000.0

    def now_us(self) -> int:
        return self.us

    def monotonic_s(self) -> float:
        return self.s


@dataclass
class Bench:
    """One pipeline, two hosts, and what a lane does with `Waiting`: look up, then try once more."""

    database: Database
    resolver: DictResolver
    clock: FixedClock
    validation: Validation = Validation.STRICT
    sync11: Sync11 = Sync11.STRICT
    identities: IdentityStore = field(default_factory=MemoryStore)
    waited: list[Waiting] = field(default_factory=list)
    seq: int = 0

    def __post_init__(self) -> None:
        rows = HostStore(self.database).upsert_many([NewHost(HOME, True), NewHost(OTHER, True)], now_us=1)
        self.hosts = {row.hostname: HostContext(row.id, row.hostname, row.epoch, LowWater(None)) for row in rows}
        self.accounts = Accounts(AccountStore(self.database), self.clock)
        self.directory = Directory(self.resolver, self.identities, self.clock, cache_entries_max=1_000)
        self.pipeline = Pipeline(
            self.accounts, self.directory, self.clock, validation=self.validation, sync11=self.sync11
        )

    def repo(self, number: int = 1, host: str = HOME) -> Repo:
        repo = Repo(did_plc(number))
        self.resolver.register(repo, host)
        return repo

    def once(self, wire: bytes, host: str = HOME, *, asked: bool = False, failed: bool = False) -> Outcome:
        """The pipeline's first word on a frame."""
        self.seq += 1
        context = self.hosts[host]
        work = Work(context, context.water, frame.decode(with_seq(wire, self.seq)), self.clock.us, asked, failed)
        return self.pipeline.process(work)

    def send(self, wire: bytes, host: str = HOME) -> Outcome:
        """What becomes of a frame in the end."""
        outcome = self.once(wire, host)
        while isinstance(outcome, Waiting):
            self.waited.append(outcome)
            assert len(self.waited) < 100, "a frame waits for ever"
            try:
                if outcome.need is Need.REFRESH:
                    self.directory.refresh(outcome.did, host)
                else:
                    self.directory.resolve(outcome.did, host)
            except Exception:
                outcome = self.once(wire, host, asked=True, failed=True)
            else:
                outcome = self.once(wire, host, asked=True)
        return outcome

    def accept(self, wire: bytes, host: str = HOME) -> Accepted:
        outcome = self.send(wire, host)
        assert isinstance(outcome, Accepted), outcome
        return outcome

    def drop(self, wire: bytes, host: str = HOME) -> DropReason:
        outcome = self.send(wire, host)
        assert isinstance(outcome, Dropped), outcome
        return outcome.reason


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database, DictResolver(), FixedClock())


@pytest.fixture
def optimistic(database: Database) -> Bench:
    return Bench(database, DictResolver(), FixedClock(), validation=Validation.OPTIMISTIC)
