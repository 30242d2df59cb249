"""What a relay has dropped stays dropped when the host sends it again, whatever has become known since."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.crash_process import Nursery
from tests.crash.trial import Trial
from tools.simulator.model import Emission, Intent
from tools.simulator.servers.outages import Fault
from zlay_py.crashpoints import CrashPoint
from zlay_py.eventlog.ceiling import Durability

NEVER_S = 3_600.0
DIES_S_MAX = 20.0


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


def dropped(trial: Trial, reason: str) -> float:
    return trial.relay.metrics()[f'relay_events_dropped_total{{reason="{reason}"}}']


@pytest.mark.parametrize("kills", [1, 2])
def test_what_was_dropped_before_a_kill_stays_dropped_after_it(tmp_path: Path, nursery: Nursery, kills: int) -> None:
    """A host says of another's account that it is deactivated; then the account moves to it. Killed before any mark is
    saved, the relay reads all that once more. Of two kills, the second one comes when the first save has moved the
    checkpoint over the log, and nothing has been heard of the host."""
    with Trial(tmp_path, 4, Durability.FSYNC, nursery=nursery) as trial:
        world = trial.world
        account, bystander, *_ = (one for one in world.accounts if one.host == 0)
        assert trial.start(cursor_save_interval_s=NEVER_S)
        trial.happen(world.introduce(account))
        trial.settle()
        forged = world.fault(Intent.FORGED_ACCOUNT, account, variant=2)[-1]
        assert isinstance(forged, Emission)
        trial.happen([forged])
        trial.settle()
        assert dropped(trial, "host_not_authoritative") == 1
        trial.happen([*world.migrate(account, forged.host), *world.commit(account)])
        trial.settle()
        trial.happen(
            world.introduce(bystander)
        )  # the log's last word is not that host's: a scan from there finds nothing
        trial.settle()
        trial.end(power=False)
        if kills == 2:
            host = trial.network.hosts[forged.host]
            host.fail(Fault.REFUSE)
            trial.start(cursor_save_interval_s=0.05, point=CrashPoint.CURSORS_SAVED)
            assert trial.relay.wait_dead(DIES_S_MAX)
            trial.end(power=False)
            host.clear(Fault.REFUSE)
        assert trial.start()
        trial.happen(world.commit(account))
        trial.settle()
        recognised = dropped(trial, "already_judged")
        trial.judge()
        assert recognised == 1
