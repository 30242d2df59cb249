"""The log in a real process that is really killed: nothing acknowledged is lost, no seq is given out twice."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from tests.eventlog.log_life import LOG_POINTS
from zlay_py.crashpoints import CrashPoint
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.verify import read_ceiling, read_records, verify_segments

PROJECT_ROOT = Path(__file__).resolve().parent.parent.parent
CHILD = Path(__file__).with_name("log_kill_child.py")
BATCHES_FOR_EVER = 10**9


@dataclass
class History:
    """What was said by all processes on one directory: each seq and the name of its batch."""

    directory: Path
    seen: dict[int, str] = field(default_factory=dict)
    acknowledged: set[int] = field(default_factory=set)
    durable_seq: int = 0
    may_be_removed: int = 0
    may_be_lost: set[int] = field(default_factory=set)
    next_seq: int = 0
    closed: bool = False

    def listen(self, line: str) -> None:
        what, *rest = line.split()
        if what == "open":
            self.next_seq = int(rest[0])
            self.durable_seq = self.next_seq - 1
            assert self.next_seq > max(self.seen, default=0), "a seq that was seen is given out again"
        elif what in ("seen", "ack"):
            first, last, name = int(rest[0]), int(rest[1]), rest[2]
            for seq in range(first, last + 1):
                if what == "seen":
                    assert seq not in self.seen, f"seq {seq} was given out twice"
                    self.seen[seq] = name
                else:
                    assert self.seen[seq] == name
                    self.acknowledged.add(seq)
        elif what == "synced":
            self.durable_seq = int(rest[0])
        elif what == "removing":
            self.may_be_removed = int(rest[0])
        elif what == "closed":
            self.closed = True

    def run(self, durability: Durability, batches: int, *point: object, kill_after: int | None = None) -> int:
        """One process, killed after so many lines or left to itself. Returns its exit status."""
        command = [sys.executable, str(CHILD), str(self.directory), durability, str(batches), *map(str, point)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT, env={"PYTHONPATH": str(PROJECT_ROOT)}
        ) as process:
            assert process.stdout is not None
            for number, line in enumerate(process.stdout, 1):
                self.listen(line)
                if number == kill_after:
                    process.kill()
            return process.wait()

    def lose_power(self) -> None:
        """In flush mode: what was sent since the last sync may be lost. Its seqs must not come again."""
        self.may_be_lost |= {seq for seq in self.seen if seq > self.durable_seq}

    def check(self) -> None:
        """After a clean close: all files are in order, and everything that was seen is there."""
        assert self.closed
        reports = list(verify_segments(self.directory))
        assert [report.problem for report in reports] == [None] * len(reports)
        found, last = {}, 0
        for record in read_records(self.directory):
            assert record.seq > last
            found[record.seq] = record.payload
            last = record.seq
        owed = {seq for seq in self.seen if seq > self.may_be_removed} - self.may_be_lost
        missing = owed - found.keys()
        assert not missing, f"lost {sorted(missing)[:5]}"
        for seq, name in self.seen.items():
            assert seq not in found or f"{name}.".encode() in found[seq]
        state = read_ceiling(self.directory)
        assert state is not None
        assert state.clean


@pytest.mark.parametrize("durability", Durability)
def test_a_log_that_is_killed_again_and_again_loses_nothing(tmp_path: Path, durability: Durability) -> None:
    history, random = History(tmp_path), Random(durability)
    for _ in range(12):
        assert history.run(durability, BATCHES_FOR_EVER, kill_after=random.randint(1, 120)) == -9
    assert history.run(durability, 3) == 0
    assert len(history.acknowledged) > 100
    history.check()


def die_at(history: History, point: CrashPoint, durability: Durability, event: str, seed: int) -> None:
    directory = history.directory
    # A process that was killed, so that there is something to recover, with a write that came through in part.
    assert history.run(durability, BATCHES_FOR_EVER, kill_after=10) == -9
    with max(directory.glob("evts-*[0-9]"), key=lambda path: int(path.name[5:])).open("ab") as newest:
        newest.write(b"\x01\x00\x00\x00torn")
    assert history.run(durability, 40, point, 1, event, seed) == -9
    if event == "power" and durability is Durability.FLUSH:
        history.lose_power()
    assert history.run(durability, 3) == 0
    history.check()


FEW = (
    (CrashPoint.START_DECIDED, Durability.FLUSH, "power"),
    (CrashPoint.CEILING_RENAMED, Durability.FSYNC, "power"),
    (CrashPoint.SEGMENT_NAMED, Durability.FSYNC, "power"),
    (CrashPoint.PIECE_WRITTEN, Durability.FSYNC, "kill"),
    (CrashPoint.BATCH_DURABLE, Durability.FLUSH, "kill"),
    (CrashPoint.SEGMENT_UNLINKED, Durability.FLUSH, "power"),
    (CrashPoint.CLOSE_SYNCED, Durability.FSYNC, "kill"),
)


@pytest.mark.parametrize(("point", "durability", "event"), FEW)
def test_a_log_that_dies_at_a_named_point_loses_nothing(
    tmp_path: Path, point: CrashPoint, durability: Durability, event: str
) -> None:
    die_at(History(tmp_path), point, durability, event, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("durability", Durability)
@pytest.mark.parametrize("point", LOG_POINTS)
@pytest.mark.parametrize("event", ["kill", "power"])
def test_a_log_that_dies_at_any_point_loses_nothing(
    tmp_path: Path, event: str, point: CrashPoint, durability: Durability
) -> None:
    for seed in range(5 if event == "power" else 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        if point is CrashPoint.LOG_SYNCED:
            durability = Durability.FLUSH
        die_at(History(folder), point, durability, event, seed)
