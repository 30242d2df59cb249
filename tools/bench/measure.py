"""CPU time, and on which machine: the smallest of several rounds counts, since noise only ever adds."""

import gc
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def least_us(step: Callable[[], object], count: int, rounds: int) -> float:
    """µs of CPU of this process, all threads, for one of `count`."""
    best = float("inf")
    with quiet():
        for _ in range(rounds):
            start = time.process_time()
            step()
            best = min(best, time.process_time() - start)
    return rounded(best / count * 1e6)


def rounded(number: float) -> float:
    return round(number, 2)


@contextmanager
def quiet() -> Iterator[None]:
    """What is there already is left out of garbage collection: the samples are ours, a relay has no such heap."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """So that the disk's speed is left out. On the disk where there is no tmpfs."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


def machine() -> dict[str, object]:
    """What the numbers hold for."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_1m": round(os.getloadavg()[0], 2),
    }


class Watch:
    """How many of the machine's cores other processes than ours and those we have waited for used, on average.

    What they take is not counted as ours, but it is felt: caches are shared, and the two cores of a small virtual
    machine are often two threads of one.
    """

    def __init__(self) -> None:
        self._start_s, self._busy_s, self._own_s = time.monotonic(), _busy_s(), _own_s()

    def others(self) -> float:
        busy_s = _busy_s() - self._busy_s - (_own_s() - self._own_s)
        return rounded(max(0.0, busy_s) / max(0.01, time.monotonic() - self._start_s))


def _busy_s() -> float:
    """CPU time of all cores since boot, apart from idling, waiting for disks, and what the host took for others."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split(maxsplit=8)[1:8])
    return (user + nice + system + irq + softirq) / _CLOCK_TICKS


def _own_s() -> float:
    return sum(os.times()[:4])


def cpu_s(pid: int) -> float:
    """Of one process and all its threads, user and system, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


def peak_rss_mb(pid: int) -> float:
    """The most memory that it has had at once."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise ValueError(f"/proc/{pid}/status has no VmHWM")
