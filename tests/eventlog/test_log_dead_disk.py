"""A disk that dies while a segment is made, comes back with the next process, and then the power goes."""

import errno
from random import Random

import pytest

from tests.eventlog.builders import event, make_log, read_all
from tests.eventlog.memory_files import MemoryFiles
from zlay_py.errors import StorageFailedError


@pytest.mark.parametrize("seed", range(20))
def test_a_header_that_no_fsync_has_written_is_written_again(seed: int) -> None:
    """The new segment's header can be read and is not on the disk: the kernel took it for clean when its fsync failed,
    and the file could not be removed either. The next start goes on in that segment, and must not take it for durable.
    """
    files = MemoryFiles()
    log = make_log(files=files, segment_bytes_max=100)
    log.open()
    log.append([event(1)])

    def dead(operation: str, _: int) -> None:
        if operation in ("fsync", "unlink"):
            raise OSError(errno.EIO, "input/output error")

    files.before = lambda operation, size: dead(operation, size) if "evts-2" in files.names else None
    with pytest.raises(StorageFailedError):
        log.append([event(2)])
    files.be_well()
    files.kill()
    again = make_log(files=files)
    assert again.open().next_seq == 2
    assert again.append([event(2)]) == [2]
    files.lose_power(Random(seed))
    last = make_log(files=files)
    last.open()
    assert [record.seq for record in read_all(last)] == [1, 2]
