"""What can be wrong with a server on the way to its answer. One closed list, for methods and for the control port."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gevent.event import Event


class Fault(StrEnum):
    """Of the transport. What is wrong with an event is a matter of its maker (`model.Intent`)."""

    REFUSE = "refuse"
    """The port is closed: connections are refused, those that are open stay. Cleared: open again, the same port."""
    ACCEPT_CLOSE = "accept_close"
    """Connections are accepted and closed at once, before TLS and before a byte is read."""
    HANG = "hang"
    """Requests (not subscriptions) wait until the fault is cleared, and are answered then."""
    SLOW = "slow"
    """Requests are answered after so many seconds."""
    STATUS = "status"
    """Requests are answered with this status."""
    GARBAGE = "garbage"
    """Requests are answered with 200 and a body that is no JSON."""

    UPGRADE_STATUS = "upgrade_status"
    """Subscriptions are answered with this status instead of 101."""
    UPGRADE_HANG = "upgrade_hang"
    """Subscriptions get no answer until the fault is cleared."""
    STALL = "stall"
    """Nothing more comes out of open subscriptions, pongs neither: a process that hangs."""
    HOLD = "hold"
    """No frames come out of open subscriptions, pongs do: a host where nothing happens."""
    DRIP = "drip"
    """Subscriptions send so many bytes per second."""
    FUTURE_CURSOR = "future_cursor"
    """Every subscription with a cursor is answered with the error frame `FutureCursor`."""
    DROP = "drop"
    """Now: the open subscriptions are closed without a close frame."""
    SEQ_RESET = "seq_reset"
    """Now: the host has forgotten what it sent, and every cursor is in the future until it begins to count anew."""


@dataclass(frozen=True, slots=True)
class _Amount:
    unit: str
    least: float
    most: float


_STATUS: Final = _Amount("an HTTP status", 200, 599)
_AMOUNTS: Final = {
    Fault.SLOW: _Amount("seconds", 0, 3_600),
    Fault.STATUS: _STATUS,
    Fault.UPGRADE_STATUS: _STATUS,
    Fault.DRIP: _Amount("bytes per second", 1, 1e9),
}
NOW: Final = frozenset({Fault.DROP, Fault.SEQ_RESET})
"""Done when they are asked for; nothing remains that could be cleared."""
_COUNTED: Final = frozenset(
    {Fault.ACCEPT_CLOSE, Fault.STATUS, Fault.GARBAGE, Fault.UPGRADE_STATUS, Fault.FUTURE_CURSOR, Fault.SLOW}
)
"""Those that happen to one connection each, and so can be over after a number of them."""
TIMES_MAX: Final = 1_000_000
OF_EVERY_SERVER: Final = frozenset(
    {Fault.REFUSE, Fault.ACCEPT_CLOSE, Fault.HANG, Fault.SLOW, Fault.STATUS, Fault.GARBAGE}
)
OF_HOSTS: Final = frozenset(Fault)


class FaultError(ValueError):
    """A fault that does not exist, that this server can't have, or with a number that it can't have."""


@dataclass(slots=True)
class _Set:
    amount: float
    times: int | None


class FaultBoard:
    """The faults that one server has now. `kinds`: those it can have."""

    def __init__(self, kinds: frozenset[Fault]) -> None:
        self._kinds = kinds
        self._set: dict[Fault, _Set] = {}
        self._cleared: dict[Fault, Event] = {kind: Event() for kind in (Fault.HANG, Fault.UPGRADE_HANG)}

    def check(self, fault: Fault, amount: float | None, times: int | None) -> None:
        """Raises FaultError."""
        if fault not in self._kinds:
            raise FaultError(f"{fault}: not of this server, which can have {', '.join(sorted(self._kinds))}")
        wanted = _AMOUNTS.get(fault)
        if wanted is None:
            if amount is not None:
                raise FaultError(f"{fault} takes no amount")
        elif amount is None or not wanted.least <= amount <= wanted.most:
            raise FaultError(f"{fault} needs an amount: {wanted.unit}, {wanted.least:g} to {wanted.most:g}")
        if times is not None and (fault not in _COUNTED or not 1 <= times <= TIMES_MAX):
            raise FaultError(f"{fault} can't be set for {times} times")

    def set(self, fault: Fault, amount: float | None, times: int | None) -> None:
        self._set[fault] = _Set(0.0 if amount is None else amount, times)
        if fault in self._cleared:
            self._cleared[fault].clear()

    def clear(self, fault: Fault) -> None:
        self._set.pop(fault, None)
        if fault in self._cleared:
            self._cleared[fault].set()

    def amount(self, fault: Fault) -> float | None:
        """Its number while the fault is set, 0 where it takes none; None while it is not."""
        found = self._set.get(fault)
        return None if found is None else found.amount

    def take(self, fault: Fault) -> float | None:
        """As `amount`, and counts one time off."""
        found = self._set.get(fault)
        if found is None:
            return None
        if found.times is not None:
            found.times -= 1
            if not found.times:
                self.clear(fault)
        return found.amount

    def wait_cleared(self, fault: Fault, timeout_s: float) -> bool:
        """For HANG and UPGRADE_HANG. False when the time was over first."""
        return fault not in self._set or bool(self._cleared[fault].wait(timeout_s))

    def state(self) -> Mapping[str, dict[str, float | int | None]]:
        return {str(kind): {"amount": entry.amount, "times": entry.times} for kind, entry in self._set.items()}
