"""What the relay needs goes away and comes back, under a steady rate of events: known accounts go on, nothing that was
sent is lost, and nobody has to restart anything. Judged."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Literal
from zlib import crc32

import gevent
import pytest

from tests.support.postgres import NOT_INSTALLED, PostgresServer, binaries, private_server
from tests.support.scene import WAIT_S_MAX, Scene
from tests.support.small_disk import may_mount, run_where_it_may_mount, small_disk
from tools.simulator.model import Emission, Intent
from tools.simulator.servers.outages import Fault
from tools.simulator.worlds.accounts import Account

slow = pytest.mark.slow

RATE = 40.0
"""Events per second of known accounts, all the time."""
PROMPT_S_MAX = 5.0
"""For an event of an account that is known, on a busy machine."""

NO_STATES = "the database takes no account states"
FRAMES_WAIT = "frames wait for the database"
DISK_FULL = "the disk of the event log is full"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    if binaries() is None:
        pytest.skip(NOT_INSTALLED)
    with private_server() as server:
        yield server


@contextmanager
def life(scene: Scene) -> Iterator[list[Account]]:
    """The relay knows the accounts, which are given, and they go on all the time."""
    scene.start()
    scene.introduce()
    scene.settle()
    known = scene.world.accounts.copy()
    with scene.flow(known, RATE):
        yield known


def go_on(scene: Scene, known: list[Account], at_least_s: float = 0.0) -> None:
    """Events of known accounts come out as if nothing was wrong, for so long and at least once."""
    until_s = monotonic() + at_least_s
    while True:
        for account in known:
            scene.wait_out(scene.play(scene.world.commit(account)), PROMPT_S_MAX)
        if monotonic() >= until_s:
            return


def anything_out(scene: Scene, emissions: list[Emission]) -> bool:
    return any(map(scene.is_out, emissions))


def newcomers(
    scene: Scene, hosts: list[int], *, apart_from: Sequence[Account] = ()
) -> tuple[list[Account], list[Emission]]:
    """Accounts that the relay has never heard of, one for each of these hosts; and what is said of them.

    `apart_from`: none of them is in a lane with one of these.
    """
    taken = {lane(account) for account in apart_from}
    made: list[Account] = []
    for host in hosts:
        account = scene.world.create_account(host)
        while lane(account) in taken:
            account = scene.world.create_account(host)
        made.append(account)
    return made, scene.introduce(made)


def lane(account: Account) -> int:
    """As in `workers.frame_lanes`, with the number of lanes that FRAME_WORKERS has by itself."""
    return crc32(account.did.encode()) % 16


# ── the database ──


@pytest.mark.parametrize("away_s", [5.0, pytest.param(60.0, marks=slow)])
def test_a_database_server_dies(tmp_path: Path, server: PostgresServer, away_s: float) -> None:
    settings = {"DATABASE_URL": server.new_url()}
    with Scene(tmp_path, hosts=2, accounts_per_host=4, validation="optimistic", settings=settings) as scene:
        with life(scene) as known:
            server.kill()
            new, events = newcomers(scene, [0, 1])
            go_on(scene, known)
            scene.wait_until_not_ready(NO_STATES)
            scene.wait_until_not_ready(FRAMES_WAIT)
            assert scene.health() == [200, 200]
            go_on(scene, known, away_s)
            assert not anything_out(scene, events), "without the database nobody can know them"
            assert scene.readiness()[0] == 503
            server.start()
            scene.wait_out(events)
            scene.wait_until_ready()
            go_on(scene, new)
        assert not scene.verdict().doubts


@slow
def test_a_database_server_hangs(tmp_path: Path, server: PostgresServer) -> None:
    """What asks it waits for its answer, and with it its lane: the newcomers here have lanes of their own."""
    settings = {"DATABASE_URL": server.new_url()}
    with Scene(tmp_path, hosts=2, accounts_per_host=4, validation="optimistic", settings=settings) as scene:
        with life(scene) as known:
            server.signal(signal.SIGSTOP)
            try:
                new, events = newcomers(scene, [0, 1], apart_from=known)
                go_on(scene, known)
                scene.wait_until_not_ready(FRAMES_WAIT)
                assert scene.health() == [200, 200]
                go_on(scene, known, 20.0)
                assert not anything_out(scene, events)
            finally:
                server.signal(signal.SIGCONT)
            scene.wait_out(events)
            scene.wait_until_ready()
            go_on(scene, new)
        assert not scene.verdict().doubts


@slow
def test_an_sqlite_database_is_locked_by_a_stranger_for_longer_than_a_write_waits(tmp_path: Path) -> None:
    """A write waits for the lock, and with it its lane: the newcomer here has one of its own."""
    path = tmp_path / "relay.sqlite"
    settings = {"DATABASE_URL": f"sqlite:///{path}"}
    with Scene(tmp_path, accounts_per_host=4, settings=settings) as scene:
        with life(scene) as known:
            with stranger_in(path):
                new, events = newcomers(scene, [0], apart_from=known)
                go_on(scene, known)
                scene.wait_until_not_ready(NO_STATES)
                assert scene.health() == [200, 200]
                go_on(scene, known)
                assert not anything_out(scene, [one for one in events if one.kind != "#identity"])
            scene.wait_out(events)
            scene.wait_until_ready()
            go_on(scene, new)
        assert not scene.verdict().doubts


STRANGER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def stranger_in(path: Path) -> Iterator[None]:
    """Another process holds the database's write lock."""
    command = [sys.executable, "-c", STRANGER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdin is not None
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == b"locked\n"
        try:
            yield
        finally:
            stranger.stdin.close()


# ── the disk ──


@pytest.mark.parametrize(
    ("on_it", "way_on"),
    [
        ("log, database", "by itself"),
        ("database", "by itself"),
        ("log", "killed"),
        pytest.param("log", "by itself", marks=slow),
        pytest.param("log, database", "killed", marks=slow),
    ],
)
def test_a_disk_gets_full(request: pytest.FixtureRequest, tmp_path: Path, on_it: str, way_on: str) -> None:
    if not may_mount(tmp_path):
        run_where_it_may_mount(request.node.nodeid)
        return
    reason = DISK_FULL if "log" in on_it else NO_STATES
    with small_disk(tmp_path / "disk") as disk:
        settings = {
            "RELAY_DATA_DIR": str((disk.folder if "log" in on_it else tmp_path) / "events"),
            "DATABASE_URL": f"sqlite:///{(disk.folder if 'database' in on_it else tmp_path) / 'relay.sqlite'}",
            "RELAY_DISK_BUDGET_GB": "1",
        }
        with Scene(tmp_path, hosts=2, accounts_per_host=2, settings=settings) as scene:
            with life(scene) as known:
                disk.fill()
                scene.wait_until_not_ready(reason)
                assert scene.health() == [200, 200]
                new, events = newcomers(scene, [0, 1])
                if reason is DISK_FULL:
                    stuck = [event for account in known for event in scene.play(scene.world.commit(account))]
                    count = scene.recorder.count
                    assert not scene.recorder.wait_beyond(count, 2.0), "nothing is sent that is not on the disk"
                    assert scene.relay.metrics()["relay_log_durable_seq"] == scene.recorder.last_seq
                    assert not anything_out(scene, stuck + events)
                else:
                    go_on(scene, known)
                if way_on == "killed":
                    scene.relay.kill()
                disk.empty()
                if way_on == "killed":
                    scene.start()
                scene.wait_out(events)
                scene.wait_until_ready()
                go_on(scene, known + new)
            assert not scene.verdict().doubts
            assert scene.relay.stop() == 0


# ── the directory ──

DIRECTORY_TROUBLES = [
    ("strict", Fault.REFUSE, None, 0.0),
    ("optimistic", Fault.STATUS, 500, 0.0),
    pytest.param("strict", Fault.STATUS, 500, 10.0, marks=slow),
    pytest.param("optimistic", Fault.REFUSE, None, 10.0, marks=slow),
    pytest.param("strict", Fault.GARBAGE, None, 0.0, marks=slow),
    pytest.param("optimistic", Fault.GARBAGE, None, 0.0, marks=slow),
    pytest.param("strict", Fault.HANG, None, 10.0, marks=slow),
    pytest.param("optimistic", Fault.HANG, None, 10.0, marks=slow),
]


@pytest.mark.parametrize(("validation", "fault", "amount", "away_s"), DIRECTORY_TROUBLES)
def test_the_directory_is_out_of_order(
    tmp_path: Path, validation: Literal["strict", "optimistic"], fault: Fault, amount: float | None, away_s: float
) -> None:
    """README, RELAY_VALIDATION: a commit of an account never seen before goes out at once, unverified; or it waits for
    the identity, and is dropped if there is none."""
    at_once = ["#identity"] if validation == "strict" else ["#identity", "#commit"]
    with Scene(tmp_path, hosts=2, accounts_per_host=4, validation=validation) as scene:
        with life(scene) as known, scene.directory_fails(fault, amount):
            new, events = newcomers(scene, [0, 1])
            go_on(scene, known)
            scene.wait_out([event for event in events if event.kind in at_once])
            others = [event for event in events if event.kind not in at_once]
            scene.until(lambda: len(dropped(scene, new)) == len(others), "what waits for the directory is not dropped")
            assert set(dropped(scene, new)) <= {"identity_unresolvable", "parked_too_long"}
            assert not anything_out(scene, others)
            assert scene.readiness() == (200, []), "it is not the relay's own trouble"
            go_on(scene, known, away_s)
            for account in new:
                scene.play(scene.world.commit(account))
        with scene.flow(known, RATE):
            _, after = newcomers(scene, [0, 1])
            scene.wait_out(after)
            get_known(scene, new, WAIT_S_MAX if fault is Fault.GARBAGE else PROMPT_S_MAX)
        scene.settle()
        go_on(scene, known + new)
        scene.verdict(decided=[Intent.GOOD])


def get_known(scene: Scene, accounts: list[Account], timeout_s: float) -> None:
    """They go on until the relay knows them."""
    with gevent.Timeout(timeout_s, AssertionError("the relay does not get to know them")):
        while unknown := [account for account in accounts if scene.repo_status(account.did) is None]:
            for account in unknown:
                scene.play(scene.world.commit(account))
            gevent.sleep(0.5)


def dropped(scene: Scene, accounts: list[Account]) -> list[str]:
    """For which reasons events of these were."""
    dids = {account.did for account in accounts}
    return [drop["reason"] for drop in scene.relay.drops() if drop["did"] in dids]


# ── the hosts ──


@pytest.mark.parametrize("all_of_them", [True, pytest.param(False, marks=slow)])
def test_hosts_are_down_and_come_back(tmp_path: Path, all_of_them: bool) -> None:
    with Scene(tmp_path, hosts=3, accounts_per_host=2) as scene:
        with life(scene) as known:
            down = scene.network.hosts if all_of_them else scene.network.hosts[:1]
            others = [account for account in known if account.host >= len(down)]
            for host in down:
                host.fail(Fault.REFUSE)
                host.fail(Fault.DROP)
            missed = [event for account in known for event in scene.play(scene.world.commit(account))]
            missed = [event for event in missed if event.host < len(down)]
            for host in down:
                scene.until(lambda name=host.name: status(scene, name) == "offline", "still not offline")  # type: ignore[misc]
            go_on(scene, others)
            assert not anything_out(scene, missed)
            assert scene.readiness() == (200, [])
            for host in down:
                host.clear()
            scene.wait_out(missed)
            go_on(scene, known)
            for host in scene.network.hosts:
                assert status(scene, host.name) == "active"
        assert not scene.verdict().doubts


def status(scene: Scene, name: str) -> str:
    return str(scene.relay.get(f"/xrpc/com.atproto.sync.getHostStatus?hostname={name}")["status"])
