"""The benchmarks run, and say what they promise. They assert by themselves that every event is accepted and every byte
received: here, that they do. No time is compared with anything but 0."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tools.bench import fanout, measure, path, projection, raw_websocket, simulated, steps, throughput, workload
from tools.bench.sampler import Sampler
from tools.bench.sizes import QUICK
from tools.bench.workload import Home, Workload
from zlay_py.eventlog.record import RecordKind
from zlay_py.eventlog.wire import websocket_frame
from zlay_py.settings import Durability
from zlay_py.state.database import Database
from zlay_py.state.hosts import HostStore

ROOT = Path(__file__).parent.parent.parent
STEPS = [
    "decode frame",
    "parse event",
    "parse and hash CAR",
    "decode commit",
    "verify signature",
    "check records",
    "invert operations",
    "find seq",
    "splice seq",
    "append",
    "sum",
]


@pytest.fixture(scope="module")
def simulated_load() -> Workload:
    return simulated.workload(QUICK)


def test_the_command_prints_one_json_object_with_the_parts_that_were_asked_for() -> None:
    command = [sys.executable, "-m", "tools.bench.run", "--quick", "--only", "projection", "--only", "steps"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == ["machine", "projection", "steps", "cores_used_by_others"]
    assert report["machine"]["cores"] > 0
    assert report["machine"]["python"].startswith("3.")
    assert list(report["steps"]["simulated"]["cpu_us_per_event"]) == STEPS
    assert report["projection"]["sqlite"] > 0
    assert all(value >= 0 for value in report["cores_used_by_others"].values())


def test_a_part_that_is_none_is_refused() -> None:
    command = [sys.executable, "-m", "tools.bench.run", "--only", "everything"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "throughput" in done.stderr


def test_the_simulated_load_has_the_commits_of_every_account_at_its_host(simulated_load: Workload) -> None:
    found = workload.samples(simulated_load, len(simulated_load))
    assert len(found) >= QUICK.events * 0.9
    assert len(simulated_load.homes) == QUICK.hosts * QUICK.accounts_per_host
    shape = workload.shape(found)
    assert shape["events"] == len(found)
    assert all(isinstance(value, int | float) and value >= 0 for value in shape.values())


def test_every_step_takes_time(simulated_load: Workload) -> None:
    found = steps.measure(workload.samples(simulated_load, QUICK.samples), rounds=1)
    assert list(found) == STEPS
    assert all(value > 0 for name, value in found.items() if name != "append")  # what the splice takes is taken off
    assert found["sum"] == pytest.approx(sum(found.values()) - found["sum"], abs=0.1)


@pytest.mark.needs_fixtures
def test_the_recorded_load_is_accepted_as_a_whole(fixtures_dir: Path) -> None:
    load = workload.recorded(fixtures_dir / "corpus")
    few = Workload(load.name, [stream[:100] for stream in load.streams], load.homes)
    assert len(few) == 200
    found: Any = path.measure(few, rounds=1)
    assert found["cpu_us_per_event"] > 0


def test_the_path_takes_every_event(simulated_load: Workload) -> None:
    sampler = Sampler()
    found: Any = path.measure(simulated_load, 1, sampler)
    assert found["cpu_us_per_event"] > 0
    assert found["events_per_core_s"] > 0


def test_the_path_says_so_when_events_are_dropped(simulated_load: Workload) -> None:
    home = simulated_load.homes
    [one, another] = list(home)[: QUICK.hosts]
    wrong = {**home, one: Home(home[one].host, home[another].key)}
    with pytest.raises(AssertionError, match="signature_invalid"):
        path.measure(Workload("wrong", simulated_load.streams, wrong), 1)


def test_the_projection_ends_with_every_account_where_its_last_event_put_it() -> None:
    found: Any = projection.measure(QUICK.projection, 1, None)
    assert found["events"] == QUICK.projection.events
    assert found["sqlite"] > 0


def test_the_projection_into_a_database_that_is_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'other.sqlite'}"
    for _ in range(2):
        found: Any = projection.measure(QUICK.projection, 1, url)
        assert found["database_url"] > 0


def test_a_database_that_somebody_uses_is_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'relay.sqlite'}"
    database = Database(url)
    database.migrate()
    HostStore(database).upsert("pds.example.com", True, now_us=1)
    database.close()
    with pytest.raises(AssertionError, match=r"pds\.example\.com"):
        projection.measure(QUICK.projection, 1, url)


def test_fan_out_is_measured_for_each_number_of_consumers(simulated_load: Workload) -> None:
    payloads = [item.frame.payload for item in workload.samples(simulated_load, 10)]
    found = fanout.measure(payloads, QUICK.fanout, 1)
    assert set(found) - {"bytes_mean"} == {
        f"{consumers} consumers, {batch} at once"
        for consumers in QUICK.fanout.consumers
        for batch in QUICK.fanout.batches
    }


def test_readers_that_got_something_else_are_noticed() -> None:
    sent = [websocket_frame(RecordKind.COMMIT, bytes([number]) * 100) for number in range(4)]
    assert fanout.round_us(sent, 2, 2) > 0
    with pytest.raises(AssertionError, match="something else"):
        fanout.round_us(sent, 2, 2, expected=[*sent[:3], sent[0]])


def test_a_whole_relay_takes_and_gives_every_event(tmp_path: Path) -> None:
    found: Any = throughput.measure(tmp_path, QUICK, [Durability.FLUSH])
    assert found["events"] >= QUICK.throughput_events
    result = found["flush"]
    assert result["relay_cpu_us_per_event"] > 0
    assert result["events_per_s"] > 0
    assert result["relay_peak_rss_mb"] > 20
    assert set(result["cores_used"]) == {"relay", "network", "consumer"}


SENT = Counter({"#commit did:plc:a 3k": 1, "#account did:plc:a -": 2})


@pytest.mark.parametrize(
    ("lines", "accepted", "fault"),
    [
        (["1 #commit did:plc:a 3k", "2 #account did:plc:a -", "4 #account did:plc:a -"], 3, ""),
        (["1 #commit did:plc:a 3k", "2 #account did:plc:a -", "4 #account did:plc:a -"], 2, "2 of 3 accepted"),
        (["1 #commit did:plc:a 3k", "2 #account did:plc:a -"], 3, "not what was sent"),
        (["1 #commit did:plc:a 3k", "2 #commit did:plc:a 3k", "3 #account did:plc:a -"], 3, "not what was sent"),
        (["1 #commit did:plc:a 3k", "3 #account did:plc:a -", "2 #account did:plc:a -"], 3, "went back"),
        (["1 #commit did:plc:a 3k", "2 #account did:plc:a -", "2 #account did:plc:a -"], 3, "came twice"),
    ],
)
def test_what_came_out_is_compared_with_what_was_sent(
    lines: list[str], accepted: int, fault: str, tmp_path: Path
) -> None:
    received = tmp_path / "received"
    received.write_text("".join(f"{line}\n" for line in lines))
    metrics = {'relay_events_emitted_total{kind="#commit"}': float(accepted)}
    if not fault:
        throughput.check(metrics, received, SENT)
        return
    with pytest.raises(AssertionError, match=fault):
        throughput.check(metrics, received, SENT)


def test_frames_are_cut_wherever_the_stream_is() -> None:
    payloads = [b"a", b"b" * 126, b"c" * 70_000]
    stream = b"\x82\x01a" + b"\x82\x7e" + (126).to_bytes(2, "big") + payloads[1] + b"\x89\x00"
    stream += b"\x82\x7f" + (70_000).to_bytes(8, "big") + payloads[2]
    for size in (1, 2, 3, 1_000, len(stream)):
        frames = raw_websocket.Frames()
        found = [one for at in range(0, len(stream), size) for one in frames.feed(stream[at : at + size])]
        assert found == payloads
    with pytest.raises(ConnectionError, match="ended"):
        list(raw_websocket.Frames().feed(b"\x88\x02\x03\xe8"))


def test_the_sampler_sees_who_uses_the_time() -> None:
    sampler = Sampler()
    sampler.start()
    try:
        burn_until(sampler, 5)
    finally:
        sampler.stop()
    report = sampler.report()
    assert any("burn_until" in place for place in report["own"])
    assert set(report) == {"own", "with_calls", "lines"}


def burn_until(sampler: Sampler, samples: int) -> None:
    while sampler.samples < samples:
        sum(range(1_000))


def test_the_cpu_time_and_memory_of_a_process_are_those_of_the_kernel() -> None:
    before = measure.cpu_s(os.getpid())
    while measure.cpu_s(os.getpid()) == before:
        sum(range(10_000))
    assert sum(os.times()[:2]) == pytest.approx(measure.cpu_s(os.getpid()), abs=0.1)
    assert measure.peak_rss_mb(os.getpid()) > 10
