"""What is known of the frames that a host sends again after a start, those above its saved mark.

Some are in the log already, and must not come out twice: without a rev of their own, `#identity` and `#account` could
not be told from new ones. Others were dropped, and must not be judged anew, by what has become known since: a host's
word about an account that only later moved to it would come true, behind what was said after it.

Nothing tells of a drop by itself. But the frames of one account that one host sends in one epoch are judged in their
order (one lane, one parking, one queue of the writer), and their entries reach the log in that order. So a record
proves that all earlier ones were judged, and one of those that is not in the log was dropped.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.record import Record, RecordKind, did_hash
from zlay_py.ingest.outcome import DropReason
from zlay_py.state.leftovers import Leftover

READ_BYTES = 4 * 1024 * 1024
"""Of the log at once."""

Marks = Mapping[int, tuple[int, int | None]]
"""Host id → its epoch and its saved mark."""

DidsOf = Callable[[Iterable[int]], Mapping[int, str]]
"""uids → DIDs, of those that SQL knows."""

OnIdentities = Callable[[Sequence[Record]], object]
"""Called with the `#identity` records among those that were read at once, in their order."""

_NO_HOST: tuple[int, int | None] = (-1, None)


@dataclass(slots=True)
class Replay:
    """Of one host, in its current epoch, above its mark.

    `logged`: upstream seqs that the log holds. `judged`: DID hash → the highest of them that is of this DID.
    """

    logged: set[int] = field(default_factory=set)
    judged: dict[int, int] = field(default_factory=dict)
    _last: int = field(init=False)

    def __post_init__(self) -> None:
        self._last = max(self.judged.values(), default=0)

    def drop_reason(self, seq: int, did: str) -> DropReason | None:
        """Why this frame is not judged; None: it is to be. Called with seqs that grow from call to call."""
        if seq in self.logged:
            self.logged.discard(seq)
            return DropReason.ALREADY_LOGGED
        if not self.judged:
            return None
        if seq > self._last:
            self.judged.clear()
            return None
        # nothing but ASCII is a DID, and there may be no bytes of other text
        judged = did.isascii() and seq <= self.judged.get(did_hash(did), 0)
        return DropReason.ALREADY_JUDGED if judged else None


class _Found:
    """A host's part of the scan: its events' accounts by either of their names in the log."""

    def __init__(self) -> None:
        self.logged: set[int] = set()
        self.by_uid: dict[int, int] = {}
        self.by_hash: dict[int, int] = {}

    def take(self, record: Record) -> None:
        seq = record.upstream_seq
        self.logged.add(seq)
        if record.kind is RecordKind.VERDICT:
            return  # on an event that has a record of its own
        latest, name = (self.by_uid, record.uid) if record.uid else (self.by_hash, record.did_hash)
        latest[name] = max(seq, latest.get(name, 0))

    def replay(self, dids: Mapping[int, str]) -> Replay:
        judged = self.by_hash
        for uid, seq in self.by_uid.items():
            if uid in dids:
                name = did_hash(dids[uid])
                judged[name] = max(seq, judged.get(name, 0))
        return Replay(self.logged, judged)


def find_replays(
    event_log: EventLog,
    from_seq: int,
    marks: Marks,
    leftovers: Iterable[Leftover],
    dids_of: DidsOf,
    on_identities: OnIdentities = lambda _records: None,
) -> dict[int, Replay]:
    """Host id → what it will send again, where there is any such thing.

    What has a record at or after `from_seq`, the checkpoint saved with the marks, is found by a scan of some seconds of
    traffic. What has one before it was found by an earlier start, and is in the `leftovers` saved with the marks.

    `on_identities`: of all hosts' records, those that their marks have passed included.
    """
    found: dict[int, _Found] = {}
    for leftover in leftovers:
        epoch, mark = marks.get(leftover.host_id, _NO_HOST)
        left = leftover.above(mark or 0)
        if leftover.epoch == epoch and not left.empty:
            host = found.setdefault(leftover.host_id, _Found())
            host.logged.update(left.seqs())
            host.by_hash.update(left.judged)
    position = max(from_seq, event_log.oldest_seq)
    while records := event_log.read(position, bytes_max=READ_BYTES):
        for record in records:
            epoch, mark = marks.get(record.host_id, _NO_HOST)
            if record.upstream_epoch == epoch and record.upstream_seq > (mark or 0):
                found.setdefault(record.host_id, _Found()).take(record)
        on_identities([record for record in records if record.kind is RecordKind.IDENTITY])
        position = records[-1].seq + 1
    dids = dids_of({uid for host in found.values() for uid in host.by_uid})
    return {host_id: host.replay(dids) for host_id, host in found.items()}


def leftovers_of(replays: Mapping[int, Replay], marks: Marks) -> list[Leftover]:
    """What was found, as it is kept until the marks have passed it."""
    return [Leftover.of(host_id, marks[host_id][0], found.logged, found.judged) for host_id, found in replays.items()]
