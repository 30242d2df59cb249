"""The sparse index: a hint that is checked."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.eventlog.memory_files import MemoryFiles
from zlay_py.eventlog import index as index_file
from zlay_py.eventlog.index import INDEX_INTERVAL_BYTES, SparseIndex

PATH = Path("/log/evts-1")
# Steps from one record to the next: how far its seq and its offset grow.
STEPS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, INDEX_INTERVAL_BYTES)), max_size=60)


def build(steps: list[tuple[int, int]]) -> tuple[SparseIndex, list[tuple[int, int]]]:
    index, records, seq, offset = SparseIndex(), [], 0, 68
    for seq_step, bytes_step in steps:
        seq += seq_step
        records.append((seq, offset))
        index.add(seq, offset)
        offset += bytes_step
    return index, records


@given(STEPS, st.integers(0, 320))
def test_an_entry_is_close_below_the_wanted_seq(steps: list[tuple[int, int]], wanted: int) -> None:
    index, records = build(steps)
    entry = index.floor(wanted)
    below = [record for record in records if record[0] <= wanted]
    if not below:
        assert entry is None
        return
    assert entry in below
    assert below[-1][1] - entry[1] < 2 * INDEX_INTERVAL_BYTES


@given(STEPS)
def test_an_index_comes_back_as_it_went_in(steps: list[tuple[int, int]]) -> None:
    index, records = build(steps)
    back = SparseIndex.decode(index.encode(salt=7, segment_bytes=99), salt=7, segment_bytes=99)
    assert back is not None
    assert [back.floor(seq) for seq, _ in records] == [index.floor(seq) for seq, _ in records]
    assert len(back) == len(index)


@given(STEPS, st.data())
def test_a_damaged_index_is_no_index(steps: list[tuple[int, int]], data: st.DataObject) -> None:
    encoded = bytearray(build(steps)[0].encode(salt=7, segment_bytes=99))
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    assert SparseIndex.decode(bytes(encoded), salt=7, segment_bytes=99) is None
    short = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    assert SparseIndex.decode(bytes(short), salt=7, segment_bytes=99) is None


@pytest.mark.parametrize(("salt", "segment_bytes"), [(8, 99), (7, 100)])
def test_the_index_of_another_segment_is_no_index(salt: int, segment_bytes: int) -> None:
    encoded = build([(1, 1)])[0].encode(salt=7, segment_bytes=99)
    assert SparseIndex.decode(encoded, salt=salt, segment_bytes=segment_bytes) is None


def test_a_stored_index_is_loaded_and_removed() -> None:
    files = MemoryFiles()
    assert index_file.load(files, PATH, salt=7, segment_bytes=99) is None
    index_file.store(files, PATH, build([(1, 1), (1, 1)])[0], salt=7, segment_bytes=99)
    assert index_file.load(files, PATH, salt=7, segment_bytes=99) is not None
    index_file.remove(files, PATH)
    index_file.remove(files, PATH)
    assert files.names == {}
    assert files.open_files == 0
