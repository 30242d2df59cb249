"""What is measured on: `#commit` frames in the order in which hosts sent them, and whose they are."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zlay_py.atproto import car, commit, events, frame, keys
from zlay_py.atproto.commit import Commit
from zlay_py.atproto.events import CommitEvent
from zlay_py.atproto.frame import Frame, FrameKind
from zlay_py.atproto.keys import PublicKey


@dataclass(frozen=True, slots=True)
class Home:
    """Which host an account is at, and the key that its commits are signed by."""

    host: int
    key: PublicKey


@dataclass(frozen=True, slots=True)
class Workload:
    """Good commits with operations, each account at one host and with one key. `streams`: frames by host."""

    name: str
    streams: list[list[bytes]]
    homes: dict[str, Home]

    def __len__(self) -> int:
        return sum(map(len, self.streams))


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame with all that its steps need, made outside of the timed part."""

    wire: bytes
    frame: Frame
    event: CommitEvent
    blocks: dict[bytes, bytes]
    commit: Commit
    key: PublicKey


def sample(wire: bytes, candidates: list[PublicKey]) -> Sample | None:
    """None for what is no commit with operations. Fails for one that none of the keys has signed."""
    decoded = frame.decode(wire)
    if decoded.kind is not FrameKind.COMMIT:
        return None
    event = events.parse_commit(decoded)
    if not event.ops:
        return None
    blocks = car.parse(event.blocks).blocks
    signed = commit.decode(blocks[event.commit], did=event.did, rev=event.rev)
    key = next(key for key in candidates if key.verify(signed.sig, signed.unsigned))
    return Sample(wire, decoded, event, blocks, signed, key)


def samples(workload: Workload, count: int) -> list[Sample]:
    """The first `count`, taken from all hosts alike."""
    share = -(-count // len(workload.streams))
    wires = [wire for stream in workload.streams for wire in stream[:share]]
    found = [sample(wire, [workload.homes[frame.decode(wire).did].key]) for wire in wires]
    return [item for item in found if item is not None]


def shape(found: list[Sample]) -> dict[str, object]:
    """What these events look like, on average."""
    count = len(found)
    nodes = sum(_node_count(item) for item in found)
    return {
        "events": count,
        "bytes_mean": round(sum(len(item.wire) for item in found) / count),
        "ops_mean": round(sum(len(item.event.ops) for item in found) / count, 2),
        "blocks_mean": round(sum(len(item.blocks) for item in found) / count, 2),
        "mst_nodes_mean": round(nodes / count, 2),
        "p256_share": round(sum(item.key.curve is keys.Curve.P256 for item in found) / count, 2),
    }


def _node_count(item: Sample) -> int:
    """Tree nodes of the slice: blocks that are neither the commit nor a record."""
    records = {op.cid for op in item.event.ops}
    return sum(cid != item.event.commit and cid not in records for cid in item.blocks)


def recorded(folder: Path) -> Workload:
    """The recorded corpus: reference PDSes, small repositories, some large commits."""
    dids: dict[str, Any] = json.loads((folder / "dids.json").read_text())
    history = {did: [keys.parse_did_key(item["didKey"]) for item in entry["keyHistory"]] for did, entry in dids.items()}
    by_host = [
        [found for wire in _frames(path) if (found := _recorded_sample(wire, history)) is not None]
        for path in sorted(folder.glob("pds*.frames"))
    ]
    # an account may have moved, or changed its key, while it was recorded: its longest part is taken
    parts = Counter((item.event.did, host, item.key.to_bytes()) for host, found in enumerate(by_host) for item in found)
    homes: dict[str, Home] = {}
    for (did, host, key), _ in parts.most_common():
        homes.setdefault(did, Home(host, PublicKey.from_bytes(key)))
    streams = [
        [item.wire for item in found if homes[item.event.did] == Home(host, item.key)]
        for host, found in enumerate(by_host)
    ]
    return Workload("recorded", streams, homes)


def _recorded_sample(wire: bytes, history: dict[str, list[PublicKey]]) -> Sample | None:
    did = frame.decode(wire).did
    return sample(wire, history.get(did, []))


def _frames(path: Path) -> Iterator[bytes]:
    """`[u32 big-endian length][frame]…`"""
    data, position = path.read_bytes(), 0
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        yield data[position + 4 : position + 4 + length]
        position += 4 + length
