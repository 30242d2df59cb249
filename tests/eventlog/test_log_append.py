"""Appending: the order of things, pieces, rotation, and one writer at a time."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import gevent
import pytest
from gevent.event import Event

from tests.eventlog.builders import FakeClock, event, make_log, payload_in_log, read_all, verdict
from tests.eventlog.memory_files import MemoryFiles
from zlay_py.clock import SystemClock
from zlay_py.crashpoints import CrashPoint
from zlay_py.errors import ConfigError, StorageFailedError
from zlay_py.eventlog.batch import PIECE_BYTES_MAX, PIECE_RECORDS_MAX, EntryInvalidError
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.delta import Delta
from zlay_py.eventlog.files import OsFiles
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import SEQ_MAX, Entry
from zlay_py.eventlog.tail import Tail

T = TypeVar("T")
FSYNC, FLUSH = Durability.FSYNC, Durability.FLUSH


def opened(files: MemoryFiles, **changes: Any) -> EventLog:
    log = make_log(files=files, **changes)
    log.open()
    return log


def failing(operation: str, number: int) -> Callable[[str, int], None]:
    def before(name: str, _: int) -> None:
        if name == operation:
            raise OSError(number, os.strerror(number))

    return before


# ── what an append does ───────────────────────────────────────────────────────────────────────────────────────────


def test_seqs_follow_each_other_and_events_come_back_as_they_were() -> None:
    log = opened(MemoryFiles())
    entries = [event(number, size=number * 10) for number in range(1, 8)]
    assert log.append(entries[:3]) == [1, 2, 3]
    assert log.append([]) == []
    assert log.append(entries[3:]) == [4, 5, 6, 7]
    for seq, (entry, record) in enumerate(zip(entries, read_all(log), strict=True), 1):
        assert (record.seq, record.payload, record.delta) == (seq, payload_in_log(entry, seq), entry.delta)
        assert (record.kind, record.uid, record.did_hash, record.host_id) == (
            entry.kind,
            entry.uid,
            entry.did_hash,
            entry.host_id,
        )
        assert (record.upstream_seq, record.upstream_epoch, record.time_us) == (
            entry.upstream_seq,
            entry.upstream_epoch,
            entry.time_us,
        )
    assert (log.next_seq, log.current_seq, log.durable_seq, log.oldest_seq) == (8, 7, 7, 1)


def test_a_batch_is_written_synced_shown_and_only_then_published() -> None:
    files, tail, steps = MemoryFiles(), Tail(), []

    def before(operation: str, _: int) -> None:
        steps.append((operation, tail.tip_seq, log.current_seq, len(log.read(1, bytes_max=10**6))))

    def reached(point: CrashPoint) -> None:
        steps.append((point, tail.tip_seq, log.current_seq, len(log.read(1, bytes_max=10**6))))

    log = opened(files, tail=tail, reached=lambda point: reached(point) if steps else None)
    log.append([event(1)])
    files.before = before
    steps.append(("start", 1, 1, 1))
    log.append([event(2), event(3)])
    assert steps[1:] == [
        ("write", 1, 1, 1),
        (CrashPoint.BATCH_WRITTEN, 1, 1, 1),
        ("fsync", 1, 1, 1),
        (CrashPoint.BATCH_DURABLE, 1, 1, 1),
        (CrashPoint.BATCH_PUBLISHED, 3, 3, 3),
    ]


def test_flush_mode_does_not_sync_batches_and_says_what_is_durable() -> None:
    files = MemoryFiles()
    log = opened(files, durability=FLUSH)
    files.before = failing("fsync", errno.EIO)
    log.append([event(1), event(2)])
    assert (log.current_seq, log.durable_seq) == (2, 0)
    files.be_well()
    log.sync()
    assert log.durable_seq == 2
    files.before = failing("fsync", errno.EIO)
    log.sync()


@pytest.mark.parametrize("count", [1, PIECE_RECORDS_MAX, PIECE_RECORDS_MAX + 1, 3 * PIECE_RECORDS_MAX - 1])
def test_a_batch_is_written_in_pieces(count: int) -> None:
    files, writes = MemoryFiles(), []
    log = opened(files)
    files.before = lambda operation, size: writes.append(size) if operation == "write" else None
    log.append([event(number) for number in range(count)])
    assert len(writes) == -(-count // PIECE_RECORDS_MAX)
    assert [record.seq for record in read_all(log)] == list(range(1, count + 1))


def test_a_piece_of_large_events_is_smaller() -> None:
    files, writes = MemoryFiles(), []
    log = opened(files)
    files.before = lambda operation, size: writes.append(size) if operation == "write" else None
    log.append([event(number, size=PIECE_BYTES_MAX * 2 // 3) for number in range(5)])
    assert len(writes) == 3


def test_a_verdict_takes_a_seq_and_is_never_sent() -> None:
    tail = Tail()
    log = opened(MemoryFiles(), tail=tail)
    assert log.append([event(1), verdict(1), event(2)]) == [1, 2, 3]
    chunk = tail.read(1, 10**6)
    assert chunk is not None
    assert (chunk.frames, chunk.next_seq) == (2, 4)
    record = read_all(log)[1]
    assert (record.judged_seq, record.delta.verified) == (1, True)


# ── rotation ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_full_segment_is_followed_by_another() -> None:
    files = MemoryFiles()
    log = opened(files, segment_bytes_max=600)
    for number in range(1, 10):
        log.append([event(number)])
    assert len(log.segments) > 2
    assert [segment.path.name for segment in log.segments] == [f"evts-{s.first_seq}" for s in log.segments]
    assert all(segment.end >= 600 for segment in log.segments[:-1])
    assert [record.seq for record in read_all(log)] == list(range(1, 10))


def test_an_old_segment_is_followed_by_another_but_an_empty_one_is_not() -> None:
    clock = FakeClock()
    log = opened(MemoryFiles(), clock=clock, segment_age_s_max=10)
    clock.pass_s(1000)
    log.append([event(1)])
    assert len(log.segments) == 1
    clock.pass_s(9)
    log.append([event(2)])
    assert [segment.first_seq for segment in log.segments] == [1]
    clock.pass_s(1)
    log.append([event(3)])
    assert [segment.first_seq for segment in log.segments] == [1, 3]


def test_a_new_segment_makes_the_old_one_durable_in_flush_mode() -> None:
    log = opened(MemoryFiles(), durability=FLUSH, segment_bytes_max=100)
    log.append([event(1)])
    assert log.durable_seq == 0
    log.append([event(2)])
    assert (log.current_seq, log.durable_seq) == (2, 1)


# ── mistakes of the caller ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "wrong", [{"uid": -1}, {"host_id": 2**40}, {"delta": Delta(rev="r" * 500)}, {"payload": bytes(6_000_000)}]
)
def test_an_entry_that_can_not_be_written_costs_its_batch_and_nothing_else(wrong: dict[str, Any]) -> None:
    files = MemoryFiles()
    log = opened(files)
    before = bytes(files.names["evts-1"].current)
    good: list[Entry] = [event(number) for number in range(PIECE_RECORDS_MAX + 5)]
    with pytest.raises(EntryInvalidError, match=f"entry {len(good)} of the batch"):
        log.append([*good, event(9, **wrong)])
    assert bytes(files.names["evts-1"].current) == before
    assert log.append(good)[0] == 1


@pytest.mark.parametrize("initial_seq", [0, -1, SEQ_MAX])
def test_an_initial_seq_out_of_range_is_a_wrong_setting(initial_seq: int) -> None:
    with pytest.raises(ConfigError, match="RELAY_INITIAL_SEQ"):
        make_log(initial_seq=initial_seq)


def test_seqs_end_loudly() -> None:
    log = opened(MemoryFiles(), initial_seq=SEQ_MAX - 100_000)
    log._next_seq = SEQ_MAX
    with pytest.raises(StorageFailedError, match="seqs end"):
        log.append([event(1), event(2)])


def test_a_closed_log_takes_nothing() -> None:
    log = opened(MemoryFiles())
    log.close()
    log.close()
    with pytest.raises(AssertionError, match="not open"):
        log.append([event(1)])


# ── with a hub ────────────────────────────────────────────────────────────────────────────────────────────────────


class SlowDisk:
    """An offload that lets the test say when the disk is done."""

    def __init__(self) -> None:
        self.entered, self.go_on = Event(), Event()

    def __call__(self, work: Callable[[], T]) -> T:
        self.entered.set()
        self.go_on.wait()
        return work()


def test_there_is_one_writer_at_a_time_and_readers_go_on() -> None:
    disk = SlowDisk()
    disk.go_on.set()
    log = opened(MemoryFiles(), offload=disk)
    log.append([event(1)])
    disk.entered.clear()
    disk.go_on.clear()
    writer = gevent.spawn(log.append, [event(2)])
    assert disk.entered.wait(60)
    with pytest.raises(AssertionError, match="two writers"):
        log.append([event(3)])
    with pytest.raises(AssertionError, match="being written"):
        log.close()
    assert [record.seq for record in read_all(log)] == [1]
    disk.go_on.set()
    assert writer.get(timeout=60) == [2]
    assert log.failure is None
    assert [record.seq for record in read_all(log)] == [1, 2]


def test_a_writer_that_is_killed_while_the_disk_works_stops_the_log() -> None:
    """What the file holds is not known; the next start reads it."""
    files, disk = MemoryFiles(), SlowDisk()
    disk.go_on.set()
    log = opened(files, offload=disk)
    log.append([event(1)])
    disk.entered.clear()
    disk.go_on.clear()
    writer = gevent.spawn(log.append, [event(2)])
    assert disk.entered.wait(60)
    writer.kill()
    assert log.failure == "interrupted by GreenletExit"
    with pytest.raises(StorageFailedError, match="has stopped"):
        log.append([event(2)])
    log.close()
    log = opened(files)
    assert [record.seq for record in read_all(log)] == [1, 2]
    assert log.next_seq == 3


@pytest.mark.parametrize("durability", Durability)
def test_a_log_on_a_real_disk(tmp_path: Path, durability: Durability) -> None:
    """With everything as in production: files, thread pool, clock."""
    directory = tmp_path / "data" / "events"
    for run in range(3):
        tail = Tail()
        log = EventLog(directory, durability=durability, clock=SystemClock(), tail=tail, segment_bytes_max=50_000)
        recovery = log.open()
        assert (recovery.next_seq, recovery.clean) == (run * 200 + 1, True)
        for start in range(0, 200, 20):
            log.append([event(start + place, size=500) for place in range(20)])
        log.sync()
        assert log.durable_seq == tail.tip_seq == run * 200 + 200
        assert [record.seq for record in read_all(log)] == list(range(1, run * 200 + 201))
        log.close()
    assert len(list(directory.glob("evts-*.idx"))) == len(log.segments) - 1 > 3


def test_the_data_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    files = OsFiles()
    files.make_dir(tmp_path / "a" / "b")
    files.make_dir(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_directory_that_can_not_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFailedError, match="creating"):
        make_log(tmp_path / "file" / "events").open()
