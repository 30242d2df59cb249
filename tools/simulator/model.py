"""The simulator's words: what a host emits, what the world around it changes, and what was meant by it.

Shared by the world that makes events, the servers that send them, and the judge that says what must come of them.
Only data; no rule of what a relay owes lives here.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Intent(StrEnum):
    """What the maker of a frame meant by it. Closed: the judge has a rule for each."""

    GOOD = "good"
    """As the protocol wants it; all kinds of message, the whole life of an account."""
    UNKNOWN_FIELDS = "unknown_fields"
    """Good, with fields that nobody knows, which have to come out as well."""
    BARE = "bare"
    """A good commit without the deprecated fields that the lexicon still requires."""
    DISCONTINUOUS = "discontinuous"
    """A good commit that follows one which the host never sent."""
    LARGE = "large"
    """A good commit of 1 to 2 MB."""

    BAD_SIGNATURE = "bad_signature"
    HIGH_S = "high_s"
    """The signature's other half: mathematically right, forbidden by the protocol."""
    OLD_KEY = "old_key"
    """Signed by a key that the DID document named once, and no longer does."""
    BAD_PROOF = "bad_proof"
    """The operations do not lead from the previous tree to this one."""
    MISSING_BLOCK = "missing_block"
    """The slice leaves out a node that the proof needs."""
    WRONG_PREV_DATA = "wrong_prev_data"
    """The proof is right, `prevData` names another tree than the one it leads back to."""
    MISSING_PREV_DATA = "missing_prev_data"
    FUTURE_REV = "future_rev"
    OLD_REV = "old_rev"
    """A new commit with a rev that is not above the account's last one."""
    REPEATED = "repeated"
    """An event that was sent before, under a new seq."""
    SYNC_REPEATED = "sync_repeated"
    """A `#sync` that carries the commit which was sent last."""
    UNKNOWN_ACTION = "unknown_action"
    """A commit whose operation is neither create, update nor delete."""
    TOO_MANY_BYTES = "too_many_bytes"
    """A commit whose blocks take more than 2 MB, or a `#sync` whose blocks take more than 10 kB."""
    TOO_MANY_OPS = "too_many_ops"
    """A commit of more than 200 operations."""
    MISMATCHED = "mismatched"
    """What the event says of its commit is not what the commit says of itself."""
    BAD_SLICE = "bad_slice"
    """Blocks that are no CAR slice of a commit: another block than its CID says, no commit, cut short."""
    MISSING_RECORD = "missing_record"
    """The slice leaves out a record that the commit writes."""
    LARGE_RECORD = "large_record"
    """A record of more than 1 MB."""

    WRONG_HOST = "wrong_host"
    """Rightly signed, and sent by a host that is not the account's."""
    FORGED_ACCOUNT = "forged_account"
    """An `#account` of an account of another host."""
    FORGED_IDENTITY = "forged_identity"
    """An `#identity` of an account of another host. Anybody may say that an identity has changed."""
    LATE_GOODBYE = "late_goodbye"
    """The old host's `#account` after the account has moved away."""
    UNRESOLVABLE = "unresolvable"
    """An event of a DID that its directory does not know."""
    INACTIVE = "inactive"
    """A commit of an account that its host has called inactive."""

    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_OP = "unknown_op"
    POISON = "poison"
    """A binary frame that can't be decoded."""
    TEXT = "text"
    OVERSIZED_FRAME = "oversized_frame"
    """A frame of more than 5 MB."""
    INFO = "info"
    ERROR = "error"
    SEQ_REPEATED = "seq_repeated"
    """A good event under the seq of the one before it."""


@dataclass(frozen=True, slots=True)
class Emission:
    """One frame that a host puts into its stream."""

    host: int
    epoch: int
    """Of the host's seqs: grows when the host begins to count anew."""
    seq: int
    """The host's seq. Frames that carry none (poison, text, `#info`) have the place of the frame before them."""
    wire: bytes
    """The whole frame, header and payload, with that seq in it."""
    kind: str
    """`#commit` … `#info`, `error`, or `junk`."""
    did: str
    """Empty where the frame names none."""
    rev: str | None
    intent: Intent


@dataclass(frozen=True, slots=True)
class Document:
    """What a DID document says. The servers write it out as JSON: only they know under which name a host listens."""

    handle: str
    did_key: str
    """The signing key as `did:key:z…`."""
    host: int


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """From here on the directory answers so; None: tombstoned."""

    did: str
    document: Document | None


Step: TypeAlias = Emission | DocumentChange
"""What happens in a world, in the order in which it does."""


@dataclass(frozen=True, slots=True)
class AccountEnd:
    """How an account stands after all that has happened: what a relay has to say of it in the end."""

    did: str
    host: int
    active: bool
    status: str | None
    rev: str | None
