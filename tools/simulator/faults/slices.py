"""Commits and syncs whose frame is right, and whose blocks are not those of the commit that it speaks of."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tools.simulator.cbor import Link, cid, encode
from tools.simulator.model import Intent, Step
from tools.simulator.worlds import frames
from tools.simulator.worlds.accounts import Account, plc_did
from tools.simulator.worlds.frames import Fields
from tools.simulator.worlds.population import Population
from tools.simulator.worlds.repo import Draft, car, sign_head

_OPS_OVER: Final = 201
_RECORD_BYTES: Final = 100
_RECORD_BYTES_OVER: Final = 1_000_100


def mismatched(world: Population, account: Account, variant: int) -> list[Step]:
    """The rev, the DID and the commit's CID, one at a time; the first two also in a `#sync`."""
    draft, way = world.draft(account), variant % 5
    if way in (1, 3):  # a commit that somebody else's repository could have, signed by this account
        other = plc_did(world.config.seed, -1 - world.clock.tick())
        head = sign_head(other, draft.head.rev, draft.head.data, account.signer.sign)
        draft = replace(draft, head=head)
    fields = _sync(account, draft) if way in (1, 4) else frames.commit(draft)
    if way in (0, 4):
        fields["rev"] = world.next_rev(account)
    elif way == 2:
        fields["commit"] = Link(cid(b"nobody"))
    return _say(world, account, Intent.MISMATCHED, fields)


def bad_slice(world: Population, account: Account, variant: int) -> list[Step]:
    """Takes turns through `_BROKEN`, each in a `#commit` and, the next time, in a `#sync`."""
    draft = world.draft(account)
    fields = _sync(account, draft) if variant % 2 else frames.commit(draft)
    break_it = _BROKEN[(variant + variant // len(_BROKEN)) % len(_BROKEN)]
    fields["blocks"] = break_it(draft, car(draft.head) if variant % 2 else draft.slice())
    return _say(world, account, Intent.BAD_SLICE, fields)


def _another_block(_: Draft, blocks: bytes) -> bytes:
    """The last byte is another one, of a record or of the signature's map."""
    return blocks[:-1] + bytes([blocks[-1] ^ 1])


def _no_commit(draft: Draft, blocks: bytes) -> bytes:
    empty = encode({})
    return blocks[: blocks.index(draft.head.cid + draft.head.block) - 2] + b"\x25" + cid(empty) + empty


def _cut_short(_: Draft, blocks: bytes) -> bytes:
    return blocks[:-1]


def _nothing(_: Draft, __: bytes) -> bytes:
    return b""


_BROKEN: Final = (_another_block, _no_commit, _cut_short, _nothing)


def missing_record(world: Population, account: Account, _: int) -> list[Step]:
    draft = world.draft(account, 2)
    left_out = draft.ops[-1].cid
    records = {name: block for name, block in draft.records.items() if name != left_out}
    return _say(world, account, Intent.MISSING_RECORD, frames.commit(replace(draft, records=records)))


def large_record(world: Population, account: Account, _: int) -> list[Step]:
    draft = world.draft(account, writes=world.new_writes(1, _RECORD_BYTES_OVER))
    return _say(world, account, Intent.LARGE_RECORD, frames.commit(draft))


def too_many_ops(world: Population, account: Account, _: int) -> list[Step]:
    draft = world.draft(account, writes=world.new_writes(_OPS_OVER, _RECORD_BYTES))
    return _say(world, account, Intent.TOO_MANY_OPS, frames.commit(draft))


def _sync(account: Account, draft: Draft) -> Fields:
    return frames.sync(account.did, draft.head)


def _say(world: Population, account: Account, intent: Intent, fields: Fields) -> list[Step]:
    kind = frames.COMMIT if "ops" in fields else frames.SYNC
    return [world.outlets.say(account.host, kind, fields, intent=intent)]


SLICE_FAULTS: Final[dict[Intent, Callable[[Population, Account, int], list[Step]]]] = {
    Intent.MISMATCHED: mismatched,
    Intent.BAD_SLICE: bad_slice,
    Intent.MISSING_RECORD: missing_record,
    Intent.LARGE_RECORD: large_record,
    Intent.TOO_MANY_OPS: too_many_ops,
}
