"""Durable bytes that are not there any more: the start refuses, also where what is left is whole records."""

import pytest

from tests.eventlog.builders import event, make_log
from tests.eventlog.memory_files import MemoryFiles
from zlay_py.eventlog.record import size_at
from zlay_py.eventlog.segment import SEGMENT_HEADER_BYTES, DamagedRecordError, DamagedSegmentError


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("records_left", [0, 1])
def test_whole_records_that_are_missing_at_the_end_are_missed(records_left: int, closed: bool) -> None:
    """Of a run that ended cleanly, and of one that found them when it started and was killed."""
    files = MemoryFiles()
    log = make_log(files=files)
    log.open()
    ends = [SEGMENT_HEADER_BYTES]
    for number in (1, 2):
        log.append([event(number)])
        ends.append(log.segments[-1].end)
    log.close()
    if not closed:
        make_log(files=files).open()
        files.kill()
    del files.names["evts-1"].current[ends[records_left] :]
    with pytest.raises(DamagedSegmentError, match="durable once"):
        make_log(files=files).open()


def test_any_byte_that_rots_is_noticed_before_it_is_sent() -> None:
    files = MemoryFiles()
    log = make_log(files=files)
    log.open()
    log.append([event(1), event(2), event(3)])
    content = files.names["evts-1"].current
    ends = [record_end(content, SEGMENT_HEADER_BYTES)]
    ends.append(record_end(content, ends[0]))
    for at in range(ends[0], ends[1]):
        content[at] ^= 0x80
        with pytest.raises(DamagedRecordError) as raised:
            log.read_chunk(1, bytes_max=10**6)
        assert raised.value.offset == ends[0]
        content[at] ^= 0x80
    assert log.read_chunk(1, bytes_max=10**6).frames == 3


def record_end(content: bytearray, position: int) -> int:
    size = size_at(bytes(content), position)
    assert size is not None
    return position + size
