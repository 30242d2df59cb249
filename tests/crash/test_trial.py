"""The instrument itself: what it emits is what it says it does, whatever scenes follow each other."""

from itertools import groupby
from pathlib import Path

from tests.crash.trial import CHUNK, HOSTS, Trial
from zlay_py.eventlog.ceiling import Durability


def test_what_a_scene_makes_happen_never_cuts_into_what_has_begun(tmp_path: Path) -> None:
    """A host whose seqs fall would rightly not be listened to, and the judge would call it a loss."""
    with Trial(tmp_path, 1, Durability.FSYNC) as trial:
        for turn in range(60):
            trial.play(CHUNK)
            trial.happen(trial.world.introduce(trial.world.create_account(turn % HOSTS)))
        trial.world.reset_seqs(0)
        trial.play(CHUNK)
        entries = sorted(trial.ledger.entries, key=lambda entry: entry.host)  # stable: as they were emitted
    for _, emitted in groupby(entries, lambda entry: entry.host):
        places = [(entry.epoch, entry.seq) for entry in emitted]
        assert places == sorted(set(places))
