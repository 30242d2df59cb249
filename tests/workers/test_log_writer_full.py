"""The log writer in flush mode, when the disk takes nothing: what it has sent by then does not wait for space."""

import errno
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from tests.support.log_flow import WAIT_S_MAX, LogFlow, migrated
from zlay_py.eventlog.ceiling import Durability


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[LogFlow]:
    database = migrated(tmp_path)
    made = LogFlow(database, Durability.FLUSH)
    yield made
    made.stop()
    database.close()


def test_a_full_disk_does_not_keep_what_was_sent_from_being_synced(flow: LogFlow) -> None:
    full = gevent.event.Event()

    def before(operation: str, _: int) -> None:
        if operation == "write" and flow.log.current_seq == 1:
            full.set()
            raise OSError(errno.ENOSPC, "no space left on device")

    flow.files.before = before
    flow.put(1)
    flow.start()
    assert flow.tail.wait(1, WAIT_S_MAX)
    flow.put(2)
    assert full.wait(WAIT_S_MAX)
    with gevent.Timeout(WAIT_S_MAX):
        while flow.log.durable_seq < 1:
            full.clear()
            full.wait()  # the next try
    assert flow.writer.full
    assert flow.host.water.mark == 1, "the mark is behind what is durable"
    flow.files.be_well()
    flow.clock.pass_s(10)
    assert flow.writer.drain(WAIT_S_MAX)
    assert flow.upstream_seqs() == [1, 2]
