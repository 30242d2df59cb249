"""Says of every event that the PDSes emitted whether it came out of the relay as it should, and of every drop whether
its reason is right. Judged from the recorded streams, the PLC directory's history and the reference SDK's CAR decoder's
rules, not from the relay's own code.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tools.interop.recorder import Event

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Drop:
    """One line of the relay's log about a frame that did not come out."""

    host: str
    seq: int
    reason: str
    detail: str


@dataclass
class Findings:
    """`wrong`: what must not be; empty when all is well."""

    emitted: int = 0
    forwarded: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Case:
    """One emitted event: which host said it, and where in that host's stream it stands."""

    host: str
    event: Event
    place: int


class Judge:
    """`streams`: host name → what it emitted, in order. `out`: what the relay sent. `dids`: the control API's."""

    def __init__(
        self, streams: dict[str, list[Event]], out: list[Event], drops: list[Drop], dids: dict[str, Any]
    ) -> None:
        self._streams = streams
        self._out = out
        self._drops = {(drop.host, drop.seq): drop for drop in drops}
        self._dids = dids
        self._revs_out: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
        for event in out:
            if event.kind in ("#commit", "#sync"):
                self._revs_out[event.did].append((event.rev, signed_commit(event)[0]))
        self._rules: dict[str, Callable[[Case], bool]] = {
            "sync_repeated": self._repeats,
            "fields_mismatch": self._mismatched,
            "signature_invalid": self._badly_signed,
            "host_not_authoritative": self._not_the_host,
            "account_inactive": self._was_inactive,
            "identity_not_found": self._gone,
            "rev_old": self._old,
        }

    def run(self) -> Findings:
        found = Findings(emitted=sum(map(len, self._streams.values())), forwarded=len(self._out))
        places: dict[bytes, list[int]] = defaultdict(list)
        for index, event in enumerate(self._out):
            places[event.key()].append(index)
        last_place: dict[tuple[str, str], int] = {}
        for host, events in self._streams.items():
            for place, event in enumerate(events):
                case = Case(host, event, place)
                drop = self._drops.get((host, event.seq))
                if drop is None:
                    self._came_out(case, places, last_place, found)
                else:
                    found.dropped[drop.reason] += 1
                    if not self._rules.get(drop.reason, _unknown_reason)(case):
                        found.wrong.append(f"dropped without cause: {describe(case)}: {drop.reason} {drop.detail}")
        left = sum(map(len, places.values()))
        if left:
            found.wrong.append(f"{left} events came out that nobody emitted, or twice")
        seqs = [event.seq for event in self._out]
        if any(later <= earlier for earlier, later in pairwise(seqs)):
            found.wrong.append("the relay's seqs do not grow")
        return found

    def _came_out(
        self,
        case: Case,
        places: dict[bytes, list[int]],
        last_place: dict[tuple[str, str], int],
        found: Findings,
    ) -> None:
        candidates = places.get(case.event.key())
        if not candidates:
            found.wrong.append(f"lost: {describe(case)}")
            return
        index = candidates.pop(0)
        order = (case.host, case.event.did)
        if index < last_place.get(order, -1):
            found.wrong.append(f"out of order: {describe(case)}")
        last_place[order] = index

    def _repeats(self, case: Case) -> bool:
        """The same rev with the same commit has come out already."""
        return (case.event.rev, signed_commit(case.event)[0]) in self._revs_out[case.event.did]

    def _old(self, case: Case) -> bool:
        return any(rev >= case.event.rev for rev, _ in self._revs_out[case.event.did])

    def _mismatched(self, case: Case) -> bool:
        """The message and the commit that it carries disagree."""
        _, commit, _ = signed_commit(case.event)
        return bool(commit["rev"] != case.event.rev or commit["did"] != case.event.did)

    def _badly_signed(self, case: Case) -> bool:
        """Not signed by any key that the DID had from the one in force when the commit was made."""
        _, commit, unsigned = signed_commit(case.event)
        history = self._dids[case.event.did]["keyHistory"]
        return not any(verifies(item["didKey"], commit["sig"], unsigned) for item in history[-1:])

    def _not_the_host(self, case: Case) -> bool:
        """The DID document names another host, at the end or at some time in its history."""
        named = {item["pds"] for item in self._dids[case.event.did]["keyHistory"]}
        return any(not url.endswith(case.host) for url in named)

    def _was_inactive(self, case: Case) -> bool:
        """The last `#account` of that host before it said so."""
        for event in reversed(self._streams[case.host][: case.place]):
            if event.kind == "#account" and event.did == case.event.did:
                return not event.body["active"]
        return False

    def _gone(self, case: Case) -> bool:
        return self._dids.get(case.event.did, {}).get("didDoc") is None


def _unknown_reason(_case: Case) -> bool:
    """A reason that no rule here knows is never right."""
    return False


def describe(case: Case) -> str:
    return f"{case.host} seq {case.event.seq} {case.event.kind} {case.event.did} {case.event.rev}"


def signed_commit(event: Event) -> tuple[bytes, dict[str, Any], bytes]:
    """CID, fields and signed bytes of the commit in a message's CAR slice."""
    car = event.body["blocks"]
    size, start = varint(car, 0)
    header = cbor2.loads(car[start : start + size])
    root = header["roots"][0].value[1:]
    position = start + size
    while position < len(car):
        size, start = varint(car, position)
        block_cid, block = car[start : start + 36], car[start + 36 : start + size]
        if block_cid == root:
            assert hashlib.sha256(block).digest() == root[4:], "a block does not match its CID"
            commit = cbor2.loads(block)
            unsigned = cbor2.dumps({name: commit[name] for name in commit if name != "sig"}, canonical=True)
            return root, commit, unsigned
        position = start + size
    raise ValueError("the CAR has no commit block")


def varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7


def verifies(did_key: str, signature: bytes, message: bytes) -> bool:
    number = 0
    for character in did_key.removeprefix("did:key:z"):
        number = number * 58 + BASE58.index(character)
    raw = number.to_bytes(35, "big")
    curve = ec.SECP256K1() if raw[:2] == b"\xe7\x01" else ec.SECP256R1()
    key = ec.EllipticCurvePublicKey.from_encoded_point(curve, raw[2:])
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        key.verify(der, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
