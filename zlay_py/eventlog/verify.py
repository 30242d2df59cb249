"""A full check of the log's files, for `zlay log verify`. Reads only, and may run beside a relay that writes.

It goes on after damage, segment by segment, so that one run tells everything that can't be read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zlay_py.errors import CorruptionError, StorageFailedError
from zlay_py.eventlog.ceiling import Ceiling, CeilingFile
from zlay_py.eventlog.files import FileLayer, OsFiles, storage_error
from zlay_py.eventlog.record import Record
from zlay_py.eventlog.segment import (
    SEGMENT_HEADER_BYTES,
    DamagedRecordError,
    Sealed,
    SegmentHeader,
    open_for_reading,
    read_start,
    segment_first_seq,
    segment_name,
    walk,
)

_OS_FILES = OsFiles()


@dataclass(slots=True)
class SegmentReport:
    """`problem` is None where every byte is as it was written. In the newest segment the bytes from `problem_offset`
    on may be a write that is going on or that a crash interrupted: the next start cuts or refuses them."""

    path: Path
    newest: bool
    file_bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0
    records: int = 0
    last_time_us: int = 0
    problem: str | None = None
    problem_offset: int | None = None


def verify_segments(directory: Path, files: FileLayer = _OS_FILES) -> Iterator[SegmentReport]:
    """One report for each segment, oldest first, each after reading all of it. Raises StorageFailedError."""
    first_seqs = _first_seqs(files, directory)
    previous: SegmentReport | None = None
    for first_seq in first_seqs:
        report = SegmentReport(directory / segment_name(first_seq), newest=first_seq == first_seqs[-1])
        try:
            header = _read_all(files, report)
            if previous is not None:
                _check_neighbour(header.previous, previous, report)
        except (CorruptionError, StorageFailedError) as error:
            report.problem = str(error)
            report.problem_offset = error.offset if isinstance(error, DamagedRecordError) else None
        yield report
        previous = report


def _first_seqs(files: FileLayer, directory: Path) -> list[int]:
    try:
        names = files.list_dir(directory)
    except OSError as error:
        raise storage_error(error, f"listing {directory}") from error
    return sorted(seq for name in names if (seq := segment_first_seq(name)) is not None)


def _read_all(files: FileLayer, report: SegmentReport) -> SegmentHeader:
    encoded, report.file_bytes = read_start(files, report.path)
    header = SegmentHeader.decode(report.path, encoded)
    report.first_seq, report.last_seq = header.first_seq, header.previous.last_seq
    with open_for_reading(files, report.path) as fd:
        for record, _ in walk(files, fd, report.path, header.salt, SEGMENT_HEADER_BYTES, report.file_bytes):
            report.records += 1
            report.last_seq, report.last_time_us = record.seq, record.time_us
    return header


def _check_neighbour(said: Sealed, before: SegmentReport, report: SegmentReport) -> None:
    found = Sealed(before.first_seq, before.last_seq, before.last_time_us, before.file_bytes)
    if before.problem is None and said != found:
        report.problem = f"{report.path}: the segment before it was {said}, and is {found}"


def read_records(directory: Path, files: FileLayer = _OS_FILES) -> Iterator[Record]:
    """Every record of every segment, oldest first. Raises CorruptionError at the first that can't be read, a torn one
    at the end of the newest included, or StorageFailedError."""
    for first_seq in _first_seqs(files, directory):
        path = directory / segment_name(first_seq)
        encoded, size = read_start(files, path)
        header = SegmentHeader.decode(path, encoded)
        with open_for_reading(files, path) as fd:
            for record, _ in walk(files, fd, path, header.salt, SEGMENT_HEADER_BYTES, size):
                yield record


def read_ceiling(directory: Path, files: FileLayer = _OS_FILES) -> Ceiling | None:
    """What the ceiling file says, or None where it is missing or damaged. Raises StorageFailedError."""
    return CeilingFile(files, directory).load().state
