"""`make bench`: CPU µs per event for each step from frame to log record, on the recorded `#commit` frames.

Each step runs over all frames in turn; the smallest of several rounds counts, since noise only ever adds.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from zlay_py.atproto import car, commit, events, frame, keys, sync11
from zlay_py.atproto.commit import Commit
from zlay_py.atproto.events import CommitEvent
from zlay_py.atproto.frame import Frame, FrameKind
from zlay_py.atproto.keys import PublicKey
from zlay_py.clock import SystemClock
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.delta import Delta
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import Entry, RecordKind
from zlay_py.eventlog.tail import Tail
from zlay_py.ingest.commit_check import check_records

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures"
ROUNDS = 5
BATCH = 64


class Sample(NamedTuple):
    """One frame with all that its steps need, made outside of the timed part."""

    wire: bytes
    frame: Frame
    event: CommitEvent
    blocks: dict[bytes, bytes]
    commit: Commit
    key: PublicKey


def recorded_frames(folder: Path) -> Iterator[bytes]:
    """`[u32 big-endian length][frame]…` of every recorded host."""
    for path in sorted(folder.glob("pds*.frames")):
        data, position = path.read_bytes(), 0
        while position < len(data):
            length = int.from_bytes(data[position : position + 4], "big")
            yield data[position + 4 : position + 4 + length]
            position += 4 + length


def samples(folder: Path) -> list[Sample]:
    """The commits with operations, each with the key that signed it."""
    dids: dict[str, Any] = json.loads((folder / "dids.json").read_text())
    history = {did: [keys.parse_did_key(item["didKey"]) for item in entry["keyHistory"]] for did, entry in dids.items()}
    found = []
    for wire in recorded_frames(folder):
        decoded = frame.decode(wire)
        if decoded.kind is not FrameKind.COMMIT:
            continue
        event = events.parse_commit(decoded)
        if not event.ops:
            continue
        blocks = car.parse(event.blocks).blocks
        signed = commit.decode(blocks[event.commit], did=event.did, rev=event.rev)
        key = next(key for key in history[event.did] if key.verify(signed.sig, signed.unsigned))
        found.append(Sample(wire, decoded, event, blocks, signed, key))
    return found


def least_us(step: Callable[[], object], count: int) -> float:
    """µs of CPU per event: the smallest of the rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        step()
        best = min(best, time.process_time() - start)
    return round(best / count * 1e6, 2)


def steps(found: list[Sample]) -> dict[str, Callable[[], object]]:
    """In the order in which an event meets them."""
    return {
        "decode frame": lambda: [frame.decode(item.wire) for item in found],
        "parse event": lambda: [events.parse_commit(item.frame) for item in found],
        "parse and hash CAR": lambda: [car.parse(item.event.blocks) for item in found],
        "decode commit": lambda: [
            commit.decode(item.blocks[item.event.commit], did=item.event.did, rev=item.event.rev) for item in found
        ],
        "verify signature": lambda: [item.key.verify(item.commit.sig, item.commit.unsigned) for item in found],
        "check records": lambda: [check_records(item.event, item.blocks) for item in found],
        "invert operations": lambda: [sync11.examine(item.commit.data, item.blocks, item.event.ops) for item in found],
        "find seq": lambda: [find_seq(item.frame) for item in found],
    }


def append_us(found: list[Sample]) -> float:
    """Encode, write in batches and publish to the tail; flush mode, so that the disk's speed is left out."""
    entries = [entry(number, item) for number, item in enumerate(found)]
    best = float("inf")
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(
            prefix="bench-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None
        ) as name:
            log = EventLog(Path(name), durability=Durability.FLUSH, clock=SystemClock(), tail=Tail())
            log.open()
            start = time.process_time()
            for first in range(0, len(entries), BATCH):
                log.append(entries[first : first + BATCH])
            best = min(best, time.process_time() - start)
            log.close()
    return round(best / len(entries) * 1e6, 2)


def entry(number: int, item: Sample) -> Entry:
    delta = Delta(verified=True, inverted=True, rev=item.commit.rev, commit=item.event.commit, data=item.commit.data)
    return Entry(RecordKind.COMMIT, number, 0, 1, item.frame.seq, 0, 0, item.frame.payload, find_seq(item.frame), delta)


def find_seq(of: Frame) -> tuple[int, int]:
    """As the pipeline asks for it."""
    return frame.seq_span(of.payload, of.kind, None if of.typed else of.body["ops"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixtures", type=Path, default=Path(os.environ.get("ZLAY_FIXTURES") or FIXTURES))
    folder: Path = parser.parse_args().fixtures / "corpus"
    if not folder.is_dir():
        print(f"bench skipped: no recorded frames at {folder} (set ZLAY_FIXTURES)", file=sys.stderr)
        return 0
    found = samples(folder)
    result = {name: least_us(step, len(found)) for name, step in steps(found).items()}
    result["append to log"] = append_us(found)
    report = {
        "events": len(found),
        "bytes_mean": round(sum(len(item.wire) for item in found) / len(found)),
        "ops_mean": round(sum(len(item.event.ops) for item in found) / len(found), 2),
        "python": platform.python_version(),
        "cpu_us_per_event": {**result, "total": round(sum(result.values()), 1)},
    }
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
