"""Commits and syncs that are wrong in their signature, rev or size, or odd in their fields.

What is wrong in a signature or a rev comes as a `#commit` and as a `#sync`: a relay checks them on different ways.
"""

from collections.abc import Callable
from typing import Final

from tools.simulator.cbor import Link, cid, encode
from tools.simulator.model import DocumentChange, Intent, Step
from tools.simulator.times import tid_time_us
from tools.simulator.worlds import frames
from tools.simulator.worlds.accounts import Account
from tools.simulator.worlds.keys import derive, other_half
from tools.simulator.worlds.population import Population
from tools.simulator.worlds.repo import Draft, Repo

_FAR_FUTURE_US: Final = 7_258_118_400_000_000  # 2200-01-01: ahead of every clock that a relay may have
_HOUR_US: Final = 3_600_000_000
_ZEROS: Final = bytes(64)

_LARGE: Final = ((2, 900_000), (2, 600_000), (20, 60_000), (150, 8_000))
"""Records, and bytes of each."""
_TOO_MANY: Final = ((3, 800_000), None, (40, 60_000))
"""None: a `#sync`."""
_SYNC_OVER: Final = 10_000


def bad_signature(world: Population, account: Account, variant: int) -> list[Step]:
    """Four ways, of either kind: a stranger's key, one bit, nothing at all, and a signature over something else."""
    own = account.signer
    stranger = derive(own.curve, world.config.seed, account.did, "stranger")

    def flipped(message: bytes) -> bytes:
        signature = bytearray(own.sign(message))
        signature[20] ^= 1 << variant % 8
        return bytes(signature)

    ways: tuple[Callable[[bytes], bytes], ...] = (
        stranger.sign,
        flipped,
        lambda _: _ZEROS,
        lambda message: own.sign(message + b"\0"),
    )
    draft = world.draft(account, sign=ways[variant % len(ways)])
    return _refused(world, account, Intent.BAD_SIGNATURE, draft, variant + variant // len(ways))


def high_s(world: Population, account: Account, variant: int) -> list[Step]:
    own = account.signer
    draft = world.draft(account, sign=lambda message: other_half(own.curve, own.sign(message)))
    return _refused(world, account, Intent.HIGH_S, draft, variant)


def old_key(world: Population, account: Account, variant: int) -> list[Step]:
    steps = [] if account.former_keys else world.rotate_key(account)
    draft = world.draft(account, sign=account.former_keys[-1].sign)
    return steps + _refused(world, account, Intent.OLD_KEY, draft, variant)


def future_rev(world: Population, account: Account, variant: int) -> list[Step]:
    """The third way is the first word of a new account of that host, before what a host says of one: who takes it for
    the account's rev takes nothing that follows."""
    if variant % 4 == 2:
        return _future_rev_first(world, world.create_account(account.host))
    rev = account.rev_at(_FAR_FUTURE_US + world.clock.tick() % _HOUR_US)
    return _refused(world, account, Intent.FUTURE_REV, world.draft(account, rev=rev), variant)


def _future_rev_first(world: Population, account: Account) -> list[Step]:
    account.documented = True
    rev = account.rev_at(_FAR_FUTURE_US + world.clock.tick() % _HOUR_US)
    writes = world.new_writes(1, world.config.record_bytes)
    draft = Repo(account.did).draft(writes, rev, account.signer.sign)  # nobody knows of any records
    steps: list[Step] = [DocumentChange(account.did, account.document())]
    return [*steps, *_refused(world, account, Intent.FUTURE_REV, draft), *world.introduce(account)]


def old_rev(world: Population, account: Account, variant: int) -> list[Step]:
    """A moment or an hour below the last one, and the last one itself with another commit."""
    assert account.rev is not None
    rev = account.rev_at(tid_time_us(account.rev) - (1, _HOUR_US, 0, 0)[variant % 4])
    return _refused(world, account, Intent.OLD_REV, world.draft(account, rev=rev), variant)


def repeated(world: Population, account: Account, _: int) -> list[Step]:
    steps = world.commit(account) if account.said is None else []
    assert account.said is not None
    return [*steps, world.outlets.say(account.host, frames.COMMIT, account.said, intent=Intent.REPEATED)]


def sync_repeated(world: Population, account: Account, _: int) -> list[Step]:
    assert account.repo.head is not None
    fields = frames.sync(account.did, account.repo.head)
    return [world.outlets.say(account.host, frames.SYNC, fields, intent=Intent.SYNC_REPEATED)]


def too_many_bytes(world: Population, account: Account, variant: int) -> list[Step]:
    size = _TOO_MANY[variant % len(_TOO_MANY)]
    if size is None:
        block = encode("x" * _SYNC_OVER)
        fields = frames.sync(account.did, world.draft(account).head, [(cid(block), block)])
        return [world.outlets.say(account.host, frames.SYNC, fields, intent=Intent.TOO_MANY_BYTES)]
    draft = world.draft(account, writes=world.new_writes(*size))
    return _refused(world, account, Intent.TOO_MANY_BYTES, draft)


def seq_repeated(world: Population, account: Account, _: int) -> list[Step]:
    steps = [] if world.outlets.seqs[account.host] else world.identity(account)
    fields = frames.commit(world.draft(account))
    again = world.outlets.say(account.host, frames.COMMIT, fields, intent=Intent.SEQ_REPEATED, seq_again=True)
    return [*steps, again]


def large(world: Population, account: Account, variant: int) -> list[Step]:
    draft = world.draft(account, writes=world.new_writes(*_LARGE[variant % len(_LARGE)]))
    return _adopted(world, account, Intent.LARGE, draft, frames.commit(draft))


def discontinuous(world: Population, account: Account, _: int) -> list[Step]:
    account.repo.adopt(world.draft(account))
    draft = world.draft(account)
    return _adopted(world, account, Intent.DISCONTINUOUS, draft, frames.commit(draft))


def bare(world: Population, account: Account, variant: int) -> list[Step]:
    """All three fields missing, then one of them at a time."""
    missing = (frames.DEPRECATED, *((name,) for name in frames.DEPRECATED))[variant % 4]
    draft = world.draft(account)
    fields = {name: value for name, value in frames.commit(draft).items() if name not in missing}
    return _adopted(world, account, Intent.BARE, draft, fields)


def unknown_fields(world: Population, account: Account, variant: int) -> list[Step]:
    """In a commit: after the known fields, before them, in an operation, in what is signed. And in all other kinds."""
    strange: dict[str, object] = {
        "futureField": {"list": [1, -2, "three", None, True], "link": Link(cid(account.did.encode()))}
    }
    match variant % 7:
        case 0 | 1 | 2 | 3 as way:
            draft = world.draft(account, extra=strange if way == 3 else None)
            fields = frames.commit(draft)
            if way == 0:
                fields |= strange
            elif way == 1:
                fields |= {"a": 2**53 - 1, "zz": b"\0\1"}
            elif way == 2:
                fields["ops"] = [frames.op(op) | strange for op in draft.ops]
            return _adopted(world, account, Intent.UNKNOWN_FIELDS, draft, fields)
        case 4:
            kind, fields = frames.IDENTITY, frames.identity(account.did, account.handle)
        case 5:
            kind, fields = frames.ACCOUNT, frames.account(account.did, active=True, status=account.limited)
        case _:
            head = account.repo.resign(world.next_rev(account), account.signer.sign)
            kind, fields = frames.SYNC, frames.sync(account.did, head)
    return [world.outlets.say(account.host, kind, fields | strange | {"a": 1}, intent=Intent.UNKNOWN_FIELDS)]


def _refused(world: Population, account: Account, intent: Intent, draft: Draft, variant: int = 0) -> list[Step]:
    """As a `#commit`; odd variants as a `#sync`."""
    if variant % 2:
        return [world.outlets.say(account.host, frames.SYNC, frames.sync(account.did, draft.head), intent=intent)]
    return [world.outlets.say(account.host, frames.COMMIT, frames.commit(draft), intent=intent)]


def _adopted(world: Population, account: Account, intent: Intent, draft: Draft, fields: frames.Fields) -> list[Step]:
    account.repo.adopt(draft)
    return [world.say_commit(account, fields, intent)]


COMMIT_FAULTS: Final[dict[Intent, Callable[[Population, Account, int], list[Step]]]] = {
    Intent.BAD_SIGNATURE: bad_signature,
    Intent.HIGH_S: high_s,
    Intent.OLD_KEY: old_key,
    Intent.FUTURE_REV: future_rev,
    Intent.OLD_REV: old_rev,
    Intent.REPEATED: repeated,
    Intent.SYNC_REPEATED: sync_repeated,
    Intent.TOO_MANY_BYTES: too_many_bytes,
    Intent.SEQ_REPEATED: seq_repeated,
    Intent.LARGE: large,
    Intent.DISCONTINUOUS: discontinuous,
    Intent.BARE: bare,
    Intent.UNKNOWN_FIELDS: unknown_fields,
}
