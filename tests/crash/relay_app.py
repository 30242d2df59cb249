"""The real relay with a disk that can fail and a process that can die where it is told to. A process of its own.

    main, in a process of its own (`nursery`)        as `zlay serve`: one process
    gunicorn -c conf/gunicorn.conf.py tests.crash.relay_app:app

Settings as always; what is to happen is in CRASH_PLAN, see `plan.Plan`. SIGUSR1: the power goes now.
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import os
import signal
from pathlib import Path
from random import Random

import gevent

from tests.crash.plan import Plan
from tests.support.file_faults import FileFault, faulty
from tests.support.lossy_files import LossyFiles
from zlay_py.app import RelayApp
from zlay_py.crashpoints import CrashPoint
from zlay_py.eventlog.lock import OwnerLock
from zlay_py.runtime import Seams
from zlay_py.settings import load_settings
from zlay_py.workers import pywsgi_server


class Doom:
    """What `reached` is made of."""

    def __init__(self, plan: Plan, files: LossyFiles) -> None:
        self._plan = plan
        self._files = files
        self._random = Random(plan.seed)
        self._left = plan.nth

    def reached(self, point: CrashPoint) -> None:
        """Called by the hub and by the threads of its pool."""
        if point == self._plan.point:
            self._left -= 1
            if self._left == 0:
                self._happen()

    def lose_power(self) -> None:
        self._files.lose_power(self._random)
        self._die()

    def _happen(self) -> None:
        Path(self._plan.told).touch()
        if self._plan.event == "kill":
            self._die()
        elif self._plan.event == "power":
            self.lose_power()
        else:
            self._files.before = faulty(FileFault(self._plan.event), self._random)

    def _die(self) -> None:
        os.killpg(0, signal.SIGKILL)  # a gunicorn master, if there is one, must not start another worker


plan = Plan.of_environment()
files = LossyFiles()
doom = Doom(plan, files)
app = RelayApp(
    load_settings(),
    Seams(
        files=files,
        reached=doom.reached,
        segment_bytes_max=plan.segment_bytes_max,
        ceiling_stride=plan.ceiling_stride,
        cursor_save_interval_s=plan.cursor_save_interval_s,
        retention_interval_s=plan.retention_interval_s,
        disk_budget_bytes=plan.disk_budget_bytes,
    ),
)


def main() -> int:
    gevent.signal_handler(signal.SIGUSR1, doom.lose_power)
    settings = app.settings
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    OwnerLock(settings.data_dir).acquire()
    return pywsgi_server.serve(app, settings.bind, settings.port)
