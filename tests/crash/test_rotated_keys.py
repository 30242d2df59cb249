"""A key that an `#identity` has put in doubt stays in doubt over every end of the relay."""

from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from tests.crash.crash_process import Nursery
from tests.crash.trial import Trial
from tests.support.postgres import PostgresServer
from tools.simulator.model import Intent
from tools.simulator.servers.outages import Fault
from zlay_py.eventlog.ceiling import Durability

NEVER_S = 3_600.0
NOTICED_S_MAX = 10.0


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


def dropped(trial: Trial, reason: str) -> float:
    return trial.relay.metrics()[f'relay_events_dropped_total{{reason="{reason}"}}']


def until(is_so: Callable[[], bool], what: str) -> None:
    with gevent.Timeout(NOTICED_S_MAX, AssertionError(what)):
        while not is_so():
            gevent.sleep(0.02)


def rotate_while_the_directory_is_down(trial: Trial, *, killed: bool) -> None:
    """Killed, the relay has saved no mark of a host, so that its log says what came; stopped, it has saved all."""
    world, plc = trial.world, trial.network.plc
    account, bystander, *_ = (one for one in world.accounts if one.host == 0)
    assert trial.start(**({"cursor_save_interval_s": NEVER_S} if killed else {}))
    trial.happen([*world.introduce(account), *world.introduce(bystander)])
    trial.settle()
    trial.ledger.directory_down()
    plc.fail(Fault.STATUS, 503)
    rotation = world.rotate_key(account, sync=False)
    trial.happen([*rotation, *world.commit(bystander), *world.commit(bystander)])
    trial.settle()
    if killed:
        trial.end(power=False)
    else:
        assert trial.relay.stop() == 0
    plc.clear()
    trial.ledger.directory_up()
    asked = plc.asked[account.did]
    assert trial.start()
    if killed:
        until(lambda: plc.asked[account.did] > asked, "nobody asks about the account")

    def refused() -> bool:
        trial.happen(world.fault(Intent.OLD_KEY, account))
        trial.settle()
        return dropped(trial, "signature_invalid") > 0

    until(refused, "the old key stays in force")
    trial.happen(world.commit(account))
    trial.settle()
    trial.judge()


@pytest.mark.parametrize("killed", [True, False])
def test_a_key_rotated_while_nobody_could_be_asked_does_not_stay_in_force(
    tmp_path: Path, nursery: Nursery, killed: bool
) -> None:
    with Trial(tmp_path, 6, Durability.FSYNC, nursery=nursery) as trial:
        rotate_while_the_directory_is_down(trial, killed=killed)


def test_so_it_is_on_postgresql(tmp_path: Path, nursery: Nursery, postgres: PostgresServer) -> None:
    with Trial(tmp_path, 6, Durability.FSYNC, nursery=nursery, DATABASE_URL=postgres.new_url()) as trial:
        rotate_while_the_directory_is_down(trial, killed=False)
