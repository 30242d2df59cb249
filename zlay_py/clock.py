"""Time, handed in. Owns: the one place that reads the clocks. Everything else takes a `Clock` as an argument."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now_us(self) -> int:
        """Wall clock: microseconds since 1970, UTC. May jump."""

    def monotonic_s(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""


class SystemClock:
    def now_us(self) -> int:
        return time.time_ns() // 1_000

    def monotonic_s(self) -> float:
        return time.monotonic()


def format_datetime(time_us: int) -> str:
    """`2026-01-02T03:04:05.678Z`: UTC, milliseconds, `Z`, as the atproto lexicon format `datetime` prefers."""
    moment = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_us // 1_000 % 1_000:03d}Z"
