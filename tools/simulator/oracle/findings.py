"""What a judge has found: every wrong named so that somebody can act on it, and counts that show what was looked at."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from tools.simulator.model import Intent
from tools.simulator.oracle.rules import Expectation

PRINTED_MAX = 20
"""Of one kind of wrong. The rest is counted only: what breaks often breaks in the same way."""


@dataclass(slots=True)
class Tally:
    """Of one intent."""

    emitted: int = 0
    must: int = 0
    may: int = 0
    must_not: int = 0
    came_out: int = 0

    def add(self, expectation: Expectation) -> None:
        self.emitted += 1
        match expectation:
            case Expectation.MUST:
                self.must += 1
            case Expectation.MAY:
                self.may += 1
            case Expectation.MUST_NOT:
                self.must_not += 1


@dataclass
class Findings:
    """`wrong`: what must not be; empty when all is well. `totals`: how often, by kind, printed or not."""

    printed_max: int = PRINTED_MAX
    wrong: list[str] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    tallies: dict[Intent, Tally] = field(default_factory=dict)
    doubts: Counter[str] = field(default_factory=Counter)
    """Why emissions may come out or not: many mean that more `settled` marks are wanted."""
    received: int = 0
    """Different seqs, over all that was read."""
    own: int = 0
    """Events of the relay's making that it was allowed."""

    @property
    def ok(self) -> bool:
        return not self.totals

    def add(self, kind: str, text: str) -> None:
        self.totals[kind] += 1
        if self.totals[kind] <= self.printed_max:
            self.wrong.append(f"{kind}: {text}")

    def refuse_the_vacuous(
        self, asked: Collection[Intent], decided: Collection[Intent], *, sessions: int, seen: int
    ) -> None:
        """A run that could not have failed has shown nothing."""
        if not any(tally.must for tally in self.tallies.values()):
            self.add("vacuous", "nothing was emitted that must come out")
        if sessions and not seen:
            self.add("vacuous", "no consumer saw a single event")
        for intent in asked:
            if intent not in self.tallies:
                self.add("vacuous", f"{intent} was asked for, and none was emitted")
        for intent in decided:
            tally = self.tallies.get(intent, Tally())
            if not tally.must + tally.must_not:
                self.add(
                    "vacuous", f"{intent}: {tally.emitted} emitted, and of none can it be said what must become of it"
                )

    def summary(self) -> str:
        """A table by intent, and what is wrong."""
        lines = [f"{'intent':20} {'emitted':>8} {'must':>8} {'may':>8} {'must not':>8} {'came out':>8}"]
        for intent in Intent:
            if intent in self.tallies:
                of = self.tallies[intent]
                lines.append(f"{intent:20} {of.emitted:8} {of.must:8} {of.may:8} {of.must_not:8} {of.came_out:8}")
        lines.append(f"{self.received} seqs read, {self.own} events of the relay's own")
        lines += [f"may: {count} because {why}" for why, count in self.doubts.most_common()]
        lines += self.wrong
        lines += [
            f"{kind}: {count - self.printed_max} more"
            for kind, count in self.totals.items()
            if count > self.printed_max
        ]
        lines.append("ok" if self.ok else f"WRONG: {sum(self.totals.values())} findings")
        return "\n".join(lines)
