"""Old segments go; those that SQL still needs do not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.eventlog.builders import event
from tests.support.log_flow import LogFlow, migrated
from zlay_py.state.database import Database
from zlay_py.workers.retention import Retention

EVENTS = 10
HOUR_S = 3_600.0
UNLIMITED = 10**12


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = migrated(tmp_path)
    yield opened
    opened.close()


class Rig:
    """A log with one event in each of its segments, all of this moment."""

    def __init__(self, database: Database) -> None:
        flow = LogFlow(database, segment_bytes_max=1)
        self.clock, self.log, self.projector = flow.clock, flow.log, flow.projector
        for number in range(1, EVENTS + 1):
            self.log.append([event(number, uid=0, time_us=self.clock.now_us())])

    def retention(self, *, budget_bytes: int = UNLIMITED) -> Retention:
        return Retention(self.log, self.projector, self.clock, retention_hours=1, budget_bytes=budget_bytes)


def test_young_segments_stay_and_old_ones_go(database: Database) -> None:
    rig = Rig(database)
    rig.projector.catch_up(rig.log)
    retention = rig.retention()
    rig.clock.pass_s(HOUR_S)
    assert retention.once() == 0
    rig.clock.pass_s(1)
    assert retention.once() == EVENTS - 1, "all but the one that is written to"
    assert rig.log.oldest_seq == EVENTS


def test_what_is_not_in_sql_is_kept_however_old_and_large(database: Database) -> None:
    rig = Rig(database)
    retention = rig.retention(budget_bytes=0)
    rig.clock.pass_s(2 * HOUR_S)
    assert retention.once() == 0
    rig.projector.applied_seq = 4
    assert retention.once() == 4
    assert rig.log.read(rig.log.oldest_seq, bytes_max=1)[0].seq == 5
    rig.projector.catch_up(rig.log)
    assert retention.once() == EVENTS - 1 - 4


def test_the_disk_budget_counts_for_young_segments_too(database: Database) -> None:
    rig = Rig(database)
    rig.projector.catch_up(rig.log)
    one = rig.log.segments[0].end
    assert rig.retention(budget_bytes=3 * one).once() == EVENTS - 3
    assert rig.log.disk_bytes <= 3 * one
