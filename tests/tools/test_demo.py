"""The demo as a newcomer runs it: in a terminal of its own, with Ctrl-C, killed, and with a relay that dies."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from tools.demo import draw, ending, network, plain
from tools.demo.options import parse
from tools.demo.sampling import Sampler
from tools.demo.snapshot import Addresses, EventLine, HostLine, Snapshot
from tools.demo.view import screen, short_did
from tools.simulator.model import Intent
from tools.simulator.oracle.findings import Findings, Tally

ROOT = Path(__file__).resolve().parents[2]
WAIT_S_MAX = 40.0
SMALL = ["--hosts", "2", "--accounts", "3", "--rate", "80"]
ADDRESSES = Addresses("http://localhost:3000", "http://localhost:3001")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


# --- the whole demo


class Demo:
    """`python -m tools.demo`, with a temporary folder of its own, in a terminal or with a pipe."""

    def __init__(self, folder: Path, *arguments: str, terminal: bool = False) -> None:
        self.folder = folder
        self.raw = ""
        ours, theirs = pty.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(ours) if terminal else []
        self.output = ours
        env = {**os.environ, "TMPDIR": str(folder), "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        wrapper = ["setsid", "--ctty"] if terminal else []  # a Ctrl-C is for whoever has the terminal
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, "-m", "tools.demo", *SMALL, *arguments],
            cwd=ROOT,
            env=env,
            stdin=theirs if terminal else subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        if not terminal:
            os.close(theirs)  # so that there is an end to read up to
        self._theirs = theirs

    @property
    def text(self) -> str:
        return ESCAPES.sub("", self.raw)

    def read_until(self, *wanted: str) -> None:
        """Until all of that has been written."""
        self._read(lambda: all(text in self.text for text in wanted))

    def finish(self) -> int:
        """Reads all that it writes. Returns its exit status."""
        self._read(lambda: self.process.poll() is not None)
        self._read(lambda: not select.select([self.output], [], [], 0)[0])
        return self.process.wait()

    def press_ctrl_c(self) -> None:
        os.write(self.output, b"\x03")

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self.output)
        with contextlib.suppress(OSError):
            os.close(self._theirs)

    def _read(self, done: Callable[[], bool]) -> None:
        until_s = time.monotonic() + WAIT_S_MAX
        while not done():
            assert time.monotonic() < until_s, self.text[-4000:]
            if select.select([self.output], [], [], 0.05)[0]:
                data = os.read(self.output, 65536)
                if not data:
                    return
                self.raw += data.decode(errors="replace")


def running_in(folder: Path) -> dict[int, str]:
    """The programs that the demo has started: they run in its temporary folder, also after it is gone."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str((entry / "cwd").readlink()).startswith(str(folder)):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def wait_for_the_end_of(pids: dict[int, str]) -> None:
    for pid, command in pids.items():
        with contextlib.suppress(ProcessLookupError):
            process = os.pidfd_open(pid)
            ended, _, _ = select.select([process], [], [], WAIT_S_MAX)
            os.close(process)
            assert ended, f"still there: {command}"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    demos: list[Demo] = []

    def start_one(*arguments: str, terminal: bool = False) -> Demo:
        demos.append(Demo(tmp_path, *arguments, terminal=terminal))
        return demos[-1]

    yield start_one
    for demo in demos:
        demo.close()
    try:
        wait_for_the_end_of(running_in(tmp_path))
    finally:
        for pid in running_in(tmp_path):
            os.kill(pid, signal.SIGKILL)


def test_in_a_terminal_until_ctrl_c(start: Callable[..., Demo], tmp_path: Path) -> None:
    demo = start(terminal=True)
    demo.read_until("2 hosts → relay → consumer", "2 of 2 hosts connected", "#commit", "app.bsky.", "verified")
    assert len(running_in(tmp_path)) == 3, "the network, gunicorn's master and its worker"
    demo.press_ctrl_c()
    assert demo.finish() == 0, demo.text[-4000:]
    screen_part, _, after = demo.raw.partition("\x1b[?1049l")
    assert "\x1b[?1049h" in screen_part
    assert demo.raw.rfind("\x1b[?25h") > demo.raw.rfind("\x1b[?25l"), "the cursor is to be seen again"
    assert termios.tcgetattr(demo.output) == demo.before
    verdict = ESCAPES.sub("", after)
    assert re.search(r"✓ [1-9][\d,]* events had to come out of the relay, and all did", verdict), verdict
    assert "✓ the relay ended in order" in verdict
    assert "✗" not in verdict
    assert "Traceback" not in demo.text
    assert running_in(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal_there_are_lines(start: Callable[..., Demo], tmp_path: Path) -> None:
    pictures = [tmp_path / "screen.svg", tmp_path / "kept"]
    demo = start("--seconds", "2.5", "--screenshot", str(pictures[0]), "--keep", str(pictures[1]))
    assert demo.finish() == 0, demo.text
    assert demo.raw == demo.text, "no control characters"
    assert re.search(
        r"(?m)^ 0:0[12]  sent [1-9]\d*  received [1-9]\d*  dropped \d+  came out [1-9]\d*  verified ", demo.text
    )
    assert "events had to come out of the relay, and all did" in demo.text
    assert "forged, broken or repeated on purpose, and none came out" in demo.text
    svg = pictures[0].read_text()
    assert svg.startswith("<svg")
    assert "url(http" not in svg
    assert sorted(tmp_path.iterdir()) == sorted(pictures)
    assert (pictures[1] / "relay.log").stat().st_size > 0
    assert str(pictures[1]) in demo.text


def test_nothing_outlives_a_demo_that_is_killed(start: Callable[..., Demo], tmp_path: Path) -> None:
    demo = start()
    demo.read_until("firehose")
    children = running_in(tmp_path)
    assert len(children) == 3, children
    demo.process.kill()
    wait_for_the_end_of(children)


def test_a_relay_that_dies_is_told_with_the_end_of_its_log(start: Callable[..., Demo], tmp_path: Path) -> None:
    demo = start()
    demo.read_until("firehose")
    for pid, command in running_in(tmp_path).items():
        if "gunicorn" in command:
            os.kill(pid, signal.SIGKILL)
    assert demo.finish() == 1
    assert re.search("the relay has ended with status -9|the consumer has lost its connection", demo.text)
    assert "Traceback" not in demo.text
    log = re.search(r"its whole log: (\S+)", demo.text)
    assert log is not None
    assert Path(log[1]).read_text().splitlines()[-1] in demo.text


# --- its parts


def a_snapshot(hosts: int = 4, reasons: int = 7, events: int = 60) -> Snapshot:
    did = "did:plc:" + "a2c4" * 6
    return Snapshot(
        elapsed_s=62.5,
        hosts=tuple(HostLine(f"localhost:{40000 + place}", "active", 12_345, 20, 15.2) for place in range(hosts)),
        hosts_connected=hosts,
        emitted=4_211,
        intents={"good": 4_000} | {f"intent_{place}": place + 1 for place in range(reasons)},
        received=4_210,
        out=4_001,
        dropped=207,
        verified=3_870,
        unverified=1,
        undecodable=2,
        drops={f"reason_{place}": place + 1 for place in range(reasons)},
        queues=dict.fromkeys(("lanes", "parked", "log", "state", "resolver"), 0),
        relay_seq=4_001,
        consumed=4_000,
        lag=1,
        memory_bytes=92_300_000,
        cpu_share=0.21,
        log_bytes=23_100_000,
        rates=tuple(float(value % 90) for value in range(300)),
        events=tuple(
            EventLine(place, "#commit", did, (("create", "app.bsky.feed.post/3mbd357cn3s22"),), "", 2_100)
            for place in range(events)
        ),
    )


@pytest.mark.parametrize("hosts", [0, 1, 4, 200])
@pytest.mark.parametrize("events", [0, 60])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (120, 40), (250, 70), (81, 24), (80, 200)])
def test_the_screen_is_exactly_as_large_as_the_terminal(width: int, height: int, hosts: int, events: int) -> None:
    lines = screen(a_snapshot(hosts, hosts % 30, events), ADDRESSES, width, height)
    assert len(lines) == height
    assert {cell_len(line.plain) for line in lines} == {width}


def test_everything_is_on_the_smallest_screen() -> None:
    text = "\n".join(line.plain for line in screen(a_snapshot(), ADDRESSES, 80, 24))
    for wanted in (
        "4 hosts → relay → consumer",
        "Ctrl-C ends it  1:02",
        "4,211        4,210        209          4,001        99.97 %      4,000",
        " localhost:40003 active    12345       20   15",
        "reason_6",
        "memory 92.3 MB   CPU 21%   log 23.1 MB   seq 4,001   consumer lag 1",
        "lanes 0   parked 0   log 0   state 0   resolver 0",
        "#commit   did:plc:a2c4a…a2c4  + app.bsky.feed.post/3mbd357cn3s22",
        "ws://localhost:3000/xrpc/com.atproto.sync.subscribeRepos",
        "curl -s http://localhost:3001/metrics | grep ^relay_",
    ):
        assert wanted in text, f"{wanted}\n{text}"


def test_a_larger_screen_shows_more() -> None:
    text = "\n".join(line.plain for line in screen(a_snapshot(), ADDRESSES, 130, 45))
    assert "intent_6" in text
    assert "did:plc:" + "a2c4" * 6 in text
    assert text.count("#commit") >= 12


def test_a_terminal_that_is_too_small_gets_the_upper_left() -> None:
    lines = screen(a_snapshot(), ADDRESSES, 40, 10)
    assert len(lines) == 10
    assert {cell_len(line.plain) for line in lines} == {40}


def test_numbers_are_never_made_better_than_they_are() -> None:
    assert draw.share(1.0) == "100 %"
    assert draw.share(999_999 / 1_000_000) == "99.99 %"
    assert draw.share(None) == "-"
    assert [draw.size(number) for number in (0, 999, 1_500, 92_300_000, 2_000_000_000)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "92.3 MB",
        "2.0 GB",
    ]
    assert [line.plain for line in draw.graph([0, 4, 8], 4, 1)] == [" ▁▄█"]
    assert [line.plain for line in draw.graph([8, 16], 2, 2)] == [" █", "██"]
    assert short_did("did:web:example.com:somewhere.else") == "did:web:examp…else"


class FakeRelay:
    """What the two pages say."""

    def __init__(self) -> None:
        self.numbers = {
            'relay_events_received_total{kind="#commit"}': 10.0,
            'relay_events_received_total{kind="#sync"}': 2.0,
            'relay_events_emitted_total{kind="#commit"}': 9.0,
            'relay_events_dropped_total{reason="rev_old"}': 3.0,
            'relay_events_dropped_total{reason="car_invalid"}': 0.0,
            'relay_verifications_total{result="verified"}': 8.0,
            'relay_verifications_total{result="unverified"}': 1.0,
            'relay_queue_items{queue="lanes"}': 4.0,
            "relay_frames_undecodable_total": 1.0,
            "relay_hosts_connected": 1.0,
            "relay_log_seq": 9.0,
            "relay_log_bytes": 5_000.0,
            "process_resident_memory_bytes": 9e7,
            "process_cpu_seconds_total": 1.0,
        }
        self.seq = 12

    def metrics(self) -> dict[str, float]:
        return dict(self.numbers)

    def get(self, path: str) -> Any:
        assert path.startswith("/xrpc/com.atproto.sync.listHosts")
        return {"hosts": [{"hostname": "localhost:1", "status": "active", "seq": self.seq, "accountCount": 3}]}


class FakeConsumer:
    count, last_seq = 7, 8


class FakeEmitted:
    sent: int = 13
    intents: dict[str, int] = {"good": 13}  # noqa: RUF012  # as the protocol has it


def test_rates_are_growth_over_time() -> None:
    now = [100.0]
    relay = FakeRelay()
    sampler = Sampler(relay, FakeConsumer(), FakeEmitted, lambda: now[0])
    first = sampler.sample()
    assert (first.rates, first.cpu_share, first.hosts[0].rate) == ((0.0,), 0.0, 0.0)
    assert (first.emitted, first.received, first.dropped, first.out, first.consumed) == (13, 12, 3, 9, 7)
    assert (first.drops, first.queues, first.lag, first.undecodable) == ({"rev_old": 3}, {"lanes": 4}, 1, 1)
    assert first.verified_share == pytest.approx(8 / 9)
    now[0] += 0.5
    relay.numbers['relay_events_emitted_total{kind="#commit"}'] += 40
    relay.numbers["process_cpu_seconds_total"] += 0.1
    relay.seq += 20
    second = sampler.sample()
    assert second.rates == (0.0, 80.0)
    assert second.cpu_share == pytest.approx(0.2)
    assert second.hosts[0].rate == 40.0
    relay.seq = 1  # the host counts anew
    now[0] += 0.5
    assert sampler.sample().hosts[0].rate == 0.0
    assert "0:01  sent 13  received 12  dropped 4  came out 49" in plain.line(sampler.latest)


def test_attacks_are_never_too_many_for_so_few_accounts() -> None:
    for rate, accounts, wanted in ((60.0, 48, None), (2_000.0, 48, 4.8), (60.0, 1, 0.1)):
        weights = network.mix(rate, accounts).weights
        attacks = sum(weight for item, weight in weights.items() if isinstance(item, Intent))
        attacks_per_s = rate * attacks / sum(weights.values())
        if wanted is None:
            assert 2 < attacks_per_s < 0.1 * accounts
        else:
            assert attacks_per_s == pytest.approx(wanted)


def findings(**totals: int) -> Findings:
    found = Findings()
    found.received = 100
    found.tallies = {Intent.GOOD: Tally(100, 100, 0, 0, 100), Intent.OLD_REV: Tally(5, 0, 1, 4, 1)}
    found.totals.update({name.replace("_", " "): number for name, number in totals.items()})
    return found


def test_the_verdict_when_all_is_well() -> None:
    lines = ending.verdict(findings(), accounts=12)
    assert not any(line.good is False for line in lines)
    texts = [line.text for line in lines]
    assert texts[0] == "100 events had to come out of the relay, and all did"
    assert texts[1] == "4 were forged, broken or repeated on purpose, and none came out"
    assert any("1 could go either way" in text and "all came out" in text for text in texts)


@pytest.mark.parametrize(
    "kind",
    [
        *("lost", "forbidden", "twice", "changed", "stranger", "disordered", "rev_went_back", "gone", "seq_reused"),
        *("seq_wrong", "seq_went_back", "seq_skipped", "stream_message", "end", "vacuous", "of_a_kind_yet_unknown"),
    ],
)
def test_whatever_the_judge_finds_makes_the_verdict_wrong(kind: str) -> None:
    lines = ending.verdict(findings(**{kind: 1}), accounts=12)
    assert [line.good for line in lines].count(False) == 1


@pytest.mark.parametrize(
    "arguments", [["--hosts", "0"], ["--port", "x"], ["--rate", "nan"], ["--screenshot", "a.png"], ["--keep", "/"]]
)
def test_what_can_not_be_is_refused_with_a_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err
