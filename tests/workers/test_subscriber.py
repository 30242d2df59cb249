"""One host's reader against scripted connections: where it connects, what it takes, skips, refuses and waits for."""

import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from tests.support.repo import Repo, did_plc, message, with_seq
from zlay_py.atproto import dag_cbor, frame
from zlay_py.atproto.frame import FrameKind
from zlay_py.errors import CorruptionError, NetError
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import did_hash
from zlay_py.eventlog.tail import Tail
from zlay_py.ingest.low_water import LowWater
from zlay_py.ingest.outcome import DropReason
from zlay_py.ingest.replay import Replay
from zlay_py.ingest.stats import IngestStats
from zlay_py.ingest.work import HostContext, Work
from zlay_py.net.backoff import Backoff
from zlay_py.net.failures import FailureKind
from zlay_py.net.hostname import HostAddress
from zlay_py.net.ssrf import AddressGuard
from zlay_py.state.database import Database
from zlay_py.state.failures import StateUnavailableError
from zlay_py.state.hosts import HostStatus, HostStore
from zlay_py.workers import subscriber
from zlay_py.workers.dial_gate import DialGate
from zlay_py.workers.dialler import DOUBTFUL_HANDSHAKE_S_MAX, HANDSHAKE_S_MAX, Connection
from zlay_py.workers.host_stream import REPEATED_FRAMES_MAX, STUCK_CONNECTIONS, USELESS_FRAMES_MAX
from zlay_py.workers.subscriber import (
    BELOW_CURSOR_CONNECTIONS,
    OFFLINE_AFTER_FAILURES,
    RESET_INTERVAL_S,
    STEADY_S,
    TURN_FRAMES_MAX,
)

WAIT_S_MAX = 20.0
TLS = ssl.create_default_context()
CLOSED = NetError(FailureKind.CLOSED, "the script ends")
TOO_LARGE = NetError(FailureKind.TOO_LARGE, "a message over the limit")
DOWN = NetError(FailureKind.REFUSED, "nobody listens")
WIRE = with_seq(Repo(did_plc(1)).identity(), 1)
POISON = frame.HEADERS[FrameKind.COMMIT] + b"\xff"
UNKNOWN = dag_cbor.encode({"t": "#later", "op": 1}) + dag_cbor.encode({"a": 1})
FUTURE_CURSOR = frame.encode_error("FutureCursor", "not there yet")
INFO = frame.encode_info("OutdatedCursor", "")


class ManualClock:
    def __init__(self) -> None:
        self.s = 1_000_000.0

    def now_us(self) -> int:
        return int(self.s * 1e6)

    def monotonic_s(self) -> float:
        return self.s


class CountingBackoff(Backoff):
    """No delay at all; counts how often it was asked since it was reset."""

    def __init__(self) -> None:
        super().__init__(1.0, 1.0, rng=lambda: 0.0)
        self.resets = 0

    def next(self) -> float:
        return 0.0

    def reset(self) -> None:
        self.resets += 1


class ShakyHosts(HostStore):
    """Whose writes fail with `failure` while it is set."""

    failure: Exception | None = None

    def set_status(self, host_id: int, status: HostStatus, failure_kind: str | None, now_us: int) -> bool:
        self._fail()
        return super().set_status(host_id, status, failure_kind, now_us)

    def bump_epoch(self, host_id: int, from_epoch: int, cursor: int | None) -> int:
        self._fail()
        return super().bump_epoch(host_id, from_epoch, cursor)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@dataclass
class Script:
    """One connection: its messages, then its end; without an end it stays open. `before_end` runs in between."""

    messages: list[bytes]
    end: NetError | None = CLOSED
    before_end: Callable[[], None] = lambda: None
    response_headers: Mapping[str, str] = field(default_factory=dict)
    closed: bool = False
    taken: int = 0

    def receive_kept_alive(self, silence_s: float) -> bytes:
        if self.taken < len(self.messages):
            self.taken += 1
            return self.messages[self.taken - 1]
        self.before_end()
        if self.end is None:
            Event().wait()
        assert self.end is not None
        raise self.end

    def close(self) -> None:
        self.closed = True


@dataclass
class Lanes:
    """Keeps what it gets, as done unless `hold` is set."""

    works: list[Work] = field(default_factory=list)
    parked_bytes: int = 0
    hold: bool = False
    arrived: Event = field(default_factory=Event)

    def put(self, work: Work) -> None:
        self.works.append(work)
        self.arrived.set()
        if not self.hold:
            work.done()

    def wait_for(self, count: int) -> None:
        with gevent.Timeout(WAIT_S_MAX):
            while len(self.works) < count:
                self.arrived.clear()
                self.arrived.wait()


class Rig:
    """A subscriber with a real log and a real host row. `play` runs it through the scripts, and returns when it asks
    for a connection that is in none of them."""

    def __init__(self, database: Database, event_log: EventLog) -> None:
        self.clock = ManualClock()
        self.hosts = ShakyHosts(database)
        self.row = self.hosts.upsert("pds.example.com", True, cursor=None, now_us=1)
        self.host = HostContext(self.row.id, self.row.hostname, self.row.epoch, LowWater(None))
        self.stats, self.lanes, self.backoff = IngestStats(), Lanes(), CountingBackoff()
        self.event_log = event_log
        self.dials: list[tuple[int | None, float]] = []
        self.greenlet: gevent.Greenlet[..., object] | None = None
        self._scripts: list[Script | NetError] = []
        self._played = Event()
        self._more = Event()
        self.subscriber: subscriber.Subscriber | None = None

    @property
    def cursors(self) -> list[int | None]:
        return [cursor for cursor, _ in self.dials]

    @property
    def seqs(self) -> list[int]:
        return [work.frame.seq for work in self.lanes.works]

    def make(self) -> subscriber.Subscriber:
        if self.subscriber is None:
            self.subscriber = subscriber.Subscriber(
                self.host,
                HostAddress("pds.example.com", 443, True),
                self.lanes,
                self.event_log,
                self.hosts,
                self.stats,
                self.clock,
                DialGate(self.clock, sleep=lambda seconds: None),
                self.backoff,
                guard=AddressGuard(allow_loopback=True),
                tls_context=TLS,
                user_agent="test",
                connect=self._connect,
            )
        return self.subscriber

    def start(self, *scripts: Script | NetError) -> None:
        self._scripts += scripts
        self._played.clear()
        self._more.set()
        if self.greenlet is None:
            self.greenlet = gevent.spawn(self.make().run)

    def play(self, *scripts: Script | NetError) -> None:
        self.start(*scripts)
        assert self._played.wait(WAIT_S_MAX), "the subscriber did not get through the scripts"
        assert self.greenlet is not None
        assert not self.greenlet.dead

    def _connect(self, address: HostAddress, cursor: int | None, *, timeout_s: float) -> Connection:
        while not self._scripts:
            self._more.clear()
            self._played.set()
            self._more.wait()
        self.dials.append((cursor, timeout_s))
        script = self._scripts.pop(0)
        if isinstance(script, NetError):
            raise script
        return script

    def close(self) -> None:
        if self.greenlet is not None:
            self.greenlet.kill(timeout=WAIT_S_MAX)


@pytest.fixture
def rig(tmp_path: Path, database_url: str) -> Iterator[Rig]:
    database = Database(database_url)
    event_log = EventLog(tmp_path / "events", durability=Durability.FLUSH, clock=ManualClock(), tail=Tail())
    event_log.open()
    made = Rig(database, event_log)
    yield made
    made.close()
    event_log.close()
    database.close()


def frames(*seqs: int) -> list[bytes]:
    return [with_seq(WIRE, seq) for seq in seqs]


def unknown(seq: int) -> bytes:
    return dag_cbor.encode({"t": "#later", "op": 1}) + dag_cbor.encode({"seq": seq})


def no_seq() -> bytes:
    return message(FrameKind.IDENTITY, {"did": did_plc(1), "time": "2026-01-02T03:04:05.678Z"})


def test_each_connection_resumes_where_the_last_one_was_read_to(rig: Rig) -> None:
    scripts = Script(frames(3, 4)), Script([]), Script(frames(5, 9))
    rig.play(*scripts)
    assert rig.cursors == [None, 4, 4]
    assert rig.seqs == [3, 4, 5, 9]
    assert rig.host.water.mark == 9
    assert all(script.closed for script in scripts)
    assert rig.backoff.resets == 2, "an empty connection is no progress"
    rig.play(Script([]))
    assert rig.cursors[-1] == 9


def test_it_starts_at_the_saved_mark(rig: Rig) -> None:
    rig.host.water = LowWater(17)
    rig.play(Script([]))
    assert rig.cursors == [17]


def test_frames_without_a_use_let_the_others_run(rig: Rig) -> None:
    """A host that never makes recv wait, with nothing but frames that are skipped."""
    kinds = [UNKNOWN, INFO, no_seq(), POISON, *frames(5, 4)]
    rig.host.water = LowWater(5)
    turns = 0

    def neighbour() -> None:
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(0)

    other = gevent.spawn(neighbour)
    try:
        rig.play(Script([POISON]))
        for wire in kinds:
            before = turns
            rig.play(Script([wire] * 50))
            least = 50 // TURN_FRAMES_MAX
            assert turns - before >= least, f"only {turns - before} turns beside 50 of {wire[:40]!r}"
    finally:
        other.kill()


@pytest.mark.parametrize("wire", [UNKNOWN, INFO, no_seq(), POISON], ids=["unknown", "info", "no seq", "poison"])
def test_useless_frames_in_a_row_end_the_connection(rig: Rig, wire: bytes) -> None:
    if wire == POISON:
        rig.play(Script([POISON]))
    script = Script([wire] * (USELESS_FRAMES_MAX * 2))
    rig.play(script)
    assert script.taken == USELESS_FRAMES_MAX


def test_only_the_first_frame_may_repeat_the_cursor(rig: Rig) -> None:
    rig.host.water = LowWater(5)
    script = Script(frames(*[5] * (REPEATED_FRAMES_MAX * 2)))
    rig.play(script)
    assert script.taken == REPEATED_FRAMES_MAX + 1
    assert rig.stats.dropped[DropReason.SEQ_REPEATED] == REPEATED_FRAMES_MAX
    again = [Script(frames(5, 5)) for _ in range(BELOW_CURSOR_CONNECTIONS)]
    rig.play(*again)
    assert rig.host.epoch == 0, "the cursor's own seq is not below the cursor"


def test_events_of_unknown_kinds_are_ignored_but_the_place_is_behind_them(rig: Rig) -> None:
    rig.play(Script([*frames(3), unknown(4), unknown(2)]), Script(frames(6)))
    assert rig.cursors == [None, 4]
    assert rig.seqs == [3, 6]
    assert rig.host.water.mark == 6


def test_a_frame_that_cannot_be_decoded_ends_the_connection_once_and_is_skipped_then(rig: Rig) -> None:
    first, second = Script([*frames(1), POISON, *frames(2)]), Script([POISON, POISON, *frames(2)])
    rig.play(first, second)
    assert rig.cursors == [None, 1]
    assert rig.seqs == [1, 2]
    assert (first.taken, second.taken) == (2, 3)
    assert rig.stats.undecodable == 1
    assert rig.stats.dropped[DropReason.POISON_FRAME] == 2


def test_skipped_poison_is_logged_once_per_connection(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    rig.play(Script([POISON]))
    capfd.readouterr()
    rig.play(Script([POISON] * 20))
    captured = capfd.readouterr()
    assert (captured.out + captured.err).count("can't be decoded") == 1


def test_what_the_log_holds_already_is_not_taken_again(rig: Rig) -> None:
    rig.host.water = LowWater(4)
    rig.host.replay = Replay({6, 9})
    rig.play(Script(frames(5, 6, 7)))
    assert rig.seqs == [5, 7]
    assert rig.stats.dropped[DropReason.ALREADY_LOGGED] == 1
    assert rig.host.replay.logged == {9}
    assert rig.host.water.mark == 7


def test_what_was_dropped_before_is_not_judged_again(rig: Rig) -> None:
    """Of one account up to seq 7, which the log holds; of another up to 9."""
    rig.host.water = LowWater(4)
    rig.host.replay = Replay({7, 9}, {did_hash(did_plc(1)): 7, did_hash("did:web:other.test"): 9})
    rig.play(Script(frames(5, 6, 7, 8)))
    assert rig.seqs == [8]
    assert rig.stats.dropped[DropReason.ALREADY_JUDGED] == 2
    assert rig.stats.dropped[DropReason.ALREADY_LOGGED] == 1
    assert rig.host.water.mark == 8


def test_a_future_cursor_begins_a_new_epoch_live_and_only_once_a_day(rig: Rig) -> None:
    rig.host.water = old = LowWater(500)
    rig.host.replay = Replay({600}, {did_hash(did_plc(1)): 600})
    rig.play(Script([FUTURE_CURSOR]), Script(frames(2)))
    assert rig.cursors == [500, None]
    assert rig.host.epoch == 1
    row = rig.hosts.by_id(rig.host.id)
    assert row is not None
    assert (row.epoch, row.cursor) == (1, 1), "right below the first frame that came live"
    assert rig.host.water is not old
    assert (rig.host.water.mark, rig.host.replay) == (2, Replay())
    rig.play(Script([FUTURE_CURSOR]), Script([]))
    assert (rig.cursors[2:], rig.host.epoch) == ([2, 2], 1), "not again on the same day"
    rig.clock.s += RESET_INTERVAL_S
    rig.play(Script([FUTURE_CURSOR]), Script([]))
    assert (rig.cursors[4:], rig.host.epoch) == ([2, None], 2)


def test_another_error_of_the_host_resets_nothing(rig: Rig) -> None:
    rig.host.water = LowWater(500)
    rig.play(Script([frame.encode_error("ConsumerTooSlow", "")]), Script([]))
    assert (rig.cursors, rig.host.epoch) == ([500, 500], 0)


def test_connections_that_stay_below_the_cursor_begin_a_new_epoch(rig: Rig) -> None:
    rig.host.water = LowWater(500)

    def low() -> list[Script | NetError]:
        return [Script(frames(1, 2)) for _ in range(BELOW_CURSOR_CONNECTIONS - 1)]

    rig.play(*low(), Script(frames(501)), *low())
    assert rig.host.epoch == 0, "one event above the cursor, and they are not in a row"
    rig.play(Script([]), Script(frames(1, 2)), Script(frames(1)))
    assert rig.host.epoch == 1
    assert (rig.cursors[-1], rig.seqs) == (None, [501, 1])


def test_too_many_seqs_that_do_not_grow_end_the_connection(rig: Rig) -> None:
    script = Script(frames(*[7, *[6] * (REPEATED_FRAMES_MAX * 2)]))
    rig.play(script)
    assert script.taken == 1 + REPEATED_FRAMES_MAX


def test_a_reset_that_the_database_refuses_is_tried_again_the_same_day(rig: Rig) -> None:
    rig.host.water = LowWater(500)
    rig.hosts.failure = StateUnavailableError("locked")
    rig.play(Script([FUTURE_CURSOR]))
    assert rig.host.epoch == 0
    rig.hosts.failure = None
    rig.play(Script([FUTURE_CURSOR]), Script([]))
    assert (rig.cursors, rig.host.epoch) == ([500, 500, None], 1)


def test_a_reset_that_may_have_taken_place_is_made_sure_of_whatever_the_host_says(rig: Rig) -> None:
    """The connection broke during COMMIT: until we know, our marks may be of an epoch that is over."""
    rig.host.water = LowWater(500)
    rig.hosts.failure = StateUnavailableError("the connection broke")
    rig.play(Script([FUTURE_CURSOR]))
    rig.hosts.failure = None
    HostStore.bump_epoch(rig.hosts, rig.host.id, 0, None)  # it has
    rig.play(Script([]), Script([]))
    assert (rig.cursors, rig.host.epoch) == ([500, 500, None], 1)
    row = rig.hosts.by_id(rig.host.id)
    assert row is not None
    assert row.epoch == 1


def test_a_reset_for_low_seqs_that_the_database_refuses_comes_with_the_next_connection(rig: Rig) -> None:
    rig.host.water = LowWater(500)
    rig.hosts.failure = StateUnavailableError("locked")
    rig.play(*(Script(frames(1)) for _ in range(BELOW_CURSOR_CONNECTIONS)))
    rig.hosts.failure = None
    rig.play(Script(frames(1)), Script([]))
    assert (rig.cursors[-1], rig.host.epoch) == (None, 1)


def test_the_status_follows_failures_and_success(rig: Rig) -> None:
    rig.play(*[DOWN] * OFFLINE_AFTER_FAILURES)
    row = rig.hosts.by_id(rig.host.id)
    assert row is not None
    assert (row.status, row.failure_kind) == (HostStatus.OFFLINE, FailureKind.REFUSED)
    rig.play(Script([]))
    row = rig.hosts.by_id(rig.host.id)
    assert row is not None
    assert (row.status, row.failure_kind) == (HostStatus.ACTIVE, None)


def test_a_database_that_is_away_keeps_no_host_from_being_crawled(rig: Rig) -> None:
    rig.hosts.failure = StateUnavailableError("locked")
    rig.play(*[DOWN] * (OFFLINE_AFTER_FAILURES + 2), Script(frames(1)), *[DOWN] * OFFLINE_AFTER_FAILURES)
    assert rig.seqs == [1]


def test_a_database_that_is_damaged_ends_the_loop(rig: Rig) -> None:
    rig.hosts.failure = CorruptionError("not a database")
    rig.start(Script(frames(1)))
    assert rig.greenlet is not None
    rig.greenlet.join(WAIT_S_MAX)
    assert isinstance(rig.greenlet.exception, CorruptionError)


def test_a_relay_is_refused(rig: Rig) -> None:
    relay = Script(frames(1), response_headers={"server": "Atproto-Relay/1.0"})
    rig.play(relay, relay, relay)
    assert (rig.seqs, relay.taken, relay.closed) == ([], 0, True)
    row = rig.hosts.by_id(rig.host.id)
    assert row is not None
    assert (row.status, row.failure_kind) == (HostStatus.OFFLINE, FailureKind.POLICY)


def test_a_quiet_connection_that_lasted_resets_the_back_off(rig: Rig) -> None:
    def live(seconds: float) -> Callable[[], None]:
        def pass_time() -> None:
            rig.clock.s += seconds

        return pass_time

    rig.play(Script([], before_end=live(STEADY_S - 1)))
    assert rig.backoff.resets == 0
    rig.play(Script([], before_end=live(STEADY_S)))
    assert rig.backoff.resets == 1


def test_a_host_that_could_not_be_reached_gets_less_time(rig: Rig) -> None:
    rig.play(DOWN, DOWN, Script([]), Script([]))
    assert [timeout_s for _, timeout_s in rig.dials] == [
        HANDSHAKE_S_MAX,
        DOUBTFUL_HANDSHAKE_S_MAX,
        DOUBTFUL_HANDSHAKE_S_MAX,
        HANDSHAKE_S_MAX,
    ], "an end of a connection is not a failed dial"


def test_a_host_known_as_offline_gets_less_time_from_the_start(rig: Rig) -> None:
    rig.make().doubt()
    rig.play(DOWN)
    assert rig.dials == [(None, DOUBTFUL_HANDSHAKE_S_MAX)]


@pytest.mark.parametrize("kind", [FailureKind.TOO_LARGE, FailureKind.TEXT_FRAME])
def test_a_frame_that_always_ends_the_connection_is_stepped_over(rig: Rig, kind: FailureKind) -> None:
    """The bad frame has seq 8 of a host that sends what is above the cursor: 7 is nobody's, so it takes two steps."""
    bad = NetError(kind, "the same every time")
    rig.play(Script(frames(6), end=bad), *(Script([], end=bad) for _ in range(STUCK_CONNECTIONS)))
    assert rig.cursors == [None, 6, 6, 7]
    assert rig.stats.dropped[DropReason.POISON_FRAME] == 0, "not passed yet"
    rig.play(Script(frames(9)), Script([]))
    assert rig.cursors[4:] == [8, 9]
    assert rig.seqs == [6, 9]
    assert rig.stats.dropped[DropReason.POISON_FRAME] == 1


def test_a_step_beyond_the_end_of_the_stream_is_no_reset(rig: Rig) -> None:
    rig.host.water = LowWater(6)
    rig.play(*(Script([], end=TOO_LARGE) for _ in range(STUCK_CONNECTIONS)), Script([FUTURE_CURSOR]), Script([]))
    assert rig.cursors == [6, 6, 6, 7, 6]
    assert rig.host.epoch == 0
    rig.play(Script([FUTURE_CURSOR]), Script([]))
    assert (rig.cursors[-1], rig.host.epoch) == (None, 1), "at its own place it is one"


def test_past_so_many_unfinished_frames_the_socket_is_not_read(rig: Rig) -> None:
    rig.lanes.hold = True
    most = subscriber.UNFINISHED_FRAMES_MAX
    script = Script(frames(*range(1, most + 11)))
    rig.start(script)
    rig.lanes.wait_for(most)
    settle()
    assert script.taken == most
    rig.lanes.works[1].done()  # not the first: the mark stays, and the host goes on
    rig.lanes.wait_for(most + 1)
    settle()
    assert script.taken == most + 1
    rig.lanes.works[0].done()
    rig.lanes.wait_for(most + 2)
    settle()
    assert script.taken == most + 2


def test_past_so_many_parked_bytes_the_socket_is_not_read(rig: Rig) -> None:
    rig.host.parked_bytes = subscriber.PARKED_BYTES_MAX
    script = Script(frames(1, 2, 3))
    rig.start(script)
    rig.lanes.wait_for(1)
    settle()
    assert script.taken == 1
    rig.host.parked_bytes = 0
    rig.host.room.set()
    rig.lanes.wait_for(3)
    assert rig.seqs == [1, 2, 3]


def test_past_so_many_parked_bytes_of_all_only_hosts_that_have_some_are_held_up(rig: Rig) -> None:
    rig.lanes.parked_bytes = subscriber.PARKED_BYTES_MAX_ALL
    rig.play(Script(frames(1, 2)))
    assert rig.seqs == [1, 2], "this one has nothing parked"
    rig.host.parked_bytes = 1
    script = Script(frames(3, 4))
    rig.start(script)
    rig.lanes.wait_for(3)
    settle()
    assert script.taken == 1
    rig.lanes.parked_bytes = 0
    rig.host.room.set()
    rig.lanes.wait_for(4)


def settle() -> None:
    """Lets everything run that can: what has not happened now is waiting for something."""
    for _ in range(50):
        gevent.idle()


def test_connected_says_whether_there_is_a_connection_now(rig: Rig) -> None:
    rig.play(Script([]))
    assert not rig.make().connected
    rig.start(Script(frames(1), end=None))
    rig.lanes.wait_for(1)
    assert rig.make().connected
    rig.close()
    assert not rig.make().connected
