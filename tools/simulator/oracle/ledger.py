"""The account of all that a world did: what each host emitted, what the directory said, what was known to be done with.

In memory, and as a file of JSON lines when a path is given. The file has no frames, only what the judge
needs to know them again. Each line is handed to the operating system as a whole before `append` returns, so a killed
process leaves it readable, and another process may read it meanwhile; a last line without its end does not count.
"""

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from tools.simulator.model import Document, DocumentChange, Emission, Intent, Step
from tools.simulator.oracle import normalise


class Mark(StrEnum):
    """What whoever runs the world knows of the relay at this place."""

    SETTLED = "settled"
    """Every frame emitted so far has been handled, and every look-up that one of them caused has ended."""
    RESTARTED = "restarted"
    """The relay was stopped or killed, and started again."""
    DIRECTORY_DOWN = "directory_down"
    """From here on look-ups may fail, or take longer than a relay has to wait."""
    DIRECTORY_UP = "directory_up"


@dataclass(frozen=True, slots=True)
class Entry:
    """One emission. What is not in `Emission` is as `normalise.Event` has it; `status` of an error is its name."""

    host: int
    epoch: int
    seq: int
    kind: str
    did: str
    rev: str | None
    intent: Intent
    digest: bytes
    names: tuple[str, ...]
    sums: bytes
    active: bool | None
    status: str | None
    handle: str | None
    prev_data: bool
    time_us: int
    """When it was put down, since 1970."""

    def __str__(self) -> str:
        rev = f" rev {self.rev}" if self.rev else ""
        return f"host {self.host} epoch {self.epoch} seq {self.seq} {self.kind} {self.did}{rev} ({self.intent})"


Line: TypeAlias = Entry | DocumentChange | Mark


class Ledger:
    """`lines`, in the order in which they happened. A path that has lines already is continued."""

    def __init__(self, path: Path | None = None, *, now_us: Callable[[], int] | None = None) -> None:
        self.lines: list[Line] = []
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._file: int | None = None
        if path is not None:
            whole = self._take(path) if path.exists() else 0
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.ftruncate(self._file, whole)  # what a killed process left of its last line

    @classmethod
    def load(cls, path: Path) -> Self:
        """As the file is now. Raises ValueError at a line that is whole and yet none of ours."""
        ledger = cls()
        ledger._take(path)
        return ledger

    @property
    def entries(self) -> list[Entry]:
        return [line for line in self.lines if isinstance(line, Entry)]

    def append(self, step: Step) -> None:
        self.extend((step,))

    def extend(self, steps: Iterable[Step]) -> None:
        """One write for all of them."""
        self._put([self._entry(step) if isinstance(step, Emission) else step for step in steps])

    def settled(self) -> None:
        self._put([Mark.SETTLED])

    def restarted(self) -> None:
        self._put([Mark.RESTARTED])

    def directory_down(self) -> None:
        self._put([Mark.DIRECTORY_DOWN])

    def directory_up(self) -> None:
        self._put([Mark.DIRECTORY_UP])

    def last_seqs(self) -> dict[int, int]:
        """By host: the highest seq of its present epoch in a frame that has one and that a relay must account for."""
        last: dict[int, tuple[int, int]] = {}
        for entry in self.entries:
            if entry.kind in normalise.KINDS and entry.intent not in NOT_READ:
                last[entry.host] = max(last.get(entry.host, (0, 0)), (entry.epoch, entry.seq))
        return {host: seq for host, (_, seq) in last.items()}

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _entry(self, emission: Emission) -> Entry:
        event = normalise.read(emission.wire)
        return Entry(
            host=emission.host,
            epoch=emission.epoch,
            seq=emission.seq,
            kind=emission.kind,
            did=emission.did,
            rev=emission.rev,
            intent=emission.intent,
            digest=event.digest,
            names=self._names.setdefault(event.names, event.names),
            sums=event.sums,
            active=event.active,
            status=event.status or event.message or None,
            handle=event.handle,
            prev_data=event.prev_data,
            time_us=self._now_us(),
        )

    def _put(self, lines: list[Line]) -> None:
        if self._file is not None:
            data = b"".join([_encode(line, self._now_us()) for line in lines])
            while data:
                data = data[os.write(self._file, data) :]
        self.lines.extend(lines)

    def _take(self, path: Path) -> int:
        """Reads what is whole. Returns its length in bytes."""
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                self.lines.append(self._decode(json.loads(line)))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path} line {number}: {error}") from error
        return whole

    def _decode(self, fields: dict[str, Any]) -> Line:
        if "mark" in fields:
            return Mark(fields["mark"])
        if "document" in fields:
            document = fields["document"]
            return DocumentChange(fields["did"], document and Document(**document))
        names = tuple(fields["names"])
        return Entry(
            host=fields["host"],
            epoch=fields["epoch"],
            seq=fields["seq"],
            kind=fields["kind"],
            did=fields["did"],
            rev=fields.get("rev"),
            intent=Intent(fields["intent"]),
            digest=bytes.fromhex(fields["digest"]),
            names=self._names.setdefault(names, names),
            sums=bytes.fromhex(fields["sums"]),
            active=fields.get("active"),
            status=fields.get("status"),
            handle=fields.get("handle"),
            prev_data=fields.get("prev_data", False),
            time_us=fields["time_us"],
        )


NOT_READ = frozenset({Intent.POISON, Intent.TEXT, Intent.OVERSIZED_FRAME, Intent.UNKNOWN_TYPE, Intent.UNKNOWN_OP})
"""Frames whose seq a relay need not learn: they can't be read, or are to be ignored."""


def _encode(line: Line, now_us: int) -> bytes:
    if isinstance(line, Mark):
        fields: dict[str, Any] = {"mark": line, "time_us": now_us}
    elif isinstance(line, DocumentChange):
        document = None if line.document is None else asdict(line.document)
        fields = {"did": line.did, "document": document, "time_us": now_us}
    else:
        fields = {
            "host": line.host,
            "epoch": line.epoch,
            "seq": line.seq,
            "kind": line.kind,
            "did": line.did,
            "intent": line.intent,
            "digest": line.digest.hex(),
            "names": line.names,
            "sums": line.sums.hex(),
            "time_us": line.time_us,
        }
        for name in ("rev", "active", "status", "handle"):
            value = getattr(line, name)
            if value is not None:
                fields[name] = value
        if line.prev_data:
            fields["prev_data"] = True
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"
