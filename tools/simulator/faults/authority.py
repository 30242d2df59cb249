"""Events that are right in themselves, and that this host may not send, or not now."""

from collections.abc import Callable
from typing import Final

from tools.simulator.model import Intent, Step
from tools.simulator.worlds import frames
from tools.simulator.worlds.accounts import Account, make_account
from tools.simulator.worlds.keys import Curve
from tools.simulator.worlds.population import Population

_FORGED_STATUSES: Final = ("takendown", "deleted", "deactivated", None)


def wrong_host(world: Population, account: Account, variant: int) -> list[Step]:
    """A `#commit`, or a `#sync`, as the account's own host would send it."""
    host = _other_host(world, account)
    draft = world.draft(account)
    if variant % 2:
        return [world.outlets.say(host, frames.SYNC, frames.sync(account.did, draft.head), intent=Intent.WRONG_HOST)]
    return [world.outlets.say(host, frames.COMMIT, frames.commit(draft), intent=Intent.WRONG_HOST)]


def forged_account(world: Population, account: Account, variant: int) -> list[Step]:
    status = _FORGED_STATUSES[variant % len(_FORGED_STATUSES)]
    fields = frames.account(account.did, active=status is None, status=status)
    return [world.outlets.say(_other_host(world, account), frames.ACCOUNT, fields, intent=Intent.FORGED_ACCOUNT)]


def forged_identity(world: Population, account: Account, variant: int) -> list[Step]:
    """With a handle that the account does not have, and without one."""
    fields = frames.identity(account.did, (f"forged{account.number}.test", None)[variant % 2])
    return [world.outlets.say(_other_host(world, account), frames.IDENTITY, fields, intent=Intent.FORGED_IDENTITY)]


def late_goodbye(world: Population, account: Account, _: int) -> list[Step]:
    steps: list[Step] = []
    left = [host for host in account.former_hosts if host != account.host]
    if not left:
        left = [account.host]
        steps = world.migrate(account, _other_host(world, account))
    return steps + world.late_goodbye(account, left[-1])


def unresolvable(world: Population, account: Account, variant: int) -> list[Step]:
    """A `#commit`, `#sync` or `#account`, of another DID each time. `account` only tells the host."""
    stranger = make_account(world.config.seed, -1 - world.clock.tick(), account.host, Curve.K256)
    draft = stranger.repo.draft(
        world.new_writes(1, world.config.record_bytes), world.next_rev(stranger), _sign(stranger)
    )
    kind, fields = (
        (frames.COMMIT, frames.commit(draft)),
        (frames.SYNC, frames.sync(stranger.did, draft.head)),
        (frames.ACCOUNT, frames.account(stranger.did, active=True)),
    )[variant % 3]
    return [world.outlets.say(account.host, kind, fields, intent=Intent.UNRESOLVABLE)]


def inactive(world: Population, account: Account, variant: int) -> list[Step]:
    """An account that is active is deactivated before, and comes back afterwards."""
    if not account.active:
        return _spoken_in_sleep(world, account, variant)
    steps = (world.deactivate, world.suspend, world.take_down)[variant % 3](account)
    return [*steps, *_spoken_in_sleep(world, account, variant), *world.reactivate(account)]


def _spoken_in_sleep(world: Population, account: Account, variant: int) -> list[Step]:
    draft = account.repo.draft(world.new_writes(1, world.config.record_bytes), world.next_rev(account), _sign(account))
    kind, fields = (
        (frames.COMMIT, frames.commit(draft)),
        (frames.SYNC, frames.sync(account.did, draft.head)),
    )[variant % 2]
    return [world.outlets.say(account.host, kind, fields, intent=Intent.INACTIVE)]


def _sign(account: Account) -> Callable[[bytes], bytes]:
    return account.signer.sign


def _other_host(world: Population, account: Account) -> int:
    hosts = world.config.hosts
    if hosts < 2:
        raise ValueError("it takes two hosts")
    return (account.host + 1 + world.random.randrange(hosts - 1)) % hosts


AUTHORITY_FAULTS: Final[dict[Intent, Callable[[Population, Account, int], list[Step]]]] = {
    Intent.WRONG_HOST: wrong_host,
    Intent.FORGED_ACCOUNT: forged_account,
    Intent.FORGED_IDENTITY: forged_identity,
    Intent.LATE_GOODBYE: late_goodbye,
    Intent.UNRESOLVABLE: unresolvable,
    Intent.INACTIVE: inactive,
}
