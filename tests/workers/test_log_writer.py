"""The writer's promises: order, nothing lost on a full disk, and nobody told before the disk is sure."""

import errno
from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event

from tests.support.log_flow import WAIT_S_MAX, LogFlow
from zlay_py.eventlog.ceiling import Durability
from zlay_py.state.database import Database
from zlay_py.workers.log_writer import BATCH_EVENTS_MAX, SYNC_INTERVAL_S, UNSYNCED_EVENTS_MAX

UNENCODABLE = 2**64
"""As a uid: it has no place in a record."""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def flow(database: Database) -> Iterator[LogFlow]:
    made = LogFlow(database)
    yield made
    made.stop()


def test_everything_comes_out_once_in_its_order_with_marks_and_sql_behind_it(flow: LogFlow) -> None:
    account = flow.account()
    flow.put(*range(1, 2 * BATCH_EVENTS_MAX), account=account)
    flow.start()
    assert flow.writer.drain(WAIT_S_MAX)
    assert flow.upstream_seqs() == list(range(1, 2 * BATCH_EVENTS_MAX))
    assert flow.host.water.mark == 2 * BATCH_EVENTS_MAX - 1
    assert flow.budget.used_bytes == 0
    assert flow.projector.drain(WAIT_S_MAX)
    assert flow.meta.applied_seq() == flow.log.durable_seq
    assert account.pins == 0


def test_a_full_disk_keeps_the_batch_and_goes_on_with_it_when_there_is_space(flow: LogFlow) -> None:
    tried = Event()

    def full(operation: str, _: int) -> None:
        if operation == "write":
            tried.set()
            raise OSError(errno.ENOSPC, "no space left")

    flow.put(1, 2, 3)
    flow.files.before = full
    flow.start()
    assert tried.wait(WAIT_S_MAX)
    assert not flow.writer.drain(0)
    with gevent.Timeout(WAIT_S_MAX):
        tried.clear()
        tried.wait()  # a second try
    assert (flow.writer.full, flow.host.water.mark) == (True, 0)
    assert flow.budget.used_bytes > 0
    assert flow.tail.tip_seq == 0
    flow.put(4)
    flow.files.be_well()
    assert flow.writer.drain(WAIT_S_MAX)
    assert flow.writer.full is False
    assert flow.upstream_seqs() == [1, 2, 3, 4]
    assert [record.seq for record in flow.records()] == [1, 2, 3, 4]
    assert (flow.host.water.mark, flow.budget.used_bytes) == (4, 0)
    assert flow.deaths == []


def test_an_entry_that_can_not_be_logged_is_left_out_and_the_others_keep_their_order(flow: LogFlow) -> None:
    account = flow.account()
    flow.put(*range(1, 50), account=account)
    flow.put(50, account=account, uid=UNENCODABLE)
    flow.put(*range(51, 80), account=account)
    flow.put(80, account=account, uid=UNENCODABLE)
    flow.start()
    assert flow.writer.drain(WAIT_S_MAX), flow.deaths
    assert flow.upstream_seqs() == [*range(1, 50), *range(51, 80)]
    assert [record.seq for record in flow.records()] == list(range(1, 79))
    assert flow.host.water.mark == 80, "what is dropped is done with"
    assert flow.budget.used_bytes == 0
    assert flow.projector.drain(WAIT_S_MAX)
    assert account.pins == 0
    assert flow.deaths == []


def test_a_batch_of_nothing_but_bad_entries_leaves_nothing_behind(flow: LogFlow) -> None:
    flow.put(1, 2, 3, uid=UNENCODABLE)
    flow.start()
    assert flow.writer.drain(WAIT_S_MAX)
    assert flow.records() == []
    flow.put(4)
    assert flow.writer.drain(WAIT_S_MAX)
    assert flow.upstream_seqs() == [4]
    assert flow.host.water.mark == 4


def test_in_flush_mode_consumers_hear_at_once_and_all_others_only_after_the_sync(database: Database) -> None:
    flow = LogFlow(database, Durability.FLUSH)
    account = flow.account()
    flow.start()
    flow.put(1, 2, account=account)
    assert flow.tail.wait(2, WAIT_S_MAX)
    assert not flow.writer.drain(0)
    assert (flow.log.durable_seq, flow.host.water.mark) == (0, 0)
    assert flow.projector.drain(WAIT_S_MAX)
    assert flow.projector.applied_seq == 0
    assert account.pins == 2
    assert flow.budget.used_bytes > 0, "their payloads are still held"
    flow.clock.pass_s(SYNC_INTERVAL_S)
    assert flow.writer.drain(WAIT_S_MAX), "without another event"
    assert (flow.log.durable_seq, flow.host.water.mark, flow.budget.used_bytes) == (2, 2, 0)
    assert flow.projector.drain(WAIT_S_MAX)
    assert (flow.projector.applied_seq, account.pins) == (2, 0)
    flow.stop()


def test_in_flush_mode_a_busy_host_does_not_wait_for_the_interval(database: Database) -> None:
    """Its unfinished frames are bounded: they become durable by their number, too, not by time alone."""
    flow = LogFlow(database, Durability.FLUSH)
    flow.put(*range(1, UNSYNCED_EVENTS_MAX + 1))
    flow.start()
    assert flow.writer.drain(WAIT_S_MAX), "the clock stands still"
    assert flow.host.water.mark == UNSYNCED_EVENTS_MAX
    flow.stop()


def test_a_full_backlog_holds_the_writer_but_leaves_nothing_unsynced(database: Database) -> None:
    # a new segment for every batch makes the one before durable, and the backlog full, while the newest is not
    flow = LogFlow(database, Durability.FLUSH, backlog_max=1, segment_bytes_max=1)
    flow.writer.start(flow.supervisor)  # and nobody who brings the backlog into SQL
    for number in (1, 2):
        flow.put(number)
        assert flow.tail.wait(number, WAIT_S_MAX)
    assert (flow.log.durable_seq, flow.host.water.mark) == (1, 1)
    flow.put(3)
    assert not flow.tail.wait(3, 0.05)
    assert (flow.log.durable_seq, flow.host.water.mark) == (2, 2)
    flow.projector.start(flow.supervisor)
    assert flow.tail.wait(3, WAIT_S_MAX)
    flow.stop()


def test_a_disk_that_fails_stops_the_relay(flow: LogFlow) -> None:
    def broken(operation: str, _: int) -> None:
        if operation == "fsync":
            raise OSError(errno.EIO, "input/output error")

    flow.put(1)
    flow.files.before = broken
    flow.start()
    gevent.idle()
    assert flow.deaths == ["log-writer"]
    assert flow.log.failure is not None
    assert flow.host.water.mark == 0
