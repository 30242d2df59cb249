"""Every crash point of the log × every fault of a disk × both modes: what the contract owes is there afterwards.

In memory, by seed: a case that fails is named and comes again. After the crash another process starts, half of the
time to be killed in the middle, then one that has to find everything.
"""

from collections import Counter
from itertools import product

import pytest

from tests.eventlog.log_life import LOG_POINTS, LogLife
from tests.support.file_faults import FileFault
from zlay_py.crashpoints import CrashPoint
from zlay_py.eventlog.ceiling import Durability

NOT_IN_FSYNC_MODE = frozenset({CrashPoint.LOG_SYNCED})
# In one process; of the others there are more.
ONCE = frozenset(
    {
        CrashPoint.START_DECIDED,
        CrashPoint.TAIL_CUT,
        CrashPoint.SEGMENT_UNLINKED,
        CrashPoint.SEGMENT_REMOVED,
        CrashPoint.CLOSE_SYNCED,
        CrashPoint.CLOSE_MARKED,
    }
)
FAULTS: tuple[FileFault | None, ...] = (None, *FileFault)
MORE_SEEDS = 25


def check(point: CrashPoint, durability: Durability, seeds: range) -> Counter[FileFault]:
    """Returns how often each fault was met: a case in which nothing failed would prove nothing."""
    met: Counter[FileFault] = Counter()
    for fault, lose_power, seed in product(FAULTS, (False, True), seeds):
        name = f"{point} {fault} {durability} power={lose_power} seed={seed}"
        life = LogLife(name)
        if point is CrashPoint.TAIL_CUT:
            life.tear()
        elif point is CrashPoint.START_DECIDED:
            life.die_while_writing(durability, life.random.choice((None, seed)))
        nth = 1 if point in ONCE else life.random.choice((1, 1, 2))
        try:
            life.die_at(point, nth, durability, fault, life.random.randrange(2**32) if lose_power else None)
            if fault is not None:
                met[fault] += life.faults_met
            if life.random.random() < 0.5:
                life.die_while_writing(life.random.choice(list(Durability)), life.random.choice((None, seed + 1)))
            life.end_well(durability)
        except BaseException as error:
            error.add_note(name)
            raise
    return met


@pytest.mark.parametrize("durability", Durability)
@pytest.mark.parametrize("point", LOG_POINTS)
def test_every_point_and_every_fault(point: CrashPoint, durability: Durability) -> None:
    if durability is Durability.FSYNC and point in NOT_IN_FSYNC_MODE:
        durability = Durability.FLUSH
    check(point, durability, range(1))


@pytest.mark.slow
@pytest.mark.parametrize("durability", Durability)
@pytest.mark.parametrize("point", LOG_POINTS)
def test_every_point_and_every_fault_with_many_seeds(point: CrashPoint, durability: Durability) -> None:
    if durability is Durability.FSYNC and point in NOT_IN_FSYNC_MODE:
        durability = Durability.FLUSH
    check(point, durability, range(1, 1 + MORE_SEEDS))


@pytest.mark.parametrize("durability", Durability)
@pytest.mark.parametrize("fault", FileFault)
def test_a_start_on_a_disk_that_fails(fault: FileFault, durability: Durability) -> None:
    """The start says so by a LocalError of the storage, whatever it was about to do, and the next one finds all."""
    met = 0
    for seed in range(24):
        name = f"start {fault} {durability} seed={seed}"
        life = LogLife(name)
        if seed % 3:
            life.tear()
        else:
            life.die_while_writing(durability, None if seed % 2 else seed)
        try:
            life.start_on_a_broken_disk(durability, fault, seed, None if seed % 2 else seed)
            life.end_well(durability)
        except BaseException as error:
            error.add_note(name)
            raise
        met += life.faults_met
    assert met, "no operation met the fault"


def test_the_matrix_has_every_point_of_the_log() -> None:
    """A point that a process of the log comes by, and that is not in the list, would be left out of every test."""
    reached: Counter[CrashPoint] = Counter()
    for seed, durability in product(range(4), Durability):
        life = LogLife(seed)
        life.tear()
        life.process(durability)
        life.end_well(durability)
        reached += life.reached
    assert set(reached) == set(LOG_POINTS)
