"""Waits until a relay is done with a world: all that must come out has, and its marks stand at the hosts' last seqs.

Only then is what must not come out known not to. Nothing here sleeps for luck: it waits for a consumer's frames, then
asks the relay for the fact itself.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gevent.event import Event

from tools.simulator.oracle import normalise
from tools.simulator.oracle.history import MUST, History
from tools.simulator.oracle.ledger import Entry, Ledger
from tools.simulator.oracle.recording import Recorder
from tools.simulator.oracle.rules import Policy

ASK_AGAIN_S = 0.05
MISSING_MAX = 20
"""Named in the report."""

Marks = Callable[[], Mapping[int, int]]
"""By host number: the seq up to which the relay says that it is done with that host."""


@dataclass(frozen=True, slots=True)
class Waited:
    done: bool
    missing: list[str] = field(default_factory=list)
    """What has not come, and which marks stand short, for reading."""


def marks_of(listed: Iterable[Mapping[str, Any]], host_names: Iterable[str]) -> dict[int, int]:
    """From the `hosts` of `com.atproto.sync.listHosts`, by the place of the host's name."""
    seqs = {host.get("hostname"): host.get("seq") for host in listed}
    return {number: int(seqs.get(name) or 0) for number, name in enumerate(host_names)}


def wait_until_handled(ledger: Ledger, policy: Policy, recorder: Recorder, marks: Marks, *, timeout_s: float) -> Waited:
    """At most so long. Then whoever runs the world may say `ledger.settled()`, if no look-up is under way any more."""
    ends_at = time.monotonic() + timeout_s
    entries = ledger.entries
    wanted, left = _wanted(ledger, policy)
    count = 0
    while True:
        for received in recorder.since(count):
            count += 1
            digest = normalise.read(received.wire).digest
            if wanted.get(digest, 0) > 0:
                wanted[digest] -= 1
                left -= 1
        if not left or not recorder.wait_beyond(count, max(0.0, ends_at - time.monotonic())):
            break
    if left:
        return Waited(False, _missing(entries, wanted, left))
    short = _wait_for_marks(ledger.last_seqs(), marks, ends_at)
    return Waited(not short, short)


def _wanted(ledger: Ledger, policy: Policy) -> tuple[Counter[bytes], int]:
    verdicts = History(ledger, policy).verdicts
    wanted = Counter(
        entry.digest for entry, verdict in zip(ledger.entries, verdicts, strict=True) if verdict.expectation is MUST
    )
    return wanted, wanted.total()


def _missing(entries: list[Entry], wanted: Mapping[bytes, int], left: int) -> list[str]:
    named = [f"has not come: {entry}" for entry in entries if wanted.get(entry.digest, 0) > 0][:MISSING_MAX]
    return [f"{left} of the events that must come have not", *named]


def _wait_for_marks(last_seqs: Mapping[int, int], marks: Marks, ends_at: float) -> list[str]:
    pause = Event()
    while True:
        reached = marks()
        short = [
            f"host {host}: its last seq is {seq}, the relay's mark {reached.get(host)}"
            for host, seq in sorted(last_seqs.items())
            if reached.get(host, 0) < seq
        ]
        if not short or time.monotonic() >= ends_at:
            return short
        pause.wait(ASK_AGAIN_S)  # there is no other way to learn how far another process is
