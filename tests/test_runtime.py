"""The relay as one object in this process: starts that fail, stops that fail, and a log that lost its files."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from tests.eventlog.builders import event, make_log
from zlay_py.clock import SystemClock
from zlay_py.errors import ConfigError
from zlay_py.eventlog.files import OsFiles
from zlay_py.eventlog.lock import OwnerLock
from zlay_py.runtime import Relay
from zlay_py.runtime.storage import SEQS_UNRECORDED_MAX, SLOT_LOCK
from zlay_py.settings import Settings
from zlay_py.state.database import Database
from zlay_py.state.failures import StateUnavailableError
from zlay_py.state.hosts import CursorRow, HostStore
from zlay_py.state.meta import STATE_PROJECTION, MetaStore

Make = Callable[..., Relay]


def settings_in(folder: Path, **changes: object) -> Settings:
    local = {"port": 0, "metrics_port": 0, "bind": "127.0.0.1", "metrics_bind": "127.0.0.1", "upstream": ""}
    return Settings.model_validate(local | {"data_dir": folder / "events"} | changes)


@pytest.fixture
def make(tmp_path: Path, database_url: str) -> Iterator[Make]:
    """Relays over one folder, stopped after the test."""
    made: list[Relay] = []

    def relay(**changes: object) -> Relay:
        made.append(Relay(settings_in(tmp_path, **{"database_url": database_url} | changes)))
        return made[-1]

    yield relay
    for one in reversed(made):
        one.finish_stop()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A second look at the relay's own."""
    opened = Database(database_url)
    yield opened
    opened.close()


def fetch(relay: Relay, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{relay.metrics_server.port}{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def nothing_is_held(relay: Relay) -> None:
    """The folder is free, the database closed, the log not written to, no loop is left."""
    lock = OwnerLock(relay.settings.data_dir, SLOT_LOCK)
    lock.acquire()
    lock.release()
    assert len(relay.supervisor) == 0
    with pytest.raises(StateUnavailableError, match="closed"):
        relay.stores.database.transaction(lambda cursor: None)
    with pytest.raises(AssertionError, match="not open"):
        relay.event_log.append([event(1)])


def test_a_stop_leaves_nothing_held_and_a_second_one_does_nothing(make: Make) -> None:
    relay = make()
    relay.start()
    port = relay.metrics_server.port
    assert fetch(relay, "/_ready")[0] == 200
    relay.begin_stop()
    relay.finish_stop()
    nothing_is_held(relay)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
    relay.finish_stop()


def test_a_step_of_the_stop_that_fails_does_not_keep_the_others_from_running(make: Make) -> None:
    relay = make()
    relay.start()
    relay.begin_stop()
    relay.stores.database.close()  # so the cursors can't be saved
    with pytest.raises(StateUnavailableError):
        relay.cursor_saver.save()
    relay.finish_stop()
    nothing_is_held(relay)
    again = make()
    again.start()
    assert again.event_log.next_seq == relay.event_log.next_seq, "closed cleanly: no jump"


def test_a_stop_that_is_cut_off_still_lets_go_of_everything(make: Make) -> None:
    relay = make()
    relay.start()
    stopping = gevent.spawn(relay.finish_stop)
    gevent.sleep(0)
    stopping.kill()
    assert stopping.dead
    nothing_is_held(relay)


# gevent leaves a listening socket that could not be bound to the garbage collector
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket object:pytest.PytestUnraisableExceptionWarning")
def test_a_start_that_fails_half_way_leaves_nothing_held(make: Make) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        relay = make(metrics_port=other.getsockname()[1])
        with pytest.raises(ConfigError, match="RELAY_METRICS_PORT"):
            relay.start()
        relay.begin_stop()
        relay.finish_stop()
    nothing_is_held(relay)
    again = make()
    again.start()
    assert fetch(again, "/_ready")[0] == 200


def test_a_start_that_fails_at_its_database_lets_go_of_the_slot(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "not-a-folder"
    path.write_text("")
    relay = make(database_url=f"sqlite:///{path}/relay.sqlite")
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        relay.start()
    relay.finish_stop()
    lock = OwnerLock(relay.settings.data_dir, SLOT_LOCK)
    lock.acquire()
    lock.release()


@pytest.mark.parametrize("mark", ["applied seq", "checkpoint"])
def test_an_emptied_log_reuses_no_seq_that_the_database_knows_of(make: Make, database: Database, mark: str) -> None:
    first = make()
    first.start()
    first.finish_stop()
    if mark == "checkpoint":
        HostStore(database).save_cursors([], 5_000)
    else:
        MetaStore(database).save_applied_seq(STATE_PROJECTION, 5_000)
    for path in first.settings.data_dir.iterdir():
        path.unlink()
    second = make()
    second.start()
    assert second.event_log.next_seq == second.event_log.oldest_seq == 5_001 + SEQS_UNRECORDED_MAX
    second.finish_stop()
    third = make()
    third.start()
    assert third.event_log.next_seq == second.event_log.next_seq, "once is enough"


def test_an_old_copy_of_the_log_reuses_no_seq_that_the_database_knows_of(make: Make, database: Database) -> None:
    first = make()
    first.start()
    first.event_log.append([event(1, uid=0)])
    first.finish_stop()
    MetaStore(database).save_applied_seq(STATE_PROJECTION, 5_000)
    second = make()
    second.start()
    assert second.event_log.next_seq == 5_001 + SEQS_UNRECORDED_MAX
    assert second.event_log.oldest_seq == 1


def test_a_log_that_is_up_to_its_database_goes_on_without_a_hole(make: Make, database: Database) -> None:
    first = make()
    first.start()
    first.event_log.append([event(1, uid=0), event(2, uid=0)])
    first.finish_stop()
    second = make()
    second.start()
    assert second.event_log.next_seq == 3
    second.finish_stop()
    assert MetaStore(database).applied_seq() == 2
    third = make()
    third.start()
    assert third.event_log.next_seq == 3


def test_what_a_start_finds_it_keeps_for_the_next_one(make: Make, database: Database) -> None:
    """A host that is not crawled (an address that a later version refuses), with two events above its mark."""
    hosts = HostStore(database)
    host = hosts.upsert("localhost:1", False, now_us=1)
    folder = make().settings.data_dir
    log = make_log(folder, files=OsFiles(), clock=SystemClock())
    log.open()
    log.append([event(seq, uid=0, host_id=host.id, upstream_epoch=0) for seq in (5, 7, 8)])
    log.close()
    hosts.save_cursors([CursorRow(host.id, 0, 5)], 0)
    for _ in range(2):
        relay = make()
        relay.start()
        relay.finish_stop()
        [leftover] = hosts.leftovers()
        assert list(leftover.seqs()) == [7, 8]
    assert MetaStore(database).cursor_checkpoint() == 3


def test_the_metrics_page_does_without_the_database(make: Make) -> None:
    relay = make(allow_local_hosts=True, hosts="localhost:1")
    relay.start()
    line = 'relay_hosts{status="active"} 1.0'
    assert line in fetch(relay, "/metrics")[1]
    relay.stores.database.close()
    status, page = fetch(relay, "/metrics")
    assert status == 200
    assert line in page, "as it was last known"
    assert "relay_log_seq 0.0" in page


def test_readiness_names_what_is_wrong(make: Make) -> None:
    relay = make()
    relay.start()
    assert fetch(relay, "/_ready") == (200, json.dumps({"status": "ready"}))
    relay.begin_stop()
    status, body = fetch(relay, "/_ready")
    assert (status, json.loads(body)["reasons"]) == (503, ["starting or stopping"])
