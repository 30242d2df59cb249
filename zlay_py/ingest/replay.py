"""What the log already holds beyond the hosts' saved marks: events that a host will send again and that must not
come out twice. Without a rev of their own, `#identity` and `#account` could not be told from new ones.
"""

from collections.abc import Mapping

from zlay_py.eventlog.log import EventLog

READ_BYTES = 4 * 1024 * 1024
"""Of the log at once."""


def find_already_logged(
    event_log: EventLog, from_seq: int, marks: Mapping[int, tuple[int, int | None]]
) -> dict[int, set[int]]:
    """Host id → upstream seqs above its mark, in its current epoch, that the log holds at or after `from_seq`.

    `marks`: host id → (epoch, mark). The checkpoint saved with the marks bounds the scan: some seconds of traffic.
    """
    found: dict[int, set[int]] = {}
    position = max(from_seq, event_log.oldest_seq)
    while records := event_log.read(position, bytes_max=READ_BYTES):
        for record in records:
            epoch, mark = marks.get(record.host_id, (-1, None))
            if record.upstream_epoch == epoch and record.upstream_seq > (mark or 0):
                found.setdefault(record.host_id, set()).add(record.upstream_seq)
        position = records[-1].seq + 1
    return found
