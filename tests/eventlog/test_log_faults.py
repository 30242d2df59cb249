"""Appending to a disk that is full, and to one that is broken."""

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.eventlog.builders import event, make_log, read_all
from tests.eventlog.memory_files import MemoryFiles
from zlay_py.errors import StorageFailedError, StorageFullError
from zlay_py.eventlog.batch import PIECE_RECORDS_MAX
from zlay_py.eventlog.ceiling import CEILING_NAME, Durability
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.tail import Tail

FLUSH = Durability.FLUSH


def opened(files: MemoryFiles, **changes: Any) -> EventLog:
    log = make_log(files=files, **changes)
    log.open()
    return log


def failing(operation: str, number: int) -> Callable[[str, int], None]:
    def before(name: str, _: int) -> None:
        if name == operation:
            raise OSError(number, os.strerror(number))

    return before


# ── a full disk ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("durability", Durability)
@pytest.mark.parametrize("room", [0, 1, 100, 20_000])
def test_a_full_disk_leaves_nothing_of_a_batch(durability: Durability, room: int) -> None:
    files, tail = MemoryFiles(), Tail()
    log = opened(files, durability=durability, tail=tail)
    log.append([event(1)])
    before, left = bytes(files.names["evts-1"].current), [room]

    def take(operation: str, size: int) -> int | None:
        if operation != "write":
            return None
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        taken, left[0] = min(size, left[0]), max(0, left[0] - size)
        return taken

    files.before = take
    batch = [event(number) for number in range(2, 2 + 2 * PIECE_RECORDS_MAX)]
    with pytest.raises(StorageFullError, match="no space left"):
        log.append(batch)
    assert bytes(files.names["evts-1"].current) == before
    assert len(files.names["evts-1"].history) == 1, "the cut is durable"
    assert (log.next_seq, tail.tip_seq, log.failure) == (2, 1, None)
    files.be_well()
    assert log.append(batch) == list(range(2, 2 + len(batch)))


@pytest.mark.parametrize("operation", ["create", "write"])
def test_a_disk_too_full_for_a_new_segment_leaves_the_log_as_it_was(operation: str) -> None:
    files = MemoryFiles()
    log = opened(files, segment_bytes_max=100)
    log.append([event(1)])
    for _ in range(2):
        files.before = failing(operation, errno.ENOSPC)
        with pytest.raises(StorageFullError):
            log.append([event(2)])
        files.be_well()
        assert "evts-2" not in files.names
    assert log.append([event(2)]) == [2]
    assert [segment.first_seq for segment in log.segments] == [1, 2]


def test_a_disk_that_fills_between_a_new_segment_and_the_ceiling() -> None:
    """The new segment is there and in use; the ceiling file must name it before it gets a record."""
    files = MemoryFiles()
    log = opened(files, segment_bytes_max=100)
    log.append([event(1)])

    def before(name: str, _: int) -> None:
        if name == "create" and "evts-2" in files.names:
            raise OSError(errno.ENOSPC, "no space left on device")

    files.before = before
    with pytest.raises(StorageFullError, match="seq-ceiling"):
        log.append([event(2)])
    files.be_well()
    assert b"segment=1 " in files.names[CEILING_NAME].current
    assert log.append([event(2)]) == [2]
    assert b"segment=2 " in files.names[CEILING_NAME].current


def test_a_short_write_goes_on_where_it_stopped() -> None:
    files = MemoryFiles()
    log = opened(files)
    files.before = lambda operation, size: max(1, size // 2) if operation == "write" else None
    log.append([event(1), event(2)])
    assert [record.seq for record in read_all(log)] == [1, 2]


def test_a_file_that_takes_nothing_and_says_nothing_stops_the_log() -> None:
    files = MemoryFiles()
    log = opened(files)
    files.before = lambda operation, _: 0 if operation == "write" else None
    with pytest.raises(StorageFailedError, match="no more bytes"):
        log.append([event(1)])


# ── a broken disk ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("operation", "number"),
    [("write", errno.EIO), ("fsync", errno.EIO), ("fsync", errno.ENOSPC), ("write", errno.EROFS)],
)
def test_a_broken_disk_stops_the_log_for_good(operation: str, number: int) -> None:
    files, tail = MemoryFiles(), Tail()
    log = opened(files, tail=tail)
    log.append([event(1)])
    files.before = failing(operation, number)
    with pytest.raises(StorageFailedError):
        log.append([event(2)])
    files.be_well()
    assert tail.tip_seq == log.current_seq == log.durable_seq == 1
    assert log.failure is not None
    for number in (2, 3):
        with pytest.raises(StorageFailedError, match="has stopped"):
            log.append([event(number)])
    assert [record.seq for record in read_all(log)] == [1], "readers may go on"
    log.close()
    assert b"clean=0" in files.names[CEILING_NAME].current
    assert files.open_files == 0


def test_a_failed_sync_in_flush_mode_stops_the_log() -> None:
    files = MemoryFiles()
    log = opened(files, durability=FLUSH)
    log.append([event(1)])
    files.before = failing("fsync", errno.EIO)
    with pytest.raises(StorageFailedError):
        log.sync()
    assert log.durable_seq == 0
    with pytest.raises(StorageFailedError, match="has stopped"):
        log.append([event(2)])


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_can_not_be_cut_back_stops_the_log(number: int) -> None:
    files = MemoryFiles()
    log = opened(files)

    def before(operation: str, _: int) -> None:
        if operation in ("write", "truncate"):
            raise OSError(errno.ENOSPC if operation == "write" else number, "broken")

    files.before = before
    with pytest.raises(StorageFailedError, match="cutting"):
        log.append([event(1)])
    files.be_well()
    with pytest.raises(StorageFailedError, match="has stopped"):
        log.append([event(1)])
