"""Each place where the log waits for the disk, and what would be lost without it: the power goes right behind it, and
the disk has kept nothing that it was not made to keep."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest

from tests.eventlog.builders import event, make_log, read_all
from tests.eventlog.memory_files import Crash, MemoryFiles
from zlay_py.errors import StorageFailedError
from zlay_py.eventlog.ceiling import CEILING_NAME, Durability
from zlay_py.eventlog.files import OsFiles
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.segment import SEGMENT_HEADER_BYTES
from zlay_py.eventlog.tail import Tail

T = TypeVar("T")
FSYNC, FLUSH = Durability.FSYNC, Durability.FLUSH


class LazyDisk(Random):
    """Chooses for `lose_power`: of each file what the last fsync left, of the names only those that were synced."""

    def choice(self, seq: Sequence[T]) -> T:  # type: ignore[override]
        return seq[0]

    def random(self) -> float:
        return 1.0


def lose_power(files: MemoryFiles) -> None:
    files.lose_power(LazyDisk())


def opened(files: MemoryFiles, durability: Durability = FSYNC, **changes: Any) -> EventLog:
    log = make_log(files=files, durability=durability, **changes)
    log.open()
    return log


def seqs(log: EventLog) -> list[int]:
    return [record.seq for record in read_all(log)]


def dying(operation: str, when: Callable[[], bool] = lambda: True) -> Callable[[str, int], None]:
    """The process ends right before the disk is asked for this operation."""

    def before(name: str, _: int) -> None:
        if name == operation and when():
            raise Crash

    return before


def appending_is_cut_off(files: MemoryFiles, log: EventLog, *numbers: int) -> None:
    files.before = dying("fsync")
    with pytest.raises(Crash):
        log.append([event(number) for number in numbers])
    files.be_well()


# ── what was acknowledged ─────────────────────────────────────────────────────────────────────────────────────────


def test_an_acknowledged_batch_outlives_the_power() -> None:
    files = MemoryFiles()
    log = opened(files)
    for batch in ([event(1), event(2)], [event(3)]):
        acknowledged = log.append(batch)
        assert log.durable_seq == acknowledged[-1]
    lose_power(files)
    assert seqs(opened(files)) == [1, 2, 3]


def test_nothing_of_a_batch_is_shown_before_the_disk_has_it() -> None:
    """Whoever was sent it would keep what a loss of power takes from the log."""
    files = MemoryFiles()
    tail = Tail()
    log = opened(files, tail=tail)
    appending_is_cut_off(files, log, 1)
    assert (tail.tip_seq, log.current_seq, log.durable_seq) == (0, 0, 0)
    lose_power(files)
    assert seqs(opened(files)) == []


def test_a_sync_in_flush_mode_outlives_the_power() -> None:
    files = MemoryFiles()
    log = opened(files, FLUSH)
    log.append([event(1), event(2)])
    log.sync()
    assert log.durable_seq == 2
    log.append([event(3)])
    assert log.durable_seq == 2
    lose_power(files)
    assert seqs(opened(files)) == [1, 2]


def test_a_full_segment_outlives_the_power_in_flush_mode_too() -> None:
    files = MemoryFiles()
    log = opened(files, FLUSH, segment_bytes_max=100)
    log.append([event(1)])
    log.append([event(2)])
    assert (len(log.segments), log.durable_seq) == (2, 1)
    lose_power(files)
    assert seqs(opened(files)) == [1]


def test_what_was_there_at_a_close_outlives_the_power() -> None:
    files = MemoryFiles()
    log = opened(files, FLUSH)
    log.append([event(1), event(2)])
    log.close()
    lose_power(files)
    log = make_log(files=files)
    recovery = log.open()
    assert (recovery.clean, recovery.bytes_cut, recovery.next_seq) == (True, 0, 3)
    assert seqs(log) == [1, 2]


# ── a start serves what it has found, so that must be durable ─────────────────────────────────────────────────────


@pytest.mark.parametrize("durability", Durability)
def test_what_a_killed_process_wrote_is_durable_once_a_start_has_found_it(durability: Durability) -> None:
    files = MemoryFiles()
    log = opened(files, durability)
    if durability is FSYNC:
        appending_is_cut_off(files, log, 1, 2)
    else:
        log.append([event(1), event(2)])
    files.kill()
    log = opened(files)
    assert seqs(log) == [1, 2]
    assert log.durable_seq >= 2
    lose_power(files)
    assert seqs(opened(files)) == [1, 2]


def test_what_a_failed_fsync_left_in_memory_is_durable_once_a_start_has_found_it() -> None:
    """The kernel takes those pages for clean: another fsync alone would write nothing."""
    files = MemoryFiles()
    log = opened(files)
    log.append([event(1)])

    def fail(operation: str, _: int) -> None:
        if operation == "fsync":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    files.before = fail
    with pytest.raises(StorageFailedError):
        log.append([event(2)])
    files.be_well()
    files.kill()
    assert seqs(opened(files)) == [1, 2]
    lose_power(files)
    assert seqs(opened(files)) == [1, 2]


@pytest.mark.parametrize("seed", range(40))
def test_in_flush_mode_a_loss_of_power_is_no_damage(seed: int) -> None:
    """Later batches must not say that earlier ones were durable: the start would take a torn write for damage."""
    files = MemoryFiles()
    log = opened(files, FLUSH)
    for number in range(1, 5):
        log.append([event(number, size=200)])
    files.lose_power(Random(seed))
    found = seqs(opened(files))
    assert found == list(range(1, len(found) + 1))


# ── a new segment ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("operation", "segment_in_ceiling"), [("create", 1), ("write", 2)])
def test_a_new_segment_is_durable_before_anything_names_it(operation: str, segment_in_ceiling: int) -> None:
    """The power goes before the ceiling file names it, and before its first record is written."""
    files = MemoryFiles()
    log = opened(files, segment_bytes_max=100)
    log.append([event(1)])
    named = b"segment=%d " % segment_in_ceiling
    files.before = dying(operation, lambda: "evts-2" in files.names and named in files.names[CEILING_NAME].current)
    with pytest.raises(Crash):
        log.append([event(2)])
    files.be_well()
    assert named in files.names[CEILING_NAME].current
    lose_power(files)
    log = opened(files, segment_bytes_max=100)
    assert [segment.first_seq for segment in log.segments] == [1, 2]
    assert log.segments[-1].end == SEGMENT_HEADER_BYTES
    assert seqs(log) == [1]
    assert log.append([event(2)]) == [2]


# ── the ceiling ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("durability", Durability)
def test_the_ceiling_outlives_the_power_before_a_seq_below_it_is_given_out(durability: Durability) -> None:
    files, seen = MemoryFiles(), [0]
    for run in range(1, 4):
        log = opened(files, durability, ceiling_stride=3)
        assert log.next_seq > max(seen)
        for number in range(4):
            seen += log.append([event(10 * run + number)])
        lose_power(files)
    assert opened(files, durability).next_seq > max(seen)


# ── the real file layer ───────────────────────────────────────────────────────────────────────────────────────────


class Noting(OsFiles):
    def __init__(self) -> None:
        self.synced: list[Path] = []

    def fsync_dir(self, path: Path) -> None:
        super().fsync_dir(path)
        self.synced.append(path)


def test_a_new_directory_is_durable_in_its_parent(tmp_path: Path) -> None:
    files = Noting()
    files.make_dir(tmp_path / "a" / "b")
    assert files.synced == [tmp_path, tmp_path / "a"]


def test_a_sync_reaches_the_kernel() -> None:
    """Shown by what the kernel refuses to sync: a pipe, and a folder that is no disk's."""
    reading, writing = os.pipe()
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            OsFiles().fsync(writing)
    finally:
        os.close(reading)
        os.close(writing)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        OsFiles().fsync_dir(Path("/proc/self"))
