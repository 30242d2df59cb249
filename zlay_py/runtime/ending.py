"""The stop: what the start has opened, ended in the opposite order, within a time, whatever fails on the way."""

from collections.abc import Callable

from zlay_py.clock import Clock
from zlay_py.crashpoints import CrashPoint, Reached
from zlay_py.errors import StorageFullError
from zlay_py.logs import get_logger
from zlay_py.state.failures import StateUnavailableError

log = get_logger(__name__)

STOP_S_MAX = 20.0
"""For the waits of an orderly stop, all together. Of gunicorn's graceful timeout some 24 s are left for it (see
`workers.lifecycle`), and saving and closing come after."""

DRAIN_S_MAX = 8.0
"""For one of the waits: what the lanes can't get done must not take the log writer's time as well."""

Step = tuple[str, Callable[[], object], CrashPoint | None]


class Ending:
    """The steps of the stop, last one first. One that returns False has left something behind."""

    def __init__(self, clock: Clock, reached: Reached) -> None:
        self._clock = clock
        self._reached = reached
        self._steps: list[Step] = []
        self._until_s = 0.0

    def add(self, name: str, step: Callable[[], object], point: CrashPoint | None = None) -> None:
        """`point` is reached when the step has ended well."""
        self._steps.append((name, step, point))

    def wait_s(self) -> float:
        """For the next wait of the stop."""
        return max(0.0, min(DRAIN_S_MAX, self._until_s - self._clock.monotonic_s()))

    def run(self) -> None:
        """Every step. One that fails, or is cut off, is logged and keeps none of the others from running: a full disk
        must not leave files open and the data directory locked. A second call does nothing."""
        if not self._steps:
            return
        self._until_s = self._clock.monotonic_s() + STOP_S_MAX
        settled, cut_off = True, None
        while self._steps:
            name, step, point = self._steps.pop()
            try:
                settled = step() is not False and settled
                if point is not None:
                    self._reached(point)
            except (StateUnavailableError, StorageFullError) as error:  # no bug, and its text says all
                settled = False
                log.error("a step of the stop was not possible; the next start mends it", step=name, why=str(error))
            except Exception as error:
                settled = False
                log.error("a step of the stop failed; the others follow", step=name, error=repr(error), exc_info=True)
            except BaseException as error:  # killed: what is left is done without waiting for anything
                settled, cut_off = False, error
                self._until_s = self._clock.monotonic_s()
        log.info("relay stopped", settled=settled)
        if cut_off is not None:
            raise cut_off
