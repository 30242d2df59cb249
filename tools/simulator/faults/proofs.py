"""Commits, rightly signed, whose operations, slice and previous tree don't fit each other."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tools.simulator.cbor import Link, cid, encode
from tools.simulator.model import Intent, Step
from tools.simulator.worlds import frames
from tools.simulator.worlds.accounts import Account
from tools.simulator.worlds.population import Population
from tools.simulator.worlds.repo import Draft, Op
from tools.simulator.worlds.tree import Tree

_ACTIONS: Final = ("upsert", "move", "Create", "")


def bad_proof(world: Population, account: Account, variant: int) -> list[Step]:
    """Takes turns through `_LIES`."""
    lie = _LIES[variant % len(_LIES)]
    steps = [] if len(account.repo.tree) else world.commit(account)
    draft = lie(world, account)
    return [*steps, *_say(world, account, Intent.BAD_PROOF, frames.commit(draft))]


def _hidden(world: Population, account: Account) -> Draft:
    draft = world.draft(account, 2)
    return replace(draft, ops=draft.ops[:1])


def _all_hidden(world: Population, account: Account) -> Draft:
    return replace(world.draft(account), ops=())


def _other_record(world: Population, account: Account) -> Draft:
    """The record that the operation names is in the slice, and not in the tree."""
    draft = world.draft(account)
    block = encode({"$type": "app.bsky.feed.post", "text": "another"})
    return replace(
        draft,
        ops=(draft.ops[0]._replace(cid=cid(block)),),
        records=draft.records | {cid(block): block},
    )


def _swapped(world: Population, account: Account) -> Draft:
    draft = world.draft(account, 2)
    one, other = draft.ops
    return replace(draft, ops=(one._replace(cid=other.cid), other._replace(cid=one.cid)))


def _other_past(world: Population, account: Account) -> Draft:
    draft = world.draft(account, 0, 1)
    return replace(draft, ops=(draft.ops[0]._replace(prev=_nobody(account)),))


def _invented(world: Population, account: Account) -> Draft:
    """The delete of a record that never was."""
    draft = world.draft(account)
    return replace(draft, ops=(*draft.ops, Op("delete", "app.bsky.feed.post/never", None, _nobody(account))))


def _created_as_updated(world: Population, account: Account) -> Draft:
    draft = world.draft(account)
    return replace(draft, ops=(draft.ops[0]._replace(action="update", prev=_nobody(account)),))


def _updated_as_created(world: Population, account: Account) -> Draft:
    draft = world.draft(account, 0, 1)
    return replace(draft, ops=(draft.ops[0]._replace(action="create", prev=None),))


_LIES: Final = (
    _hidden,
    _other_record,
    _swapped,
    _other_past,
    _invented,
    _all_hidden,
    _created_as_updated,
    _updated_as_created,
)


def missing_block(world: Population, account: Account, variant: int) -> list[Step]:
    """One of the nodes on the way to the record that is created; the lowest first."""
    draft = world.draft(account)
    path = draft.tree.path(draft.ops[0].path.encode())
    left_out = path[-1 - variant % len(path)].cid
    slimmer = replace(draft, nodes={name: block for name, block in draft.nodes.items() if name != left_out})
    return _say(world, account, Intent.MISSING_BLOCK, frames.commit(slimmer))


def wrong_prev_data(world: Population, account: Account, variant: int) -> list[Step]:
    """One that nobody has, the new tree itself, or the empty one."""
    draft = world.draft(account)
    others = [root for root in (_nobody(account), draft.head.data, Tree().root) if root != draft.prev_data]
    fields = frames.commit(draft) | {"prevData": Link(others[variant % len(others)])}
    return _say(world, account, Intent.WRONG_PREV_DATA, fields)


def missing_prev_data(world: Population, account: Account, _: int) -> list[Step]:
    fields = frames.commit(world.draft(account))
    del fields["prevData"]
    return _say(world, account, Intent.MISSING_PREV_DATA, fields)


def unknown_action(world: Population, account: Account, variant: int) -> list[Step]:
    draft = world.draft(account)
    op = draft.ops[0]._replace(action=_ACTIONS[variant % len(_ACTIONS)])
    return _say(world, account, Intent.UNKNOWN_ACTION, frames.commit(replace(draft, ops=(op,))))


def _nobody(account: Account) -> bytes:
    """The CID of a block that nobody has."""
    return cid(account.did.encode() + b"/nobody")


def _say(world: Population, account: Account, intent: Intent, fields: frames.Fields) -> list[Step]:
    return [world.outlets.say(account.host, frames.COMMIT, fields, intent=intent)]


PROOF_FAULTS: Final[dict[Intent, Callable[[Population, Account, int], list[Step]]]] = {
    Intent.BAD_PROOF: bad_proof,
    Intent.MISSING_BLOCK: missing_block,
    Intent.WRONG_PREV_DATA: wrong_prev_data,
    Intent.MISSING_PREV_DATA: missing_prev_data,
    Intent.UNKNOWN_ACTION: unknown_action,
}
