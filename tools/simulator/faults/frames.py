"""Frames that are no events: what can't be decoded, what is too big, and what nobody has to understand.

Those that cost the connection carry no seq of their own, or that of the frame before them: a host that is asked for
what comes after the last good frame does not send them again.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from struct import pack
from typing import Final

from tools.simulator.cbor import Raw, encode
from tools.simulator.model import Intent, Step
from tools.simulator.times import timestamp
from tools.simulator.worlds import frames
from tools.simulator.worlds.accounts import Account
from tools.simulator.worlds.population import Population
from tools.simulator.worlds.repo import Op

_OVER: Final = 5_000_001
"""Bytes: one more than a frame may have."""
_DEEP: Final = 100_000
_TEXTS: Final = ("hello relay", '{"op":1,"t":"#commit"}', "")
_INFOS: Final = ("OutdatedCursor", "SomethingNew")
_ERRORS: Final = ("ConsumerTooSlow", "FutureCursor", "SomethingNew")
_TYPES: Final = ("#handle", "#tombstone", "#future")


def unknown_type(world: Population, host: int, variant: int) -> list[Step]:
    """With a seq of its own, as former and future kinds of message have."""
    kind = _TYPES[variant % len(_TYPES)]
    fields: frames.Fields = {"did": _anybody(world, host).did, "handle": "someone.test", "news": {"of": kind}}
    return [world.outlets.say(host, kind, fields, intent=Intent.UNKNOWN_TYPE, header={"op": 1, "t": kind})]


def unknown_op(world: Population, host: int, variant: int) -> list[Step]:
    """With a type that is known, and without one."""
    account = _anybody(world, host)
    header: Mapping[str, object] = ({"op": 2, "t": frames.IDENTITY}, {"op": 3}, {"op": -2})[variant % 3]
    fields = frames.identity(account.did)
    return [world.outlets.say(host, frames.IDENTITY, fields, intent=Intent.UNKNOWN_OP, header=header)]


def poison(world: Population, host: int, variant: int) -> list[Step]:
    """Takes turns through all that a decoder has to refuse."""
    ways = poisons(world, host)
    return [world.outlets.put(host, list(ways.values())[variant % len(ways)], intent=Intent.POISON)]


def text(world: Population, host: int, variant: int) -> list[Step]:
    wire = _TEXTS[variant % len(_TEXTS)].encode()
    return [world.outlets.put(host, wire, intent=Intent.TEXT)]


def oversized_frame(world: Population, host: int, variant: int) -> list[Step]:
    """Too many blocks, an unknown field, operations without end, and zeros."""
    fields = _identity(world, host)
    commit = _commit(world, host)
    wire = (
        lambda: frames.message(frames.COMMIT, commit | {"blocks": bytes(_OVER)}),
        lambda: frames.message(frames.IDENTITY, fields | {"padding": bytes(_OVER)}),
        lambda: frames.message(frames.COMMIT, commit | {"ops": _operations_without_end()}),
        lambda: bytes(_OVER),
    )[variant % 4]()
    return [world.outlets.put(host, wire, intent=Intent.OVERSIZED_FRAME)]


def info(world: Population, host: int, variant: int) -> list[Step]:
    wire = frames.info(_INFOS[variant % len(_INFOS)], "there was more once")
    return [world.outlets.put(host, wire, intent=Intent.INFO, kind=frames.INFO)]


def error(world: Population, host: int, variant: int) -> list[Step]:
    wire = frames.error(_ERRORS[variant % len(_ERRORS)], "the end of this connection")
    return [world.outlets.put(host, wire, intent=Intent.ERROR, kind=frames.ERROR)]


def poisons(world: Population, host: int) -> dict[str, bytes]:
    """Binary messages that are no frames, by what is wrong with them."""
    fields = _identity(world, host)
    good = frames.message(frames.IDENTITY, fields)
    header = encode({"op": 1, "t": frames.IDENTITY})
    entries = [encode(name) + encode(value) for name, value in fields.items()]
    noise = b"".join(sha256(b"noise%d" % number + good).digest() for number in range(20))
    return {
        "truncated payload": good[:-9],
        "truncated header": good[:5],
        "no payload": header,
        "nothing": b"",
        "noise": b"\xff" + noise,
        "keys out of order": header + b"\xa4" + b"".join(sorted(entries, reverse=True)),
        "a key twice": header + b"\xa5" + entries[0] + b"".join(entries),
        "endless map": header + b"\xbf" + b"".join(entries) + b"\xff",
        "a third object": good + b"\xa0",
        "nesting": header + b"\x81" * _DEEP + b"\x00",
        "a float": frames.message(frames.IDENTITY, fields | {"x": Raw(b"\xfb" + pack(">d", 0.5))}),
        "undefined": frames.message(frames.IDENTITY, fields | {"x": Raw(b"\xf7")}),
        "a tag": frames.message(frames.IDENTITY, fields | {"x": Raw(b"\xc1\x00")}),
        "a long number": frames.message(frames.IDENTITY, fields | {"x": Raw(b"\x1b" + bytes(7) + b"\x07")}),
        "text that is none": frames.message(frames.IDENTITY, fields | {"x": Raw(b"\x62\xff\xfe")}),
        "a huge length": frames.message(frames.IDENTITY, fields | {"zzzzzzzzz": Raw(b"\x5b" + b"\x7f" * 8)}),
        "a list": header + encode([fields]),
        "a header without op": frames.message_with({"t": frames.IDENTITY}, fields),
        "a header without t": frames.message_with({"op": 1}, fields),
        "a header that is a text": encode("#identity") + encode(fields),
    }


def _identity(world: Population, host: int) -> frames.Fields:
    """An `#identity` with the seq of the frame before it."""
    account = _anybody(world, host)
    fields = frames.identity(account.did, account.handle)
    return fields | {"seq": world.outlets.seqs[host], "time": timestamp(world.clock.tick())}


def _commit(world: Population, host: int) -> frames.Fields:
    """Likewise a `#commit`."""
    account = _anybody(world, host)
    draft = account.repo.draft(world.new_writes(1, 100), world.next_rev(account), account.signer.sign)
    return frames.commit(draft) | {"seq": world.outlets.seqs[host], "time": timestamp(world.clock.tick())}


def _operations_without_end() -> list[object]:
    one = Raw(encode(frames.op(Op("delete", "app.bsky.feed.post/never", None, b"\0" * 36))))
    return [one] * (_OVER // len(one) + 1)


def _anybody(world: Population, host: int) -> Account:
    """An account of that host; of any host where it has none."""
    there = [account for account in world.accounts if account.host == host]
    return world.random.choice(there or world.accounts)


FRAME_FAULTS: Final[dict[Intent, Callable[[Population, int, int], list[Step]]]] = {
    Intent.UNKNOWN_TYPE: unknown_type,
    Intent.UNKNOWN_OP: unknown_op,
    Intent.POISON: poison,
    Intent.TEXT: text,
    Intent.OVERSIZED_FRAME: oversized_frame,
    Intent.INFO: info,
    Intent.ERROR: error,
}
