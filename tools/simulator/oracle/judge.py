"""Says of a relay's stream whether it is what the world made of it: nothing lost, forbidden, twice, out of order,
changed or invented, no seq used twice; and of what the relay says about the accounts in the end.

A wrong is told with all that is needed to look it up: host, seq, kind, DID, rev, intent, what was expected, and why.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.simulator.model import AccountEnd, Intent
from tools.simulator.oracle import normalise
from tools.simulator.oracle.findings import PRINTED_MAX, Findings, Tally
from tools.simulator.oracle.history import CARRIES_REV, MAY, MUST, MUST_NOT, History
from tools.simulator.oracle.ledger import Entry, Ledger
from tools.simulator.oracle.matching import Matcher, Matches, Order
from tools.simulator.oracle.normalise import ACCOUNT
from tools.simulator.oracle.readings import Came, Readings, Received, Session
from tools.simulator.oracle.rules import ACCEPTED, Policy

__all__ = ["Findings", "Judge", "Policy", "Received", "Session"]

RepoStatus = Callable[[str], Mapping[str, Any] | None]
"""What the relay answers to `com.atproto.sync.getRepoStatus` for a DID; None: not found."""


@dataclass(slots=True)
class Standing:
    """How a DID stands by what came out of the relay."""

    revs: set[str | None] = field(default_factory=lambda: {None})
    """One of these it is at: the last that is surely adopted, or one after it that may be."""
    last_rev: int | None = None
    """Place of the last entry with a rev."""
    last_account: int | None = None


class Judge:
    """`host_names`: by number, for the findings."""

    def __init__(
        self, ledger: Ledger, policy: Policy, *, host_names: Sequence[str] = (), printed_max: int = PRINTED_MAX
    ) -> None:
        self._entries = ledger.entries
        self._policy = policy
        self._history = History(ledger, policy)
        self._host_names = host_names
        self._printed_max = printed_max
        self._standings: dict[str, Standing] = {}
        self._last_said: dict[tuple[str, bool], int] = {}
        """Place of the last good `#account` of a DID (True), and of its last good event with a rev (False)."""
        for place, entry in enumerate(self._entries):
            if entry.intent in ACCEPTED and (entry.kind == ACCOUNT or entry.kind in CARRIES_REV):
                self._last_said[entry.did, entry.kind == ACCOUNT] = place

    def judge(
        self,
        sessions: Sequence[Iterable[Received]],
        final: Iterable[Received],
        ends: Iterable[AccountEnd] = (),
        repo_status: RepoStatus | None = None,
        *,
        expect_intents: Collection[Intent] = (),
        expect_decided: Collection[Intent] = (),
    ) -> Findings:
        """`sessions`: what consumers got while it went on. `final`: what a fresh one gets from cursor 0 at the end.

        `expect_intents`: each was to be emitted. `expect_decided`: and at least one of each beyond doubt. `ends` are
        compared with `repo_status` where that is given.
        """
        found = Findings(self._printed_max)
        readings = Readings(sessions, final, self._policy, found)
        found.received = len(readings.came)
        matcher = Matcher(self._entries, self._history)
        matches = matcher.match(one for one in readings.came if one.seq not in readings.gone)
        gone = [one for one in readings.came if one.seq in readings.gone]
        self._judge_gone(gone, matcher, found)
        self._judge_came(matches, found)
        self._judge_order(matches, found)
        self._count(matches, found)
        found.refuse_the_vacuous(expect_intents, expect_decided, sessions=len(sessions), seen=readings.seen)
        if repo_status is not None:
            self._judge_ends(ends, repo_status, found)
        return found

    def describe(self, place: int) -> str:
        entry, verdict = self._entries[place], self._history.verdicts[place]
        name = f" ({self._host_names[entry.host]})" if entry.host < len(self._host_names) else ""
        return f"{entry}{name}: {verdict.expectation} come out: {verdict.why}"

    def _judge_came(self, matches: Matches, found: Findings) -> None:
        verdicts = self._history.verdicts
        for one, place in matches.of:
            if verdicts[place].expectation is MUST_NOT:
                found.add("forbidden", f"{self.describe(place)}; came out as {one}")
            self._judge_bytes(one, place, found)
        for one, place in matches.twice:
            found.add("twice", f"{self.describe(place)}; once more as {one}")
        for one, place, words in matches.changed:
            found.add("changed", f"{self.describe(place)}; came out as {one} with other {words}")
            if verdicts[place].expectation is MUST_NOT:
                found.add("forbidden", f"{self.describe(place)}; came out as {one}")
        for one in matches.strangers:
            self._judge_stranger(one, found)
        out = matches.out
        for place, verdict in enumerate(verdicts):
            if verdict.expectation is MUST and place not in out:
                found.add("lost", self.describe(place))

    def _judge_stranger(self, one: Came, found: Findings) -> None:
        if one.event.kind == ACCOUNT and one.event.did in self._policy.own_accounts and not one.event.faults:
            found.own += 1
        else:
            found.add("stranger", f"{one}: nobody emitted it")

    def _judge_bytes(self, one: Came, place: int, found: Findings) -> None:
        entry = self._entries[place]
        foreign = entry.intent in (Intent.FORGED_IDENTITY, Intent.UNRESOLVABLE)
        local_status = self._policy.local_status.get(entry.did)
        for wrong in normalise.departures(entry, one.event, foreign=foreign, local_status=local_status):
            found.add("changed", f"{self.describe(place)}; came out as {one}: {wrong}")

    def _judge_gone(self, gone: list[Came], matcher: Matcher, found: Findings) -> None:
        """What a power loss took back may come again, but nothing of it may have been wrong."""
        for one in gone:
            places = matcher.matches_any(one)
            if not places:
                self._judge_stranger(one, found)
            elif all(self._history.verdicts[place].expectation is MUST_NOT for place in places):
                found.add("forbidden", f"{self.describe(places[0])}; came out as {one}, and is gone again")

    def _judge_order(self, matches: Matches, found: Findings) -> None:
        order = Order(self._entries, self._history.spans)
        revs: dict[str, str] = {}
        for one, place in matches.of:
            entry, verdict = self._entries[place], self._history.verdicts[place]
            other = order.overtaken_by(place)
            if other is not None:
                found.add("disordered", f"{self.describe(place)}; came out as {one}, after {self._entries[other]}")
            order.take(place)
            standing = self._standings.setdefault(entry.did, Standing())
            if entry.kind == ACCOUNT:
                standing.last_account = place
            if entry.kind not in CARRIES_REV:
                continue
            standing.last_rev = place
            if verdict.unverified:
                standing.revs.add(entry.rev)
                continue
            standing.revs = {entry.rev}
            before, rev = revs.get(entry.did, ""), entry.rev or ""
            if rev <= before and verdict.expectation is not MUST_NOT:
                found.add("rev went back", f"{self.describe(place)}; came out as {one}, after rev {before}")
            revs[entry.did] = max(rev, before)

    def _count(self, matches: Matches, found: Findings) -> None:
        out = matches.out
        for place, (entry, verdict) in enumerate(zip(self._entries, self._history.verdicts, strict=True)):
            tally = found.tallies.setdefault(entry.intent, Tally())
            tally.add(verdict.expectation)
            tally.came_out += place in out
            if verdict.expectation is MAY:
                found.doubts[verdict.why.partition(";")[0]] += 1

    # --- how it ends

    def _judge_ends(self, ends: Iterable[AccountEnd], repo_status: RepoStatus, found: Findings) -> None:
        for end in ends:
            standing = self._standings.get(end.did)
            answer = repo_status(end.did)
            if standing is None or (standing.revs == {None} and standing.last_account is None):
                continue  # nothing was said of it that a relay would keep
            if answer is None:
                found.add("end", f"{end}: the relay says that it does not know it")
                continue
            says = {name: answer.get(name) for name in ("did", "active", "status", "rev")}
            for wrong in self._wrong_end(end, standing, answer):
                found.add("end", f"{end}: the relay says {says}: {wrong}")

    def _wrong_end(self, end: AccountEnd, standing: Standing, answer: Mapping[str, Any]) -> Iterable[str]:
        if answer.get("did") != end.did:
            yield "the DID is another one"
        active, status, rev = answer.get("active"), answer.get("status"), answer.get("rev")
        allowed = self._allowed_statuses(end, standing)
        if (active, status) not in allowed:
            yield f"active and status should be one of {allowed}"
        if (active and rev not in standing.revs) or (not active and rev is not None and rev not in standing.revs):
            yield f"the last rev that came out is one of {sorted(map(str, standing.revs))}"
        elif active and rev != end.rev and self._ends_well(standing):
            yield "its host is at another rev"

    def _allowed_statuses(self, end: AccountEnd, standing: Standing) -> list[tuple[bool, str | None]]:
        allowed: list[tuple[bool, str | None]] = [(end.active, end.status)]
        if standing.last_account is not None:
            last = self._entries[standing.last_account]
            if last.intent not in ACCEPTED:  # the host's word came out last although it need not count
                allowed = [(bool(last.active), last.status)]
            said = self._last_said.get((end.did, True), standing.last_account)
            if said != standing.last_account and self._history.verdicts[said].expectation is MAY:
                allowed.append((bool(last.active), last.status))  # the host's last word need not have come
            if not self._history.names(end.did):  # a tombstoned identity counts as deleted, at the latest when seen
                allowed += [(False, "deleted"), (bool(last.active), last.status)]
        local = self._policy.local_status.get(end.did)
        return [*allowed, (False, local)] if local else allowed

    def _ends_well(self, standing: Standing) -> bool:
        """The last that came out is the host's last good word, and was verified."""
        if standing.last_rev is None:
            return False
        if self._last_said.get((self._entries[standing.last_rev].did, False)) != standing.last_rev:
            return False  # lost, which is told already, or one that need not come
        entry: Entry = self._entries[standing.last_rev]
        verdict = self._history.verdicts[standing.last_rev]
        return entry.intent in ACCEPTED and verdict.expectation is not MAY and not verdict.unverified
