"""What consumers got of a relay's stream, laid over each other: one event to a seq, for everybody and for ever.

Rules: seqs grow and are never used twice, every consumer gets the same messages in the same order (atproto event
stream spec, Sequence Numbers); what a consumer has seen is on the disk (README, Durability).
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tools.simulator.oracle import normalise
from tools.simulator.oracle.findings import Findings
from tools.simulator.oracle.normalise import KINDS, Event
from tools.simulator.oracle.rules import Policy

SEQ_MAX = 1 << 53


class Received(NamedTuple):
    """One frame, as a consumer got it. `session`: the connection, counted from 0."""

    seq: int
    """0 for a frame that has none."""
    kind: str
    wire: bytes
    session: int = 0


class Session(list[Received]):
    """One connection. `cursor`: what it asked for; None: live, or not known."""

    def __init__(self, received: Iterable[Received] = (), *, cursor: int | None = None) -> None:
        super().__init__(received)
        self.cursor = cursor


@dataclass(slots=True)
class Came:
    """What stands at a seq."""

    seq: int
    event: Event
    checksum: bytes
    place: str
    """Where it was met first."""
    in_final: bool = False

    def __str__(self) -> str:
        rev = f" rev {self.event.rev}" if self.event.rev else ""
        return f"relay seq {self.seq} {self.event.kind} {self.event.did}{rev} (first met in {self.place})"


class Readings:
    """All of them. `came`: by seq. `gone`: seqs that were seen once, and that the final reading has no more."""

    def __init__(
        self, sessions: Sequence[Iterable[Received]], final: Iterable[Received], policy: Policy, found: Findings
    ) -> None:
        self._policy, self._found = policy, found
        self._by_seq: dict[int, Came] = {}
        self._final = list(self._read(final, "the final reading", in_final=True))
        self.gone: set[int] = set()
        self.seen = 0
        for number, session in enumerate(sessions):
            place = f"session {number}"
            seqs = list(self._read(session, place, in_final=False))
            self.seen += len(seqs)
            self._compare(seqs, getattr(session, "cursor", None), place)
        self.came = [self._by_seq[seq] for seq in sorted(self._by_seq)]

    def _read(self, received: Iterable[Received], place: str, *, in_final: bool) -> Iterator[int]:
        last = 0
        for one in received:
            if one.kind not in KINDS:
                self._stream_message(one, place)
                continue
            came = self._by_seq.get(one.seq)
            checksum = hashlib.blake2b(one.wire, digest_size=16).digest()
            if came is None:
                came = Came(one.seq, normalise.read(one.wire), checksum, place)
                self._by_seq[one.seq] = came
                self._check_seq(came)
            elif came.checksum != checksum:
                other = Came(one.seq, normalise.read(one.wire), checksum, place)
                self._found.add("seq reused", f"{came}, and {other}: one seq, two frames")
            came.in_final = came.in_final or in_final
            if one.seq <= last:
                self._found.add("seq went back", f"{came}: seq {one.seq} came after {last} in {place}")
            last = max(last, one.seq)
            yield one.seq

    def _check_seq(self, came: Came) -> None:
        if came.event.seq != came.seq or not 0 < came.seq < SEQ_MAX:
            self._found.add("seq wrong", f"{came}: the frame itself says {came.event.seq}")
        elif came.seq < self._policy.oldest_seq and came.place == "the final reading":
            self._found.add("seq wrong", f"{came}: the oldest kept was said to be {self._policy.oldest_seq}")

    def _stream_message(self, one: Received, place: str) -> None:
        name = normalise.read(one.wire).message
        if one.kind == "#info" and name == "OutdatedCursor" and self._policy.oldest_seq > 1:
            return
        self._found.add("stream message", f"{place}: {one.kind} {name or one.wire[:40].hex()} instead of an event")

    def _compare(self, seqs: list[int], cursor: int | None, place: str) -> None:
        """A session has all that the final reading has between its ends, and the final reading all that it has."""
        if not seqs:
            return
        for seq in seqs:
            if seq >= self._policy.oldest_seq and not self._by_seq[seq].in_final:
                self._lose(seq)
        first = seqs[0] if cursor is None else cursor
        own = set(seqs)
        for seq in self._final[bisect_left(self._final, first) : bisect_right(self._final, max(seqs))]:
            if seq not in own:
                self._found.add(
                    "seq skipped", f"{self._by_seq[seq]}: {place} asked from {first}, got {max(seqs)} and never this"
                )

    def _lose(self, seq: int) -> None:
        if seq in self.gone:
            return
        self.gone.add(seq)
        if self._policy.durability == "fsync" or not self._policy.power_lost:
            why = "in fsync mode nothing is sent that can be lost" if self._policy.durability == "fsync" else ""
            why = why or "in flush mode only a power loss takes back what was sent, and there was none"
            self._found.add("gone", f"{self._by_seq[seq]} is not in the final reading: {why}")
