"""Streams that were signed ahead: what is in the folder, who gets what of it, and when the directory changes."""

import json
import random
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import gevent
import pytest
import websocket
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.consumer import TestConsumer
from tests.support.simulator_frames import WAIT_S_MAX, emission, emissions
from tools.simulator.ahead import streams
from tools.simulator.ahead.gates import Gates
from tools.simulator.ahead.serving import Serving
from tools.simulator.ahead.signing import sign
from tools.simulator.ahead.streams import StreamFolderError, read_manifest, write
from tools.simulator.model import Document, DocumentChange, Emission, Intent, Step
from tools.simulator.oracle.ledger import Ledger
from tools.simulator.servers.feed import NO_GATE, Feed
from tools.simulator.servers.frame_store import FrameStore
from tools.simulator.servers.host import SUBSCRIBE, HostServer
from tools.simulator.servers.outages import Fault
from tools.simulator.servers.websocket import message
from tools.simulator.worlds.world import GOOD_ONLY, HOSTILE, World, WorldConfig

KEY = "did:key:zQ3shffxu2X2GBVZuYZPMadgtDMFN7MWmqoKsZR8HMq4NmKmA"


def change(did: str, host: int | None, handle: str = "a.test") -> DocumentChange:
    return DocumentChange(f"did:plc:{did}", None if host is None else Document(handle, KEY, host))


def subscribe(host: HostServer, cursor: int | None = 0) -> TestConsumer:
    return TestConsumer(f"ws://{host.name}{SUBSCRIBE}", cursor)


def raw_frames(host: HostServer, count: int) -> list[bytes]:
    socket = websocket.create_connection(
        f"ws://{host.name}{SUBSCRIBE}?cursor=0", timeout=WAIT_S_MAX, skip_utf8_validation=True
    )
    frames = [socket.recv_data()[1] for _ in range(count)]
    socket.close()
    return frames


class TestFolder:
    def test_what_is_signed_is_what_the_world_says(self, tmp_path: Path) -> None:
        config = WorldConfig(seed=7, hosts=3)
        manifest = sign(config, 400, HOSTILE, tmp_path / "a")
        world = World(config)
        said = [step for step in world.run(400, mix=HOSTILE) if isinstance(step, Emission)]
        assert manifest.events == len(said) >= 400
        with Serving(tmp_path / "a") as serving:
            serving.play()
            readers = [gevent.spawn(raw_frames, host, count) for host, count in enumerate_hosts(serving)]
            for index, reader in enumerate(readers):
                assert reader.get(timeout=WAIT_S_MAX) == [step.wire for step in said if step.host == index]
            assert serving.sent == len(said)
            assert serving.state()["documentsMade"] == serving.state()["documents"]

    def test_the_same_seed_makes_the_same_files_and_another_others(self, tmp_path: Path) -> None:
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            sign(WorldConfig(seed=seed, hosts=2), 100, GOOD_ONLY, tmp_path / name, ledger=False)
        first, same, other = (
            {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("a", "b", "c")
        )
        assert first == same
        assert first["host-0000.frames"] != other["host-0000.frames"]

    def test_the_ledger_has_every_event(self, tmp_path: Path) -> None:
        manifest = sign(WorldConfig(hosts=2), 200, GOOD_ONLY, tmp_path)
        assert len(Ledger.load(tmp_path / streams.LEDGER).entries) == manifest.events

    def test_one_that_was_not_finished_is_not_served(self, tmp_path: Path) -> None:
        def torn() -> Iterator[Step]:
            yield emission(1)
            raise RuntimeError

        with pytest.raises(RuntimeError):
            write(tmp_path / "a", 1, torn())
        with pytest.raises(StreamFolderError, match="not to its end"):
            Serving(tmp_path / "a")

    def test_one_that_is_complete_is_not_overwritten(self, tmp_path: Path) -> None:
        write(tmp_path, 1, emissions(1))
        with pytest.raises(FileExistsError):
            write(tmp_path, 1, emissions(1))

    @pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1}'])
    def test_a_manifest_of_something_else_is_refused(self, tmp_path: Path, text: str) -> None:
        write(tmp_path, 1, emissions(1))
        (tmp_path / streams.MANIFEST).write_text(text)
        with pytest.raises(StreamFolderError):
            read_manifest(tmp_path)

    @pytest.mark.parametrize("name", ["host-0000.frames", "host-0000.index"])
    def test_files_that_were_cut_are_refused(self, tmp_path: Path, name: str) -> None:
        write(tmp_path, 1, emissions(3))
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-8])
        with pytest.raises(ValueError, match="host-0000"):
            Serving(tmp_path)

    def test_a_host_without_frames(self, tmp_path: Path) -> None:
        write(tmp_path, 2, emissions(2))
        with Serving(tmp_path) as serving:
            serving.play()
            consumer = subscribe(serving.network.hosts[1])
            serving.network.hosts[1].wait_connections(1, WAIT_S_MAX)
            consumer.close()


def enumerate_hosts(serving: Serving) -> list[tuple[HostServer, int]]:
    return list(zip(serving.network.hosts, serving.manifest.frames, strict=True))


class TestStore:
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 300)), min_size=1, max_size=30), st.data())
    def test_reads_are_whole_messages_in_order(self, steps: list[tuple[int, int]], data: st.DataObject) -> None:
        store, seq, messages, seqs = FrameStore.temporary(), 0, [], []
        for step, size in steps:
            seq += step
            messages.append(bytes([size % 251]) * size)
            seqs.append(seq)
            store.append(messages[-1], seq)
        first = data.draw(st.integers(0, len(messages) - 1))
        last = data.draw(st.integers(first + 1, len(messages)))
        bytes_max = data.draw(st.integers(1, 1_000))
        got, behind = store.read(first, last, bytes_max)
        assert first < behind <= last
        assert got == b"".join(messages[first:behind])
        assert len(got) <= bytes_max or behind == first + 1
        assert behind == last or len(got) + len(messages[behind]) > bytes_max
        cursor = data.draw(st.integers(0, seq + 1))
        assert store.above(cursor, 0, len(seqs)) == sum(item <= cursor for item in seqs)
        store.close()


class TestDocuments:
    def test_a_document_changes_when_the_stream_has_come_there(self, tmp_path: Path) -> None:
        """The consumer looks at the directory before each frame that it reads: it never is behind what was sent, and
        the host has sent nothing that needs the next document."""
        steps: list[Step] = [change("a", 0, "h0.test")]
        for seq in range(1, 31):
            steps.append(emission(seq, size=200_000))
            if seq % 10 == 0:
                steps.append(change("a", 0, f"h{seq}.test"))
        steps.append(change("a", None))
        write(tmp_path, 1, steps)
        with Serving(tmp_path) as serving:
            documents, (host,) = serving.network.plc.documents, serving.network.hosts
            assert handle(documents["did:plc:a"]) == "at://h0.test"
            host.fail(Fault.DRIP, 1)
            consumer = subscribe(host)
            serving.play()
            host.wait_connections(1, WAIT_S_MAX)
            assert handle(documents["did:plc:a"]) == "at://h0.test"
            host.clear()
            for seq in range(1, 31):
                assert consumer.next().seq == seq
                made = int(handle(documents["did:plc:a"])[6:].split(".")[0]) if documents["did:plc:a"] else 30
                assert seq // 10 * 10 - 10 <= made <= max(host.feed.sent, seq) // 10 * 10
            assert documents["did:plc:a"] is None
            consumer.close()

    def test_a_move_waits_for_both_hosts_and_for_no_other(self, tmp_path: Path) -> None:
        before = [*emissions(5), *emissions(5, host=1), *emissions(5, host=2)]
        after = [emission(6, host=host) for host in range(3)]
        write(tmp_path, 3, [change("a", 0), *before, change("a", 1), *after])
        with Serving(tmp_path) as serving:
            serving.play()
            hosts = serving.network.hosts
            first, third = subscribe(hosts[0]), subscribe(hosts[2])
            assert [event.seq for event in (*first.take(5), *third.take(6))] == [*range(1, 6), *range(1, 7)]
            first.socket.settimeout(0.2)
            with pytest.raises(websocket.WebSocketTimeoutException):
                first.next()
            assert named_host(serving, "did:plc:a") == hosts[0].origin
            second = subscribe(hosts[1])
            assert [event.seq for event in second.take(6)] == [1, 2, 3, 4, 5, 6]
            assert named_host(serving, "did:plc:a") == hosts[1].origin
            first.socket.settimeout(WAIT_S_MAX)
            assert first.next().seq == 6
            for consumer in (first, second, third):
                consumer.close()

    def test_a_consumer_that_comes_back_to_another_process_finds_the_documents_of_its_place(
        self, tmp_path: Path
    ) -> None:
        write(tmp_path, 1, [change("a", 0, "old.test"), *emissions(5), change("a", 0, "new.test"), emission(6)])
        with Serving(tmp_path) as serving:
            serving.play()
            (host,) = serving.network.hosts
            consumer = subscribe(host, 5)
            assert consumer.next().seq == 6
            assert handle(serving.network.plc.documents["did:plc:a"]) == "at://new.test"
            consumer.close()

    def test_time_to_settle_is_given_once_for_all_changes_of_a_place(self, tmp_path: Path) -> None:
        moves = [change("a", 0, "b.test"), change("c", 0, "d.test"), change("a", 0, "e.test")]
        write(tmp_path, 1, [change("a", 0), *emissions(3), *moves, emission(4)])
        with Serving(tmp_path, settle_s=1.0) as serving:
            assert handle(serving.network.plc.documents["did:plc:a"]) == "at://a.test"  # at once: nothing was sent yet
            serving.play()
            consumer = subscribe(serving.network.hosts[0])
            consumer.take(3)
            began_s = time.monotonic()
            assert handle(serving.network.plc.documents["did:plc:a"]) == "at://a.test"
            assert consumer.next().seq == 4
            assert 0.5 < time.monotonic() - began_s < 2.9
            assert handle(serving.network.plc.documents["did:plc:a"]) == "at://e.test"
            consumer.close()

    def test_who_ends_while_it_settles_leaves_nothing_behind(self, tmp_path: Path) -> None:
        write(tmp_path, 1, [change("a", 0), emission(1), change("a", 0, "b.test"), emission(2)])
        with Serving(tmp_path, settle_s=0.2) as serving:
            serving.play()
            consumer = subscribe(serving.network.hosts[0])
            consumer.take(1)
        assert consumer.rest() == []
        consumer.close()
        gevent.sleep(0.3)  # an exception in a greenlet that was left would be printed, and its file is closed
        assert serving.state()["documentsMade"] == 1

    @settings(deadline=None, max_examples=60)
    @given(st.integers(0, 2**32))
    def test_never_too_early_never_too_late_and_never_stuck(
        self, tmp_path_factory: pytest.TempPathFactory, seed: int
    ) -> None:
        folder = tmp_path_factory.mktemp("gates")
        rng, hosts = random.Random(seed), 3
        steps = list(random_steps(rng, hosts))
        write(folder, hosts, steps)
        feeds = [
            Feed(FrameStore.open(streams.frames_path(folder, host)), [0], signed_ahead=True) for host in range(hosts)
        ]
        made: list[DocumentChange] = []
        gates = Gates(folder, feeds, made.append)
        gates.start()
        for feed in feeds:
            feed.release_all()
        open_feeds = [feed for feed in feeds if feed.store.count]
        while open_feeds:
            ready = [feed for feed in open_feeds if feed.sent < feed.sendable_end]
            assert ready, "every host waits for another"
            feed = rng.choice(ready)
            feed.sent_to(rng.randint(feed.sent + 1, feed.sendable_end))
            check_order(steps, made, feeds)
            open_feeds = [feed for feed in feeds if feed.sent < feed.store.count]
        changes = [step for step in steps if isinstance(step, DocumentChange)]
        for did in {step.did for step in changes}:
            assert [item for item in made if item.did == did] == [step for step in changes if step.did == did]
        assert all(feed.gate == NO_GATE for feed in feeds)
        gates.close()
        for feed in feeds:
            feed.store.close()


def random_steps(rng: random.Random, hosts: int) -> Iterator[Step]:
    homes: dict[str, int | None] = {}
    seqs = [0] * hosts
    for number in range(rng.randint(0, 60)):
        if rng.random() < 0.3:
            did = f"{rng.randrange(6)}"
            home = rng.choice((None, *range(hosts))) if homes.get(did) is not None else rng.randrange(hosts)
            homes[did] = home
            yield change(did, home, f"h{number}.test")
        else:
            host = rng.randrange(hosts)
            seqs[host] += 1
            yield emission(seqs[host], host=host)


def check_order(steps: list[Step], made: list[DocumentChange], feeds: list[Feed]) -> None:
    """Of each change: made if and only if the hosts that it concerns have sent all that comes before it, and not made
    while any of them has sent what comes behind it."""
    counts, homes, left = [0] * len(feeds), dict[str, int](), list(made)
    for step in steps:
        if isinstance(step, Emission):
            counts[step.host] += 1
            continue
        after = step.document.host if step.document else None
        concerned = {homes.get(step.did), after} - {None}
        if after is not None:
            homes[step.did] = after
        if step in left:
            left.remove(step)
            assert all(feeds[host].sent >= counts[host] for host in concerned if host is not None)
        else:
            assert all(feeds[host].sent <= counts[host] for host in concerned if host is not None)
    assert not left


def handle(document: object) -> str:
    assert isinstance(document, dict)
    return str(document["alsoKnownAs"][0])


def named_host(serving: Serving, did: str) -> str:
    document = serving.network.document(did)
    assert document is not None
    services = document["service"]
    assert isinstance(services, list)
    return str(services[0]["serviceEndpoint"])


class TestPlaying:
    def test_nothing_comes_before_it_is_played(self, tmp_path: Path) -> None:
        write(tmp_path, 1, emissions(3))
        with Serving(tmp_path) as serving:
            consumer = subscribe(serving.network.hosts[0])
            consumer.socket.settimeout(0.2)
            with pytest.raises(websocket.WebSocketTimeoutException):
                consumer.next()
            serving.play()
            consumer.socket.settimeout(WAIT_S_MAX)
            assert [event.seq for event in consumer.take(3)] == [1, 2, 3]
            consumer.close()

    def test_without_a_cursor_nothing_is_missed_where_it_waits_for_connections(self, tmp_path: Path) -> None:
        write(tmp_path, 2, [*emissions(3), *emissions(3, host=1)])
        with Serving(tmp_path) as serving:
            serving.play_when_connected()
            first = subscribe(serving.network.hosts[0], None)
            serving.network.hosts[0].wait_connections(1, WAIT_S_MAX)
            assert serving.sent == 0
            second = subscribe(serving.network.hosts[1], None)
            for consumer in (first, second):
                assert [event.seq for event in consumer.take(3)] == [1, 2, 3]
                consumer.close()

    def test_a_rate_is_kept_over_all_hosts_and_evenly(self, tmp_path: Path) -> None:
        steps = list(chain.from_iterable((emission(seq), emission(seq, host=1)) for seq in range(1, 101)))
        write(tmp_path, 2, steps)
        arrived: list[float] = []

        def read(host: HostServer) -> None:
            consumer = subscribe(host)
            for _ in range(100):
                consumer.next()
                arrived.append(time.monotonic())
            consumer.close()

        with Serving(tmp_path) as serving:
            readers = [gevent.spawn(read, host) for host in serving.network.hosts]
            began_s = time.monotonic()
            serving.play(200)
            gevent.joinall(readers, timeout=WAIT_S_MAX, raise_error=True)
        assert arrived[-1] - began_s >= 0.99
        halfway = sum(at < began_s + 0.5 for at in arrived)
        assert halfway <= 101  # however slow this machine is, never ahead of the rate

    def test_a_low_rate_gives_one_at_a_time_and_another_rate_goes_on_from_there(self, tmp_path: Path) -> None:
        write(tmp_path, 1, emissions(50))
        with Serving(tmp_path) as serving:
            (host,) = serving.network.hosts
            consumer = subscribe(host)
            began_s = time.monotonic()
            serving.play(4)
            assert [event.seq for event in consumer.take(2)] == [1, 2]
            assert time.monotonic() - began_s >= 0.5
            assert serving.state()["released"] == 2
            serving.play(0.001)
            consumer.socket.settimeout(0.3)
            with pytest.raises(websocket.WebSocketTimeoutException):
                consumer.next()
            serving.play(10_000)
            consumer.socket.settimeout(WAIT_S_MAX)
            assert [event.seq for event in consumer.take(48)] == list(range(3, 51))
            consumer.close()

    @pytest.mark.parametrize("rate", [0.0, -1.0, 1e9, float("nan")])
    def test_a_rate_that_cannot_be(self, tmp_path: Path, rate: float) -> None:
        write(tmp_path, 1, emissions(1))
        with Serving(tmp_path) as serving, pytest.raises(ValueError, match="rate"):
            serving.play(rate)

    def test_an_epoch_begins_when_the_one_before_was_sent(self, tmp_path: Path) -> None:
        steps = [*emissions(3), *(emission(seq, "new", epoch=1) for seq in (1, 2)), emission(1, "last", epoch=2)]
        write(tmp_path, 1, steps)
        with Serving(tmp_path) as serving:
            serving.play()
            (host,) = serving.network.hosts
            for expected in (["", "", ""], ["new", "new"], ["last"]):
                consumer = subscribe(host)
                assert [event.body["rev"] for event in consumer.take(len(expected))] == expected
                if expected != ["last"]:
                    assert consumer.rest() == []
                consumer.close()
            ahead = subscribe(host, 2)
            assert ahead.next().body["error"] == "FutureCursor"
            ahead.close()

    def test_text_stays_text(self, tmp_path: Path) -> None:
        step = emission(1, intent=Intent.TEXT)
        write(tmp_path, 1, [step])
        frames = streams.frames_path(tmp_path, 0).read_bytes()
        assert frames == message(step.wire, text=True) != message(step.wire)

    def test_faults_are_those_of_any_host_but_for_the_epochs(self, tmp_path: Path) -> None:
        write(tmp_path, 1, emissions(2))
        with Serving(tmp_path) as serving:
            serving.play()
            (host,) = serving.network.hosts
            with pytest.raises(ValueError, match="signed ahead"):
                host.fail(Fault.SEQ_RESET)
            consumer = subscribe(host)
            consumer.take(2)
            host.fail(Fault.DROP)
            assert consumer.rest() == []
            consumer.close()


def test_changes_read_back_as_they_were_written(tmp_path: Path) -> None:
    steps: list[Step] = [
        change("a", 0),
        emission(1),
        change("a", 1),
        emission(1, host=1),
        change("b", 0),
        change("a", None),
    ]
    write(tmp_path, 2, steps)
    placed = list(streams.read_changes(tmp_path))
    assert [item.change for item in placed] == [step for step in steps if isinstance(step, DocumentChange)]
    assert [item.places for item in placed] == [((0, 0),), ((0, 1), (1, 0)), ((0, 1),), ((1, 1),)]
    assert json.loads((tmp_path / streams.MANIFEST).read_text())["frames"] == [1, 1]
