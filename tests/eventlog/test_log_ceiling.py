"""The ceiling file, and the decision where seqs go on."""

import errno
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.eventlog.builders import DIRECTORY
from tests.eventlog.memory_files import Crash, MemoryFiles
from zlay_py.errors import CorruptionError, StorageFailedError, StorageFullError
from zlay_py.eventlog.ceiling import Ceiling, CeilingFile, Durability, Found, Loaded, Start, decide_start

NUMBERS = st.integers(0, 2**53 - 1)
STATES = st.builds(Ceiling, NUMBERS, NUMBERS, st.sampled_from(Durability), NUMBERS, NUMBERS, st.booleans())
FSYNC, FLUSH = Durability.FSYNC, Durability.FLUSH
NO_SEGMENTS = Found(0, 0, 0)


@given(STATES)
def test_a_state_comes_back_as_it_went_in(state: Ceiling) -> None:
    assert Ceiling.decode(state.encode()) == state


@given(STATES, st.data())
def test_any_changed_bit_makes_it_no_state(state: Ceiling, data: st.DataObject) -> None:
    encoded = bytearray(state.encode())
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    assert Ceiling.decode(bytes(encoded)) is None
    assert Ceiling.decode(state.encode() + b"\n") is None


@given(STATES, STATES, st.integers(0, 5), st.integers(0, 2**32))
def test_storing_is_all_or_nothing(old: Ceiling, new: Ceiling, operation: int, seed: int) -> None:
    files = MemoryFiles()
    ceiling = CeilingFile(files, DIRECTORY)
    ceiling.store(old)
    left = [operation]

    def count_down(_: str, __: int) -> None:
        if left[0] == 0:
            raise Crash
        left[0] -= 1

    files.before = count_down
    crashed = False
    try:
        ceiling.store(new)
    except Crash:
        crashed = True
    files.be_well()
    files.lose_power(Random(seed))
    assert ceiling.load().state in ((old, new) if crashed else (new,))


@pytest.mark.parametrize(
    ("operation", "number", "error"),
    [("create", errno.ENOSPC, StorageFullError), ("write", errno.EDQUOT, StorageFullError)]
    + [(name, errno.EIO, StorageFailedError) for name in ("create", "write", "fsync", "rename", "fsync_dir")],
)
def test_a_state_that_can_not_be_stored_is_an_error(operation: str, number: int, error: type[Exception]) -> None:
    files = MemoryFiles()

    def fail(name: str, _: int) -> None:
        if name == operation:
            raise OSError(number, "broken")

    files.before = fail
    with pytest.raises(error):
        CeilingFile(files, DIRECTORY).store(Ceiling(1, 2, FSYNC, 1, 68, clean=False))
    assert files.open_files == 0


def decide(state: Ceiling | None, found: Found, initial_seq: int = 1, *, exists: bool = True) -> Start:
    return decide_start(Loaded(state, exists), found, initial_seq)


def running(durability: Durability, *, floor: int = 10, ceiling: int = 1000, segment: int = 5) -> Ceiling:
    return Ceiling(floor, ceiling, durability, segment, 68, clean=False)


def closed(next_seq: int) -> Ceiling:
    return Ceiling(next_seq, 1000, FLUSH, 5, 68, clean=True)


@pytest.mark.parametrize(
    ("state", "found", "expected"),
    [
        # Closed cleanly: exactly there, whatever the mode was, also with the segments gone.
        (closed(51), Found(5, 50, 0), Start(51, clean=True, jumped=False)),
        (closed(51), NO_SEGMENTS, Start(51, clean=True, jumped=False)),
        # … but not if bytes had to be cut.
        (closed(51), Found(5, 50, 1), Start(1001, clean=True, jumped=True)),
        # Killed in fsync mode: after the last record, or where the run started if that is higher.
        (running(FSYNC), Found(5, 50, 0), Start(51, clean=False, jumped=False)),
        (running(FSYNC, floor=80), Found(5, 50, 0), Start(80, clean=False, jumped=False)),
        (running(FSYNC), Found(60, 70, 0), Start(71, clean=False, jumped=False)),
        # Killed in flush mode, or with bytes to cut, or with the segment gone: above the ceiling.
        (running(FLUSH), Found(5, 50, 0), Start(1001, clean=False, jumped=True)),
        (running(FSYNC), Found(5, 50, 1), Start(1001, clean=False, jumped=True)),
        (running(FSYNC, segment=6), Found(5, 50, 0), Start(1001, clean=False, jumped=True)),
        (running(FSYNC), NO_SEGMENTS, Start(1001, clean=False, jumped=True)),
        # Killed before there was any segment: nothing was given out.
        (running(FLUSH, segment=0), NO_SEGMENTS, Start(10, clean=False, jumped=False)),
    ],
)
def test_where_a_start_goes_on(state: Ceiling, found: Found, expected: Start) -> None:
    assert decide(state, found) == expected
    assert decide(state, found, 2_000_000) == expected._replace(next_seq=2_000_000)


def test_a_new_log_starts_at_the_initial_seq() -> None:
    assert decide(None, NO_SEGMENTS, 7, exists=False) == Start(7, clean=True, jumped=False)


@pytest.mark.parametrize(
    ("state", "found", "exists"),
    [
        (None, Found(5, 50, 0), False),
        (None, Found(5, 50, 0), True),
        (None, NO_SEGMENTS, True),
        # A ceiling of another log: below what this one has given out.
        (running(FSYNC, ceiling=49), Found(5, 50, 0), True),
        (closed(50), Found(5, 50, 0), True),
    ],
)
def test_without_its_own_ceiling_only_the_operator_can_say(state: Ceiling | None, found: Found, exists: bool) -> None:
    with pytest.raises(CorruptionError, match="RELAY_INITIAL_SEQ"):
        decide(state, found, found.last_seq + 1, exists=exists)
    initial_seq = found.last_seq + 2
    assert decide(state, found, initial_seq, exists=exists) == Start(initial_seq, clean=False, jumped=True)


@given(STATES, st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1), st.integers(1, 2000))
def test_a_start_never_goes_below_what_may_have_been_given_out(
    state: Ceiling, first_seq: int, records: int, cut: int, initial_seq: int
) -> None:
    found = Found(first_seq, first_seq + records if first_seq else 0, cut)
    try:
        start = decide(state, found, initial_seq)
    except CorruptionError:
        return
    assert start.next_seq > found.last_seq
    assert start.next_seq >= initial_seq
    if not state.clean and (state.durability is FLUSH or cut) and state.segment:
        assert start.next_seq > state.ceiling or start.next_seq == initial_seq
