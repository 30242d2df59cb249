"""What happens in a world by itself: so much of this, so much of that, in an order that the seed decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tools.simulator.model import Intent


class Action(StrEnum):
    """The good things that happen to an account or are done by it."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    SEVERAL = "several"
    """A commit with several operations of all kinds."""
    EMPTY = "empty"
    """A commit that changes nothing."""
    SYNC = "sync"
    IDENTITY = "identity"
    ROTATE_KEY = "rotate_key"
    CHANGE_HANDLE = "change_handle"
    MIGRATE = "migrate"
    CREATE_ACCOUNT = "create_account"
    LIMIT = "limit"
    """Active, and desynchronized or throttled; the next time no more."""
    DEACTIVATE = "deactivate"
    SUSPEND = "suspend"
    TAKE_DOWN = "take_down"
    CLOSE = "close"
    """No more active, for no reason that anybody knows."""
    REACTIVATE = "reactivate"
    DELETE_ACCOUNT = "delete_account"
    TOMBSTONE = "tombstone"


Weights = Mapping[Action | Intent, float]


@dataclass(frozen=True, slots=True)
class Mix:
    """How often each action and each intent comes up, compared with the others."""

    weights: Weights = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not any(self.weights.values()) or min(self.weights.values()) < 0:
            raise ValueError("weights are not negative, and one of them is not 0")
        if Intent.GOOD in self.weights:
            raise ValueError("what is good comes as an action")


_LIFE: Final[dict[Action | Intent, float]] = {
    Action.SYNC: 1.0,
    Action.IDENTITY: 2.0,
    Action.ROTATE_KEY: 1.0,
    Action.CHANGE_HANDLE: 1.0,
    Action.MIGRATE: 1.0,
    Action.CREATE_ACCOUNT: 1.0,
    Action.LIMIT: 1.0,
    Action.DEACTIVATE: 1.0,
    Action.SUSPEND: 0.5,
    Action.TAKE_DOWN: 0.5,
    Action.CLOSE: 0.5,
    Action.REACTIVATE: 3.0,
    Action.DELETE_ACCOUNT: 0.4,
    Action.TOMBSTONE: 0.2,
}

GOOD_ONLY: Final = Mix(
    {
        Action.CREATE: 60.0,
        Action.UPDATE: 10.0,
        Action.DELETE: 10.0,
        Action.SEVERAL: 8.0,
        Action.EMPTY: 1.0,
        **_LIFE,
    }
)
"""All that is good, the rare things often enough to be seen."""

LIFELIKE: Final = Mix(
    {
        Action.CREATE: 950.0,
        Action.DELETE: 27.0,
        Action.UPDATE: 14.0,
        Action.SEVERAL: 7.0,
        **{action: weight / 10 for action, weight in _LIFE.items()},
    }
)
"""As in the network: nearly always one record is created."""

_COSTLY: Final[dict[Action | Intent, float]] = {
    Intent.LARGE: 0.2,
    Intent.TOO_MANY_BYTES: 0.1,
    Intent.TOO_MANY_OPS: 0.3,
    Intent.LARGE_RECORD: 0.2,
    Intent.OVERSIZED_FRAME: 0.05,
}
_CONNECTION: Final[dict[Action | Intent, float]] = {
    Intent.POISON: 0.1,
    Intent.TEXT: 0.05,
    Intent.ERROR: 0.05,
    Intent.INFO: 0.2,
}
"""Most of these cost the host's connection."""

HOSTILE: Final = Mix(
    {
        **GOOD_ONLY.weights,
        **{intent: 1.0 for intent in Intent if intent is not Intent.GOOD},
        **_COSTLY,
        **_CONNECTION,
    }
)
"""Every intent. One event in five is not what it should be."""
