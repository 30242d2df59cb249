"""What the log already holds beyond the hosts' saved marks: events that a host will send again and that must not
come out twice. Without a rev of their own, `#identity` and `#account` could not be told from new ones.
"""

from collections.abc import Iterable, Mapping

from zlay_py.eventlog.log import EventLog
from zlay_py.state.leftovers import Leftover

READ_BYTES = 4 * 1024 * 1024
"""Of the log at once."""

Marks = Mapping[int, tuple[int, int | None]]
"""Host id → its epoch and its saved mark."""

_NO_HOST: tuple[int, int | None] = (-1, None)


def find_already_logged(
    event_log: EventLog, from_seq: int, marks: Marks, leftovers: Iterable[Leftover]
) -> dict[int, set[int]]:
    """Host id → upstream seqs above its mark, in its current epoch, that the log holds.

    Those with a record at or after `from_seq`, the checkpoint saved with the marks, are found by a scan of some seconds
    of traffic. Those before it were found by an earlier start, and are in the `leftovers` saved with the marks.
    """
    found: dict[int, set[int]] = {}
    for leftover in leftovers:
        epoch, mark = marks.get(leftover.host_id, _NO_HOST)
        left = leftover.above(mark or 0)
        if leftover.epoch == epoch and left.runs:
            found[leftover.host_id] = set(left.seqs())
    position = max(from_seq, event_log.oldest_seq)
    while records := event_log.read(position, bytes_max=READ_BYTES):
        for record in records:
            epoch, mark = marks.get(record.host_id, _NO_HOST)
            if record.upstream_epoch == epoch and record.upstream_seq > (mark or 0):
                found.setdefault(record.host_id, set()).add(record.upstream_seq)
        position = records[-1].seq + 1
    return found


def leftovers_of(found: Mapping[int, Iterable[int]], marks: Marks) -> list[Leftover]:
    """What was found, as it is kept until the marks have passed it."""
    return [Leftover.of(host_id, marks[host_id][0], seqs) for host_id, seqs in found.items()]
