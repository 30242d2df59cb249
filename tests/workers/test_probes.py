"""What `/_ready` and `/metrics` are answered with, from parts in every condition."""

import errno
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gevent.event import Event

from tests.support.log_flow import WAIT_S_MAX, LogFlow
from zlay_py.ingest.stats import IngestStats
from zlay_py.state.database import Database
from zlay_py.state.hosts import HostStatus
from zlay_py.workers.probes import Probes


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


class Lanes(SimpleNamespace):
    """The numbers of frame lanes."""

    waiting_for_database = 0

    def queued_frames(self) -> int:
        return 3

    def parked_frames(self) -> int:
        return 4


def probes_of(flow: LogFlow, lanes: Lanes | None = None) -> Probes:
    parts: dict[str, Any] = {
        "lanes": lanes or Lanes(),
        "resolver": [],
        "slurper": SimpleNamespace(connected=lambda: 2),
        "broadcaster": [],
    }
    return Probes(
        stats=IngestStats(),
        event_log=flow.log,
        hosts=flow.hosts,
        budget=flow.budget,
        writer=flow.writer,
        projector=flow.projector,
        supervisor=flow.supervisor,
        **cast(Any, parts),
    )


def text_of(probes: Probes) -> list[str]:
    return probes.metrics().exposition().decode().splitlines()


def test_a_relay_in_good_health_is_ready(flow: LogFlow) -> None:
    assert probes_of(flow).not_ready() == []


def test_a_full_disk_is_said_and_taken_back(flow: LogFlow) -> None:
    tried = Event()

    def full(operation: str, _: int) -> None:
        if operation == "write":
            tried.set()
            raise OSError(errno.ENOSPC, "no space left")

    probes = probes_of(flow)
    flow.files.before = full
    flow.put(1)
    flow.start()
    assert tried.wait(WAIT_S_MAX)
    tried.clear()
    assert tried.wait(WAIT_S_MAX)
    assert probes.not_ready() == ["the disk of the event log is full"]
    flow.files.be_well()
    assert flow.writer.drain(WAIT_S_MAX)
    assert probes.not_ready() == []


def test_a_log_that_has_stopped_is_said(flow: LogFlow) -> None:
    def broken(operation: str, _: int) -> None:
        if operation == "fsync":
            raise OSError(errno.EIO, "input/output error")

    flow.files.before = broken
    flow.put(1)
    flow.start()
    assert not flow.writer.drain(0.01)
    [reason] = probes_of(flow).not_ready()
    assert reason.startswith("the event log has stopped: ")


def test_a_database_that_is_away_is_said(flow: LogFlow, database: Database) -> None:
    flow.put(1)
    flow.start()
    assert flow.writer.drain(WAIT_S_MAX)
    assert flow.projector.drain(WAIT_S_MAX)
    database.close()
    flow.put(2)
    assert flow.writer.drain(WAIT_S_MAX)
    assert not flow.projector.drain(0.01)
    lanes = Lanes()
    lanes.waiting_for_database = 7
    assert probes_of(flow, lanes).not_ready() == [
        "the database takes no account states",
        "7 frames wait for the database",
    ]


def test_hosts_are_counted_by_status_and_remembered_while_the_database_is_away(
    flow: LogFlow, database: Database
) -> None:
    probes = probes_of(flow)
    metrics = probes.metrics()
    flow.hosts.set_status(flow.hosts.upsert("b.test", True, now_us=1).id, HostStatus.BANNED, None, 2)
    wanted = {'relay_hosts{status="active"} 1.0', 'relay_hosts{status="banned"} 1.0', 'relay_hosts{status="idle"} 0.0'}
    assert wanted <= set(metrics.exposition().decode().splitlines())
    database.close()
    assert wanted <= set(metrics.exposition().decode().splitlines())


def test_queues_and_log_are_read_when_asked(flow: LogFlow) -> None:
    flow.put(1, 2)
    queued = text_of(probes_of(flow))
    assert {'relay_queue_items{queue="log"} 2.0', 'relay_queue_items{queue="parked"} 4.0'} <= set(queued)
    flow.start()
    assert flow.writer.drain(WAIT_S_MAX)
    written = text_of(probes_of(flow))
    assert {"relay_log_seq 2.0", "relay_hosts_connected 2.0", "relay_frame_bytes 0.0"} <= set(written)
