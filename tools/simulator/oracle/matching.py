"""Which emission is it that came out? By digest; among several that are the same event, by the order of its DID."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tools.simulator.oracle import normalise
from tools.simulator.oracle.history import MAY, MUST, MUST_NOT, History
from tools.simulator.oracle.ledger import Entry
from tools.simulator.oracle.readings import Came


@dataclass(slots=True)
class Matches:
    """`of`: what came out, and the place of its emission among the ledger's entries; in the order of seqs."""

    of: list[tuple[Came, int]] = field(default_factory=list)
    twice: list[tuple[Came, int]] = field(default_factory=list)
    """All that this could be has come out already."""
    changed: list[tuple[Came, int, str]] = field(default_factory=list)
    """Of no digest that was emitted, but much like this emission; and which fields differ."""
    strangers: list[Came] = field(default_factory=list)

    @property
    def out(self) -> set[int]:
        return {place for _, place in self.of} | {place for _, place, _ in self.changed}


class Order:
    """Runs along the events of each DID: those of one host in their order, those of a span before the next's."""

    def __init__(self, entries: list[Entry], spans: list[int]) -> None:
        self._entries, self._spans = entries, spans
        self._newest: dict[tuple[str, int], int] = {}
        self._latest: dict[str, int] = {}

    def overtaken_by(self, place: int) -> int | None:
        """An emission that has come out already and should have come after this one."""
        entry = self._entries[place]
        newest = self._newest.get((entry.did, entry.host), -1)
        if newest > place:
            return newest
        latest = self._latest.get(entry.did)
        return latest if latest is not None and self._spans[latest] > self._spans[place] else None

    def take(self, place: int) -> None:
        entry = self._entries[place]
        key = entry.did, entry.host
        self._newest[key] = max(self._newest.get(key, -1), place)
        self._latest[entry.did] = max(self._latest.get(entry.did, -1), place)


class Matcher:
    def __init__(self, entries: list[Entry], history: History) -> None:
        self._entries, self._history = entries, history
        self._by_digest: dict[bytes, list[int]] = defaultdict(list)
        for place, entry in enumerate(entries):
            self._by_digest[entry.digest].append(place)
        self._taken: set[int] = set()

    def match(self, came: Iterable[Came]) -> Matches:
        matches = Matches()
        order = Order(self._entries, self._history.spans)
        unknown = []
        for one in came:
            candidates = self._by_digest.get(one.event.digest)
            if candidates is None:
                unknown.append(one)
                continue
            free = [place for place in candidates if place not in self._taken]
            if not free:
                matches.twice.append((one, candidates[0]))
                continue
            place = min(free, key=lambda place: self._rank(place, one, order))
            self._taken.add(place)
            order.take(place)
            matches.of.append((one, place))
        self._prefer_must(matches)
        self._resemble(unknown, matches)
        return matches

    def matches_any(self, one: Came) -> list[int]:
        return self._by_digest.get(one.event.digest, [])

    def _rank(self, place: int, one: Came, order: Order) -> tuple[bool, bool, bool, int]:
        entry = self._entries[place]
        other_word = (entry.active, entry.status) != (one.event.active, one.event.status)
        forbidden = self._history.verdicts[place].expectation is MUST_NOT
        return order.overtaken_by(place) is not None, other_word, forbidden, place

    def _prefer_must(self, matches: Matches) -> None:
        """A copy that need not come out does not make the one that must look lost, where it may as well be that."""
        verdicts = self._history.verdicts
        by_did: dict[str, list[int]] = defaultdict(list)
        for index, (_, place) in enumerate(matches.of):
            by_did[self._entries[place].did].append(index)
        for index, (one, place) in enumerate(matches.of):
            candidates = self._by_digest[one.event.digest]
            if len(candidates) == 1 or verdicts[place].expectation is not MAY:
                continue
            for other in candidates:
                if other > place and other not in self._taken and verdicts[other].expectation is MUST:
                    later = (matches.of[i][1] for i in by_did[self._entries[place].did] if i > index)
                    if all(after > other for after in later):
                        self._taken.remove(place)
                        self._taken.add(other)
                        matches.of[index] = one, other
                        break

    def _resemble(self, unknown: list[Came], matches: Matches) -> None:
        if not unknown:
            return
        alike: dict[tuple[str, str, str | None], list[int]] = defaultdict(list)
        for place, entry in enumerate(self._entries):
            if place not in self._taken:
                alike[entry.kind, entry.did, entry.rev].append(place)
        for one in unknown:
            free = alike.get((one.event.kind, one.event.did, one.event.rev))
            if not free:
                matches.strangers.append(one)
                continue
            (count, words), place = min(
                (normalise.difference(self._entries[place], one.event), place) for place in free
            )
            if count > len(one.event.names) // 2:
                matches.strangers.append(one)
                continue
            free.remove(place)
            matches.changed.append((one, place, words))
