"""Which segments may go, and their removal.

Whole segments, oldest first, so that what is left is always one unbroken stretch. A segment goes when its *last*
event is too old (its first one says nothing about the others), or when the log takes more bytes than it may.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from zlay_py.crashpoints import CrashPoint, Reached, pass_by
from zlay_py.eventlog import index as index_file
from zlay_py.eventlog.files import FileLayer, storage_error, sync_dir
from zlay_py.eventlog.segment import Segment


def droppable(segments: Sequence[Segment], *, oldest_time_us: int, bytes_max: int, hold_seq: int) -> int:
    """How many of the oldest segments go. Never the newest, and none with a record above `hold_seq` (what a
    projection has not applied yet)."""
    total = sum(segment.end for segment in segments)
    count = 0
    for segment in segments[:-1]:
        unwanted = segment.last_time_us < oldest_time_us or total > bytes_max
        if not unwanted or segment.last_seq > hold_seq:
            break
        total -= segment.end
        count += 1
    return count


def remove_segment(files: FileLayer, path: Path, reached: Reached = pass_by) -> None:
    """Removes one segment, durably before the next may go: a loss of power must not bring back an older one whose
    successor is gone, which a start would take for a missing segment. Raises StorageFailedError."""
    try:
        with suppress(FileNotFoundError):
            files.unlink(path)
    except OSError as error:
        raise storage_error(error, f"removing {path}") from error
    reached(CrashPoint.SEGMENT_UNLINKED)
    sync_dir(files, path.parent, f"removing {path}")
    reached(CrashPoint.SEGMENT_REMOVED)
    index_file.remove(files, path)
