"""The whole relay at every crash point × every way to end there, real processes on a real disk, by seed.

Each test is one long life: one relay after the other over the same data, each with an end of its own, and one judge at
the end for all that was ever emitted and seen.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash import scenes
from tests.crash.crash_process import Nursery
from tests.crash.scenes import EVENTS, FLUSH_ONLY, KILL, POWER, Case
from tests.crash.trial import Trial
from tests.support.file_faults import FileFault
from tests.support.postgres import PostgresServer
from tools.simulator.oracle import normalise
from zlay_py.crashpoints import CrashPoint
from zlay_py.eventlog.ceiling import Durability

RETENTION = frozenset({CrashPoint.SEGMENT_UNLINKED, CrashPoint.SEGMENT_REMOVED})
BUDGET_BYTES = 1_000_000

SHORT = (
    Case(CrashPoint.BATCH_WRITTEN, POWER),
    Case(CrashPoint.PROJECTION_APPLIED, KILL),
    Case(CrashPoint.CATCH_UP_APPLIED, POWER),
    Case(CrashPoint.CURSORS_SAVED, KILL),
    Case(CrashPoint.MARKS_MOVED, KILL),
    Case(CrashPoint.ENTRY_QUEUED, FileFault.EIO_FSYNC),
    Case(CrashPoint.STOP_STATES_APPLIED, POWER),
    Case(CrashPoint.SEGMENT_NAMED, POWER),
)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


def live(
    folder: Path,
    nursery: Nursery,
    seed: int,
    durability: Durability,
    cases: tuple[Case, ...],
    disk_budget_bytes: int | None = None,
    **settings: str,
) -> None:
    with Trial(folder, seed, durability, nursery=nursery, disk_budget_bytes=disk_budget_bytes, **settings) as trial:
        for case in trial.random.sample(cases, len(cases)):
            if case.point not in FLUSH_ONLY or durability is Durability.FLUSH:
                try:
                    scenes.run(trial, case)
                except BaseException as error:
                    error.add_note("\n".join(trial.story))
                    raise
        trial.judge()


@pytest.mark.parametrize("durability", Durability)
def test_a_few_ends_lose_nothing(tmp_path: Path, nursery: Nursery, durability: Durability) -> None:
    live(tmp_path, nursery, 1, durability, SHORT)


def test_a_few_ends_lose_nothing_on_postgresql(tmp_path: Path, nursery: Nursery, postgres: PostgresServer) -> None:
    live(tmp_path, nursery, 1, Durability.FSYNC, SHORT[:4], DATABASE_URL=postgres.new_url())


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("durability", Durability)
@pytest.mark.parametrize("event", [KILL, POWER])
def test_every_end_of_one_kind_loses_nothing_on_postgresql(
    tmp_path: Path, nursery: Nursery, postgres: PostgresServer, event: str, durability: Durability
) -> None:
    cases = tuple(Case(point, event) for point in CrashPoint if point not in RETENTION)
    live(tmp_path, nursery, 1, durability, cases, DATABASE_URL=postgres.new_url())


def test_a_host_read_live_is_asked_for_what_a_kill_took(tmp_path: Path, nursery: Nursery) -> None:
    """Its seqs began anew, so there is no cursor; the relay dies as soon as it has read one frame."""
    with Trial(tmp_path, 2, Durability.FSYNC, nursery=nursery) as trial:
        scenes.run(trial, Case(CrashPoint.FIRST_MARK_SAVED, KILL), stay=True)
        owed = {scenes.say_something(trial) for _ in range(3)}
        assert scenes.read_on(trial) == 0
        trial.settle()
        came = {normalise.read(one.wire).rev for session in trial.watcher.sessions for one in session}
        assert owed <= came
        trial.judge()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("durability", Durability)
@pytest.mark.parametrize("event", EVENTS)
def test_every_end_of_one_kind_at_every_point_loses_nothing(
    tmp_path: Path, nursery: Nursery, event: str, durability: Durability
) -> None:
    cases = tuple(Case(point, event) for point in CrashPoint if point not in RETENTION)
    live(tmp_path, nursery, EVENTS.index(event) + 1, durability, cases)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("durability", Durability)
def test_every_end_around_the_removal_of_a_segment_loses_nothing(
    tmp_path: Path, nursery: Nursery, durability: Durability
) -> None:
    events = [event for event in EVENTS if event != POWER or durability is Durability.FSYNC]
    cases = tuple(Case(point, event) for point in RETENTION for event in events)
    live(tmp_path, nursery, 99, durability, cases, disk_budget_bytes=BUDGET_BYTES)
