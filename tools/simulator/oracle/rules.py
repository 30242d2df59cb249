"""What a relay owes each emission once it knows all there is to know: a table of Intent by Policy.

Derived from what is public about the protocol (atproto.com/specs/sync, /event-stream, /repository, /account, the
account-lifecycle guide, the lexicons) and from what the relay's README promises. Where a relay can't know yet, because
a look-up is under way or another socket may be faster, `history` takes the verdict back to MAY.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Literal, NamedTuple

from tools.simulator.model import Intent
from tools.simulator.oracle.normalise import ACCOUNT, IDENTITY


class Expectation(StrEnum):
    MUST = "must"
    MAY = "may"
    MUST_NOT = "must not"


class Check(Enum):
    """What tells a relay that an emission is not to come out: that decides when it can know."""

    NONE = "none"
    """It is to come out."""
    FRAME = "frame"
    """The frame alone: known at once, to everybody."""
    VERIFICATION = "verification"
    """The account's key, and what is only looked at with it; a commit that goes out unverified escapes it."""
    REV = "rev"
    """The account's last rev."""
    HOST = "host"
    """Which host the account's document names."""
    KEY = "key"
    """Which key it names now."""
    STATUS = "status"
    """What the account's host has said of it."""
    PREV_DATA = "prev_data"
    """What this host has sent so far."""
    DIRECTORY = "directory"
    """That there is no such DID."""


class Verdict(NamedTuple):
    expectation: Expectation
    why: str
    unverified: bool = False
    """It may go out before anything about it was verified, and then changes no state of the relay's."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How the relay under test was set up and treated."""

    validation: Literal["optimistic", "strict"] = "optimistic"
    sync11: Literal["strict", "ratchet", "lenient"] = "ratchet"
    durability: Literal["fsync", "flush"] = "fsync"
    power_lost: bool = False
    """At least once, what the operating system had not yet written was gone."""
    ratchet_forgets: bool = False
    """Whether a restart may make the relay forget which hosts have sent `prevData`."""
    refresh_burst: int | None = None
    """Look-ups of a known DID that the relay makes in a row on behalf of one host; None: as many as it takes."""
    refresh_refill_s: float = 10.0
    """For one more of them."""
    asks_again: bool = False
    """Whether the relay asks a host once more about an account that it called inactive, before it drops a commit."""
    local_status: Mapping[str, str] = field(default_factory=dict)
    """By DID: what the relay's operator said of the account at some time (`takendown`). Its events MAY come out."""
    own_accounts: frozenset[str] = frozenset()
    """DIDs for which the relay may send `#account` of its own making."""
    oldest_seq: int = 1
    """The oldest that the relay still keeps. What was before it must be in what the consumers saw."""


class Rule(NamedTuple):
    check: Check
    why: str
    """With the place where it is written."""


SYNC = "sync spec, Message Validation Checklist"
STREAM = "event stream spec, Framing"
README_SYNC11 = "README, RELAY_SYNC11"

RULES: dict[Intent, Rule] = {
    Intent.GOOD: Rule(Check.NONE, f"valid events are passed on ({SYNC})"),
    Intent.UNKNOWN_FIELDS: Rule(Check.NONE, f"unknown fields are to be ignored, and survive ({STREAM}; README)"),
    Intent.BARE: Rule(Check.NONE, "deprecated fields carry nothing; their defaults are filled in (lexicon; README)"),
    Intent.DISCONTINUOUS: Rule(
        Check.NONE, "a valid commit after a gap is passed on and adopted: resync is the consumers' (proposal 0006)"
    ),
    Intent.LARGE: Rule(Check.NONE, "blocks of up to 2,000,000 bytes are allowed (sync spec, #commit)"),
    Intent.FORGED_IDENTITY: Rule(
        Check.NONE,
        "anybody may say that an identity has changed, so it is passed on like any #identity; the handle is not that "
        "host's to give, and comes off (sync spec, #identity; README: relays don't check handles)",
    ),
    Intent.UNKNOWN_TYPE: Rule(Check.FRAME, f"unknown message types are ignored ({STREAM})"),
    Intent.UNKNOWN_OP: Rule(Check.FRAME, f"unknown operations are ignored ({STREAM})"),
    Intent.POISON: Rule(Check.FRAME, f"not a frame: costs the connection, and nothing else ({STREAM})"),
    Intent.TEXT: Rule(Check.FRAME, f"frames are binary messages ({STREAM})"),
    Intent.OVERSIZED_FRAME: Rule(
        Check.FRAME, "a frame has 5,000,000 bytes at most (sync spec, Repository Event Stream)"
    ),
    Intent.INFO: Rule(Check.FRAME, "#info is for the one connection that it came by (event stream spec)"),
    Intent.ERROR: Rule(Check.FRAME, f"an error frame ends the connection, and is nobody else's ({STREAM})"),
    Intent.SEQ_REPEATED: Rule(
        Check.FRAME,
        "seqs grow: what repeats one is no new message and is skipped (event stream spec, Sequence Numbers); a "
        "relay that took it could not tell it from a replay",
    ),
    Intent.TOO_MANY_BYTES: Rule(
        Check.FRAME, "blocks have 2,000,000 bytes at most, and 10,000 in a #sync (sync spec, #commit; lexicon)"
    ),
    Intent.TOO_MANY_OPS: Rule(Check.FRAME, "a commit has 200 operations at most (sync spec, #commit; lexicon)"),
    Intent.UNKNOWN_ACTION: Rule(Check.FRAME, "operations are create, update or delete (lexicon, repoOp)"),
    Intent.BAD_SIGNATURE: Rule(Check.VERIFICATION, f"the signature is checked with the account's key ({SYNC})"),
    Intent.HIGH_S: Rule(Check.VERIFICATION, "signatures with a high S are invalid (cryptography spec)"),
    Intent.FUTURE_REV: Rule(Check.VERIFICATION, f"revs more than a few minutes ahead are dropped ({SYNC})"),
    Intent.MISMATCHED: Rule(Check.VERIFICATION, f"did, rev and commit are those of the signed commit ({SYNC})"),
    Intent.BAD_SLICE: Rule(
        Check.VERIFICATION, "blocks are a CAR whose root is the commit, each what its CID says (repository spec, CAR)"
    ),
    Intent.MISSING_RECORD: Rule(
        Check.VERIFICATION, "the records that a commit writes are in its slice (repository spec, Repository Diffs)"
    ),
    Intent.LARGE_RECORD: Rule(Check.VERIFICATION, "a record has 1,000,000 bytes at most (sync spec, #commit)"),
    Intent.BAD_PROOF: Rule(Check.VERIFICATION, f"the operations undone must give the tree before ({SYNC})"),
    Intent.MISSING_BLOCK: Rule(Check.VERIFICATION, f"a proof with a hole proves nothing ({SYNC})"),
    Intent.WRONG_PREV_DATA: Rule(Check.VERIFICATION, f"the operations undone must give prevData ({SYNC})"),
    Intent.MISSING_PREV_DATA: Rule(
        Check.PREV_DATA, f"prevData belongs to a commit, by the host's mode ({README_SYNC11})"
    ),
    Intent.OLD_REV: Rule(Check.REV, f"revs grow ({SYNC})"),
    Intent.REPEATED: Rule(Check.REV, f"what has been passed on is not passed on again: its rev is old ({SYNC})"),
    Intent.SYNC_REPEATED: Rule(Check.REV, f"a #sync of the commit that is known already says nothing ({SYNC})"),
    Intent.WRONG_HOST: Rule(Check.HOST, f"only the host that the DID document names speaks for an account ({SYNC})"),
    Intent.FORGED_ACCOUNT: Rule(
        Check.HOST, f"only the host that the DID document names speaks for an account ({SYNC})"
    ),
    Intent.LATE_GOODBYE: Rule(
        Check.HOST, "the old host's word does not count after the move (account lifecycle guide, Account Migration)"
    ),
    Intent.OLD_KEY: Rule(Check.KEY, f"the signature is checked with the key that the document names now ({SYNC})"),
    Intent.INACTIVE: Rule(Check.STATUS, f"no commits of accounts that are not active ({SYNC})"),
    Intent.UNRESOLVABLE: Rule(Check.DIRECTORY, f"no events of identities that don't work ({SYNC})"),
}
"""Closed: there is a rule for every Intent."""

UNPROVEN = frozenset({Intent.BAD_PROOF, Intent.MISSING_BLOCK, Intent.WRONG_PREV_DATA})
ACCEPTED = frozenset({Intent.GOOD, Intent.UNKNOWN_FIELDS, Intent.BARE, Intent.DISCONTINUOUS, Intent.LARGE})
"""Intents of events that are all right."""


def rule(intent: Intent, kind: str, policy: Policy) -> Verdict:
    """For a relay that knows the account, its document, its last rev and what its host has sent."""
    check, why = RULES[intent]
    if check is Check.NONE:
        return Verdict(Expectation.MUST, why)
    if intent is Intent.REPEATED and kind == ACCOUNT:
        return Verdict(Expectation.MUST, "#account has no rev, and is passed on even if it changes nothing (sync spec)")
    if kind == IDENTITY and intent in (Intent.REPEATED, Intent.UNRESOLVABLE):
        return Verdict(
            Expectation.MAY, "what to do with an #identity that changes nothing is free (sync spec, #identity)"
        )
    if intent in UNPROVEN and policy.sync11 == "lenient":
        return Verdict(Expectation.MUST, f"lenient: a wrong proof passes, and is counted ({README_SYNC11})")
    if intent is Intent.MISSING_PREV_DATA and policy.sync11 == "lenient":
        return Verdict(Expectation.MUST, f"lenient: passes, and is counted ({README_SYNC11})")
    if intent is Intent.MISSING_PREV_DATA and policy.sync11 == "ratchet":
        return Verdict(Expectation.MUST_NOT, f"ratchet: dropped from a host that has sent prevData ({README_SYNC11})")
    return Verdict(Expectation.MUST_NOT, why)


def table(policy: Policy, kind: str = "#commit") -> list[str]:
    """For reading: one line per intent."""
    lines = []
    for intent in Intent:
        expectation, why, _ = rule(intent, kind, policy)
        lines.append(f"{intent:20} {expectation:9} {RULES[intent].check.value:13} {why}")
    return lines
