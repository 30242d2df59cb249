"""How a relay is brought to each crash point, and what is done there: one relay after the other over the same data."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import gevent

from tests.crash.trial import HOSTS, Trial
from tests.support.file_faults import FileFault
from tools.simulator.model import Emission
from tools.simulator.servers.outages import Fault
from zlay_py.crashpoints import CrashPoint
from zlay_py.exit_status import ALL_IS_WELL, BROKEN, START_FAILED

KILL, POWER = "kill", "power"
EVENTS = (KILL, POWER, *FileFault)

TOLD_S_MAX = 30.0
FAULT_MET_S_MAX = 1.5
"""A disk that fails is met by the next batch; one that is only short of space may be survived."""

AT_START = frozenset(
    {
        CrashPoint.DATABASE_OPEN,
        CrashPoint.START_DECIDED,
        CrashPoint.TAIL_CUT,
        CrashPoint.CATCH_UP_APPLIED,
        CrashPoint.CAUGHT_UP,
    }
)
AT_STOP = frozenset(
    {
        CrashPoint.STOP_UNSUBSCRIBED,
        CrashPoint.STOP_LANES_DRAINED,
        CrashPoint.STOP_LOG_WRITTEN,
        CrashPoint.STOP_STATES_APPLIED,
        CrashPoint.STOP_CURSORS_SAVED,
        CrashPoint.CLOSE_SYNCED,
        CrashPoint.CLOSE_MARKED,
        CrashPoint.STOP_CLOSED,
    }
)
FLUSH_ONLY = frozenset({CrashPoint.LOG_SYNCED})
NEW_EPOCH = frozenset({CrashPoint.EPOCH_BEGUN, CrashPoint.FIRST_MARK_SAVED})
NEW_ACCOUNT = frozenset({CrashPoint.ACCOUNT_MADE, CrashPoint.IDENTITIES_TAKEN, CrashPoint.IDENTITIES_SAVED})
OFTEN = frozenset(
    {
        CrashPoint.FRAME_READ,
        CrashPoint.FRAME_JUDGED,
        CrashPoint.ENTRY_QUEUED,
        CrashPoint.BATCH_WRITTEN,
        CrashPoint.BATCH_DURABLE,
        CrashPoint.BATCH_PUBLISHED,
        CrashPoint.MARKS_MOVED,
        CrashPoint.PROJECTION_BEGUN,
        CrashPoint.PROJECTION_APPLIED,
    }
)
SAVED = frozenset({CrashPoint.CURSORS_CHOSEN, CrashPoint.CURSORS_SAVED})
STATUSES = frozenset({ALL_IS_WELL, START_FAILED, BROKEN})
"""Of a relay whose disk fails: it says so, or a stop comes to its end without it. Anything else is a bug of ours."""


@dataclass(frozen=True)
class Case:
    point: CrashPoint
    event: str

    def __str__(self) -> str:
        return f"{self.point}-{self.event}"


def run(trial: Trial, case: Case, *, stay: bool = False) -> None:
    """One relay, from a start to an end that is no clean one. Fails if it never came by the point.

    `stay`: in a new epoch of the host, if it came to one.
    """
    if case.point in AT_START:
        _die_with_something_to_catch_up(trial)
        if case.point is CrashPoint.TAIL_CUT:
            trial.tear()
    else:
        trial.play(100)  # while nobody reads: it comes at once, in large batches
    nth_max = 40 if case.point in OFTEN else 4 if case.point in SAVED else 1
    nth = trial.random.randint(1, nth_max)
    up = trial.start(point=case.point, nth=nth, event=case.event)
    if up and not trial.told:
        _SCENES.get(case.point, _bring_load)(trial, case)
    assert trial.told, f"never came by {case.point}; {trial.relay.log.read_text()[-2000:]}"
    _end(trial, case)
    if case.point in NEW_EPOCH and not stay:
        _leave_the_epoch_behind(trial)


def _end(trial: Trial, case: Case) -> None:
    if case.event == KILL:
        assert trial.relay.wait_dead(TOLD_S_MAX), "told to die, and lives"
        trial.end(power=False)
    elif case.event == POWER:
        assert trial.relay.wait_dead(TOLD_S_MAX), "told to die, and lives"
        trial.end(power=True)
    else:
        if case.point not in NEW_EPOCH:  # what is missed there is missed rightly, an account's new status as well
            trial.play(40)
        if trial.relay.wait_dead(FAULT_MET_S_MAX):
            status = trial.relay.bury()
            assert status in STATUSES, f"{case}: status {status}\n{trial.relay.log.read_text()[-3000:]}"
            trial.story.append(f"  met its fault, status {status}")
        else:
            trial.end(power=trial.may_lose_power and trial.random.random() < 0.5)


def _bring_load(trial: Trial, case: Case) -> None:
    def bring() -> None:
        trial.play(40)
        trial.watcher.wait_beyond(trial.watcher.last_seq, 0.2)

    _until_told(trial, bring)


def _bring_a_flood(trial: Trial, case: Case) -> None:
    """So much that some of it is always between the socket and the disk."""

    def bring() -> None:
        trial.play(200)
        trial.watcher.wait_beyond(trial.watcher.last_seq, 0.05)

    _until_told(trial, bring)


def _until_told(trial: Trial, bring: Callable[[], object]) -> None:
    until_s = monotonic() + TOLD_S_MAX
    while trial.relay.alive and not trial.told and monotonic() < until_s:
        bring()
        gevent.sleep(0)


def _stop(trial: Trial, case: Case) -> None:
    trial.play(100)
    trial.watcher.wait_beyond(trial.watcher.last_seq, 2.0)
    trial.relay.told_to_stop()
    _until_told(trial, lambda: gevent.sleep(0.02))


def _introduce(trial: Trial, case: Case) -> None:
    def bring() -> None:
        trial.happen(trial.world.introduce(trial.world.create_account(trial.random.randrange(HOSTS))))
        gevent.sleep(0.1)

    _until_told(trial, bring)


def _move(trial: Trial, case: Case) -> None:
    def bring() -> None:
        trial.settle()
        active = [account for account in trial.world.accounts if account.active and account.introduced]
        account = trial.random.choice(active)
        trial.happen(trial.world.migrate(account, (account.host + 1) % HOSTS))
        _until(lambda: trial.told or not trial.relay.alive, 5.0)

    _until_told(trial, bring)


def _reset(trial: Trial, case: Case) -> None:
    """The first host forgets its seqs, and is read live when it has said so."""
    trial.settle()
    host = trial.network.hosts[0]
    trial.world.reset_seqs(0)
    host.fail(Fault.SEQ_RESET)
    if case.point is CrashPoint.FIRST_MARK_SAVED:
        _until(lambda: bool(host.cursors) and host.cursors[-1] is None and host.connections > 0, TOLD_S_MAX)
        say_something(trial)
    _until_told(trial, lambda: gevent.sleep(0.02))


def _leave_the_epoch_behind(trial: Trial) -> None:
    """What the host says from here on is no longer in doubt: the relay reads it, and every mark is at its end."""
    read_on(trial)
    say_something(trial)
    trial.settle()
    trial.end(power=False)


def read_on(trial: Trial) -> int | None:
    """The next relay. Returns the cursor with which it asks the first host."""
    host = trial.network.hosts[0]
    asked = len(host.cursors)
    assert trial.start()
    _until(lambda: len(host.cursors) > asked and host.connections > 0, TOLD_S_MAX)
    return host.cursors[asked]


def say_something(trial: Trial) -> str:
    """A commit of an account of the first host. Returns its rev."""
    account = next(one for one in trial.world.accounts if one.host == 0 and one.active and one.introduced)
    steps = trial.world.commit(account)
    trial.happen(steps)
    [commit] = steps
    assert isinstance(commit, Emission)
    assert commit.rev is not None
    return commit.rev


def _die_with_something_to_catch_up(trial: Trial) -> None:
    trial.play(60)
    trial.start(point=CrashPoint.PROJECTION_BEGUN, nth=2)
    _bring_load(trial, Case(CrashPoint.PROJECTION_BEGUN, KILL))
    trial.relay.wait_dead(TOLD_S_MAX)
    trial.end(power=False)


def _until(is_so: Callable[[], bool], timeout_s: float) -> None:
    with gevent.Timeout(timeout_s, AssertionError("it never came to that")):
        while not is_so():
            gevent.sleep(0.02)


_SCENES: dict[CrashPoint, Callable[[Trial, Case], None]] = {
    **dict.fromkeys(AT_STOP, _stop),
    **dict.fromkeys(NEW_ACCOUNT, _introduce),
    **dict.fromkeys(NEW_EPOCH, _reset),
    **dict.fromkeys(SAVED, _bring_a_flood),
    CrashPoint.ACCOUNT_MOVED: _move,
}
