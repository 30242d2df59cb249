"""The relay under gunicorn, killed at random moments under load: SIGKILL to master and worker at once."""

from pathlib import Path

import pytest

from tests.crash.trial import Trial
from zlay_py.eventlog.ceiling import Durability

EVENTS_PER_S = 1_000.0


def kill_again_and_again(folder: Path, durability: Durability, kills: int) -> None:
    with Trial(folder, kills, durability) as trial:
        for _ in range(kills):
            assert trial.start()
            trial.play(trial.random.randint(100, 1_500), per_s=EVENTS_PER_S)
            trial.end(power=False)
            trial.play(trial.random.choice((0, 100)))
        found = trial.judge()
    assert found.received > 300 * kills


def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, Durability.FSYNC, 5)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("durability", Durability)
def test_a_hundred_kills_lose_nothing(tmp_path: Path, durability: Durability) -> None:
    kill_again_and_again(tmp_path, durability, 100 if durability is Durability.FSYNC else 30)
