"""Each step of one event from frame to log record, alone: every step runs over all frames in turn."""

from collections.abc import Callable, Iterable

from tools.bench.measure import folder_in_memory, least_us, rounded
from tools.bench.workload import Sample
from zlay_py.atproto import car, commit, events, frame, sync11
from zlay_py.atproto.frame import Frame
from zlay_py.clock import SystemClock
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.delta import Delta
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import Entry, RecordKind
from zlay_py.eventlog.tail import Tail
from zlay_py.ingest.commit_check import check_records

BATCH = 64
A_SEQ = 12_345_678_901
"""Of a relay that has run for years."""


def measure(found: list[Sample], rounds: int) -> dict[str, float]:
    """µs of CPU per event by step, in the order in which an event meets them, and their sum."""
    spans = [find_seq(item.frame) for item in found]
    result = {name: least_us(all_of(step, found), len(found), rounds) for name, step in STEPS.items()}
    result["find seq"] = least_us(all_of(lambda item: find_seq(item.frame), found), len(found), rounds)
    result["splice seq"] = least_us(
        lambda: [
            None for item, span in zip(found, spans, strict=True) if not frame.splice(item.frame.payload, span, A_SEQ)
        ],
        len(found),
        rounds,
    )
    result["append"] = rounded(append_us(found, rounds) - result["splice seq"])
    return {**result, "sum": rounded(sum(result.values()))}


STEPS: dict[str, Callable[[Sample], object]] = {
    "decode frame": lambda item: frame.decode(item.wire),
    "parse event": lambda item: events.parse_commit(item.frame),
    "parse and hash CAR": lambda item: car.parse(item.event.blocks),
    "decode commit": lambda item: commit.decode(item.blocks[item.event.commit], did=item.event.did, rev=item.event.rev),
    "verify signature": lambda item: item.key.verify(item.commit.sig, item.commit.unsigned),
    "check records": lambda item: check_records(item.event, item.blocks),
    "invert operations": lambda item: sync11.examine(item.commit.data, item.blocks, item.event.ops),
}


def all_of(step: Callable[[Sample], object], found: Iterable[Sample]) -> Callable[[], None]:
    """The step over all, keeping no result: in a relay an event is gone once it is logged."""

    def run() -> None:
        for item in found:
            step(item)

    return run


def append_us(found: list[Sample], rounds: int) -> float:
    """Splice, encode, write in batches and publish to the tail, in flush mode."""
    entries = [entry(number, item) for number, item in enumerate(found)]

    def run() -> None:
        for first in range(0, len(entries), BATCH):
            log.append(entries[first : first + BATCH])

    best = float("inf")
    for _ in range(rounds):
        with folder_in_memory() as folder:
            log = EventLog(folder, durability=Durability.FLUSH, clock=SystemClock(), tail=Tail())
            log.open()
            best = min(best, least_us(run, len(entries), 1))
            assert log.current_seq == len(entries)
            log.close()
    return best


def entry(number: int, item: Sample) -> Entry:
    delta = Delta(verified=True, inverted=True, rev=item.commit.rev, commit=item.event.commit, data=item.commit.data)
    return Entry(RecordKind.COMMIT, number, 0, 1, item.frame.seq, 0, 0, item.frame.payload, find_seq(item.frame), delta)


def find_seq(of: Frame) -> tuple[int, int]:
    """As the pipeline asks for it."""
    return frame.seq_span(of.payload, of.kind, None if of.typed else of.body["ops"])
