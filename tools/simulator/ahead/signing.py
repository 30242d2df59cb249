"""Signs a world's events ahead, into a folder that `serving` sends."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Final

from tools.simulator.ahead.streams import LEDGER, Manifest, StreamWriter, read_manifest
from tools.simulator.model import Step
from tools.simulator.oracle.ledger import Ledger
from tools.simulator.worlds.world import Mix, World, WorldConfig

LEDGER_LINES_MAX: Final = 10_000
"""That are kept in memory: the file has them all."""


class _LedgerFile:
    """Puts steps down in the ledger's file and forgets them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def append(self, step: Step) -> None:
        self._ledger.append(step)
        if len(self._ledger.lines) > LEDGER_LINES_MAX:
            self._ledger.lines.clear()


def sign(config: WorldConfig, events: int, mix: Mix, folder: Path, *, ledger: bool = True) -> Manifest:
    """So many events, or a few more: what has begun is brought to its end. Raises FileExistsError, OSError."""
    world = World(config)
    folder.mkdir(parents=True, exist_ok=True)
    steps: Iterable[Step] = chain(world.documents(), world.run(events, mix=mix))
    if not ledger:
        return _write(config, folder, steps, None)
    with Ledger(folder / LEDGER) as file:
        return _write(config, folder, steps, _LedgerFile(file))


def _write(config: WorldConfig, folder: Path, steps: Iterable[Step], ledger: _LedgerFile | None) -> Manifest:
    with StreamWriter(folder, config.hosts, config.web_dids, ledger) as writer:
        for step in steps:
            writer.write(step)
    return read_manifest(folder)
