"""From the log to SQL: what is kept while SQL is away, how long, and that it is applied in the end."""

from collections.abc import Iterable, Iterator, Sequence

import pytest
from gevent.event import Event

from tests.eventlog.builders import make_log
from tests.eventlog.memory_files import MemoryFiles
from tests.support.log_flow import WAIT_S_MAX, LogFlow
from tests.support.refusals import writes_refused
from zlay_py.atproto import dag_cbor
from zlay_py.atproto.frame import FrameKind, seq_span
from zlay_py.eventlog.delta import Delta
from zlay_py.state.accounts import AccountChange, AccountStore
from zlay_py.state.database import Database, Waits
from zlay_py.state.failures import StateUnavailableError
from zlay_py.workers.state_projector import Applied, StateProjector


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    # a write waits that long for a stranger's lock: here, for the one that stands for a database that is away
    opened = Database(database_url, Waits(lock_s=0.01))
    yield opened
    opened.close()


@pytest.fixture
def flow(database: Database) -> Iterator[LogFlow]:
    made = LogFlow(database, backlog_max=5)
    yield made
    made.stop()


def bytes_within(value: object) -> int:
    """Of everything that hangs on a tuple, a sequence or an object with slots."""
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, Sequence):
        return sum(map(bytes_within, value))
    return sum(bytes_within(getattr(value, name)) for name in getattr(type(value), "__slots__", ()))


class Watched(StateProjector):
    """Remembers what it was given."""

    given: list[Applied]

    def put(self, batch: list[Applied]) -> None:
        self.given = batch
        super().put(batch)


class RefusedStore(AccountStore):
    """Says when the database has refused a write."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.refused = Event()

    def apply(self, changes: Iterable[AccountChange], applied_seq: int) -> None:
        try:
            super().apply(changes, applied_seq)
        except StateUnavailableError:
            self.refused.set()
            raise


def test_what_waits_for_sql_holds_no_payload(database: Database) -> None:
    flow = LogFlow(database, projector_type=Watched)
    account = flow.account()
    payload = dag_cbor.encode({"did": account.did, "seq": 1, "time": "x" * 100_000})
    flow.put(1, account=account, payload=payload, seq_span=seq_span(payload, FrameKind.ACCOUNT))
    flow.start()
    assert flow.writer.drain(WAIT_S_MAX)
    assert isinstance(flow.projector, Watched)
    assert [item.account for item in flow.projector.given] == [account]
    assert bytes_within(flow.projector.given) < 1_000
    flow.stop()


def test_while_sql_is_away_events_go_on_up_to_the_bound_and_nothing_is_lost(database: Database) -> None:
    flow = LogFlow(database, backlog_max=5, store_type=RefusedStore)
    assert isinstance(flow.store, RefusedStore)
    account = flow.account()
    with writes_refused(database):
        flow.start()
        flow.put(*range(1, 6), account=account)
        assert flow.tail.wait(5, WAIT_S_MAX), "events come out without SQL"
        assert flow.store.refused.wait(WAIT_S_MAX)
        flow.put(6, account=account)
        assert not flow.tail.wait(6, 0.05), "but not without bound"
        assert (flow.projector.failing, flow.projector.full, account.pins) == (True, True, 6)
    assert flow.writer.drain(WAIT_S_MAX)
    assert flow.projector.drain(WAIT_S_MAX)
    assert not flow.projector.failing
    row = flow.store.get(account.did)
    assert row is not None
    assert (row.rev, row.applied_seq) == (f"{6:013d}", 6)
    assert (flow.meta.applied_seq(), account.pins) == (6, 0)
    flow.stop()


def test_events_that_change_no_account_still_move_the_mark(flow: LogFlow) -> None:
    flow.start()
    flow.put(1, uid=0)
    flow.put(2, delta=Delta(verified=False, rev="3zzzzzzzzzzzz"))
    flow.put(3, delta=Delta(verified=True))
    assert flow.writer.drain(WAIT_S_MAX)
    assert flow.projector.drain(WAIT_S_MAX)
    assert flow.meta.applied_seq() == 3


def test_ids_that_only_the_log_knows_are_not_given_out_again(flow: LogFlow) -> None:
    """The database is an old backup: the accounts and hosts of the log's last events have no rows."""
    flow.put(1, uid=40, host_id=70)
    flow.put(2, uid=3, host_id=1)
    flow.writer.start(flow.supervisor)
    assert flow.writer.drain(WAIT_S_MAX)
    assert StateProjector(flow.store, flow.accounts, 0).catch_up(flow.log) == 2
    assert flow.account().uid == 41
    assert flow.hosts.upsert("new.example.com", True, now_us=1).id == 71


def test_catching_up_applies_what_the_log_has_and_an_empty_log_has_nothing(flow: LogFlow) -> None:
    flow.put(1)
    flow.writer.start(flow.supervisor)
    assert flow.writer.drain(WAIT_S_MAX)
    again = StateProjector(flow.store, flow.accounts, 0)
    assert again.catch_up(flow.log) == 1
    assert again.applied_seq == flow.meta.applied_seq() == 1
    emptied = make_log(files=MemoryFiles(), initial_seq=1_000)
    emptied.open()
    assert again.catch_up(emptied) == 0
    assert again.applied_seq == 999, "or retention would hold on to segments for ever"
