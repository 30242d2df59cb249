"""From the log writer to SQL: a log on files in memory, the real projector and database, one host's marks."""

from pathlib import Path
from typing import Any

from tests.eventlog.builders import FakeClock, at_once, event
from tests.eventlog.memory_files import MemoryFiles
from zlay_py.atproto.frame import Frame, FrameKind
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.log import SEGMENT_BYTES_MAX, EventLog
from zlay_py.eventlog.record import Entry, Record
from zlay_py.eventlog.tail import Tail
from zlay_py.ingest.accounts import Accounts, AccountState
from zlay_py.ingest.low_water import LowWater
from zlay_py.ingest.work import HostContext, Work
from zlay_py.state.accounts import AccountStore
from zlay_py.state.database import Database
from zlay_py.state.hosts import HostStore
from zlay_py.state.meta import MetaStore
from zlay_py.workers.byte_budget import ByteBudget
from zlay_py.workers.host_registry import HostRegistry
from zlay_py.workers.log_writer import LogWriter
from zlay_py.workers.state_projector import StateProjector
from zlay_py.workers.supervisor import Supervisor

WAIT_S_MAX = 20.0


def migrated(folder: Path) -> Database:
    """SQLite in a folder, for tests to which the database is all the same."""
    database = Database(f"sqlite:///{folder / 'relay.sqlite'}")
    database.migrate()
    return database


class LogFlow:
    """`put` is what the lanes do with an accepted event. The loops run from `start` on."""

    def __init__(
        self,
        database: Database,
        durability: Durability = Durability.FSYNC,
        *,
        backlog_max: int = 1_000,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        store_type: type[AccountStore] = AccountStore,
        projector_type: type[StateProjector] = StateProjector,
    ) -> None:
        self.database = database
        self.hosts = HostStore(database)
        self.meta = MetaStore(database)
        self.files, self.clock, self.tail = MemoryFiles(), FakeClock(), Tail()
        self.log = EventLog(
            Path("/log"),
            durability=durability,
            clock=self.clock,
            tail=self.tail,
            files=self.files,
            offload=at_once,
            segment_bytes_max=segment_bytes_max,
        )
        self.log.open()
        row = self.hosts.upsert("pds.example.com", True, now_us=1)
        self.host = HostContext(row.id, row.hostname, row.epoch, LowWater(row.cursor))
        self.registry = HostRegistry()
        self.registry.add(self.host)
        self.store, self.budget = store_type(database), ByteBudget()
        self.accounts = Accounts(self.store, self.clock)
        self.projector = projector_type(self.store, self.accounts, self.meta.applied_seq(), backlog_max=backlog_max)
        self.writer = LogWriter(self.log, self.projector, self.budget, self.clock, full_retry_s=0.01)
        self.deaths: list[str] = []
        self.supervisor = Supervisor(lambda name, _error: self.deaths.append(name))

    def start(self) -> None:
        self.projector.start(self.supervisor)
        self.writer.start(self.supervisor)

    def stop(self) -> None:
        self.supervisor.stop(1.0)

    def account(self, did: str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa") -> AccountState:
        return self.accounts.get(did) or self.accounts.create(did, self.host.id)

    def entry(self, number: int, **changes: Any) -> Entry:
        return event(number, **{"host_id": self.host.id, "upstream_epoch": self.host.epoch} | changes)

    def read(self, number: int) -> Work:
        """One frame read from the host: its mark waits for it."""
        payload = self.entry(number).payload
        self.host.water.begin(number, self.log.current_seq)
        return Work(self.host, self.host.water, Frame(FrameKind.ACCOUNT, payload, {}, number, "", False), 1)

    def put(self, *numbers: int, account: AccountState | None = None, **changes: Any) -> None:
        """The host's events of these seqs, read and accepted; `changes` are fields of their entries."""
        for number in numbers:
            work = self.read(number)
            self.budget.take(work.size_bytes)
            if account is not None:
                self.accounts.pin(account)
                changes = {"uid": account.uid} | changes
            self.writer.put(self.entry(number, **changes), account, work)

    def upstream_seqs(self) -> list[int]:
        """Of everything in the log, in its order."""
        return [record.upstream_seq for record in self.records()]

    def records(self) -> list[Record]:
        return self.log.read(self.log.oldest_seq, bytes_max=10**8)
