"""`zlay log verify`."""

import json
from dataclasses import asdict
from pathlib import Path

import typer

from zlay_py.errors import LocalError
from zlay_py.eventlog.verify import SegmentReport, verify_segments
from zlay_py.exit_status import ALL_IS_WELL, CONFIG_WRONG, DAMAGED
from zlay_py.settings import load_settings


def verify(directory: Path | None, *, as_json: bool) -> int:
    """Prints one line (or JSON object) for each segment, oldest first. Returns the exit status."""
    damaged = 0
    try:
        for report in verify_segments(directory or load_settings().data_dir):
            damaged += report.problem is not None
            typer.echo(json.dumps(asdict(report), default=str) if as_json else _line(report))
    except LocalError as error:
        typer.echo(f"zlay: {error}", err=True)
        return CONFIG_WRONG
    return DAMAGED if damaged else ALL_IS_WELL


def _line(report: SegmentReport) -> str:
    what = f"{report.path.name}: {report.records} records, seqs {report.first_seq} to {report.last_seq}"
    if report.problem is None:
        return f"{what}: fine"
    if report.newest:
        return f"{what}: {report.problem} (the newest segment: a write may be under way, or was cut off by a crash)"
    return f"{what}: {report.problem}"
