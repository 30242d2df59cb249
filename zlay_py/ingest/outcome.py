"""What the pipeline says of a frame: accepted, dropped for a named reason, or waiting for an identity."""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TypeAlias

from zlay_py.eventlog.record import Entry
from zlay_py.ingest.accounts import AccountState


class DropReason(StrEnum):
    """Why an event did not come out. Closed: every value is a metric series from the start."""

    DID_INVALID = "did_invalid"
    DID_UNSUPPORTED = "did_unsupported"
    EVENT_INVALID = "event_invalid"
    SEQ_REPEATED = "seq_repeated"
    ALREADY_LOGGED = "already_logged"
    ALREADY_JUDGED = "already_judged"
    """Sent again after a start: the log holds a later event of the same account and host, so this one was dropped."""
    POISON_FRAME = "poison_frame"
    HOST_NOT_AUTHORITATIVE = "host_not_authoritative"
    IDENTITY_NOT_FOUND = "identity_not_found"
    IDENTITY_UNRESOLVABLE = "identity_unresolvable"
    IDENTITY_UNUSABLE = "identity_unusable"
    PARKED_TOO_LONG = "parked_too_long"
    ACCOUNT_INACTIVE = "account_inactive"
    ACCOUNT_INACTIVE_HERE = "account_inactive_here"
    REV_OLD = "rev_old"
    REV_FUTURE = "rev_future"
    SYNC_REPEATED = "sync_repeated"
    EQUIVOCATION = "equivocation"
    CAR_INVALID = "car_invalid"
    COMMIT_INVALID = "commit_invalid"
    FIELDS_MISMATCH = "fields_mismatch"
    SIGNATURE_INVALID = "signature_invalid"
    RECORD_MISSING = "record_missing"
    RECORD_TOO_LARGE = "record_too_large"
    PREV_DATA_MISSING = "prev_data_missing"
    TREE_INVALID = "tree_invalid"
    INVERSION_FAILED = "inversion_failed"
    INTERNAL_ERROR = "internal_error"
    """A bug of ours that this frame met. Logged with its traceback; the neighbours go on."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Goes to the log.

    `account`: the state that the entry changed, pinned until SQL has it; None where it changed none.
    `look_up`: its DID is to be resolved in the background, now.
    """

    entry: Entry
    account: AccountState | None
    look_up: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    reason: DropReason
    detail: str = ""


class Need(Enum):
    """What a frame waits for."""

    IDENTITY = "identity"
    """Nothing is known of its DID."""
    REFRESH = "refresh"
    """What is known does not fit the frame: it is to be asked anew, once."""
    DATABASE = "database"
    """Our own SQL is away: no frame is ever dropped for that."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The frame can't be judged yet."""

    did: str
    need: Need


Outcome: TypeAlias = Accepted | Dropped | Waiting
