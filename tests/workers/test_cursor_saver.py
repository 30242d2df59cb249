"""What a start finds after a kill at any moment: marks, checkpoint, and what is left over from earlier starts."""

from collections.abc import Iterator

import pytest

from tests.support.log_flow import WAIT_S_MAX, LogFlow
from tests.support.refusals import allow_writes_to, refuse_writes_to
from zlay_py.eventlog.record import did_hash
from zlay_py.ingest.low_water import LowWater
from zlay_py.ingest.outcome import DropReason
from zlay_py.ingest.replay import Replay, find_replays, leftovers_of
from zlay_py.ingest.work import HostContext, Work
from zlay_py.state.database import Database
from zlay_py.state.failures import StateRuleError, StateUnavailableError
from zlay_py.state.hosts import HostStatus
from zlay_py.state.identities import IdentityRow, IdentityRowStore
from zlay_py.workers.cursor_saver import CursorSaver
from zlay_py.workers.host_registry import HostRegistry


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def flow(database: Database) -> Iterator[LogFlow]:
    made = LogFlow(database)
    made.start()
    yield made
    made.stop()


class Run:
    """What one start of the relay knows, on the log and the database of `flow`."""

    def __init__(self, flow: LogFlow, *, crawled: bool = True) -> None:
        self.flow = flow
        hosts = flow.hosts
        marks = {row.id: (row.epoch, row.cursor) for row in hosts.all()}
        stored = hosts.leftovers()
        found = find_replays(flow.log, flow.meta.cursor_checkpoint(), marks, stored, flow.store.dids)
        self.registry = HostRegistry()
        self.saver = CursorSaver(hosts, self.registry, flow.log, leftovers=leftovers_of(found, marks), stored=stored)
        self.already_logged = set(found.get(flow.host.id, Replay()).logged)
        if crawled:
            self.crawl(found)

    def crawl(self, found: dict[int, Replay]) -> None:
        row = self.flow.hosts.by_id(self.flow.host.id)
        assert row is not None
        self.host = self.flow.host = HostContext(
            row.id, row.hostname, row.epoch, LowWater(row.cursor), replay=found.pop(row.id, Replay())
        )
        self.registry.add(self.host)

    def resend(self, *seqs: int) -> None:
        """What the subscriber does with frames that the log has already."""
        for seq in seqs:
            self.host.water.begin(seq, self.flow.log.current_seq)
            self.host.replay.logged.discard(seq)
            self.host.water.done(seq)


def read_and_log(flow: LogFlow, *numbers: int) -> None:
    flow.put(*numbers)
    assert flow.writer.drain(WAIT_S_MAX)


def parked(flow: LogFlow, number: int) -> Work:
    """A frame that was read and waits."""
    return flow.read(number)


def test_marks_that_moved_are_saved_once_and_a_start_goes_on_there(flow: LogFlow) -> None:
    run = Run(flow)
    read_and_log(flow, 1, 2, 3)
    assert run.saver.save() == 1
    assert run.saver.save() == 0
    assert Run(flow).host.water.mark == 3
    assert flow.meta.cursor_checkpoint() == 3


def test_the_checkpoint_waits_for_unfinished_frames(flow: LogFlow) -> None:
    run = Run(flow)
    read_and_log(flow, 1, 2)
    waiting = parked(flow, 3)
    read_and_log(flow, 4, 5)
    run.saver.save()
    assert flow.meta.cursor_checkpoint() == 2
    assert Run(flow).already_logged == {4, 5}
    waiting.done()
    run.saver.save()
    assert flow.meta.cursor_checkpoint() == 4
    assert Run(flow).already_logged == set()


def test_a_save_that_fails_is_made_up_for_by_the_next(flow: LogFlow, database: Database) -> None:
    run = Run(flow)
    parked(flow, 1)
    read_and_log(flow, 2, 3)
    run = Run(flow)
    refuse_writes_to(database, "hosts", "UPDATE")
    run.resend(1, 2)
    with pytest.raises(StateRuleError, match="not this one"):
        run.saver.save()
    assert flow.meta.cursor_checkpoint() == 0
    assert Run(flow).already_logged == {2, 3}
    flow.host = run.host
    allow_writes_to(database, "hosts")
    assert run.saver.save() == 1
    again = Run(flow)
    assert (again.host.water.mark, again.already_logged) == (2, {3})


def test_a_second_start_knows_what_the_first_one_found(flow: LogFlow) -> None:
    """Run 1: 1 waits, 2 to 4 are logged. Run 2: the host is down, and a save moves the checkpoint over them."""
    run = Run(flow)
    parked(flow, 1)
    read_and_log(flow, 2, 3, 4)
    run.saver.save()
    for _ in range(3):
        run = Run(flow)
        assert run.already_logged == {2, 3, 4}
        run.saver.save()
        run.saver.save()
    assert flow.meta.cursor_checkpoint() == 3, "above the records of 2 and 3: no scan finds them"


def test_what_was_sent_again_above_an_unfinished_frame_is_still_left_over(flow: LogFlow) -> None:
    run = Run(flow)
    parked(flow, 1)
    read_and_log(flow, 2, 3, 4)
    run.saver.save()
    run = Run(flow)
    waiting = parked(flow, 1)
    run.resend(2, 3)
    run.saver.save()
    assert Run(flow).already_logged == {2, 3, 4}, "the next start reads 1 to 4 once more"
    waiting.done()
    run.saver.save()
    assert Run(flow).already_logged == {4}
    run.resend(4)
    run.saver.save()
    assert Run(flow).already_logged == set()
    assert flow.hosts.leftovers() == []


def test_a_second_start_knows_what_the_first_one_knew_to_be_dropped(flow: LogFlow) -> None:
    """Run 1: 1 waits, 2 is dropped, 3 and 4 of the same account and 5 are logged. Run 2: the host sends up to 4 once
    more, and a save moves the checkpoint over all that."""
    did = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
    run = Run(flow)
    parked(flow, 1)
    flow.read(2).done()
    flow.put(3, account=flow.account(did))
    flow.put(4, uid=0, did_hash=did_hash(did))
    flow.put(5, uid=0, did_hash=did_hash("did:web:other.test"))
    assert flow.writer.drain(WAIT_S_MAX)
    run.saver.save()
    for _ in range(3):
        run = Run(flow)
        waiting = parked(flow, 1)
        for seq, one, fate in (
            (2, did, DropReason.ALREADY_JUDGED),
            (3, did, DropReason.ALREADY_LOGGED),
            (4, did, DropReason.ALREADY_LOGGED),
        ):
            flow.read(seq).done()
            assert run.host.replay.drop_reason(seq, one) is fate
        run.saver.save()
        run.saver.save()
    assert flow.meta.cursor_checkpoint() == 3, "above the records of 3 to 5, and 1 still waits"
    waiting.done()
    run.saver.save()
    assert [leftover.judged for leftover in flow.hosts.leftovers()] == [((did_hash("did:web:other.test"), 5),)]
    flow.read(5).done()
    run.saver.save()
    assert flow.hosts.leftovers() == []


def test_a_host_that_is_not_crawled_keeps_what_is_left_over(flow: LogFlow) -> None:
    run = Run(flow)
    parked(flow, 1)
    read_and_log(flow, 2, 3)
    run.saver.save()
    flow.hosts.set_status(flow.host.id, HostStatus.BANNED, None, 1)
    for _ in range(2):
        run = Run(flow, crawled=False)
        assert run.already_logged == {2, 3}
        run.saver.save()
        run.saver.save()
    flow.hosts.unban(flow.host.id, 2)
    run.crawl({flow.host.id: Replay({2, 3})})
    run.saver.save()
    run.resend(1, 2)
    run.saver.save()
    assert Run(flow).already_logged == {3}


def test_a_new_epoch_leaves_nothing_over(flow: LogFlow) -> None:
    run = Run(flow)
    parked(flow, 1)
    read_and_log(flow, 2, 3)
    run.saver.save()
    run = Run(flow)
    run.saver.save()
    assert [list(leftover.seqs()) for leftover in flow.hosts.leftovers()] == [[2, 3]]
    run.host.epoch = flow.hosts.bump_epoch(run.host.id, run.host.epoch, None)
    run.host.water = LowWater(None)
    assert Run(flow).already_logged == set(), "killed before the next save"
    run.saver.save()
    assert flow.hosts.leftovers() == []


def test_without_a_database_the_error_is_the_callers(flow: LogFlow, database: Database) -> None:
    run = Run(flow)
    read_and_log(flow, 1)
    assert flow.projector.drain(WAIT_S_MAX)
    database.close()
    with pytest.raises(StateUnavailableError):
        run.saver.save()
    assert run.host.water.touched


def test_what_goes_first_is_in_the_database_before_the_checkpoint_moves(flow: LogFlow) -> None:
    """Identities that events of before the checkpoint have marked. Where they can't be saved, it waits."""
    rows = IdentityRowStore(flow.database)
    row = IdentityRow("did:web:a.test", "ok", None, None, None, 1, True)
    found: list[int] = []

    def save_first() -> None:
        found.append(flow.meta.cursor_checkpoint())
        rows.save([row])
        read_and_log(flow, 4)  # while it waits, events go on, and what they mark is not saved

    saver = CursorSaver(flow.hosts, flow.registry, flow.log, leftovers=[], stored=[], save_first=save_first)
    read_and_log(flow, 1, 2, 3)
    refuse_writes_to(flow.database, "identities", "INSERT")
    with pytest.raises(StateRuleError, match="not this one"):
        saver.save()
    assert (flow.meta.cursor_checkpoint(), flow.host.water.touched) == (0, True)
    allow_writes_to(flow.database, "identities")
    assert saver.save() == 1
    assert rows.load(row.did) == row
    assert flow.meta.cursor_checkpoint() == 3
    again = Run(flow)
    assert (again.host.water.mark, again.already_logged) == (4, set()), "the marks may be beyond it"
    assert found == [0, 0]
