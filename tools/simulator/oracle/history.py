"""What a relay can know at each emission, and so what it owes it: the rules, loosened where a relay may be in doubt.

The ledger tells the order in which things happened in the world. A relay sees less: frames of one host in their order;
frames of different hosts in any order, unless a `settled` mark stands between them; documents whenever it asks.
A *span* is what lies between two such marks. The reasons for doubt, each bounded by its span or by
an event that ends it:

* a document changes later in the span: the relay may be late, and judge by the new one already;
* a document has changed, and nothing has made the relay ask again: it may judge by the old one still;
* a commit of an account that an optimistic relay does not know yet goes out unverified, forged or not. It knows the
  account after an `#account` or `#sync` of it by the same host (these wait for the directory), after any event in an
  earlier span, and loses that by a restart in the same span only;
* the directory was out of order in this span, and the account, or its new document, is not known from before;
* a host's seqs began anew in this span: a relay goes on with what comes live;
* the rev is not above one that may have been adopted meanwhile.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from tools.simulator.model import Document, DocumentChange, Intent
from tools.simulator.oracle.ledger import Entry, Ledger, Line, Mark
from tools.simulator.oracle.normalise import ACCOUNT, COMMIT, IDENTITY, KINDS, SYNC
from tools.simulator.oracle.rules import ACCEPTED, RULES, Check, Expectation, Policy, Verdict, rule

MUST, MAY, MUST_NOT = Expectation.MUST, Expectation.MAY, Expectation.MUST_NOT
CARRIES_REV = (COMMIT, SYNC)
ASKING = (Check.VERIFICATION, Check.HOST, Check.KEY)
"""What does not fit what a relay knows makes it ask the directory again."""
LOOK_UPS_TO_BE_SURE = 2.0
"""One, and one more because the relay counts by a clock of its own."""


@dataclass(slots=True)
class Plan:
    """What lies ahead, from a first walk over the lines."""

    span_of: list[int] = field(default_factory=list)
    """By line."""
    last_restart: dict[int, int] = field(default_factory=dict)
    """By span: the line of its last restart."""
    troubled: set[int] = field(default_factory=set)
    """Spans in which the directory was out of order."""
    new_epochs: set[tuple[int, int]] = field(default_factory=set)
    """Host and span in which its seqs began anew, or in which it said so."""
    documents: dict[str, list[tuple[int, Document | None]]] = field(default_factory=lambda: defaultdict(list))
    """By DID: line and what the directory says from there on."""
    revivals: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By DID: the lines of `#account` that call it active."""
    prev_data: set[tuple[int, int]] = field(default_factory=set)
    """Host and span in which it sent a commit with `prevData`."""


def plan(lines: list[Line]) -> Plan:
    ahead, span, down = Plan(), 0, False
    epochs: dict[int, int] = {}
    for place, line in enumerate(lines):
        ahead.span_of.append(span)
        match line:
            case Mark.SETTLED:
                span += 1
            case Mark.RESTARTED:
                ahead.last_restart[span] = place
            case Mark.DIRECTORY_DOWN | Mark.DIRECTORY_UP:
                ahead.troubled.add(span)
                down = line is Mark.DIRECTORY_DOWN
            case DocumentChange():
                ahead.documents[line.did].append((place, line.document))
            case Entry():
                if epochs.setdefault(line.host, line.epoch) != line.epoch:
                    epochs[line.host] = line.epoch
                    ahead.new_epochs.add((line.host, span))
                if line.intent is Intent.ERROR and line.status == "FutureCursor":
                    ahead.new_epochs.add((line.host, span))  # the relay must take it so
                if line.kind == ACCOUNT and line.active:
                    ahead.revivals[line.did].append(place)
                if line.kind == COMMIT and line.prev_data:
                    ahead.prev_data.add((line.host, span))
        if down:
            ahead.troubled.add(span)
    return ahead


@dataclass(slots=True)
class Account:
    """What a relay knows of one DID for sure, so far. `here`: in this span, by host."""

    known: bool = False
    """Its document has been looked up, in an earlier span."""
    asked: bool = False
    """It was asked about in an earlier span, and no restart came since (that there is none is not kept)."""
    known_here: set[int] = field(default_factory=set)
    asked_here: bool = False
    document: int = -1
    """Place in its list of documents of the one in force."""
    sure_document: int = 0
    """No older one is believed any more."""
    told: int = 0
    """The same from the next span on."""
    sure_here: dict[int, int] = field(default_factory=dict)
    rev: str = ""
    """Adopted for sure."""
    rev_here: dict[int, str] = field(default_factory=dict)
    rev_possible: str = ""
    prev_data_here: set[int] = field(default_factory=set)
    look_ups: dict[int, tuple[float, int]] = field(default_factory=dict)
    """By host: how many the relay still makes for it at least, and when that was."""
    hosted: int | None = None
    """The host of which an event was accepted for sure: the relay has it down as the account's."""
    status: tuple[bool, int, int, bool] | None = None
    """Of the last #account: active, its host, its span, whether it must come out."""


class History:
    """`verdicts`: one for each of the ledger's entries, in their order; `spans`: likewise."""

    def __init__(self, ledger: Ledger, policy: Policy) -> None:
        self.verdicts: list[Verdict] = []
        self.spans: list[int] = []
        self._policy = policy
        self._plan = plan(ledger.lines)
        self._accounts: dict[str, Account] = {}
        self._touched: set[str] = set()
        self._senders: set[int] = set()
        """Hosts of which a commit with `prevData` was accepted for sure, in earlier spans."""
        self._senders_here: set[int] = set()
        self._maybe_senders: set[int] = set()
        self._place = self._span = 0
        for self._place, line in enumerate(ledger.lines):
            self._span = self._plan.span_of[self._place]
            match line:
                case Mark.SETTLED:
                    self._settle()
                case Mark.RESTARTED:
                    self._restart()
                case DocumentChange():
                    self._account(line.did).document += 1
                case Entry():
                    verdict = self._verdict(line)
                    self.verdicts.append(verdict)
                    self.spans.append(self._span)
                    if line.kind in KINDS:
                        self._learn(line, verdict)

    def names(self, did: str) -> bool:
        """Whether the directory has a document of it at the end."""
        documents = self._plan.documents.get(did)
        return not documents or documents[-1][1] is not None

    # --- verdicts

    def _verdict(self, entry: Entry) -> Verdict:
        verdict = rule(entry.intent, entry.kind, self._policy)
        account = self._account(entry.did)
        check = RULES[entry.intent].check
        unverified = self._may_pass_unverified(entry, account)
        if entry.intent is Intent.MISSING_PREV_DATA and self._policy.sync11 == "ratchet":
            verdict = self._ratchet(entry, account, verdict)
        if verdict.expectation is MUST:
            doubt = self._doubt_of_good(entry, account)
        elif verdict.expectation is MUST_NOT and check is not Check.FRAME:
            doubt = self._doubt_of_bad(entry, account, check)
            if unverified and not doubt:
                doubt = (
                    "an optimistic relay need not know the account yet, and passes its commits on unverified (README)"
                )
        else:
            doubt = ""
        if doubt:
            verdict = Verdict(MAY, f"{doubt}; once that is over: {verdict.expectation}, {verdict.why}")
        return verdict._replace(unverified=unverified and verdict.expectation is not MUST_NOT)

    def _doubt_of_good(self, entry: Entry, account: Account) -> str:
        if entry.did in self._policy.local_status:
            return "the relay's operator has taken the account down at some time"
        if (entry.host, self._span) in self._plan.new_epochs:
            return "the host's seqs began anew here: a relay goes on with what comes live"
        if self._span in self._plan.troubled and not self._is_at_hand(account):
            return "the directory was out of order here, and the relay has to ask it"
        if entry.kind == IDENTITY:
            return ""
        if self._is_new(entry, account) and self._look_ups_left(entry, account) < LOOK_UPS_TO_BE_SURE:
            return "the relay may have used up what look-ups it makes of this account for this host"
        return self._doubt_of_documents(entry, account) or self._doubt_of_state(entry, account)

    def _is_new(self, entry: Entry, account: Account) -> bool:
        """The relay need not have the document that is in force."""
        return max(account.sure_document, account.sure_here.get(entry.host, 0)) < account.document

    def _look_ups_left(self, entry: Entry, account: Account) -> float:
        if self._policy.refresh_burst is None:
            return LOOK_UPS_TO_BE_SURE
        burst = float(self._policy.refresh_burst)
        left, at_us = account.look_ups.get(entry.host, (burst, entry.time_us))
        return min(burst, left + (entry.time_us - at_us) / 1e6 / self._policy.refresh_refill_s)

    def _is_at_hand(self, account: Account) -> bool:
        return account.known and account.sure_document >= account.document

    def _doubt_of_documents(self, entry: Entry, account: Account) -> str:
        documents = self._plan.documents.get(entry.did)
        if not documents or account.document < 0:
            return ""
        now = documents[account.document][1]
        if now is None:
            if entry.kind == ACCOUNT and account.hosted == entry.host:
                return ""  # the host that had it may still say that it is deleted (account lifecycle guide)
            return "the directory has no document of it any more"
        if now.host != entry.host:
            return "the document names another host"
        for later in self._later(entry.did, account):
            if later is None and entry.kind == ACCOUNT and account.hosted == entry.host:
                continue
            if later is None or later.host != now.host or (entry.kind != ACCOUNT and later.did_key != now.did_key):
                return "the document changes before anybody can say that the relay was done with this"
        return ""

    def _doubt_of_state(self, entry: Entry, account: Account) -> str:
        if entry.kind not in CARRIES_REV:
            return ""
        if (entry.rev or "") <= account.rev_possible:
            return "the relay may have adopted this rev, or a later one, already"
        if account.status is not None and not account.status[0]:
            return "the account was last called inactive"
        return ""

    def _doubt_of_bad(self, entry: Entry, account: Account, check: Check) -> str:
        documents = [document for document in self._possible(entry, account) if document is not None]
        match check:
            case Check.HOST if any(document.host == entry.host for document in documents):
                return "the relay may go by a document that names this host"
            case Check.KEY:
                keys = {document.did_key for document in documents}
                now = self._plan.documents[entry.did][account.document][1] if account.document >= 0 else None
                if now is None or keys - {now.did_key}:
                    return "the relay may go by a document that names the old key"
            case Check.REV if max(account.rev, account.rev_here.get(entry.host, "")) < (entry.rev or ""):
                return "the relay need not have adopted this rev yet"
            case Check.STATUS:
                return self._doubt_of_status(entry, account)
            case Check.DIRECTORY if documents:
                return "the directory learns of it before anybody can say that the relay was done with this"
        return ""

    def _doubt_of_status(self, entry: Entry, account: Account) -> str:
        if account.status is None or account.status[0]:
            return "nobody has called it inactive"
        _, host, span, sure = account.status
        if not sure or (host != entry.host and span == self._span):
            return "the relay need not have heard yet that the account is inactive"
        revivals = self._plan.revivals.get(entry.did, []) if self._policy.asks_again else []
        if any(place > self._place and self._plan.span_of[place] == self._span for place in revivals):
            return "the account becomes active before anybody can say that the relay was done with this"
        return ""

    def _ratchet(self, entry: Entry, account: Account, strictly: Verdict) -> Verdict:
        """Frames of other accounts of the same host run beside this one: only settled ones, or its own, are sure."""
        forgotten = self._policy.ratchet_forgets and self._span in self._plan.last_restart
        if (entry.host in self._senders and not forgotten) or entry.host in account.prev_data_here:
            return strictly
        if entry.host in self._maybe_senders or (entry.host, self._span) in self._plan.prev_data:
            return Verdict(MAY, "whether the relay knows that this host sends prevData depends on who was first")
        return Verdict(MUST, "ratchet: passes from a host that has never sent prevData (README, RELAY_SYNC11)")

    def _may_pass_unverified(self, entry: Entry, account: Account) -> bool:
        if self._policy.validation != "optimistic" or entry.kind != COMMIT or RULES[entry.intent].check is Check.FRAME:
            return False
        known = account.known
        if entry.intent is Intent.UNRESOLVABLE:  # invented DIDs leave nothing behind that would outlive a restart
            known = account.asked and self._span not in self._plan.last_restart
        return not known and entry.host not in account.known_here

    def _later(self, did: str, account: Account) -> list[Document | None]:
        """Documents that come into force later in this span."""
        later = self._plan.documents[did][account.document + 1 :]
        return [document for place, document in later if self._plan.span_of[place] == self._span]

    def _possible(self, entry: Entry, account: Account) -> list[Document | None]:
        """Documents that the relay may go by when it judges this."""
        documents = self._plan.documents.get(entry.did)
        if not documents:
            return []
        oldest = max(account.sure_document, account.sure_here.get(entry.host, 0))
        known = [document for _, document in documents[oldest : account.document + 1]]
        return known + self._later(entry.did, account)

    # --- what a relay learns

    def _account(self, did: str) -> Account:
        return self._accounts.setdefault(did, Account())

    def _learn(self, entry: Entry, verdict: Verdict) -> None:
        account = self._account(entry.did)
        check = RULES[entry.intent].check
        self._touched.add(entry.did)
        if entry.kind == COMMIT and entry.prev_data:
            self._maybe_senders.add(entry.host)
        adoptable = verdict.expectation is not MUST_NOT and check is not Check.VERIFICATION
        if entry.kind in CARRIES_REV and adoptable:
            account.rev_possible = max(account.rev_possible, entry.rev or "")
        must = verdict.expectation is MUST
        if entry.kind == ACCOUNT and (entry.intent in ACCEPTED or entry.intent is Intent.REPEATED):
            account.status = (bool(entry.active), entry.host, self._span, must)
        if must and not verdict.unverified and entry.kind != IDENTITY:
            account.hosted = entry.host
        if must and not verdict.unverified and entry.kind in CARRIES_REV:
            account.rev_here[entry.host] = max(account.rev_here.get(entry.host, ""), entry.rev or "")
            if entry.prev_data and not (self._policy.ratchet_forgets and self._is_before_restart()):
                account.prev_data_here.add(entry.host)
                self._senders_here.add(entry.host)
        if check is not Check.FRAME and self._is_sure(entry):
            self._learn_identity(entry, account, must=must and not verdict.unverified)
        if entry.kind == IDENTITY or check in ASKING or self._is_new(entry, account) or not must:
            account.look_ups[entry.host] = max(0.0, self._look_ups_left(entry, account) - 1), entry.time_us

    def _learn_identity(self, entry: Entry, account: Account, *, must: bool) -> None:
        account.asked_here = True
        if entry.kind == IDENTITY and self._look_ups_left(entry, account) < LOOK_UPS_TO_BE_SURE:
            return
        if entry.kind == IDENTITY:
            account.told = max(account.told, account.document)
            return
        if entry.kind in (ACCOUNT, SYNC):
            account.known_here.add(entry.host)
        if not must or entry.intent not in ACCEPTED:
            return
        documents = self._plan.documents.get(entry.did, [])[: max(account.document, 0)]
        refuted = [
            number
            for number, (_, old) in enumerate(documents)
            if old is None
            or old.host != entry.host
            or (entry.kind in CARRIES_REV and self._other_key(entry, account, old))
        ]
        if refuted:
            account.sure_here[entry.host] = max(account.sure_here.get(entry.host, 0), refuted[-1] + 1)
            account.told = max(account.told, refuted[-1] + 1)

    def _other_key(self, entry: Entry, account: Account, old: Document) -> bool:
        now = self._plan.documents[entry.did][account.document][1]
        return now is not None and now.did_key != old.did_key

    def _is_before_restart(self) -> bool:
        return self._place < self._plan.last_restart.get(self._span, -1)

    def _is_sure(self, entry: Entry) -> bool:
        """The relay has read this and been able to look the DID up, and has not been killed since."""
        troubled = self._span in self._plan.troubled or (entry.host, self._span) in self._plan.new_epochs
        return not troubled and not self._is_before_restart()

    def _settle(self) -> None:
        for did in self._touched:
            account = self._accounts[did]
            account.known = account.known or account.asked_here
            account.asked = account.asked or account.asked_here
            account.asked_here = False
            account.sure_document = max(account.sure_document, account.told)
            account.rev = max(account.rev, *account.rev_here.values(), "")
            for of_span in (account.known_here, account.sure_here, account.rev_here, account.prev_data_here):
                of_span.clear()
        self._touched.clear()
        self._senders |= self._senders_here
        self._senders_here.clear()

    def _restart(self) -> None:
        for account in self._accounts.values():
            account.asked = False
        if self._policy.ratchet_forgets:
            self._senders.clear()
            self._senders_here.clear()
