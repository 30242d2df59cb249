"""Which hosts are crawled, from where, and how the list of a bootstrap relay gets here in the end."""

import json
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import gevent
import pytest
from gevent.event import Event

from tests.support.gates import until
from tests.support.network import Directory
from zlay_py.clock import SystemClock
from zlay_py.errors import NetError
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.tail import Tail
from zlay_py.ingest.replay import Replay
from zlay_py.ingest.stats import IngestStats
from zlay_py.ingest.work import HostContext, Work
from zlay_py.net.backoff import Backoff
from zlay_py.net.failures import FailureKind
from zlay_py.net.hostname import HostAddress, parse_hostname
from zlay_py.net.http_client import HttpClient
from zlay_py.net.ssrf import AddressGuard
from zlay_py.state.database import Database
from zlay_py.state.failures import StateUnavailableError
from zlay_py.state.hosts import CURSOR_MAX, HostRow, HostStatus, HostStore, NewHost
from zlay_py.workers.dial_gate import DialGate
from zlay_py.workers.dialler import DOUBTFUL_HANDSHAKE_S_MAX, Connection
from zlay_py.workers.host_registry import HostRegistry
from zlay_py.workers.slurper import BootstrapList, Slurper
from zlay_py.workers.subscriber import Subscriber
from zlay_py.workers.supervisor import Supervisor

WAIT_S_MAX = 20.0
TLS = ssl.create_default_context()
GUARD = AddressGuard(allow_loopback=True)
ODD_CURSOR = "a b&limit=1#é+%2F"


class ScriptedDirectory(Directory):
    """A bootstrap relay that fails `failures` times, and has a second page behind a cursor that must be quoted."""

    def __init__(self) -> None:
        self.failures = 0
        self.second_page: list[dict[str, object]] = []
        self.odd_cursor = False
        """The cursor is half of a surrogate pair."""
        self.asked: list[dict[str, list[str]]] = []
        self.second_asked = Event()
        self.gate = Event()
        self.gate.set()
        super().__init__()

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        query = parse_qs(str(environ["QUERY_STRING"]))
        self.asked.append(query)
        if self.failures:
            self.failures -= 1
            start_response("503 Service Unavailable", [])
            return [b"{}"]
        start_response("200 OK", [("Content-Type", "application/json")])
        if self.odd_cursor:
            return [json.dumps({"hosts": [] if "cursor" in query else self.hosts, "cursor": "\ud800"}).encode()]
        if query.get("cursor") == [ODD_CURSOR]:
            self.second_asked.set()
            self.gate.wait()
            return [json.dumps({"hosts": self.second_page}).encode()]
        return [json.dumps({"hosts": self.hosts, "cursor": ODD_CURSOR if self.second_page else ""}).encode()]


class ShakyHosts(HostStore):
    """Refuses `failures` writes of hosts."""

    failures = 0

    def upsert_many(self, hosts: Iterable[NewHost], *, now_us: int) -> list[HostRow]:
        if self.failures:
            self.failures -= 1
            raise StateUnavailableError("locked")
        return super().upsert_many(hosts, now_us=now_us)


class NoLanes:
    parked_bytes = 0

    def put(self, work: Work) -> None:
        raise AssertionError(f"nobody sends anything: {work}")


@dataclass
class Network:
    """Notes who is dialled from where, and answers nobody."""

    dialled: dict[str, int | None] = field(default_factory=dict)
    timeouts: dict[str, float] = field(default_factory=dict)
    _grown: Event = field(default_factory=Event)

    def connect(self, address: HostAddress, cursor: int | None, *, timeout_s: float) -> Connection:
        assert address.name not in self.dialled, "one subscriber per host"
        self.dialled[address.name] = cursor
        self.timeouts[address.name] = timeout_s
        self._grown.set()
        Event().wait()
        raise NetError(FailureKind.TIMEOUT, "never")

    def wait_for(self, *names: str) -> None:
        with gevent.Timeout(WAIT_S_MAX):
            while not self.dialled.keys() >= set(names):
                self._grown.clear()
                self._grown.wait()


class NotingSupervisor(Supervisor):
    """Keeps what it started."""

    def __init__(self, on_death: Callable[[str, BaseException], None]) -> None:
        super().__init__(on_death)
        self.greenlets: list[gevent.Greenlet[..., object]] = []

    def spawn(self, name: str, loop: Callable[[], None]) -> "gevent.Greenlet[..., object]":
        self.greenlets.append(super().spawn(name, loop))
        return self.greenlets[-1]


class Rig:
    def __init__(self, database: Database, event_log: EventLog, directory: ScriptedDirectory) -> None:
        self.hosts = ShakyHosts(database)
        self.network = Network()
        self.registry = HostRegistry()
        self.directory = directory
        self.deaths: list[str] = []
        self.supervisor = NotingSupervisor(lambda name, _error: self.deaths.append(name))
        self.client = HttpClient(GUARD, user_agent="test", tls_context=TLS)
        self.replays: dict[int, Replay] = {}
        self._log = event_log

    def slurper(self, *, extra: tuple[str, ...] = (), bootstrap: bool = True) -> Slurper:
        return Slurper(
            self.hosts,
            self.registry,
            self._make_subscriber,
            BootstrapList(self.client, self.directory.url, allow_local=True) if bootstrap else None,
            SystemClock(),
            Backoff(0.001, 0.001, rng=lambda: 0.0),
            extra_hosts=tuple(parse_hostname(name, True) for name in extra),
            allow_local=True,
            replays=self.replays,
        )

    def _make_subscriber(self, host: HostContext, address: HostAddress) -> Subscriber:
        clock = SystemClock()
        return Subscriber(
            host,
            address,
            NoLanes(),
            self._log,
            self.hosts,
            IngestStats(),
            clock,
            DialGate(clock, dials_per_s=1e6),
            Backoff(1.0, 1.0, rng=lambda: 0.0),
            guard=GUARD,
            tls_context=TLS,
            user_agent="test",
            connect=self.network.connect,
        )


@pytest.fixture
def rig(tmp_path: Path, database_url: str) -> Iterator[Rig]:
    with ExitStack() as stack:
        database = Database(database_url)
        stack.callback(database.close)
        event_log = EventLog(tmp_path / "events", durability=Durability.FLUSH, clock=SystemClock(), tail=Tail())
        event_log.open()
        stack.callback(event_log.close)
        directory = ScriptedDirectory()
        stack.callback(directory.stop)
        made = Rig(database, event_log, directory)
        stack.callback(made.supervisor.stop, 1.0)
        stack.callback(directory.gate.set)
        stack.callback(made.client.close)
        yield made
        assert made.deaths == []


def listed(name: str, seq: int | None = None, status: str = "active") -> dict[str, object]:
    return {"hostname": name, "status": status} | ({} if seq is None else {"seq": seq})


def test_known_extra_and_listed_hosts_each_start_at_their_place(rig: Rig) -> None:
    known = rig.hosts.upsert("known.example.com", True, cursor=70, now_us=1)
    rig.hosts.upsert("live.example.com", True, cursor=None, now_us=1)
    rig.replays[known.id] = Replay({71, 75}, {5: 75})
    rig.directory.hosts = [
        listed("listed.example.com", 900),
        listed("unsaid.example.com"),
        listed("gone.example.com", 5, status="offline"),
        listed("banned.example.com", 5, status="banned"),
        listed("not a host", 5),
        {"seq": 3},
        listed("known.example.com", 1_000_000),
    ]
    slurper = rig.slurper(extra=("extra.example.com", "localhost:2583"))
    slurper.start(rig.supervisor)
    rig.network.wait_for("known.example.com", "listed.example.com", "unsaid.example.com", "localhost:2583")
    assert rig.network.dialled == {
        "known.example.com": 70,
        "live.example.com": None,
        "extra.example.com": 0,
        "localhost:2583": 0,
        "listed.example.com": 900,
        "unsaid.example.com": None,
    }
    context = rig.registry.get(known.id)
    assert context is not None
    assert context.replay == Replay({71, 75}, {5: 75})
    assert slurper.connected() == 0
    slurper.stop()


def test_a_banned_host_is_not_crawled_whoever_names_it(rig: Rig) -> None:
    row = rig.hosts.upsert("banned.example.com", True, now_us=1)
    rig.hosts.set_status(row.id, HostStatus.BANNED, None, 1)
    rig.directory.hosts = [listed("banned.example.com", 5), listed("good.example.com", 5)]
    slurper = rig.slurper(extra=("banned.example.com",))
    slurper.start(rig.supervisor)
    rig.network.wait_for("good.example.com")
    assert set(rig.network.dialled) == {"good.example.com"}
    assert row.id not in rig.registry
    slurper.stop()


def test_a_host_that_was_offline_keeps_nobody_waiting_at_the_start(rig: Rig) -> None:
    row = rig.hosts.upsert("offline.example.com", True, now_us=1)
    rig.hosts.upsert("good.example.com", True, now_us=1)
    rig.hosts.set_status(row.id, HostStatus.OFFLINE, FailureKind.TIMEOUT, 1)
    slurper = rig.slurper(bootstrap=False)
    slurper.start(rig.supervisor)
    rig.network.wait_for("offline.example.com", "good.example.com")
    assert rig.network.timeouts["offline.example.com"] == DOUBTFUL_HANDSHAKE_S_MAX
    assert rig.network.timeouts["good.example.com"] > DOUBTFUL_HANDSHAKE_S_MAX
    slurper.stop()


def test_a_list_that_cannot_be_fetched_is_asked_for_again(rig: Rig) -> None:
    rig.directory.failures = 2
    rig.directory.hosts = [listed("good.example.com", 5)]
    slurper = rig.slurper()
    slurper.start(rig.supervisor)
    rig.network.wait_for("good.example.com")
    assert len(rig.directory.asked) == 3
    slurper.stop()


def test_a_list_that_cannot_be_saved_is_asked_for_again(rig: Rig) -> None:
    rig.directory.hosts = [listed("good.example.com", 5)]
    slurper = rig.slurper()
    slurper.start(rig.supervisor)
    rig.hosts.failures = 2  # the bootstrap runs from here on
    rig.network.wait_for("good.example.com")
    assert rig.deaths == []
    slurper.stop()


def test_the_cursor_of_the_list_comes_back_as_it_was_given(rig: Rig) -> None:
    rig.directory.hosts = [listed("first.example.com", 5)]
    rig.directory.second_page = [listed("second.example.com", 6)]
    slurper = rig.slurper()
    slurper.start(rig.supervisor)
    rig.network.wait_for("second.example.com")
    assert rig.directory.asked[1] == {"limit": ["1000"], "cursor": [ODD_CURSOR]}
    slurper.stop()


def test_a_list_of_anything_but_hosts_is_survived(rig: Rig) -> None:
    rig.directory.hosts = [
        {"hostname": "odd.example.com", "seq": True},
        {"hostname": "large.example.com", "seq": 10**30},
        {"hostname": "stranger.example.com", "status": ["active"]},
        {"hostname": "a\0b.example.com"},
    ]
    rig.directory.odd_cursor = True
    slurper = rig.slurper()
    slurper.start(rig.supervisor)
    rig.network.wait_for("odd.example.com", "large.example.com")
    until(lambda: len(rig.directory.asked) > 1)
    assert rig.directory.asked[1]["cursor"] == ["?"]
    marks = {row.hostname: row.cursor for row in rig.hosts.all()}
    assert marks == {"odd.example.com": None, "large.example.com": CURSOR_MAX}
    assert rig.deaths == []
    slurper.stop()


def test_after_stop_nothing_is_subscribed_to_any_more(rig: Rig) -> None:
    rig.directory.hosts = [listed("first.example.com", 5)]
    rig.directory.second_page = [listed("second.example.com", 6)]
    rig.directory.gate.clear()
    slurper = rig.slurper()
    slurper.start(rig.supervisor)
    rig.network.wait_for("first.example.com")
    assert rig.directory.second_asked.wait(WAIT_S_MAX)
    slurper.stop()
    assert len(rig.supervisor.greenlets) == 2, "a subscriber and the bootstrap"
    assert all(greenlet.dead for greenlet in rig.supervisor.greenlets)
    rig.registry = HostRegistry()
    late = rig.slurper(bootstrap=False)
    late.stop()
    late.start(rig.supervisor)
    assert len(rig.supervisor.greenlets) == 2, "not by any other way either"
