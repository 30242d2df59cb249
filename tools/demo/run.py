"""One demo from the first process to the verdict, and everything put away again."""

import errno
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tools.demo import ending, screenshot
from tools.demo.display import Display, display
from tools.demo.options import Options
from tools.demo.processes import DemoError
from tools.demo.signals import Interrupts
from tools.demo.stage import Stage, StoppedEarlyError, start

REFRESH_S = 0.2
SETTLE_S_MAX = 10.0
"""For the last events to come through after the hosts have fallen silent: a host that has just dropped its connection
is connected to again within a few seconds."""
SETTLE_EVERY_S = 2.0
SETTLING = f"waiting up to {SETTLE_S_MAX:.0f} s for what is on its way"


def run(options: Options, interrupts: Interrupts, console: Console) -> int:
    """Returns the exit status: 0 all is well, 1 something is wrong, and is said."""
    with workspace(options.keep, console) as folder, ExitStack() as stack:
        try:
            stage = start(options, folder.path, stack, interrupts, console)
            perform(options, stage, interrupts, console)
            wrong = ending.conclude(stage, interrupts, console)
        except StoppedEarlyError:
            console.print("ended before there was anything to judge")
            return 0
        except (DemoError, OSError) as error:  # OSError: one of the two programs does not answer, or nobody reads
            if interrupts.terminal_closed or (isinstance(error, OSError) and error.errno == errno.EIO):
                return 1
            folder.kept = folder.kept or any(folder.path.iterdir())
            console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
            return 1
        folder.kept = folder.kept or wrong
        return 1 if wrong else 0


@dataclass(slots=True)
class Workspace:
    """Where data and logs are. `kept`: it stays there after the demo."""

    path: Path
    kept: bool


@contextmanager
def workspace(wanted: Path | None, console: Console) -> Iterator[Workspace]:
    """A temporary folder, unless one is wanted. Raises OSError."""
    folder = Workspace(make_folder(wanted), wanted is not None)
    try:
        yield folder
    finally:
        if folder.kept:
            console.print(f"data and logs: {folder.path}", markup=False, highlight=False, soft_wrap=True)
        else:
            shutil.rmtree(folder.path, ignore_errors=True)


def make_folder(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="zlay-demo-"))
    wanted.mkdir(parents=True)
    return wanted.absolute()


def perform(options: Options, stage: Stage, interrupts: Interrupts, console: Console) -> None:
    """Shows what happens until a signal or the end of the time, and then until everything is through."""
    with display(console, stage.addresses) as screen:
        until_s = time.monotonic() + options.seconds
        settle_s = time.monotonic() + SETTLE_EVERY_S
        while not interrupts.count and time.monotonic() < until_s:
            if time.monotonic() > settle_s:
                stage.settle(interrupts)
                settle_s = time.monotonic() + SETTLE_EVERY_S
            show(stage, screen)
            interrupts.wait(REFRESH_S)
        last = stage.snapshot()
        stage.network.ask("quiet")
        until_s = time.monotonic() + SETTLE_S_MAX
        while not interrupts.hurry and not stage.settled() and time.monotonic() < until_s:
            show(stage, screen, SETTLING)
            interrupts.wait(REFRESH_S)
    if options.screenshot is not None:
        screenshot.save(options.screenshot, last, stage.addresses)


def show(stage: Stage, screen: Display, what: str = "") -> None:
    """Raises DemoError when something does not run any more."""
    stage.check()
    screen.show(stage.snapshot(what))
