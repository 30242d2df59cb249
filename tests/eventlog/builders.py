"""Entries, clocks and logs for the log's tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from zlay_py.atproto import dag_cbor
from zlay_py.atproto.frame import FrameKind, seq_span, splice
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.delta import Delta
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import Entry, Record, RecordKind, did_hash, verdict_payload
from zlay_py.eventlog.tail import Tail

T = TypeVar("T")
DIRECTORY = Path("/log")
DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"


class FakeClock:
    def __init__(self) -> None:
        self.time_us = 1_700_000_000_000_000

    def now_us(self) -> int:
        return self.time_us

    def monotonic_s(self) -> float:
        return self.time_us / 1_000_000

    def pass_s(self, seconds: float) -> None:
        self.time_us += int(seconds * 1_000_000)


def at_once(work: Callable[[], T]) -> T:
    """The offload of a test that has no hub."""
    return work()


def event(
    number: int, *, name: str = "", size: int = 40, time_us: int = 1_700_000_000_000_000, **changes: Any
) -> Entry:
    """An #account with an upstream seq and a body of its own: the name, or the number, and dots."""
    payload = dag_cbor.encode({"did": DID, "seq": number, "time": f"{name or number}.".ljust(size, ".")})
    span = seq_span(payload, FrameKind.ACCOUNT)
    delta = changes.pop("delta", Delta(verified=True, rev=f"{number:013d}"))
    fields = {
        "kind": RecordKind.ACCOUNT,
        "uid": 7,
        "did_hash": did_hash(DID),
        "host_id": 3,
        "upstream_seq": number,
        "upstream_epoch": 1,
        "time_us": time_us,
        "payload": payload,
        "seq_span": span,
        "delta": delta,
    }
    return Entry(**(fields | changes))


def verdict(judged_seq: int, *, verified: bool = True) -> Entry:
    return event(
        judged_seq,
        kind=RecordKind.VERDICT,
        payload=verdict_payload(judged_seq),
        seq_span=(0, 0),
        delta=Delta(verified=verified),
    )


def payload_in_log(entry: Entry, seq: int) -> bytes:
    return entry.payload if entry.kind is RecordKind.VERDICT else splice(entry.payload, entry.seq_span, seq)


def make_log(directory: Path = DIRECTORY, **changes: Any) -> EventLog:
    options: dict[str, Any] = {"durability": Durability.FSYNC, "clock": FakeClock(), "tail": Tail(), "offload": at_once}
    return EventLog(directory, **(options | changes))


def read_all(log: EventLog, from_seq: int | None = None) -> list[Record]:
    """Everything that is there, in small reads."""
    records: list[Record] = []
    position = log.oldest_seq if from_seq is None else from_seq
    while found := log.read(position, bytes_max=500):
        records += found
        position = found[-1].seq + 1
    return records
