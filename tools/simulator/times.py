"""Time in a simulated world: it moves when something happens, and only then, so that it is the same every time.

Sources: atproto.com/specs/tid; atproto.com/specs/lexicon, "datetime".
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

TIME_START_US: Final = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z, in microseconds since 1970."""

STEP_US: Final = 1_000
"""What lies between two events. A million of them take a quarter of an hour of the world's time."""

CLOCK_IDS: Final = 1024
_DIGITS: Final = "234567abcdefghijklmnopqrstuvwxyz"
_PAIRS: Final = tuple(high + low for high in _DIGITS for low in _DIGITS)


class VirtualClock:
    """Microseconds since 1970, by the world's own clock."""

    def __init__(self, start_us: int) -> None:
        self.now_us = start_us

    def tick(self) -> int:
        """The next moment."""
        self.now_us += STEP_US
        return self.now_us


def tid(time_us: int, clock_id: int) -> str:
    """The 13 characters of a moment and the clock (0 to 1023) that it was read from."""
    number = time_us << 10 | clock_id
    return (
        _DIGITS[number >> 60]
        + _PAIRS[number >> 50 & 1023]
        + _PAIRS[number >> 40 & 1023]
        + _PAIRS[number >> 30 & 1023]
        + _PAIRS[number >> 20 & 1023]
        + _PAIRS[number >> 10 & 1023]
        + _PAIRS[number & 1023]
    )


def tid_time_us(text: str) -> int:
    """The moment that a TID tells of."""
    number = 0
    for character in text:
        number = number << 5 | _DIGITS.index(character)
    return number >> 10


def timestamp(time_us: int) -> str:
    """RFC 3339 with milliseconds, in UTC."""
    second, rest = divmod(time_us, 1_000_000)
    return f"{_second(second)}.{rest // 1000:03}Z"


@lru_cache(maxsize=16)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
