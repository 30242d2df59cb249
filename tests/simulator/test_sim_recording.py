"""The consumer that records: over reconnects, in memory and in a file, fast enough; and the wait for what must come."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from tests.support.sim_stories import DID, OTHER, PerfectRelay, Story
from tests.support.simulator_frames import emission, emissions
from tools.simulator.model import Emission, Intent
from tools.simulator.oracle.judge import Judge, Policy
from tools.simulator.oracle.recording import RECORD, Recorder, read_recording, read_until
from tools.simulator.oracle.rules import ACCEPTED
from tools.simulator.oracle.waiting import marks_of, wait_until_handled
from tools.simulator.servers.host import SUBSCRIBE
from tools.simulator.servers.network import Network

ROOT = Path(__file__).resolve().parents[2]
WAIT_S_MAX = 20.0


class Stream:
    """A server that sends what it is given, as a relay's firehose would."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.host = network.hosts[0]
        self.url = f"ws://{self.host.name}{SUBSCRIBE}"
        self.relay = PerfectRelay()

    def pass_on(self, one: Emission) -> None:
        received = self.relay.send(one)
        self.network.play([Emission(0, 0, received.seq, received.wire, received.kind, DID, None, Intent.GOOD)])


@pytest.fixture
def stream() -> Iterator[Stream]:
    with Network(1) as network:
        yield Stream(network)


def wait(recorder: Recorder, count: int) -> None:
    while recorder.count < count:
        assert recorder.wait_beyond(recorder.count, WAIT_S_MAX)


@pytest.fixture(params=["memory", "file"])
def recorder(request: pytest.FixtureRequest, stream: Stream, tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(stream.url, path=tmp_path / "recording" if request.param == "file" else None)
    recorder.start()
    yield recorder
    recorder.stop()


def test_it_resumes_where_it_was(stream: Stream, recorder: Recorder) -> None:
    played = emissions(10)
    stream.network.play(played[:4])
    wait(recorder, 4)
    stream.host.disconnect()
    stream.network.play(played[4:])
    wait(recorder, 10)
    assert stream.host.cursors == [0, 4]
    sessions = recorder.sessions()
    assert [(session.cursor, len(session)) for session in sessions] == [(0, 4), (4, 6)]
    assert [(one.seq, one.kind, one.wire) for session in sessions for one in session] == [
        (step.seq, "#commit", step.wire) for step in played
    ]
    assert [one.session for one in recorder.since(3)] == [0, *[1] * 6]


def test_it_waits_for_a_server_that_is_not_there_yet() -> None:
    network = Network(1)
    recorder = Recorder(Stream(network).url)
    recorder.start()
    assert not recorder.wait_beyond(0, 0.2)
    with network:
        network.play(emissions(1))
        wait(recorder, 1)
        recorder.stop()


def test_live_means_no_cursor(stream: Stream) -> None:
    stream.network.play(emissions(3))
    recorder = Recorder(stream.url, cursor=None)
    recorder.start()
    stream.host.wait_connections(1, WAIT_S_MAX)
    stream.network.play([emission(4)])
    wait(recorder, 1)
    recorder.stop()
    [session] = recorder.sessions()
    assert (session.cursor, [one.seq for one in session]) == (None, [4])


def test_error_frames_are_recorded(stream: Stream) -> None:
    stream.network.play(emissions(3))
    recorder = Recorder(stream.url, cursor=99)
    recorder.start()
    wait(recorder, 1)
    recorder.stop()
    assert next((one.kind, one.seq) for one in recorder.since(0)) == ("error", 0)


def test_a_process_that_is_killed_leaves_a_recording(stream: Stream, tmp_path: Path) -> None:
    path = tmp_path / "recording"
    played = emissions(200, size=5000)
    stream.network.play(played[:150])
    command = [sys.executable, "-m", "tools.simulator.oracle.recording", stream.url, str(path)]
    child = subprocess.Popen(command, cwd=ROOT)
    stream.host.wait_connections(1, WAIT_S_MAX)
    stream.network.play(played[150:])
    with gevent.Timeout(WAIT_S_MAX):
        while not path.exists() or path.stat().st_size < 200 * 5000:
            gevent.sleep(0.01)  # another process: its file is all there is to see
    child.kill()
    child.wait()
    [session] = read_recording(path)
    assert [(one.seq, one.wire) for one in session] == [(step.seq, step.wire) for step in played]
    whole = path.read_bytes()
    for torn in (1, RECORD.size, len(played[-1].wire) + 1):
        path.write_bytes(whole[:-torn])
        assert len(read_recording(path)[0]) == 199


def test_a_fresh_reading(stream: Stream) -> None:
    stream.network.play(emissions(10))
    assert [one.seq for one in read_until(stream.url, until_seq=7)] == list(range(1, 8))
    assert [one.seq for one in read_until(stream.url, cursor=4, idle_s=0.2)] == list(range(5, 11))


@pytest.mark.slow
def test_it_keeps_up(stream: Stream, tmp_path: Path) -> None:
    """Sender and recorder in different processes, as they would be: several thousand of the usual size in a second."""
    count, size = 20_000, 5_500
    stream.network.play(emissions(count, size=size))
    path = tmp_path / "recording"
    child = subprocess.Popen(
        [sys.executable, "-m", "tools.simulator.oracle.recording", stream.url, str(path)], cwd=ROOT
    )
    stream.host.wait_connections(1, WAIT_S_MAX)
    began = time.monotonic()
    with gevent.Timeout(60):
        while not path.exists() or path.stat().st_size < count * size:
            gevent.sleep(0.01)
    took_s = time.monotonic() - began
    child.kill()
    child.wait()
    assert count / took_s > 3_000, f"{count / took_s:.0f} events/s"


class TestWaiting:
    def test_until_all_that_must_come_has_and_the_marks_stand(self, stream: Stream, recorder: Recorder) -> None:
        story = told()
        marks = {0: 0, 1: 0}

        def reach() -> None:
            for one in story.emissions:
                if one.intent in ACCEPTED:
                    stream.pass_on(one)
            wait(recorder, len(story.emissions) - 1)
            marks.update(story.ledger.last_seqs())

        playing = gevent.spawn(reach)
        waited = wait_until_handled(story.ledger, Policy("strict"), recorder, lambda: marks, timeout_s=WAIT_S_MAX)
        playing.get()
        assert waited.done, waited.missing
        final = read_until(stream.url, until_seq=recorder.last_seq)
        found = Judge(story.ledger, Policy("strict")).judge(recorder.sessions(), final)
        assert found.ok, found.summary()

    def test_what_is_missing_is_said_in_time(self, stream: Stream, recorder: Recorder) -> None:
        story = told()
        for one in story.emissions[:-2]:
            if one.intent in ACCEPTED:
                stream.pass_on(one)
        waited = wait_until_handled(story.ledger, Policy("strict"), recorder, dict, timeout_s=0.5)
        assert not waited.done
        assert waited.missing[0].startswith("2 of")
        assert "host 1 epoch 0 seq 4 #commit" in waited.missing[-1]
        for one in story.emissions[-2:]:
            stream.pass_on(one)
        waited = wait_until_handled(story.ledger, Policy("strict"), recorder, lambda: {0: 5, 1: 3}, timeout_s=1)
        assert waited.missing == ["host 1: its last seq is 4, the relay's mark 3"]
        assert not waited.done

    def test_marks_by_the_names_of_hosts(self) -> None:
        listed: list[dict[str, object]] = [
            {"hostname": "b.test", "seq": 7},
            {"hostname": "new.test"},
            {"hostname": "other.test", "seq": 1},
        ]
        assert marks_of(listed, ["a.test", "b.test", "new.test"]) == {0: 0, 1: 7, 2: 0}


def told() -> Story:
    story = Story()
    story.introduce(DID, 0)
    story.commit(DID, intent=Intent.BAD_SIGNATURE)
    story.commit(DID)
    story.introduce(OTHER, 1)
    story.commit(OTHER, 1)
    return story
