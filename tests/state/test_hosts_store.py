"""Host rows: made once, and each column changed only by its owner."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.refusals import refuse_writes_to
from zlay_py.state.accounts import AccountStore
from zlay_py.state.database import Database
from zlay_py.state.failures import StateRuleError
from zlay_py.state.hosts import CURSOR_MAX, CursorRow, HostRow, HostStatus, HostStore, NewHost
from zlay_py.state.meta import MetaStore


def test_a_new_host_is_active_and_as_it_was_named(hosts: HostStore) -> None:
    row = hosts.upsert("pds.example.com", True, True, 5_000, 17, now_us=9)
    assert row == HostRow(
        id=1,
        hostname="pds.example.com",
        tls=True,
        status=HostStatus.ACTIVE,
        trusted=True,
        account_limit=5_000,
        account_count=0,
        cursor=17,
        epoch=0,
        failure_kind=None,
        sync11_mode=None,
        created_us=9,
        updated_us=9,
    )
    assert hosts.get("pds.example.com") == hosts.by_id(1) == row
    assert hosts.get("other.example.com") is hosts.by_id(2) is None


def test_naming_a_known_host_again_keeps_what_it_became(hosts: HostStore) -> None:
    host = hosts.upsert("localhost:3000", False, cursor=5, now_us=1)
    hosts.save_cursors([CursorRow(host.id, 0, 50)], 1)
    hosts.set_status(host.id, HostStatus.OFFLINE, "refused", 2)
    hosts.set_account_limit(host.id, 7, 3)
    again = hosts.upsert("localhost:3000", True, True, 1_000, 0, now_us=4)
    assert (again.id, again.tls, again.trusted, again.updated_us) == (host.id, True, True, 4)
    assert (again.cursor, again.status, again.account_limit, again.created_us) == (50, HostStatus.OFFLINE, 7, 1)
    assert hosts.upsert("localhost:3000", True, now_us=5).trusted, "trust is not taken back by not naming it"


def test_many_hosts_are_one_transaction_and_none_when_known(hosts: HostStore, database: Database) -> None:
    wanted = [NewHost(f"h{number}.test", tls=True, cursor=number) for number in range(50)]
    rows = hosts.upsert_many(wanted, now_us=1)
    assert [row.hostname for row in rows] == [host.hostname for host in wanted]
    asked = "PRAGMA data_version" if database.sql.name == "sqlite" else "SELECT xmin, xmax FROM hosts ORDER BY id"
    version = database.rows(asked)
    assert hosts.upsert_many(wanted, now_us=2) == rows
    assert database.rows(asked) == version, "nothing was written"
    assert hosts.upsert_many([], now_us=3) == []


def test_a_host_that_is_named_twice_is_one(hosts: HostStore) -> None:
    twice = [NewHost("a.test", tls=False, cursor=5), NewHost("b.test", tls=True), NewHost("a.test", tls=True, cursor=6)]
    first, other, again = hosts.upsert_many(twice, now_us=1)
    assert (first, other.hostname) == (again, "b.test")
    assert (first.tls, first.cursor) == (True, 5)
    assert len(hosts.all()) == 2


def test_pages_and_counts(hosts: HostStore) -> None:
    for number in range(5):
        hosts.upsert(f"h{number}.test", True, now_us=number)
    assert [row.id for row in hosts.page(0, 2)] == [1, 2]
    assert [row.id for row in hosts.page(2, 10)] == [3, 4, 5]
    assert [row.id for row in hosts.all()] == [1, 2, 3, 4, 5]
    assert hosts.created_since(3) == 2


def test_hosts_are_counted_by_status(hosts: HostStore, host: HostRow) -> None:
    hosts.upsert("other.example.com", True, now_us=1)
    hosts.set_status(hosts.upsert("gone.example.com", True, now_us=1).id, HostStatus.OFFLINE, "dns", 2)
    assert hosts.count_by_status() == {HostStatus.ACTIVE: 2, HostStatus.OFFLINE: 1}


def test_a_status_carries_its_reason_and_a_repetition_writes_nothing(hosts: HostStore, host: HostRow) -> None:
    assert hosts.set_status(host.id, HostStatus.OFFLINE, "dns", 5)
    assert hosts.set_status(host.id, HostStatus.OFFLINE, "dns", 6)
    row = hosts.by_id(host.id)
    assert row is not None
    assert (row.status, row.failure_kind, row.updated_us) == (HostStatus.OFFLINE, "dns", 5)
    assert not hosts.set_status(99, HostStatus.OFFLINE, "dns", 5)


def test_a_ban_ends_only_by_unban(hosts: HostStore, host: HostRow) -> None:
    assert not hosts.unban(host.id, 1)
    hosts.set_status(host.id, HostStatus.BANNED, None, 2)
    assert not hosts.set_status(host.id, HostStatus.ACTIVE, None, 3)
    hosts.save_cursors([CursorRow(host.id, 0, 5)], 1)
    hosts.upsert(host.hostname, True, True, now_us=4)
    banned = hosts.by_id(host.id)
    assert banned is not None
    assert banned.status is HostStatus.BANNED
    assert hosts.unban(host.id, 5)
    free = hosts.by_id(host.id)
    assert free is not None
    assert (free.status, free.failure_kind, free.updated_us) == (HostStatus.ACTIVE, None, 5)


def test_the_database_itself_knows_the_statuses(database: Database, host: HostRow) -> None:
    with pytest.raises(StateRuleError, match="hosts_status_known"):
        database.transaction(lambda cursor: cursor.execute("UPDATE hosts SET status = 'gone'"))


def test_limits_and_modes(hosts: HostStore, host: HostRow) -> None:
    assert hosts.set_account_limit(host.id, 12, 2)
    assert hosts.set_sync11_mode(host.id, "lenient", 3)
    row = hosts.by_id(host.id)
    assert row is not None
    assert (row.account_limit, row.sync11_mode, row.updated_us) == (12, "lenient", 3)
    assert hosts.set_sync11_mode(host.id, None, 4)
    assert not hosts.set_account_limit(99, 12, 2)


def test_a_mark_only_grows_and_touches_nothing_else(hosts: HostStore, host: HostRow, database: Database) -> None:
    hosts.set_status(host.id, HostStatus.IDLE, None, 2)
    for mark, checkpoint in ((10, 100), (9, 90)):
        hosts.save_cursors([CursorRow(host.id, 0, mark)], checkpoint)
    row = hosts.by_id(host.id)
    assert row is not None
    assert row == row._replace(cursor=10, status=HostStatus.IDLE, updated_us=2)
    assert MetaStore(database).cursor_checkpoint() == 100


def test_marks_and_checkpoint_are_one_transaction(hosts: HostStore, host: HostRow, database: Database) -> None:
    refuse_writes_to(database, "meta", "INSERT")
    with pytest.raises(StateRuleError, match="not this one"):
        hosts.save_cursors([CursorRow(host.id, 0, 10)], 100)
    row = hosts.by_id(host.id)
    assert row is not None
    assert row.cursor is None


def test_a_seq_beyond_the_column_does_not_stop_the_others(hosts: HostStore, host: HostRow) -> None:
    other = hosts.upsert("other.example.com", True, now_us=1)
    hosts.save_cursors([CursorRow(host.id, 0, 2**64 - 1), CursorRow(other.id, 0, 4)], 1)
    assert [row.cursor for row in hosts.all()] == [CURSOR_MAX, 4]
    assert hosts.upsert("third.example.com", True, cursor=2**70, now_us=1).cursor == CURSOR_MAX


def test_a_reset_begins_an_epoch_that_old_marks_can_not_touch(hosts: HostStore, host: HostRow) -> None:
    hosts.save_cursors([CursorRow(host.id, 0, 1_000)], 1)
    assert hosts.bump_epoch(host.id, 0, None) == 1
    hosts.save_cursors([CursorRow(host.id, 0, 1_001)], 2)
    row = hosts.by_id(host.id)
    assert row is not None
    assert (row.epoch, row.cursor) == (1, None)
    hosts.save_cursors([CursorRow(host.id, 1, 3)], 3)
    row = hosts.by_id(host.id)
    assert row is not None
    assert row.cursor == 3
    assert hosts.bump_epoch(host.id, 1, 40) == 2
    with pytest.raises(StateRuleError, match="99"):
        hosts.bump_epoch(99, 0, None)


def test_a_reset_whose_answer_was_lost_is_repeated_without_a_second_one(hosts: HostStore, host: HostRow) -> None:
    assert hosts.bump_epoch(host.id, 0, None) == 1
    hosts.save_cursors([CursorRow(host.id, 1, 70)], 1)
    assert hosts.bump_epoch(host.id, 0, None) == 1, "it has begun, and what it has got to since is left alone"
    row = hosts.by_id(host.id)
    assert row is not None
    assert (row.epoch, row.cursor) == (1, 70)
    hosts.bump_epoch(host.id, 1, None)
    with pytest.raises(StateRuleError, match="epoch 2"):
        hosts.bump_epoch(host.id, 0, None)


operations = st.one_of(
    st.tuples(st.just("save"), st.integers(0, 4), st.integers(0, 100)),
    st.tuples(st.just("reset"), st.just(0), st.none() | st.integers(0, 100)),
)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(operations, max_size=15))
def test_any_order_of_saves_and_resets(hosts: HostStore, steps: list[tuple[str, int, int | None]]) -> None:
    """The model: marks of the current epoch grow, nobody else's count. One database, a new host for each example."""
    host = hosts.upsert(f"h{len(hosts.all())}.test", True, now_us=1)
    epoch, cursor = 0, None
    for kind, of_epoch, value in steps:
        if kind == "reset":
            epoch, cursor = epoch + 1, value
            assert hosts.bump_epoch(host.id, epoch - 1, value) == epoch
        else:
            assert value is not None
            hosts.save_cursors([CursorRow(host.id, of_epoch, value)], 1)
            if of_epoch == epoch and (cursor is None or cursor < value):
                cursor = value
        row = hosts.by_id(host.id)
        assert row is not None
        assert (row.epoch, row.cursor) == (epoch, cursor)


def test_accounts_hold_their_host(database: Database, accounts: AccountStore, host: HostRow) -> None:
    accounts.create("did:plc:a", host.id, 1)
    with pytest.raises(StateRuleError, match=r"(?i)foreign key"):
        database.transaction(lambda cursor: cursor.execute("DELETE FROM hosts"))
