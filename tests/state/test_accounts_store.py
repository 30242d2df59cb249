"""Account rows: made once, moved with their counts, changed by the log."""

from collections.abc import Callable
from typing import TypeVar

import gevent
import pytest
from gevent.pool import Pool

from tests.support.gates import Gate, until
from zlay_py.errors import CorruptionError
from zlay_py.state.accounts import DIDS_AT_ONCE, AccountChange, AccountRow, AccountStore
from zlay_py.state.database import Cursor, Database
from zlay_py.state.failures import StateRuleError, StateUnavailableError
from zlay_py.state.hosts import HostRow, HostStore
from zlay_py.state.meta import MetaStore

T = TypeVar("T")
Gates = Callable[[], Gate]
CID_A, CID_B = b"\x01q\x12 " + bytes(32), b"\x01q\x12 " + b"\xff" * 32


class CountingDatabase(Database):
    """Knows how many transactions it ran, and fails them on demand."""

    transactions = 0
    failing = False

    def transaction(self, work: Callable[[Cursor], T]) -> T:
        self.transactions += 1
        if self.failing:
            raise StateUnavailableError("down")
        return super().transaction(work)


def test_an_unknown_did_is_none(accounts: AccountStore) -> None:
    assert accounts.get("did:plc:nobody") is None
    assert accounts.by_uid(1) is None


def test_dids_of_more_uids_than_one_statement_takes(accounts: AccountStore, host: HostRow) -> None:
    known = {row.uid: row.did for row in (accounts.create(f"did:plc:{number}", host.id, 7) for number in range(3))}
    assert accounts.dids([]) == {}
    assert accounts.dids(range(3 * DIDS_AT_ONCE, 0, -1)) == known


def test_create_makes_an_active_row_without_a_rev(accounts: AccountStore, host: HostRow) -> None:
    row = accounts.create("did:plc:a", host.id, 7)
    assert row == AccountRow(1, "did:plc:a", host.id, "active", "active", None, None, None, 0, 7)
    assert accounts.get("did:plc:a") == accounts.by_uid(row.uid) == row


def test_create_is_idempotent_and_counts_once(accounts: AccountStore, hosts: HostStore, host: HostRow) -> None:
    first = accounts.create("did:plc:a", host.id, 7)
    other = hosts.upsert("other.example.com", True, now_us=1)
    assert accounts.create("did:plc:a", other.id, 8) == first, "an account that exists stays where it is"
    assert [row.account_count for row in hosts.all()] == [1, 0]


def test_create_may_begin_with_a_local_status(accounts: AccountStore, host: HostRow) -> None:
    assert accounts.create("did:plc:a", host.id, 7, local_status="host-throttled").local_status == "host-throttled"


def test_greenlets_that_create_at_once_share_rows_and_transactions(database_url: str) -> None:
    database = CountingDatabase(database_url)
    hosts, accounts = HostStore(database), AccountStore(database)
    ids = [hosts.upsert(f"h{number}.test", True, now_us=1).id for number in range(3)]
    before = database.transactions
    rows = Pool(400).map(lambda n: accounts.create(f"did:plc:{n % 100}", ids[n % 100 % 3], n), range(400))
    assert len({row.uid for row in rows}) == 100
    assert all(row.did == f"did:plc:{n % 100}" for n, row in enumerate(rows))
    assert [row.account_count for row in hosts.all()] == [34, 33, 33]
    # a server answers the reads before it a few at a time, and so come the creations
    assert database.transactions - before <= (3 if database.sql.name == "sqlite" else 30)
    database.close()


def test_a_host_that_does_not_exist_fails_its_own_account_only(accounts: AccountStore, host: HostRow) -> None:
    wrong = gevent.spawn(accounts.create, "did:plc:wrong", 99, 1)
    right = gevent.spawn(accounts.create, "did:plc:right", host.id, 1)
    also_wrong = gevent.spawn(accounts.create, "did:plc:wrong", 99, 1)
    gevent.joinall([wrong, right, also_wrong])
    assert isinstance(wrong.exception, StateRuleError)
    assert isinstance(also_wrong.exception, StateRuleError)
    assert right.get().did == "did:plc:right"
    assert accounts.get("did:plc:wrong") is None


def test_a_database_that_is_away_fails_everybody_who_waits_and_nobody_later(database_url: str) -> None:
    database = CountingDatabase(database_url)
    host, accounts = HostStore(database).upsert("a.test", True, now_us=1), AccountStore(database)
    database.failing = True
    greenlets = [gevent.spawn(accounts.create, f"did:plc:{number}", host.id, 1) for number in range(5)]
    gevent.joinall(greenlets)
    assert all(isinstance(greenlet.exception, StateUnavailableError) for greenlet in greenlets)
    database.failing = False
    assert accounts.create("did:plc:3", host.id, 1).uid == 1, "what failed was not made behind our back"
    assert accounts.get("did:plc:0") is None
    database.close()


def test_a_greenlet_that_is_killed_while_it_writes_for_others_leaves_them_whole(
    database: Database, accounts: AccountStore, host: HostRow, gates: Gates
) -> None:
    gate = gates()
    blocker = gevent.spawn(database.transaction, gate.hold)
    assert gate.reached.wait(10)
    greenlets = [gevent.spawn(accounts.create, f"did:plc:{number % 4}", host.id, 1) for number in range(8)]
    until(lambda: accounts.creating == 4)  # the first of them waits for the writer now, on behalf of all
    greenlets[0].kill(block=False)
    gate.open()
    gevent.joinall(greenlets[1:], raise_error=True)
    blocker.get()
    assert sorted(greenlet.get().did for greenlet in greenlets[1:]) == sorted(
        f"did:plc:{number % 4}" for number in range(1, 8)
    )
    assert HostStore(database).all()[0].account_count == 4
    assert accounts.creating == 0


def test_a_greenlet_that_is_killed_while_another_writes_for_it_leaves_nothing_behind(
    database: Database, accounts: AccountStore, host: HostRow, gates: Gates
) -> None:
    gate, second_gate = gates(), gates()
    first_block = gevent.spawn(database.transaction, gate.hold)
    assert gate.reached.wait(10)
    first = gevent.spawn(accounts.create, "did:plc:a", host.id, 1)
    until(lambda: accounts.creating == 1)
    gevent.idle()  # the first one has asked for its transaction
    second, third = (gevent.spawn(accounts.create, f"did:plc:{name}", host.id, 1) for name in "bc")
    until(lambda: accounts.creating == 3)
    second_block = gevent.spawn(database.transaction, second_gate.hold)
    gevent.idle()
    gate.open()
    first_block.get(timeout=10)
    assert first.get(timeout=10).did == "did:plc:a"
    assert second_gate.reached.wait(10)
    gevent.idle()  # the next one has the turn, for the other as well, and waits behind the second block
    assert accounts.creating == 2
    third.kill()
    second_gate.open()
    assert second.get(timeout=10).did == "did:plc:b"
    second_block.get()
    assert accounts.creating == 0
    assert accounts.get("did:plc:c") is not None, "it was written all the same, and the next call finds it"


def test_a_uid_is_never_given_out_twice(database: Database, accounts: AccountStore, host: HostRow) -> None:
    """It stands in log records, which outlive the row."""
    gone = accounts.create("did:plc:a", host.id, 1).uid
    database.transaction(lambda cursor: cursor.execute("DELETE FROM accounts"))
    assert accounts.create("did:plc:b", host.id, 1).uid > gone


def test_move_takes_the_account_and_both_counts(accounts: AccountStore, hosts: HostStore, host: HostRow) -> None:
    other = hosts.upsert("other.example.com", True, now_us=1)
    uid = accounts.create("did:plc:a", host.id, 1).uid
    accounts.create("did:plc:b", host.id, 1)
    accounts.move(uid, other.id)
    accounts.move(uid, other.id)
    moved = accounts.get("did:plc:a")
    assert moved is not None
    assert moved.host_id == other.id
    assert [row.account_count for row in hosts.all()] == [1, 1]


def test_a_move_to_nowhere_changes_nothing(accounts: AccountStore, hosts: HostStore, host: HostRow) -> None:
    row = accounts.create("did:plc:a", host.id, 1)
    with pytest.raises(StateRuleError, match=r"(?i)foreign key"):
        accounts.move(row.uid, 99)
    assert accounts.get("did:plc:a") == row
    assert hosts.all()[0].account_count == 1


def test_pages_are_in_order_of_uid_and_complete(accounts: AccountStore, host: HostRow) -> None:
    uids = [accounts.create(f"did:plc:{number}", host.id, 1).uid for number in range(7)]
    seen: list[int] = []
    while page := accounts.page(seen[-1] if seen else 0, 3):
        assert len(page) <= 3
        seen += [row.uid for row in page]
    assert seen == uids


def test_local_statuses_are_found_by_their_own_index(database: Database, accounts: AccountStore, host: HostRow) -> None:
    uids = [accounts.create(f"did:plc:{number}", host.id, 1).uid for number in range(5)]
    assert accounts.set_local_status(uids[1], "takendown")
    assert accounts.set_local_status(uids[3], "takendown")
    assert accounts.set_local_status(uids[4], "suspended")
    assert not accounts.set_local_status(99, "takendown")
    assert [row.uid for row in accounts.page_of_local_status("takendown", 0, 10)] == [uids[1], uids[3]]
    assert [row.uid for row in accounts.page_of_local_status("takendown", uids[1], 10)] == [uids[3]]
    if database.sql.name == "sqlite":
        plan = database.rows(f"EXPLAIN QUERY PLAN {accounts._local_page}", ("takendown", 0, 10))
        assert "accounts_local_status" in plan[0][3]
        assert len(plan) == 1, "no sorting"
    else:
        database.transaction(lambda cursor: cursor.execute("SET enable_seqscan = off"))  # which is cheaper for so few

        def explain(cursor: Cursor) -> str:
            cursor.execute(f"EXPLAIN {accounts._local_page}", ("takendown", 0, 10))
            return "\n".join(row[0] for row in cursor.fetchall())

        assert "Index Scan using accounts_local_status" in database.transaction(explain)
        assert "Sort" not in database.transaction(explain)


def test_apply_sets_what_a_change_names_and_leaves_the_rest(
    database: Database, accounts: AccountStore, host: HostRow
) -> None:
    uid = accounts.create("did:plc:a", host.id, 1).uid
    accounts.apply([AccountChange(uid, 5, rev="3aaaaaaaaaa22", commit_cid=CID_A, data_cid=CID_B)], 5)
    accounts.apply([AccountChange(uid, 6, upstream_status="deactivated")], 6)
    accounts.apply([AccountChange(uid, 7, local_status="takendown")], 9)
    expected = AccountRow(uid, "did:plc:a", host.id, "deactivated", "takendown", "3aaaaaaaaaa22", CID_A, CID_B, 7, 1)
    assert accounts.get("did:plc:a") == expected
    assert MetaStore(database).applied_seq() == 9


def test_a_rev_is_adopted_only_where_it_grows_bytewise(accounts: AccountStore, host: HostRow) -> None:
    uid = accounts.create("did:plc:a", host.id, 1).uid
    accounts.apply([AccountChange(uid, 1, rev="3zzzzzzzzzz22", commit_cid=CID_A, data_cid=CID_A)], 1)
    for seq, rev in enumerate(("3zzzzzzzzzz22", "3aaaaaaaaaa22", "3ZZZZZZZZZZ33", ""), start=2):
        accounts.apply([AccountChange(uid, seq, rev=rev, commit_cid=CID_B, data_cid=CID_B)], seq)
    row = accounts.get("did:plc:a")
    assert row is not None
    assert (row.rev, row.commit_cid, row.data_cid, row.applied_seq) == ("3zzzzzzzzzz22", CID_A, CID_A, 5)


def test_a_change_without_a_rev_adopts_no_cids(accounts: AccountStore, host: HostRow) -> None:
    uid = accounts.create("did:plc:a", host.id, 1).uid
    accounts.apply([AccountChange(uid, 1, commit_cid=CID_B, data_cid=CID_B)], 1)
    row = accounts.get("did:plc:a")
    assert row is not None
    assert (row.rev, row.commit_cid, row.data_cid) == (None, None, None)


def test_a_batch_and_its_mark_are_one_transaction(database: Database, accounts: AccountStore, host: HostRow) -> None:
    row = accounts.create("did:plc:a", host.id, 1)
    with pytest.raises(StateRuleError):
        accounts.apply([AccountChange(row.uid, 1, upstream_status="deleted"), AccountChange(row.uid, 2, host_id=99)], 2)
    assert accounts.get("did:plc:a") == row
    assert MetaStore(database).applied_seq() == 0


def test_an_empty_batch_still_moves_the_mark(database: Database, accounts: AccountStore) -> None:
    accounts.apply([], 40)
    accounts.apply([], 30)
    assert MetaStore(database).applied_seq() == 40


def test_a_database_that_has_lost_what_it_confirmed_is_noticed(
    database: Database, accounts: AccountStore, host: HostRow
) -> None:
    """A standby took over that had not heard of the last transactions: what is applied on top would hide the gap."""
    row = accounts.create("did:plc:a", host.id, 1)
    accounts.apply([AccountChange(row.uid, 5, upstream_status="deleted")], 5)
    database.transaction(lambda cursor: cursor.execute("UPDATE meta SET value = '4'"))
    with pytest.raises(CorruptionError, match="catches up"):
        accounts.apply([AccountChange(row.uid, 6, upstream_status="active")], 6)
    found = accounts.by_uid(row.uid)
    assert found is not None
    assert found.applied_seq == 5
    AccountStore(database).apply([AccountChange(row.uid, 6, upstream_status="active")], 6)  # the next start


def test_two_relays_with_one_database_are_noticed(database: Database, accounts: AccountStore) -> None:
    other = AccountStore(database)
    accounts.apply([], 100)
    other.apply([], 101)
    with pytest.raises(CorruptionError, match="another relay"):
        accounts.apply([], 101)


def test_a_transaction_whose_outcome_is_unknown_is_not_taken_for_another_relays(database_url: str) -> None:
    database = ForgetfulDatabase(database_url)
    accounts = AccountStore(database)
    accounts.apply([], 1)
    database.forgetting = True
    for _ in range(2):
        with pytest.raises(StateUnavailableError):
            accounts.apply([], 9)
    database.forgetting = False
    accounts.apply([], 5)
    accounts.apply([], 10)
    assert MetaStore(database).applied_seq() == 10
    database.close()


class ForgetfulDatabase(Database):
    """Does its transactions and, while `forgetting`, can't tell."""

    forgetting = False

    def transaction(self, work: Callable[[Cursor], T]) -> T:
        value = super().transaction(work)
        if self.forgetting:
            raise StateUnavailableError("the connection broke")
        return value
