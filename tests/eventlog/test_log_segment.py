"""A segment's file header, and the walk over its records."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.eventlog.builders import event, payload_in_log
from tests.eventlog.memory_files import MemoryFiles
from zlay_py.errors import StorageFailedError, StorageFullError
from zlay_py.eventlog.batch import write_batch
from zlay_py.eventlog.record import HEADER_BYTES, Record
from zlay_py.eventlog.segment import (
    SEGMENT_HEADER_BYTES,
    DamagedRecordError,
    DamagedSegmentError,
    Sealed,
    SegmentHeader,
    create,
    read_start,
    segment_first_seq,
    segment_name,
    walk,
)

DIRECTORY = Path("/log")
U64 = st.integers(0, 2**64 - 1)
HEADERS = st.builds(
    SegmentHeader,
    salt=st.integers(0, 2**32 - 1),
    first_seq=st.integers(1, 2**53 - 1),
    created_us=U64,
    previous=st.builds(Sealed, U64, U64, U64, U64),
)
HEADER = SegmentHeader(7, 5, 1, Sealed(0, 0, 0, 0))


@given(HEADERS)
def test_a_header_comes_back_as_it_went_in(header: SegmentHeader) -> None:
    encoded = header.encode()
    assert len(encoded) == SEGMENT_HEADER_BYTES
    assert SegmentHeader.decode(DIRECTORY / segment_name(header.first_seq), encoded) == header


@given(HEADERS, st.integers(0, SEGMENT_HEADER_BYTES * 8 - 1))
def test_any_changed_bit_of_a_header_is_found(header: SegmentHeader, bit: int) -> None:
    encoded = bytearray(header.encode())
    encoded[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedSegmentError):
        SegmentHeader.decode(DIRECTORY / segment_name(header.first_seq), bytes(encoded))


def test_a_header_under_another_name_is_refused() -> None:
    with pytest.raises(DamagedSegmentError, match="evts-5"):
        SegmentHeader.decode(DIRECTORY / "evts-6", HEADER.encode())


@pytest.mark.parametrize(
    "name", ["evts-", "evts-0", "evts-01", "evts-5.idx", "evts-5 ", "evts--1", "evts-٣", "owner.lock"]
)
def test_other_files_are_no_segments(name: str) -> None:
    assert segment_first_seq(name) is None


def test_a_segments_name_gives_its_first_seq() -> None:
    assert segment_first_seq(segment_name(2**53 - 1)) == 2**53 - 1


@given(st.lists(st.integers(1, 300), min_size=1, max_size=12), st.integers(HEADER_BYTES, 700))
def test_a_walk_gives_every_record_whatever_the_size_of_a_read(sizes: list[int], chunk_bytes: int) -> None:
    files = MemoryFiles()
    segment, fd = create(files, DIRECTORY, HEADER)
    entries = [event(number, size=size) for number, size in enumerate(sizes, 1)]
    written = write_batch(files, fd, segment, entries, 5, SEGMENT_HEADER_BYTES)
    found = list(walk(files, fd, segment.path, 7, SEGMENT_HEADER_BYTES, written.end, chunk_bytes))
    assert [record.payload for record, _ in found] == [
        payload_in_log(entry, seq) for seq, entry in enumerate(entries, 5)
    ]
    assert found[-1][1] == written.end == files.size(fd)


@given(st.data())
def test_a_walk_stops_at_the_damage_and_names_it(data: st.DataObject) -> None:
    files = MemoryFiles()
    segment, fd = create(files, DIRECTORY, HEADER)
    written = write_batch(files, fd, segment, [event(number) for number in range(4)], 5, SEGMENT_HEADER_BYTES)
    ends = [after for _, after in walk(files, fd, segment.path, 7, SEGMENT_HEADER_BYTES, written.end)]
    at = data.draw(st.integers(SEGMENT_HEADER_BYTES, written.end - 1))
    byte = files.pread(fd, 1, at)[0]
    files.pwrite(fd, bytes([byte ^ data.draw(st.integers(2, 255))]), at)
    good = [end for end in ends if end <= at]
    seen: list[tuple[Record, int]] = []
    with pytest.raises(DamagedRecordError, match=r"evts-5.*zlay log verify") as raised:
        seen += walk(files, fd, segment.path, 7, SEGMENT_HEADER_BYTES, written.end, 100)
    assert raised.value.offset == (good[-1] if good else SEGMENT_HEADER_BYTES)


def test_a_walk_ends_where_the_file_was_cut_under_it() -> None:
    files = MemoryFiles()
    segment, fd = create(files, DIRECTORY, HEADER)
    written = write_batch(files, fd, segment, [event(1), event(2)], 5, SEGMENT_HEADER_BYTES)
    for size in (written.end - 1, SEGMENT_HEADER_BYTES + HEADER_BYTES, SEGMENT_HEADER_BYTES + 3, SEGMENT_HEADER_BYTES):
        files.truncate(fd, size)
        with pytest.raises(DamagedRecordError):
            list(walk(files, fd, segment.path, 7, SEGMENT_HEADER_BYTES, written.end))


def test_seqs_that_go_back_are_damage() -> None:
    files = MemoryFiles()
    segment, fd = create(files, DIRECTORY, HEADER)
    first = write_batch(files, fd, segment, [event(1)], 9, SEGMENT_HEADER_BYTES)
    segment.end = first.end
    second = write_batch(files, fd, segment, [event(2)], 9, SEGMENT_HEADER_BYTES)
    with pytest.raises(DamagedRecordError, match="seq 9 after seq 9"):
        list(walk(files, fd, segment.path, 7, SEGMENT_HEADER_BYTES, second.end))


@pytest.mark.parametrize(
    ("operation", "number", "error"),
    [("create", errno.ENOSPC, StorageFullError), ("write", errno.ENOSPC, StorageFullError)]
    + [(name, errno.EIO, StorageFailedError) for name in ("create", "write", "fsync", "fsync_dir")]
    + [("fsync", errno.ENOSPC, StorageFailedError)],
)
def test_a_segment_that_can_not_be_made_leaves_nothing(operation: str, number: int, error: type[Exception]) -> None:
    files = MemoryFiles()

    def fail(name: str, _: int) -> None:
        if name == operation:
            raise OSError(number, os.strerror(number))

    files.before = fail
    with pytest.raises(error, match="evts-5"):
        create(files, DIRECTORY, HEADER)
    assert files.names == {}
    assert files.open_files == 0


def test_a_segment_is_never_made_over_another() -> None:
    files = MemoryFiles()
    create(files, DIRECTORY, HEADER)
    with pytest.raises(StorageFailedError, match="exists"):
        create(files, DIRECTORY, HEADER._replace(salt=8))
    assert SegmentHeader.decode(DIRECTORY / "evts-5", read_start(files, DIRECTORY / "evts-5")[0]) == HEADER
