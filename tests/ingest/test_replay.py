"""What a start knows to be in the log already, and to have been dropped."""

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.eventlog.builders import event, make_log, verdict
from tests.eventlog.memory_files import MemoryFiles
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import Entry, did_hash
from zlay_py.ingest.outcome import DropReason
from zlay_py.ingest.replay import READ_BYTES, Marks, Replay, find_replays, leftovers_of
from zlay_py.state.leftovers import Leftover

DIDS = {uid: f"did:plc:{uid}" for uid in range(1, 5)}
"""What SQL knows. uid 7, of `event`, is none of them."""


def dids_of(uids: Iterable[int]) -> Mapping[int, str]:
    return {uid: DIDS[uid] for uid in uids if uid in DIDS}


def logged(log: EventLog, from_seq: int, marks: Marks, leftovers: Iterable[Leftover]) -> dict[int, set[int]]:
    return {host: found.logged for host, found in find_replays(log, from_seq, marks, leftovers, dids_of).items()}


def log_with(*entries: Entry) -> EventLog:
    log = make_log(files=MemoryFiles())
    log.open()
    log.append(list(entries))
    return log


def said(seq: int, uid: int, host_id: int = 1, epoch: int = 0, *, known: bool = True) -> Entry:
    """An event of account `uid`; not `known`: of before it had a row."""
    hashed = 0 if known else did_hash(DIDS[uid])
    return event(seq, host_id=host_id, upstream_epoch=epoch, uid=uid if known else 0, did_hash=hashed)


def log_of(*upstream: tuple[int, int, int]) -> EventLog:
    """Records of (host id, epoch, upstream seq), with the seqs 1, 2, …"""
    log = make_log(files=MemoryFiles())
    log.open()
    log.append([event(seq, host_id=host_id, upstream_epoch=epoch) for host_id, epoch, seq in upstream])
    return log


def test_what_stands_above_the_mark_in_this_epoch_is_found() -> None:
    log = log_of((1, 0, 99), (1, 1, 5), (1, 1, 7), (2, 0, 3), (3, 0, 8), (1, 1, 9))
    marks = {1: (1, 6), 2: (0, None)}
    assert logged(log, 0, marks, []) == {1: {7, 9}, 2: {3}}
    assert logged(log, 4, marks, []) == {1: {9}, 2: {3}}
    assert logged(log, 7, marks, []) == {}


def test_a_scan_in_several_reads_finds_everything() -> None:
    log = make_log(files=MemoryFiles())
    log.open()
    for seq in range(1, 6):
        log.append([event(seq, host_id=1, upstream_epoch=0, size=READ_BYTES * 2 // 3)])
    assert logged(log, 1, {1: (0, None)}, []) == {1: {1, 2, 3, 4, 5}}


def test_leftovers_are_added_as_far_as_the_marks_have_not_passed_them() -> None:
    log = log_of((1, 1, 7))
    marks = {1: (1, 4), 2: (3, 10), 3: (0, None), 4: (0, 100)}
    leftovers = [
        Leftover(1, 1, ((2, 3), (4, 5))),
        Leftover(2, 2, ((11, 12),)),  # of an epoch that is over
        Leftover(3, 0, ((1, 1),)),
        Leftover(4, 0, ((99, 100),)),
        Leftover(5, 0, ((1, 1),)),  # of no host
    ]
    assert logged(log, 1, marks, leftovers) == {1: {5, 7}, 3: {1}}


def test_what_was_found_is_kept_with_its_epoch() -> None:
    replays = {1: Replay({7, 5, 6, 9}, {20: 6, 10: 9}), 2: Replay({1})}
    assert leftovers_of(replays, {1: (4, 3), 2: (0, None)}) == [
        Leftover(1, 4, ((5, 7), (9, 9)), ((10, 9), (20, 6))),
        Leftover(2, 0, ((1, 1),)),
    ]


def test_a_record_tells_that_earlier_events_of_its_account_and_host_were_judged() -> None:
    log = log_with(said(4, 1), said(6, 2), said(9, 1), said(50, 1, host_id=2), said(70, 2, epoch=3), said(3, 3))
    found = find_replays(log, 1, {1: (0, 3), 2: (0, None)}, [], dids_of)
    host = found[1]
    fates = {(seq, uid): host.drop_reason(seq, DIDS[uid]) for seq in range(4, 11) for uid in (seq % 2 + 1,)}
    assert fates == {
        (4, 1): DropReason.ALREADY_LOGGED,
        (5, 2): DropReason.ALREADY_JUDGED,
        (6, 1): DropReason.ALREADY_LOGGED,
        (7, 2): None,
        (8, 1): DropReason.ALREADY_JUDGED,
        (9, 2): DropReason.ALREADY_LOGGED,
        (10, 1): None,
    }
    assert host.drop_reason(8, DIDS[1]) is None, "past the last one nothing is kept any more"
    assert (host.logged, host.judged) == (set(), {})
    other = find_replays(log, 1, {1: (0, 3), 2: (0, None)}, [], dids_of)[2]
    assert other.drop_reason(40, DIDS[1]) is DropReason.ALREADY_JUDGED
    assert other.drop_reason(41, DIDS[2]) is None


def test_an_account_has_one_place_by_either_of_its_names() -> None:
    """Passed on unverified before it had a row, and with one; found by an earlier start, and by this one."""
    log = log_with(said(5, 1, known=False), said(8, 1), said(6, 2), said(9, 2, known=False))
    left = [Leftover(1, 0, ((3, 3), (12, 12)), ((did_hash(DIDS[2]), 3), (did_hash(DIDS[3]), 12)))]
    [found] = find_replays(log, 1, {1: (0, 2)}, left, dids_of).values()
    assert found.judged == {did_hash(DIDS[1]): 8, did_hash(DIDS[2]): 9, did_hash(DIDS[3]): 12}
    [found] = find_replays(log, 5, {1: (0, 3)}, left, dids_of).values()
    assert found.judged == {did_hash(DIDS[3]): 12}
    assert find_replays(log, 5, {1: (1, 3)}, left, dids_of) == {}, "of an epoch that is over"


def test_what_is_no_event_of_a_known_account_tells_nothing_of_others() -> None:
    log = log_with(event(5, host_id=1, upstream_epoch=0), verdict(4))
    [found] = find_replays(log, 1, {1: (0, 2)}, [], dids_of).values()
    assert found.judged == {}, "SQL is an old backup, and knows no such uid"
    [found] = find_replays(log, 1, {3: (1, 2)}, [], dids_of).values()
    assert (found.logged, found.judged) == ({4}, {}), "a verdict"


@pytest.mark.parametrize("did", ["", "did:plc:\udcff", "nonsense"])
def test_a_frame_may_name_anything(did: str) -> None:
    assert Replay({9}, {did_hash(DIDS[1]): 9}).drop_reason(5, did) is None


@given(
    frames=st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.booleans()), max_size=25),
    judged=st.integers(0, 25),
    mark=st.integers(0, 25),
)
def test_nothing_is_judged_twice_where_a_record_follows_and_nothing_is_missed(
    frames: list[tuple[int, bool, bool]], judged: int, mark: int
) -> None:
    """A host's frames, each of an account; the first `judged` were, some of them logged; then the relay dies."""
    entries = [said(seq, uid, known=row) for seq, (uid, kept, row) in enumerate(frames[:judged], 1) if kept]
    log = log_with(*entries) if entries else make_log(files=MemoryFiles())
    if not entries:
        log.open()
    mark = min(mark, judged)
    replay = find_replays(log, 1, {1: (0, mark)}, [], dids_of).get(1, Replay())
    for seq, (uid, kept, _row) in enumerate(frames, 1):
        if seq <= mark:
            continue
        follows = any(one == uid and also for one, also, _ in frames[seq - 1 : judged])
        expected = DropReason.ALREADY_JUDGED if follows else None
        if seq <= judged and kept:
            expected = DropReason.ALREADY_LOGGED
        assert replay.drop_reason(seq, DIDS[uid]) is expected
