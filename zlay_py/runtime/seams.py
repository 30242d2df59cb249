"""What a test hands in instead of the real thing. Production takes every default."""

from dataclasses import dataclass

from zlay_py.crashpoints import Reached, pass_by
from zlay_py.eventlog.ceiling import CEILING_STRIDE
from zlay_py.eventlog.files import FileLayer, OsFiles
from zlay_py.eventlog.log import SEGMENT_BYTES_MAX
from zlay_py.workers import cursor_saver, retention

_OS_FILES = OsFiles()


@dataclass(frozen=True, slots=True)
class Seams:
    """`files`: the event log's. `reached`: told of every crash point. The others bring about in seconds what takes
    hours of traffic: segments, ceilings, saved marks and dropped segments."""

    files: FileLayer = _OS_FILES
    reached: Reached = pass_by
    segment_bytes_max: int = SEGMENT_BYTES_MAX
    ceiling_stride: int = CEILING_STRIDE
    cursor_save_interval_s: float = cursor_saver.SAVE_INTERVAL_S
    retention_interval_s: float = retention.INTERVAL_S
    disk_budget_bytes: int | None = None
    """None: as the settings say."""
