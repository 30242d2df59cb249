"""Runs of seqs: the same set whatever is asked of them, and the same after a time in SQL."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zlay_py.state.database import Database
from zlay_py.state.failures import StateRuleError
from zlay_py.state.hosts import CursorRow, HostRow, HostStore
from zlay_py.state.leftovers import JUDGED_MAX, RUNS_MAX, Leftover
from zlay_py.state.meta import MetaStore

seq_sets = st.sets(st.integers(1, 60) | st.integers(2**53 - 5, 2**53 - 1), max_size=40)
places = st.dictionaries(st.integers(0, 2**64 - 1), st.integers(1, 60) | st.just(2**53 - 1), max_size=10)


@given(seqs=seq_sets, judged=places, mark=st.integers(0, 70))
def test_runs_stand_for_their_seqs(seqs: set[int], judged: dict[int, int], mark: int) -> None:
    leftover = Leftover.of(1, 0, seqs, judged)
    assert dict(leftover.judged) == judged
    assert list(leftover.seqs()) == sorted(seqs)
    assert all(first <= last for first, last in leftover.runs)
    left = {seq for seq in seqs if seq > mark}
    still = {hashed: seq for hashed, seq in judged.items() if seq > mark}
    assert leftover.above(mark) == Leftover.of(1, 0, left, still)
    assert leftover.above(mark).empty is not bool(left or still)


def test_there_is_a_bound_and_the_lowest_seqs_are_kept() -> None:
    leftover = Leftover.of(1, 0, range(0, 2 * RUNS_MAX + 10, 2))
    assert len(leftover.runs) == RUNS_MAX
    assert leftover.runs[-1] == (2 * RUNS_MAX - 2, 2 * RUNS_MAX - 2)


def test_past_the_bound_of_accounts_those_that_the_mark_reaches_last_are_kept() -> None:
    leftover = Leftover.of(1, 0, (), {2**63 - seq: seq for seq in range(JUDGED_MAX + 5)})
    assert sorted(seq for _, seq in leftover.judged) == list(range(5, JUDGED_MAX + 5))


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seqs=seq_sets, judged=places, epoch=st.integers(0, 2**31))
def test_sql_gives_back_what_was_saved(
    hosts: HostStore, host: HostRow, seqs: set[int], judged: dict[int, int], epoch: int
) -> None:
    leftover = Leftover.of(host.id, epoch, seqs, judged)
    hosts.save_cursors([], 1, [leftover])
    assert hosts.leftovers() == ([leftover] if seqs or judged else [])


def test_only_the_hosts_named_are_changed(hosts: HostStore, host: HostRow) -> None:
    other = hosts.upsert("other.example.com", True, now_us=1)
    mine, theirs = Leftover(host.id, 0, ((1, 2),)), Leftover(other.id, 1, ((4, 4), (6, 9)))
    hosts.save_cursors([], 1, [mine, theirs])
    hosts.save_cursors([], 2)
    assert hosts.leftovers() == [mine, theirs]
    hosts.save_cursors([], 3, [mine._replace(runs=())])
    assert hosts.leftovers() == [theirs]


def test_marks_checkpoint_and_leftovers_are_one_transaction(
    hosts: HostStore, host: HostRow, database: Database
) -> None:
    with pytest.raises(StateRuleError, match=r"(?i)foreign key"):
        hosts.save_cursors([CursorRow(host.id, 0, 7)], 9, [Leftover(99, 0, ((1, 1),))])
    row = hosts.by_id(host.id)
    assert row is not None
    assert row.cursor is None
    assert MetaStore(database).cursor_checkpoint() == 0
    assert hosts.leftovers() == []
