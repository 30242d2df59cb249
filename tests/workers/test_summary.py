"""The line that says whether it is working: what happened since the last one."""

from types import SimpleNamespace
from typing import Any, cast

import structlog

from zlay_py.atproto.frame import FrameKind
from zlay_py.ingest.outcome import DropReason
from zlay_py.ingest.stats import IngestStats
from zlay_py.workers.summary import Summary


def test_each_line_counts_from_the_one_before() -> None:
    stats = IngestStats()
    slurper: Any = SimpleNamespace(connected=lambda: 2, subscribers={1: None, 2: None, 3: None})
    log: Any = SimpleNamespace(current_seq=7)
    summary = Summary(stats, slurper, log, cast(Any, [None]))
    stats.received[FrameKind.COMMIT] += 5
    stats.accepted[FrameKind.COMMIT] += 3
    stats.dropped[DropReason.REV_OLD] += 2
    with structlog.testing.capture_logs() as lines:
        summary.once()
        stats.received[FrameKind.SYNC] += 1
        summary.once()
    first, second = lines
    assert (first["received"], first["emitted"], first["dropped"]) == (5, 3, 2)
    assert (second["received"], second["emitted"], second["dropped"]) == (1, 0, 0)
    assert (first["hosts_connected"], first["hosts"], first["consumers"], first["seq"]) == (2, 3, 1, 7)
