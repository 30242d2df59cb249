"""Where the CPU time goes: the running line every so much of it. Greenlet switches, which deceive a profiler that
follows calls and returns, don't matter to one that only looks."""

import signal
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL_S = 0.001
"""Of CPU time. The kernel's tick may make it 4 ms."""

ROOT = Path(__file__).resolve().parents[2]


class Sampler:
    """Between `start` and `stop`, any number of times. Time in C counts for the line that called it."""

    def __init__(self) -> None:
        self.samples = 0
        self._own: Counter[str] = Counter()
        self._total: Counter[str] = Counter()
        self._lines: Counter[str] = Counter()

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)

    def report(self, count: int = 40) -> dict[str, dict[str, float]]:
        """Percent of the time by function (in it alone; with what it calls) and by line, the largest first."""
        found = {"own": self._own, "with_calls": self._total, "lines": self._lines}
        return {
            name: {place: round(100 * number / self.samples, 1) for place, number in counter.most_common(count)}
            for name, counter in found.items()
        }

    def _look(self, _number: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        self.samples += 1
        self._own[_place(frame)] += 1
        self._lines[f"{_file(frame)}:{frame.f_lineno}"] += 1
        seen: set[str] = set()
        caller: FrameType | None = frame
        while caller is not None:
            seen.add(_place(caller))
            caller = caller.f_back
        self._total.update(seen)


def _place(frame: FrameType) -> str:
    return f"{_file(frame)}:{frame.f_code.co_qualname}"


def _file(frame: FrameType) -> str:
    name = frame.f_code.co_filename
    return name.removeprefix(f"{ROOT}/").rpartition("site-packages/")[2]
