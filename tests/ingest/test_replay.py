"""What a start knows to be in the log already."""

from tests.eventlog.builders import event, make_log
from tests.eventlog.memory_files import MemoryFiles
from zlay_py.eventlog.log import EventLog
from zlay_py.ingest.replay import find_already_logged, leftovers_of
from zlay_py.state.leftovers import Leftover


def log_of(*upstream: tuple[int, int, int]) -> EventLog:
    """Records of (host id, epoch, upstream seq), with the seqs 1, 2, …"""
    log = make_log(files=MemoryFiles())
    log.open()
    log.append([event(seq, host_id=host_id, upstream_epoch=epoch) for host_id, epoch, seq in upstream])
    return log


def test_what_stands_above_the_mark_in_this_epoch_is_found() -> None:
    log = log_of((1, 0, 99), (1, 1, 5), (1, 1, 7), (2, 0, 3), (3, 0, 8), (1, 1, 9))
    marks = {1: (1, 6), 2: (0, None)}
    assert find_already_logged(log, 0, marks, []) == {1: {7, 9}, 2: {3}}
    assert find_already_logged(log, 4, marks, []) == {1: {9}, 2: {3}}
    assert find_already_logged(log, 7, marks, []) == {}


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
    assert find_already_logged(log, 1, marks, leftovers) == {1: {5, 7}, 3: {1}}


def test_what_was_found_is_kept_with_its_epoch() -> None:
    assert leftovers_of({1: {7, 5, 6, 9}, 2: {1}}, {1: (4, 3), 2: (0, None)}) == [
        Leftover(1, 4, ((5, 7), (9, 9))),
        Leftover(2, 0, ((1, 1),)),
    ]
