"""Events that are wrong, or odd, in exactly one way: a maker for each intent.

Each is made from how the account stands now. What is refused leaves the account as it was, so that the next good event
follows the last good one; what is good after all (unknown fields, missing deprecated ones, a gap, a large commit)
becomes the account's state. Where there are several ways, they take turns.
"""

from collections.abc import Callable
from typing import Final

from tools.simulator.faults.authority import AUTHORITY_FAULTS
from tools.simulator.faults.commits import COMMIT_FAULTS
from tools.simulator.faults.frames import FRAME_FAULTS
from tools.simulator.faults.proofs import PROOF_FAULTS
from tools.simulator.faults.slices import SLICE_FAULTS
from tools.simulator.model import Intent, Step
from tools.simulator.worlds.accounts import Account
from tools.simulator.worlds.population import Population

AccountFault = Callable[[Population, Account, int], list[Step]]
FrameFault = Callable[[Population, int, int], list[Step]]

ACCOUNT_FAULTS: Final[dict[Intent, AccountFault]] = {
    **COMMIT_FAULTS,
    **PROOF_FAULTS,
    **SLICE_FAULTS,
    **AUTHORITY_FAULTS,
}
"""By intent, what takes an account. The number says which of several ways."""


def make(world: Population, intent: Intent, account: Account | None, host: int | None, variant: int) -> list[Step]:
    """The steps of one fault. Good steps come first where it needs some: a key has to be rotated to be an old one.

    `account`: None for any that will do. `host`: the one that sends, where that is all that matters; else the one whose
    accounts are chosen from; None for any.
    Raises ValueError for what this world can't have: an intent that is an action, or a fault that takes two hosts.
    """
    if intent in FRAME_FAULTS:
        if host is None:
            host = world.random.randrange(world.config.hosts) if account is None else account.host
        return FRAME_FAULTS[intent](world, host, variant)
    if intent not in ACCOUNT_FAULTS:
        raise ValueError(f"{intent} is not a fault")
    if account is None:
        account = _any_account(world, intent, host)
    return [*world.introduce(account), *ACCOUNT_FAULTS[intent](world, account, variant)]


def _any_account(world: Population, intent: Intent, host: int | None) -> Account:
    fitting = [item for item in world.accounts if host is None or item.host == host]
    if intent is Intent.INACTIVE:
        inactive = [item for item in fitting if not item.active and not item.tombstoned and item.introduced]
        if inactive:
            return world.random.choice(inactive)
    fitting = [item for item in fitting if item.active]
    if not fitting:
        raise ValueError("no account that is active")
    return world.random.choice(fitting)
