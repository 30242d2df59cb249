"""What an event is, apart from its seq and from what the protocol makes each hop's own: read from raw bytes.

Two frames are the same event when their digests are equal. The digest takes every top-level field of the payload
as the bytes it came in, in the order it came in, but for

* `seq` of every message: a relay counts for itself (atproto event stream spec, Sequence Numbers);
* `active` and `status` of `#account`: what the emitter of *this* stream says (atproto account spec, Hosting Status);
* `handle` of `#identity`: an intermediary may keep it, or take it away (atproto sync spec, `#identity`);
* `rebase`, `blobs`, `tooBig` of `#commit`: deprecated and required; where missing they count as their defaults.

What became of those is told apart: see `departures`. Nothing here knows the relay's own decoders.
"""

import hashlib
import zlib
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

COMMIT, SYNC, IDENTITY, ACCOUNT = "#commit", "#sync", "#identity", "#account"
JUNK = "junk"
KINDS = (COMMIT, SYNC, IDENTITY, ACCOUNT)
"""Of messages that a relay passes on."""

HEADERS = {kind: b"\xa2\x61t" + bytes([0x60 + len(kind)]) + kind.encode() + b"\x62op\x01" for kind in KINDS}
HOPS = {
    COMMIT: frozenset({b"\x63seq"}),
    SYNC: frozenset({b"\x63seq"}),
    IDENTITY: frozenset({b"\x63seq", b"\x66handle"}),
    ACCOUNT: frozenset({b"\x63seq", b"\x66active", b"\x66status"}),
}
DEFAULTS = ((b"\x65blobs", b"\x80"), (b"\x66rebase", b"\xf4"), (b"\x66tooBig", b"\xf4"))
"""Keys and values as CBOR. A key's bytes begin with its length, so comparing them is the canonical order."""


class Fields(Protocol):
    """What a ledger's entry and an `Event` have in common."""

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def sums(self) -> bytes: ...


class Event(NamedTuple):
    kind: str
    """`#commit` …, `#info`, `error`, or `junk`: not a frame that this protocol has."""
    did: str
    rev: str | None
    seq: int
    """0 where there is none."""
    digest: bytes
    names: tuple[str, ...]
    """The fields that the digest was taken over, in their order."""
    sums: bytes
    """Four bytes of CRC-32 for each of them: to say which one differs."""
    active: bool | None = None
    status: str | None = None
    handle: str | None = None
    prev_data: bool = False
    missing: tuple[str, ...] = ()
    """Deprecated fields that the lexicon requires and that are not there."""
    faults: tuple[str, ...] = ()
    """What a strict reader would not let pass in a frame that it can still understand."""
    message: str = ""
    """Name that an `#info` or an error frame gives."""


def read(wire: bytes) -> Event:
    """Any bytes; never raises."""
    try:
        return _read(wire)
    except (ValueError, IndexError):
        return _junk(wire, JUNK)


def peek(wire: bytes) -> tuple[str, int]:
    """Kind and seq, quickly; `junk` and 0 where there is nothing of the kind. Never raises."""
    try:
        for kind, header in HEADERS.items():
            if wire.startswith(header):
                count, at = _argument(wire, len(header))
                for _ in range(count):
                    if wire.startswith(b"\x63seq", at):
                        return kind, _argument(wire, at + 4)[0]
                    at = item_end(wire, item_end(wire, at))
                return JUNK, 0
    except (ValueError, IndexError):
        return JUNK, 0
    event = read(wire)
    return event.kind, event.seq


def _junk(wire: bytes, kind: str, message: str = "") -> Event:
    return Event(kind, "", None, 0, hashlib.sha256(wire).digest(), (), b"", message=message)


def _read(wire: bytes) -> Event:
    faults: list[str] = []
    kind = next((kind for kind, header in HEADERS.items() if wire.startswith(header)), "")
    start = len(HEADERS.get(kind, b""))
    if not kind:
        header_items, start = map_items(wire, 0)
        said = dict(header_items)
        op, kind = said.get(b"\x62op"), _text(said.get(b"\x61t")) or JUNK
        if op == b"\x20" or (op == b"\x01" and kind == "#info"):
            fields = dict(map_items(wire, start)[0])
            name = _text(fields.get(b"\x65error") or fields.get(b"\x64name"))
            return _junk(wire, "error" if op == b"\x20" else kind, name or "")
        if op != b"\x01":
            return _junk(wire, JUNK)
        if kind not in HEADERS:
            return _junk(wire, JUNK)
        faults.append("the header is not the one that the protocol gives it")
    if not _is_shortest(wire[start : start + 9]):
        faults.append("the payload's length is not in its shortest form")
    items, end = map_items(wire, start)
    if end != len(wire):
        return _junk(wire, JUNK)
    return _event(kind, items, faults)


def _event(kind: str, items: list[tuple[bytes, bytes]], faults: list[str]) -> Event:
    keys = [key for key, _ in items]
    if any(later <= earlier for earlier, later in pairwise(keys)):
        faults.append("the payload's keys are not in canonical order")
    hops = HOPS[kind]
    own = dict(items)
    kept = [item for item in items if item[0] not in hops]
    missing = _fill(kept) if kind == COMMIT else ()
    seq = own.get(b"\x63seq")
    if seq is None:
        faults.append("no seq")
    elif seq[0] >> 5 or not _is_shortest(seq):
        faults.append("seq is not a whole number in its shortest form")
    rev = own.get(b"\x63rev")
    handle, status, active = own.get(b"\x66handle"), own.get(b"\x66status"), own.get(b"\x66active")
    return Event(
        kind=kind,
        did=_text(own.get(b"\x64repo" if kind == COMMIT else b"\x63did")) or "",
        rev=_text(rev),
        seq=0 if seq is None or seq[0] >> 5 else _argument(seq, 0)[0],
        digest=hashlib.sha256(kind.encode() + b"".join([part for item in kept for part in item])).digest(),
        names=tuple([_text(key) or "" for key, _ in kept]),
        sums=b"".join([zlib.crc32(value).to_bytes(4, "big") for _, value in kept]),
        active=None if kind != ACCOUNT or active is None else active == b"\xf5",
        status=_text(status) if kind == ACCOUNT else None,
        handle=_text(handle) if kind == IDENTITY else None,
        prev_data=own.get(b"\x68prevData", b"\xf6") != b"\xf6",
        missing=missing,
        faults=tuple(faults),
    )


def _fill(items: list[tuple[bytes, bytes]]) -> tuple[str, ...]:
    """Puts missing deprecated fields where they belong; returns their names."""
    present = {key for key, _ in items}
    missing = [item for item in DEFAULTS if item[0] not in present]
    for item in missing:
        place = next((index for index, (key, _) in enumerate(items) if key > item[0]), len(items))
        items.insert(place, item)
    return tuple([item[0][1:].decode() for item in missing])


def departures(emitted: Event | Any, came: Event, *, foreign: bool, local_status: str | None = None) -> list[str]:
    """What is wrong with the way an event came out whose digest is right.

    `emitted`: the event or the ledger's entry of it. `foreign`: the host is not the account's, so that the
    handle is nobody's word. `local_status`: what the relay itself holds against the account, at least for a time.
    """
    wrong = list(came.faults)
    if came.missing:
        wrong.append(f"required fields were not filled in: {', '.join(came.missing)}")
    if came.kind == ACCOUNT:
        said, says = (emitted.active, emitted.status), (came.active, came.status)
        if says != said and (local_status is None or says != (False, local_status)):
            wrong.append(f"active and status were {said} and are {says}")
    if came.kind == IDENTITY and came.handle is not None:
        if foreign:
            wrong.append(f"the handle {came.handle} of a host that is not the account's was passed on")
        elif came.handle != emitted.handle:
            wrong.append(f"the handle was {emitted.handle} and is {came.handle}")
    return wrong


def difference(emitted: Fields, came: Fields) -> tuple[int, str]:
    """How many fields differ, and which: 'blocks, -extra, +more'."""
    before, after = _by_name(emitted), _by_name(came)
    words = [name for name in after if name in before and before[name] != after[name]]
    words += [f"-{name}" for name in before if name not in after]
    words += [f"+{name}" for name in after if name not in before]
    return len(words), ", ".join(words) or "the order of the fields"


def _by_name(event: Fields) -> dict[str, bytes]:
    return {name: event.sums[4 * place : 4 * place + 4] for place, name in enumerate(event.names)}


def map_items(data: bytes, start: int) -> tuple[list[tuple[bytes, bytes]], int]:
    """Raw keys and values of the map at `start`, and where it ends. Raises ValueError, IndexError."""
    if data[start] >> 5 != 5:
        raise ValueError("not a map")
    count, at = _argument(data, start)
    items = []
    for _ in range(count):
        middle = item_end(data, at)
        end = item_end(data, middle)
        items.append((data[at:middle], data[middle:end]))
        at = end
    return items, at


def item_end(data: bytes, at: int) -> int:
    """Where the CBOR item that begins at `at` ends. Raises ValueError, IndexError. No recursion."""
    pending = 1
    while pending:
        major = data[at] >> 5
        number, at = _argument(data, at)
        pending -= 1
        if major in (2, 3):
            at += number
        elif major == 4:
            pending += number
        elif major == 5:
            pending += 2 * number
        elif major == 6:
            pending += 1
    if at > len(data):
        raise ValueError("cut short")
    return at


def _argument(data: bytes, at: int) -> tuple[int, int]:
    """The number in an item's head, and where the head ends."""
    info = data[at] & 31
    at += 1
    if info < 24:
        return info, at
    if info > 27:
        raise ValueError("a length that DRISL does not have")
    size = 1 << (info - 24)
    if at + size > len(data):
        raise ValueError("cut short")
    return int.from_bytes(data[at : at + size], "big"), at + size


def _is_shortest(raw: bytes) -> bool:
    number, size = _argument(raw, 0)
    least = 1 if number < 24 else 2 if number < 1 << 8 else 3 if number < 1 << 16 else 5 if number < 1 << 32 else 9
    return size == least


def _text(raw: bytes | None) -> str | None:
    if raw is None or raw[0] >> 5 != 3:
        return None
    return raw[_argument(raw, 0)[1] :].decode()
