"""What goes, in which order, and what never does."""

import errno
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.eventlog.builders import event, make_log, read_all
from tests.eventlog.memory_files import MemoryFiles
from zlay_py.errors import StorageFailedError
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.retention import droppable
from zlay_py.eventlog.segment import Sealed, Segment, SegmentHeader

ALL = 2**60


def five_segments(files: MemoryFiles) -> EventLog:
    """Two events each; the last ones at 2 s, 4 s, … 10 s."""
    log = make_log(files=files, segment_bytes_max=1)
    log.open()
    for number in range(1, 10, 2):
        log.append([event(number, time_us=number * 10**6), event(number + 1, time_us=(number + 1) * 10**6)])
    return log


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 100)), min_size=1, max_size=8),
    st.integers(0, 100),
    st.integers(0, 400),
    st.integers(0, 20),
)
def test_the_rule(segments: list[tuple[int, int]], oldest_time_us: int, bytes_max: int, hold_seq: int) -> None:
    held = [
        Segment(Path("x"), SegmentHeader(0, 2 * place, 0, Sealed(0, 0, 0, 0)), size, 2 * place + 1, time_us)
        for place, (time_us, size) in enumerate(segments)
    ]
    count = droppable(held, oldest_time_us=oldest_time_us, bytes_max=bytes_max, hold_seq=hold_seq)
    dropped, kept = held[:count], held[count:]
    assert kept, "the newest stays"
    assert all(segment.last_seq <= hold_seq for segment in dropped)
    for place, segment in enumerate(dropped):
        left = sum(other.end for other in held[place:])
        assert segment.last_time_us < oldest_time_us or left > bytes_max
    if len(kept) > 1 and kept[0].last_seq <= hold_seq:
        assert kept[0].last_time_us >= oldest_time_us
        assert sum(segment.end for segment in kept) <= bytes_max


def test_a_segment_goes_when_its_last_event_is_too_old() -> None:
    log = five_segments(MemoryFiles())
    assert log.retain(4 * 10**6, ALL, ALL) == [Path("/log/evts-1")]
    assert log.retain(4 * 10**6 + 1, ALL, ALL) == [Path("/log/evts-3")]
    assert (log.oldest_seq, [record.seq for record in read_all(log)]) == (5, [5, 6, 7, 8, 9, 10])


def test_segments_go_until_the_log_is_small_enough() -> None:
    log = five_segments(MemoryFiles())
    size = log.disk_bytes
    newest = log.segments[-1].end
    assert len(log.retain(0, size, ALL)) == 0
    assert len(log.retain(0, size - 1, ALL)) == 1
    assert len(log.retain(0, 0, ALL)) == 3
    assert log.disk_bytes == newest


def test_what_a_projection_has_not_applied_stays() -> None:
    log = five_segments(MemoryFiles())
    assert log.retain(ALL, 0, 1) == []
    assert log.retain(ALL, 0, 3) == [Path("/log/evts-1")]
    assert log.oldest_seq == 3


def test_the_times_of_older_segments_are_known_after_a_restart() -> None:
    files = MemoryFiles()
    log = five_segments(files)
    log.close()
    log = make_log(files=files)
    log.open()
    assert [segment.last_time_us for segment in log.segments] == [t * 10**6 for t in (2, 4, 6, 8, 10)]
    assert len(log.retain(6 * 10**6, ALL, ALL)) == 2


def test_files_and_indexes_are_gone_and_readers_let_go_of_them() -> None:
    files = MemoryFiles()
    log = five_segments(files)
    read_all(log)
    before = files.open_files
    log.retain(0, 0, ALL)
    assert sorted(name for name in files.names if name.startswith("evts-")) == ["evts-9"]
    assert files.open_files == before - 4


@pytest.mark.parametrize("seed", range(20))
def test_a_loss_of_power_never_leaves_a_hole(seed: int) -> None:
    files = MemoryFiles()
    log = five_segments(files)

    def before(operation: str, _: int) -> None:
        # The power goes at the fourth removal; what came before it must not come back in part.
        if operation == "unlink" and "evts-5" not in files.names:
            raise SystemExit

    files.before = before
    with pytest.raises(SystemExit):
        log.retain(0, 0, ALL)
    files.be_well()
    files.lose_power(Random(seed))
    log = make_log(files=files)
    log.open()
    assert log.oldest_seq in (5, 7)
    assert [record.seq for record in read_all(log)] == list(range(log.oldest_seq, 11))


def test_a_segment_that_can_not_be_removed_is_an_error_and_found_again() -> None:
    files = MemoryFiles()
    log = five_segments(files)

    def before(operation: str, _: int) -> None:
        if operation == "unlink":
            raise OSError(errno.EIO, "input/output error")

    files.before = before
    with pytest.raises(StorageFailedError, match="removing /log/evts-1"):
        log.retain(0, 0, ALL)
    files.be_well()
    assert log.append([event(11)]) == [11]
    log.close()
    log.open()
    assert log.oldest_seq == 1


def test_a_segment_that_somebody_removed_already_is_no_error() -> None:
    files = MemoryFiles()
    log = five_segments(files)
    del files.names["evts-1"]
    assert log.retain(0, 0, ALL)[0] == Path("/log/evts-1")
    assert log.oldest_seq == 9
