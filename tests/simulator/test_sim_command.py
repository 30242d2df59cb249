"""`python -m tools.simulator` in a process of its own: the line that it prints, its controls, its end."""

import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
import websocket

from tests.support.consumer import TestConsumer
from tests.support.simulator_frames import WAIT_S_MAX, emission, emissions
from tests.support.simulator_process import SimulatorProcess, free_base_port, run_simulator
from tools.simulator.ahead.streams import frames_path, read_manifest, write
from tools.simulator.model import Document, DocumentChange, Emission
from tools.simulator.servers.outages import Fault
from tools.simulator.worlds.world import LIFELIKE, World, WorldConfig
from zlay_py.atproto import frame

KEY = "did:key:zQ3shffxu2X2GBVZuYZPMadgtDMFN7MWmqoKsZR8HMq4NmKmA"
DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two hosts, a document that changes."""
    steps = [*emissions(3), *emissions(3, host=1)]
    write(tmp_path / "stream", 2, [DocumentChange(DID, Document("a.test", KEY, 0)), *steps, emission(4)])
    return tmp_path / "stream"


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    folder = tmp_path_factory.mktemp("stream")
    write(folder, 1, emissions(1))
    with SimulatorProcess("serve", str(folder)) as simulator:
        yield simulator


class TestSignAndServe:
    def test_a_consumer_gets_all_that_was_signed_and_nothing_else(self, tmp_path: Path) -> None:
        stream = tmp_path / "stream"
        arguments = ("--hosts", "2", "--accounts", "5", "--events", "2000", "--seed", "5", "--records", "200")
        done = run_simulator("sign", str(stream), *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        manifest = read_manifest(stream)
        assert json.loads(done.stdout)["events"] == manifest.events >= 2000
        config = WorldConfig(seed=5, hosts=2, accounts_per_host=5, records_per_repo=200)
        said = [step for step in World(config).run(2000, mix=LIFELIKE) if isinstance(step, Emission)]
        with SimulatorProcess("serve", str(stream), "--tls") as simulator:
            readers = [gevent.spawn(self.read, simulator, host, count) for host, count in enumerate(manifest.frames)]
            for host, reader in enumerate(readers):
                assert reader.get(timeout=WAIT_S_MAX) == [step.wire for step in said if step.host == host]
            assert simulator.get("/state")["playing"]["sent"] == len(said)
            assert simulator.stop() == (0, "")

    @staticmethod
    def read(simulator: SimulatorProcess, host: int, count: int) -> list[bytes]:
        socket = websocket.create_connection(
            simulator.subscribe_url(host), timeout=WAIT_S_MAX, sslopt={"ca_certs": simulator.ready["caFile"]}
        )  # without a cursor: it begins when all are connected
        frames = [socket.recv_data()[1] for _ in range(count)]
        socket.close()
        return frames

    def test_web_dids_are_served_where_they_were_signed_for(self, tmp_path: Path) -> None:
        base = free_base_port()
        done = run_simulator(
            "sign", str(tmp_path / "s"), "--events", "50", "--web-dids", "1", "--base-port", str(base), "--hosts", "1"
        )
        assert done.returncode == 0, done.stderr
        with SimulatorProcess("serve", str(tmp_path / "s"), "--base-port", str(base)) as simulator:
            assert simulator.plc_url == f"http://127.0.0.1:{base}"
            assert simulator.hosts == [f"localhost:{base + 1}"]
            assert simulator.ready["webDids"] == [f"did:web:localhost%3A{base + 2}"]
            with urllib.request.urlopen(f"http://localhost:{base + 2}/.well-known/did.json") as response:
                assert json.load(response)["id"] == simulator.ready["webDids"][0]

    def test_a_folder_that_is_none_is_an_error_in_one_line(self, tmp_path: Path) -> None:
        done = run_simulator("serve", str(tmp_path))
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "nothing was signed here" in done.stderr

    def test_bytes_on_the_disk_are_what_is_sent(self, folder: Path) -> None:
        """No frame is made by `serve`: another byte in the file is another byte on the wire."""
        path = frames_path(folder, 1)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        with SimulatorProcess("serve", str(folder), "--at-once") as simulator:
            socket = websocket.create_connection(simulator.subscribe_url(1) + "?cursor=2", timeout=WAIT_S_MAX)
            assert socket.recv_data()[1] == emission(3, host=1).wire[:-1] + bytes(data[-1:])
            socket.close()


class TestControls:
    def test_faults_are_set_and_cleared(self, folder: Path) -> None:
        with SimulatorProcess("serve", str(folder), "--at-once") as simulator:
            simulator.fail("plc", "status", amount=503, times=1)
            with pytest.raises(urllib.error.HTTPError, match="503") as caught:
                urllib.request.urlopen(f"{simulator.plc_url}/{DID}")
            caught.value.close()
            with urllib.request.urlopen(f"{simulator.plc_url}/{DID}") as response:
                assert json.load(response)["id"] == DID
            assert simulator.get("/asked") == {DID: 2}
            simulator.fail("host:1", "refuse")
            with pytest.raises(ConnectionError):
                websocket.create_connection(simulator.subscribe_url(1), timeout=WAIT_S_MAX)
            assert simulator.get("/state")["hosts"][1]["faults"] == {"refuse": {"amount": 0.0, "times": None}}
            simulator.clear("hosts")
            consumer = TestConsumer(simulator.subscribe_url(1), 1)
            assert [event.seq for event in consumer.take(2)] == [2, 3]
            simulator.fail("hosts", "drop")
            assert consumer.rest() == []
            consumer.close()
            state = simulator.get("/state")
            assert state["hosts"][1]["cursors"] == [1]
            assert state["hosts"][1]["sent"] == 3
            assert simulator.stop() == (0, "")

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            (b"{", "not JSON"),
            (b"\xff", "not JSON"),
            ([], "not an object"),
            ({"target": "plc", "fault": "hang", "for": 3}, "not an object with fields of"),
            ({"target": "nobody", "fault": "hang"}, "host:0"),
            ({"target": "host:1", "fault": "hang"}, "host:0"),
            ({"fault": "hang"}, "target"),
            ({"target": ["plc"], "fault": "hang"}, "target"),
            ({"target": "plc"}, "either"),
            ({"target": "plc", "fault": "hang", "clear": "all"}, "either"),
            ({"target": "plc", "fault": "explode"}, "accept_close"),
            ({"target": "plc", "fault": ["hang"]}, "no fault"),
            ({"target": "plc", "fault": "stall"}, "not of this server"),
            ({"target": "plc", "clear": "explode"}, "no fault"),
            ({"target": "plc", "clear": "all", "times": 2}, "clear takes no"),
            ({"target": "plc", "fault": "status"}, "an HTTP status"),
            ({"target": "plc", "fault": "status", "amount": "500"}, "amount is a number"),
            ({"target": "plc", "fault": "status", "amount": 500, "times": 1.5}, "whole number"),
            ({"target": "plc", "fault": "status", "amount": True}, "amount is a number"),
            ({"target": "host:0", "fault": "seq_reset"}, "signed ahead"),
        ],
    )
    def test_what_is_no_command_is_told_so(self, simulator: SimulatorProcess, body: object, says: str) -> None:
        status, answer = simulator.post("/faults", body)
        assert status == 400
        assert says in answer["error"]
        assert simulator.get("/state")["plc"]["faults"] == {}

    def test_every_fault_has_its_name_there(self, simulator: SimulatorProcess) -> None:
        _, answer = simulator.post("/faults", {"target": "host:0", "fault": ""})
        assert all(str(fault) in answer["error"] for fault in Fault)

    @pytest.mark.parametrize("rate", [0, -1, "fast", 1e12])
    def test_a_rate_that_cannot_be(self, simulator: SimulatorProcess, rate: object) -> None:
        assert simulator.post("/play", {"rate": rate})[0] == 400

    def test_other_addresses_are_not_there(self, simulator: SimulatorProcess) -> None:
        status, answer = simulator.post("/state", {})
        assert status == 404
        assert "POST /faults" in answer["error"]

    def test_playing_begins_when_it_is_told_to(self, folder: Path) -> None:
        with SimulatorProcess("serve", str(folder)) as simulator:
            consumer = TestConsumer(simulator.subscribe_url(0))
            assert simulator.get("/state")["playing"]["released"] == 0
            simulator.play(1_000)
            assert [event.seq for event in consumer.take(4)] == [1, 2, 3, 4]
            consumer.close()


class TestLive:
    def test_events_come_while_it_runs_and_can_be_read(self, tmp_path: Path) -> None:
        arguments = ("--hosts", "1", "--events", "40", "--rate", "400", "--mix", "good", "--web-dids", "1")
        with SimulatorProcess("live", *arguments, "--ledger", str(tmp_path / "ledger.jsonl")) as simulator:
            socket = websocket.create_connection(simulator.subscribe_url(), timeout=WAIT_S_MAX)
            frames = [frame.decode(socket.recv_data()[1]) for _ in range(40)]
            assert [item.seq for item in frames] == list(range(1, 41))
            assert simulator.ready["webDids"][0] in {item.did for item in frames}
            url = f"http://{simulator.hosts[0]}/xrpc/com.atproto.sync.listRepos"
            with urllib.request.urlopen(url) as response:
                assert json.load(response)["repos"]
            socket.close()
            assert simulator.post("/play", {"rate": 1})[0] == 400
            assert simulator.stop() == (0, "")
        assert (tmp_path / "ledger.jsonl").read_bytes().count(b"\n") >= 40


class TestRates:
    @pytest.mark.parametrize("at_once", [(), ("--at-once",)])
    def test_one_that_cannot_be_is_an_error_in_one_line(self, folder: Path, at_once: tuple[str, ...]) -> None:
        for command in (("serve", str(folder)), ("live",)):
            done = run_simulator(*command, "--rate", "0", *at_once)
            assert done.returncode == 1
            assert done.stderr.count("\n") == 1
            assert "rate" in done.stderr


class TestReplay:
    @pytest.mark.needs_fixtures
    def test_a_recording_is_replayed(self, fixtures_dir: Path) -> None:
        files = [str(fixtures_dir / "corpus" / f"pds{number}.frames") for number in range(2)]
        with SimulatorProcess("replay", *files, "--documents", "of_the_time") as simulator:
            consumers = [TestConsumer(simulator.subscribe_url(host)) for host in range(2)]
            for consumer in consumers:
                assert [event.seq for event in consumer.take(10)] == list(range(1, 11))
                consumer.close()
            assert simulator.stop() == (0, "")

    def test_a_file_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "a.frames").write_bytes(b"nothing")
        (tmp_path / "dids.json").write_text("{}")
        done = run_simulator("replay", str(tmp_path / "a.frames"))
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "no recording" in done.stderr


class TestEnd:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_it_with_connections_open(self, folder: Path, number: signal.Signals) -> None:
        with SimulatorProcess("serve", str(folder), "--rate", "0.01", "--at-once") as simulator:
            simulator.fail("plc", "hang")
            consumer = TestConsumer(simulator.subscribe_url(), 0)
            asking = gevent.spawn(ask, f"{simulator.plc_url}/{DID}")
            with gevent.Timeout(WAIT_S_MAX):
                while not simulator.get("/asked"):
                    gevent.sleep(0.01)
            simulator.send(number)
            assert simulator.wait_end() == (0, "")
            assert consumer.rest() == []
            assert isinstance(asking.get(timeout=WAIT_S_MAX), OSError)
            consumer.close()


def ask(url: str) -> object:
    try:
        return urllib.request.urlopen(url, timeout=WAIT_S_MAX)
    except OSError as error:
        return error


@pytest.mark.slow
def test_the_benchmark_reads_all_that_it_counts() -> None:
    done = run_simulator("bench-serve", "--events", "5000", "--hosts", "2")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["complete"]
    assert figures["events"] == 5000
