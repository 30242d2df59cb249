"""What becomes of one event in SQL, with nothing behind it that could make up for a mistake."""

from collections.abc import Iterable, Iterator

import pytest
from gevent.event import Event

from tests.support.log_flow import WAIT_S_MAX, LogFlow
from zlay_py.eventlog.delta import Delta
from zlay_py.state.accounts import AccountChange, AccountStore
from zlay_py.state.database import Database
from zlay_py.state.failures import StateUnavailableError


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


class AwayStore(AccountStore):
    """Takes nothing while it is away, and says that it was asked."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.away = True
        self.refused = Event()

    def apply(self, changes: Iterable[AccountChange], applied_seq: int) -> None:
        if self.away:
            self.refused.set()
            raise StateUnavailableError("away")
        super().apply(changes, applied_seq)


def test_what_sql_refused_is_applied_when_it_is_back(database: Database) -> None:
    flow = LogFlow(database, store_type=AwayStore)
    assert isinstance(flow.store, AwayStore)
    account = flow.account()
    flow.start()
    flow.put(1, account=account)
    assert flow.store.refused.wait(WAIT_S_MAX)
    assert (flow.projector.applied_seq, account.pins) == (0, 1)
    flow.store.away = False
    assert flow.projector.drain(WAIT_S_MAX)
    row = flow.store.get(account.did)
    assert row is not None
    assert (row.rev, row.applied_seq, flow.meta.applied_seq(), account.pins) == (f"{1:013d}", 1, 1, 0)
    flow.stop()


def test_what_nobody_has_verified_changes_no_account(database: Database) -> None:
    flow = LogFlow(database)
    account = flow.account()
    flow.start()
    flow.put(1, account=account, delta=Delta(verified=False, rev="3zzzzzzzzzzzz", upstream_status="deleted"))
    assert flow.writer.drain(WAIT_S_MAX)
    assert flow.projector.drain(WAIT_S_MAX)
    row = flow.store.get(account.did)
    assert row is not None
    assert (row.rev, row.upstream_status, row.applied_seq) == (None, "active", 0)
    flow.stop()
