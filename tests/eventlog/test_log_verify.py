"""`zlay log verify`'s own reading: everything that can't be read, in one run."""

from pathlib import Path

import pytest

from tests.eventlog.builders import DIRECTORY, event, make_log
from tests.eventlog.memory_files import MemoryFiles
from zlay_py.errors import StorageFailedError
from zlay_py.eventlog.segment import DamagedRecordError
from zlay_py.eventlog.verify import read_ceiling, read_records, verify_segments


def three_segments() -> MemoryFiles:
    files = MemoryFiles()
    log = make_log(files=files, segment_bytes_max=1)
    log.open()
    for number in (1, 3, 5):
        log.append([event(number), event(number + 1)])
    return files


def test_a_log_in_order() -> None:
    files = three_segments()
    reports = list(verify_segments(DIRECTORY, files))
    assert [(r.first_seq, r.last_seq, r.records, r.problem, r.newest) for r in reports] == [
        (1, 2, 2, None, False),
        (3, 4, 2, None, False),
        (5, 6, 2, None, True),
    ]
    assert [record.seq for record in read_records(DIRECTORY, files)] == [1, 2, 3, 4, 5, 6]
    state = read_ceiling(DIRECTORY, files)
    assert state is not None
    assert (state.segment, state.clean) == (5, False)


def test_one_run_tells_of_every_damage() -> None:
    files = three_segments()
    files.names["evts-1"].current[100] ^= 255
    files.names["evts-3"].current[0] ^= 255
    del files.names["evts-5"].current[-1:]
    first, second, third = verify_segments(DIRECTORY, files)
    assert (first.problem_offset, second.problem_offset, third.problem_offset) == (68, None, 68 + _record_bytes(files))
    assert "evts-1: damaged at offset 68" in str(first.problem)
    assert "evts-3: the file's header is damaged" in str(second.problem)
    assert "evts-5: damaged" in str(third.problem)
    assert third.newest
    with pytest.raises(DamagedRecordError):
        list(read_records(DIRECTORY, files))


def _record_bytes(files: MemoryFiles) -> int:
    return (len(files.names["evts-5"].current) + 1 - 68) // 2


def test_a_missing_segment_is_told_of_by_the_next_one() -> None:
    files = three_segments()
    del files.names["evts-3"]
    reports = list(verify_segments(DIRECTORY, files))
    assert [report.problem is None for report in reports] == [True, False]
    assert "evts-5: the segment before it" in str(reports[1].problem)


def test_a_directory_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(StorageFailedError, match="listing"):
        list(verify_segments(tmp_path / "missing"))
