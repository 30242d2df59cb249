"""What a start makes of the files it finds: a torn tail is cut, damage is refused, seqs go on where they may."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.eventlog.builders import DIRECTORY, FakeClock, event, make_log, read_all
from tests.eventlog.memory_files import MemoryFiles
from zlay_py.atproto.frame import FrameKind, seq_span
from zlay_py.crashpoints import CrashPoint
from zlay_py.errors import CorruptionError
from zlay_py.eventlog.ceiling import CEILING_NAME, CEILING_STRIDE, Durability
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import HEADER_BYTES
from zlay_py.eventlog.recovery import find_segments, scan_newest
from zlay_py.eventlog.segment import SEGMENT_HEADER_BYTES, DamagedRecordError, DamagedSegmentError

FSYNC, FLUSH = Durability.FSYNC, Durability.FLUSH


def opened(files: MemoryFiles, durability: Durability = FSYNC, **changes: Any) -> EventLog:
    log = make_log(files=files, durability=durability, **changes)
    log.open()
    return log


def killed(batches: list[int], durability: Durability = FSYNC, **changes: Any) -> MemoryFiles:
    """The files of a log that was killed after batches of so many events."""
    files, number = MemoryFiles(), 0
    log = opened(files, durability, **changes)
    for count in batches:
        log.append([event(number + place) for place in range(1, count + 1)])
        number += count
    files.kill()
    return files


def data(files: MemoryFiles, name: str = "evts-1") -> bytearray:
    return files.names[name].current


def offsets(files: MemoryFiles) -> list[int]:
    """Where the records of the one segment start, and where the last one ends."""
    content, position, found = data(files), SEGMENT_HEADER_BYTES, []
    while position < len(content):
        found.append(position)
        length = int.from_bytes(content[position + 8 : position + 12], "little")
        position += HEADER_BYTES + length + int.from_bytes(content[position + 28 : position + 32], "little")
    return [*found, position]


@pytest.mark.parametrize("durability", Durability)
def test_a_closed_log_goes_on_exactly_where_it_stopped(durability: Durability) -> None:
    files = MemoryFiles()
    log = opened(files, durability)
    log.append([event(1), event(2)])
    log.close()
    log = make_log(files=files, durability=durability)
    recovery = log.open()
    assert (recovery.next_seq, recovery.clean, recovery.jumped, recovery.bytes_cut) == (3, True, False, 0)
    assert log.append([event(3)]) == [3]
    assert [record.seq for record in read_all(log)] == [1, 2, 3]


def test_a_killed_log_in_fsync_mode_goes_on_after_its_last_record() -> None:
    recovery = make_log(files=killed([2, 1])).open()
    assert (recovery.next_seq, recovery.clean, recovery.jumped) == (4, False, False)


def test_a_killed_log_in_flush_mode_goes_on_above_the_ceiling_whatever_the_mode_is_now() -> None:
    recovery = make_log(files=killed([2, 1], FLUSH), durability=FSYNC).open()
    assert (recovery.next_seq, recovery.jumped) == (CEILING_STRIDE + 1, True)


def test_a_killed_log_in_fsync_mode_does_not_jump_because_the_mode_is_flush_now() -> None:
    assert make_log(files=killed([2, 1]), durability=FLUSH).open().next_seq == 4


@pytest.mark.parametrize("durability", Durability)
def test_wherever_the_last_batch_is_torn_the_records_before_it_stay(durability: Durability) -> None:
    whole = killed([2, 2], durability)
    starts = offsets(whole)
    for size in range(starts[2], starts[4]):
        files = killed([2, 2], durability)
        del data(files)[size:]
        log = make_log(files=files, durability=durability)
        recovery = log.open()
        kept = [start for start in starts if start <= size]
        assert recovery.bytes_cut == size - kept[-1]
        assert len(data(files)) == kept[-1]
        assert [record.seq for record in read_all(log)] == list(range(1, len(kept)))
        assert recovery.next_seq == (len(kept) if size in starts and durability is FSYNC else CEILING_STRIDE + 1)


@given(st.data())
def test_a_torn_batch_whose_later_pages_came_through_is_cut(draw: st.DataObject) -> None:
    """What a loss of power leaves of a batch that was never synced: any of its bytes."""
    files = killed([2, 3])
    starts = offsets(files)
    at = draw.draw(st.integers(starts[2], starts[4] - 1))
    data(files)[at] ^= draw.draw(st.integers(1, 255).filter(lambda mask: mask != 1))
    log = opened(files)
    bad = max(start for start in starts if start <= at)
    assert len(data(files)) == bad
    assert log.next_seq == CEILING_STRIDE + 1


@given(st.data())
def test_a_bad_record_that_was_durable_once_stops_the_start(draw: st.DataObject) -> None:
    """The third batch was written when the first two were durable, and says so."""
    files = killed([2, 2, 1])
    starts = offsets(files)
    at = draw.draw(st.integers(starts[0], starts[4] - 1))
    data(files)[at] ^= draw.draw(st.integers(2, 255))
    before = bytes(data(files))
    with pytest.raises(DamagedRecordError, match=r"/log/evts-1: damaged at offset \d+.*zlay log verify") as raised:
        make_log(files=files).open()
    assert raised.value.offset == max(start for start in starts if start <= at)
    assert bytes(data(files)) == before
    assert files.open_files == 0


def test_a_closed_log_has_no_torn_tail() -> None:
    files = MemoryFiles()
    log = opened(files)
    log.append([event(1), event(2)])
    log.close()
    whole = bytes(data(files))
    data(files)[-1] ^= 255
    with pytest.raises(DamagedRecordError):
        make_log(files=files).open()
    data(files)[:] = whole[:-1]
    with pytest.raises(DamagedSegmentError, match="durable once"):
        make_log(files=files).open()


def test_what_a_closed_log_did_not_write_is_cut_and_seqs_jump() -> None:
    files = MemoryFiles()
    log = opened(files)
    log.append([event(1)])
    log.close()
    data(files).extend(b"who put this here?")
    recovery = make_log(files=files).open()
    assert (recovery.bytes_cut, recovery.next_seq) == (18, CEILING_STRIDE + 1)


@pytest.mark.parametrize("point", [CrashPoint.START_DECIDED, CrashPoint.TAIL_CUT])
def test_a_start_that_dies_around_the_cut_is_no_way_back(point: CrashPoint) -> None:
    """The last record was acknowledged and then its bytes went bad: after the cut nothing shows that its seq was given
    out, and still no start gives it out again."""
    files = killed([2, 1])
    data(files)[-1] ^= 255

    def die(reached: CrashPoint) -> None:
        if reached is point:
            raise SystemExit

    with pytest.raises(SystemExit):
        make_log(files=files, reached=die).open()
    files.kill()
    assert make_log(files=files).open().next_seq > CEILING_STRIDE


def test_a_peer_can_not_fake_a_record_inside_a_payload() -> None:
    """A whole valid record of another segment, with any promise in it, is bytes of a payload and nothing else."""
    donor = killed([1, 1, 1])
    fake = bytes(data(donor)[SEGMENT_HEADER_BYTES:])
    payload = b"\xa2cseq\x01dbody\x59" + len(fake).to_bytes(2, "big") + fake
    files = MemoryFiles()
    log = opened(files)
    log.append([event(1)])
    log.append([event(2, payload=payload, seq_span=seq_span(payload, FrameKind.ACCOUNT))])
    files.kill()
    del data(files)[-1:]
    log = opened(files)
    assert [record.seq for record in read_all(log)] == [1]


def test_too_many_fakes_stop_the_start_instead_of_hanging_it() -> None:
    files = killed([1])
    end = len(data(files))
    fake = bytearray(data(files)[SEGMENT_HEADER_BYTES : SEGMENT_HEADER_BYTES + HEADER_BYTES])
    fake[8:12], fake[28:32] = bytes(4), bytes(4)
    fake[20:28], fake[64:72] = (99).to_bytes(8, "little"), (end + 1).to_bytes(8, "little")
    data(files).extend(b"\xff" * HEADER_BYTES + bytes(fake) * 20)
    (segment,) = find_segments(files, DIRECTORY, None)
    with pytest.raises(CorruptionError, match="looks like a record"):
        scan_newest(files, segment, None, witness_bytes_max=1000)
    (segment,) = find_segments(files, DIRECTORY, None)
    assert scan_newest(files, segment, None).bytes_cut == 21 * HEADER_BYTES


# ── several segments ──────────────────────────────────────────────────────────────────────────────────────────────


def three_segments() -> tuple[MemoryFiles, list[str]]:
    files = killed([2, 2, 2], segment_bytes_max=100)
    return files, ["evts-1", "evts-3", "evts-5"]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda names: names.pop("evts-3"), r"evts-5: the segment before it should be evts-3"),
        (lambda names: names["evts-1"].current.pop(), r"evts-1: the file has \d+ bytes and was sealed with"),
        (lambda names: names["evts-3"].current.extend(b"x"), r"evts-3: the file has \d+ bytes and was sealed with"),
        (lambda names: names["evts-1"].current.__setitem__(20, 9), r"evts-1: the file's header is damaged"),
        (lambda names: names["evts-3"].current.clear(), r"evts-3: the file ends inside its header"),
        (lambda names: names["evts-5"].current.clear(), r"evts-5: the file ends inside its header"),
        (lambda names: names.__setitem__("evts-4", names["evts-3"]), r"evts-4: the file's header says it is evts-3"),
    ],
)
def test_a_segment_that_is_not_as_it_was_sealed_stops_the_start(
    spoil: Callable[[dict[str, object]], object], complaint: str
) -> None:
    files, _ = three_segments()
    spoil(files.names)  # type: ignore[arg-type]
    with pytest.raises(CorruptionError, match=complaint):
        make_log(files=files).open()


def test_damage_in_an_older_segment_is_found_when_it_is_read() -> None:
    """A start does not read them: at some hundred GB it would take hours."""
    files, _ = three_segments()
    data(files, "evts-1")[100] ^= 255
    log = opened(files)
    assert log.read(3, bytes_max=10**6)
    with pytest.raises(DamagedRecordError, match="evts-1"):
        log.read(1, bytes_max=10**6)


@pytest.mark.parametrize("content", [b"", b"zlay", bytes(SEGMENT_HEADER_BYTES)])
def test_an_unfinished_new_segment_is_cleared_away(content: bytes) -> None:
    files, names = three_segments()
    fd = files.open(Path("/log/evts-7"), 0o102)
    files.pwrite(fd, content, 0)
    files.kill()
    log = opened(files)
    assert [segment.path.name for segment in log.segments] == names
    assert "evts-7" not in files.names
    assert log.append([event(7)]) == [7]


def test_without_its_newest_segments_a_log_jumps() -> None:
    files, _ = three_segments()
    del files.names["evts-5"]
    log = opened(files)
    assert log.next_seq == CEILING_STRIDE + 1
    assert [record.seq for record in read_all(log)] == [1, 2, 3, 4]


def test_without_any_segment_a_log_jumps_and_says_that_records_are_gone() -> None:
    files, names = three_segments()
    for name in names:
        del files.names[name]
    log = opened(files)
    assert log.next_seq == log.oldest_seq == CEILING_STRIDE + 1
    assert read_all(log) == []


def test_leftovers_of_a_crash_are_removed() -> None:
    files, _ = three_segments()
    for name in ("evts-99.idx", "seq-ceiling.new"):
        files.open(Path("/log") / name, 0o102)
    files.open(Path("/log/owner.lock"), 0o102)
    files.kill()
    opened(files)
    assert {"evts-99.idx", "seq-ceiling.new"}.isdisjoint(files.names)
    assert {"evts-1.idx", "evts-3.idx", "owner.lock"} < files.names.keys()


# ── the ceiling ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("spoil", ["missing", "damaged"])
def test_a_log_without_its_ceiling_does_not_start_until_the_operator_sets_a_floor(spoil: str) -> None:
    files = killed([3])
    if spoil == "missing":
        del files.names[CEILING_NAME]
    else:
        files.names[CEILING_NAME].current[30] ^= 1
    with pytest.raises(CorruptionError, match="seqs above 3 may have been sent"):
        make_log(files=files).open()
    log = opened(files, initial_seq=5000)
    assert log.append([event(1)]) == [5000]
    assert [record.seq for record in read_all(log)] == [1, 2, 3, 5000]


def test_the_ceiling_is_durable_before_the_log_is_open_and_above_each_batch() -> None:
    files = MemoryFiles()
    log = opened(files, FLUSH, initial_seq=10**6, ceiling_stride=10)
    for count in (1, 9, 1, 30, 10, 1):
        log.append([event(number) for number in range(count)])
        ceiling = files.names[CEILING_NAME]
        assert len(ceiling.history) == 1, "not synced"
        assert _field(ceiling.current, "ceiling") >= log.current_seq


def _field(line: bytearray, name: str) -> int:
    return int(line.decode().split(f" {name}=")[1].split()[0])


def test_the_initial_seq_is_a_floor_only() -> None:
    files = MemoryFiles()
    log = opened(files, initial_seq=500)
    assert log.append([event(1)]) == [500]
    log.close()
    log = opened(files, initial_seq=3)
    assert log.append([event(2)]) == [501]
    log.close()
    log = opened(files, initial_seq=9000)
    assert log.append([event(3)]) == [9000]
    assert [record.seq for record in read_all(log)] == [500, 501, 9000]


def test_a_run_without_events_still_never_goes_back() -> None:
    """A jump, a run that wrote nothing, a kill: the floor in the ceiling file is all that remembers the jump."""
    files = killed([3], FLUSH)
    first = opened(files, FSYNC).next_seq
    files.kill()
    assert opened(files, FSYNC).next_seq == first > CEILING_STRIDE


def test_a_segment_has_its_age_across_a_restart() -> None:
    files, clock = MemoryFiles(), FakeClock()
    log = opened(files, clock=clock, segment_age_s_max=100)
    log.append([event(1)])
    log.close()
    clock.pass_s(101)
    log = opened(files, clock=clock, segment_age_s_max=100)
    log.append([event(2)])
    assert [segment.first_seq for segment in log.segments] == [1, 2]
