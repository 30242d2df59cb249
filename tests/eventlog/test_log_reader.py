"""Reading by seq, from anywhere, while segments come and go."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.eventlog.builders import event, make_log, payload_in_log, read_all, verdict
from tests.eventlog.memory_files import MemoryFiles
from zlay_py.eventlog.index import INDEX_INTERVAL_BYTES, SparseIndex
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.reader import OPEN_FILES_MAX, RESUME_POINTS_MAX, RecordsGoneError
from zlay_py.eventlog.record import HEADER_BYTES, decode


def filled(files: MemoryFiles, batches: int, **changes: Any) -> EventLog:
    log = make_log(files=files, **{"segment_bytes_max": 1000, **changes})
    log.open()
    for number in range(1, batches + 1):
        log.append([event(number)])
    return log


def indexed(files: MemoryFiles) -> EventLog:
    """Two segments of a few index intervals each, and the newest."""
    log = make_log(files=files, segment_bytes_max=5 * INDEX_INTERVAL_BYTES)
    log.open()
    for number in range(1, 13):
        log.append([event(10 * number + place, size=INDEX_INTERVAL_BYTES // 8) for place in range(10)])
    assert len(log.segments) == 3
    return log


@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([10, 200, 900])), max_size=12),
    st.integers(0, 50),
    st.integers(1, 3000),
)
def test_a_read_gives_the_records_from_there_in_order_up_to_the_budget(
    batches: list[tuple[int, int]], from_seq: int, bytes_max: int
) -> None:
    log = make_log(files=MemoryFiles(), segment_bytes_max=1500)
    log.open()
    payloads: dict[int, bytes] = {}
    for count, size in batches:
        entries = [event(place, size=size) for place in range(count)]
        payloads |= {seq: payload_in_log(entry, seq) for seq, entry in zip(log.append(entries), entries, strict=True)}
    if from_seq == 0:
        from_seq = log.oldest_seq
    found = {record.seq: record for record in log.read(from_seq, bytes_max=bytes_max)}
    wanted = [seq for seq in payloads if seq >= from_seq]
    assert list(found) == wanted[: len(found)]
    assert all(record.payload == payloads[seq] for seq, record in found.items())
    sizes = [HEADER_BYTES + len(record.payload) + len(record.delta_bytes) for record in found.values()]
    assert sum(sizes[:-1]) < bytes_max
    assert sum(sizes) >= bytes_max or len(found) == len(wanted)


def test_a_new_log_has_nothing_to_read() -> None:
    log = filled(MemoryFiles(), 0)
    assert log.read(1, bytes_max=100) == log.read(99, bytes_max=100) == []
    assert log.read_chunk(1, bytes_max=100).next_seq == 1


def test_gaps_between_seqs_are_read_over() -> None:
    files = MemoryFiles()
    for initial_seq in (1, 1000, 5000):
        log = make_log(files=files, initial_seq=initial_seq, segment_bytes_max=100)
        log.open()
        log.append([event(1), event(2)])
        log.close()
    log.open()
    assert [record.seq for record in read_all(log)] == [1, 2, 1000, 1001, 5000, 5001]
    for from_seq, expected in ((3, 1000), (999, 1000), (1002, 5000), (4999, 5000)):
        assert log.read(from_seq, bytes_max=1)[0].seq == expected


def test_a_chunk_of_frames_passes_over_what_is_not_sent() -> None:
    log = make_log(files=MemoryFiles())
    log.open()
    log.append([verdict(9), verdict(9), event(3), verdict(9)])
    chunk = log.read_chunk(1, bytes_max=10**6)
    assert (chunk.frames, chunk.next_seq) == (1, 5)
    assert log.read_chunk(1, bytes_max=1).next_seq == 2


def test_readers_anywhere_in_a_segment_find_their_place() -> None:
    log = indexed(MemoryFiles())
    random = Random(1)
    for _ in range(300):
        seq = random.randint(1, 120)
        records = log.read(seq, bytes_max=random.choice([1, 100_000, 600_000]))
        assert [record.seq for record in records] == list(range(seq, seq + len(records)))
        assert records


@pytest.mark.parametrize("spoil", ["missing", "damaged", "lying", "another's"])
def test_an_index_file_is_not_trusted(spoil: str) -> None:
    files = MemoryFiles()
    log = indexed(files)
    log.close()
    first, second = (segment for segment in log.segments[:2])
    index = files.names["evts-1.idx"]
    if spoil == "missing":
        del files.names["evts-1.idx"]
    elif spoil == "damaged":
        index.current[40] ^= 1
    elif spoil == "another's":
        index.current[:] = files.names[f"{second.path.name}.idx"].current
    else:
        lying = SparseIndex()
        for place in range(5):
            lying.add(5 + place, 1000 + place * INDEX_INTERVAL_BYTES)
        index.current[:] = lying.encode(salt=first.header.salt, segment_bytes=first.end)
    log.open()
    for seq in (33, 7, 20, 41):
        assert log.read(seq, bytes_max=1)[0].seq == seq
    stored = bytes(files.names["evts-1.idx"].current)
    rebuilt = SparseIndex.decode(stored, salt=first.header.salt, segment_bytes=first.end)
    assert rebuilt is not None
    entry = rebuilt.floor(20)
    assert entry is not None
    found = decode(bytes(files.names["evts-1"].current), entry[1], first.header.salt)
    assert found is not None
    assert found[0].seq == entry[0]


def test_an_index_that_can_not_be_stored_is_built_all_the_same() -> None:
    files = MemoryFiles()
    log = indexed(files)
    log.close()
    del files.names["evts-1.idx"]
    log.open()

    def full(operation: str, _: int) -> None:
        raise OSError(28, operation)

    files.before = full
    assert log.read(20, bytes_max=1)[0].seq == 20
    assert "evts-1.idx" not in files.names


def test_a_reader_that_goes_on_is_not_searched_for_again() -> None:
    files = MemoryFiles()
    log = indexed(files)
    (record,) = log.read(2, bytes_max=1)
    place = log._reader._resume[(1, record.seq + 1)]
    reads: list[int] = []
    real = files.pread

    def pread(fd: int, size: int, offset: int) -> bytes:
        reads.append(offset)
        return real(fd, size, offset)

    files.pread = pread  # type: ignore[method-assign]
    assert log.read(3, bytes_max=1)[0].seq == 3
    assert reads == [place]


def test_a_removed_segment_says_that_its_records_are_gone() -> None:
    log = filled(MemoryFiles(), 40)
    assert log.read(1, bytes_max=1)
    oldest = log.segments[2].first_seq
    log.retain(0, sum(segment.end for segment in log.segments[2:]), log.current_seq)
    assert log.oldest_seq == oldest
    for from_seq in (0, 1, oldest - 1):
        with pytest.raises(RecordsGoneError, match=f"starts at {oldest}"):
            log.read(from_seq, bytes_max=1)
    assert log.read(oldest, bytes_max=1)[0].seq == oldest


def test_a_segment_that_was_removed_by_hand_says_that_its_records_are_gone() -> None:
    files = MemoryFiles()
    log = filled(files, 40)
    del files.names[log.segments[1].path.name]
    with pytest.raises(RecordsGoneError, match="was removed"):
        log.read(log.segments[1].first_seq, bytes_max=1)


def test_before_the_first_record_of_a_new_log_nothing_is_gone() -> None:
    log = make_log(files=MemoryFiles(), initial_seq=500)
    log.open()
    log.append([event(1)])
    assert log.read(0, bytes_max=1)[0].seq == log.read(499, bytes_max=1)[0].seq == 500


def test_readers_keep_few_files_open_and_little_in_memory() -> None:
    files = MemoryFiles()
    log = filled(files, OPEN_FILES_MAX + 30, segment_bytes_max=1)
    assert len(log.segments) == OPEN_FILES_MAX + 30
    for _ in range(60):
        read_all(log)
        for seq in range(1, log.next_seq):
            log.read(seq, bytes_max=1)
    assert files.open_files == OPEN_FILES_MAX + 1
    assert len(log._reader._resume) <= RESUME_POINTS_MAX
    log.close()
    assert files.open_files == 0


def test_a_reader_follows_the_writer() -> None:
    log = filled(MemoryFiles(), 0)
    position = 1
    for number in range(1, 60):
        log.append([event(number), event(number)])
        records = log.read(position, bytes_max=10**6)
        assert [record.seq for record in records] == [position, position + 1]
        position = records[-1].seq + 1
        assert log.read(position, bytes_max=10**6) == []
