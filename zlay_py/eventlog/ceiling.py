"""The file `seq-ceiling`: why no seq is ever given twice. Owns: its content, and the decision where to start.

While the log runs, the file says, durably: "seqs up to `ceiling` may have been given out". It is raised by a stride
before the log gives out a seq above it, so it holds whatever happens to the segments: lost pages, a cut tail, a
purge by hand. `floor` is where this run started, `segment` and `bytes` are how much of the newest segment
was durable when the file was written. Closing replaces it with a clean mark: then `floor` is exactly the next seq.

One line of text, for the person who has to look at it; the checksum is the CRC-32 of what stands before it.

    zlay-seq-ceiling v1 floor=1 ceiling=100000 durability=fsync segment=1 bytes=68 clean=0 checksum=0a1b2c3d
"""

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from zlay_py.crashpoints import CrashPoint, Reached, pass_by
from zlay_py.errors import CorruptionError
from zlay_py.eventlog.files import FileLayer, storage_error, sync_dir, sync_file, write_all

CEILING_NAME = "seq-ceiling"
CEILING_NEW_NAME = "seq-ceiling.new"
# Seqs between two raises: two fsyncs every three minutes at 600 events/s, and 2**53 is enough for ninety
# thousand million unclean starts.
CEILING_STRIDE = 100_000
_LINE = re.compile(
    r"(zlay-seq-ceiling v1 floor=(\d{1,16}) ceiling=(\d{1,16}) durability=(fsync|flush)"
    r" segment=(\d{1,16}) bytes=(\d{1,16}) clean=([01])) checksum=([0-9a-f]{8})\n",
    re.ASCII,
)
_LINE_BYTES_MAX = 256


class Durability(StrEnum):
    """When an event counts as written: after an fsync, or once the kernel has it (it survives a kill, and may not
    survive a loss of power)."""

    FSYNC = "fsync"
    FLUSH = "flush"


class Ceiling(NamedTuple):
    floor: int
    ceiling: int
    durability: Durability
    segment: int
    durable_bytes: int
    clean: bool

    def encode(self) -> bytes:
        line = (
            f"zlay-seq-ceiling v1 floor={self.floor} ceiling={self.ceiling} durability={self.durability}"
            f" segment={self.segment} bytes={self.durable_bytes} clean={int(self.clean)}"
        )
        return f"{line} checksum={crc32(line.encode()):08x}\n".encode()

    @classmethod
    def decode(cls, encoded: bytes) -> "Ceiling | None":
        """None for anything that `encode` does not produce."""
        match = _LINE.fullmatch(encoded.decode("ascii", "replace"))
        if match is None or f"{crc32(match[1].encode()):08x}" != match[8]:
            return None
        floor, ceiling, segment, size = (int(match[group]) for group in (2, 3, 5, 6))
        return cls(floor, ceiling, Durability(match[4]), segment, size, match[7] == "1")


class Loaded(NamedTuple):
    """`state` is None where there is no file, and where its content is not what was written."""

    state: Ceiling | None
    exists: bool


class CeilingFile:
    def __init__(self, files: FileLayer, directory: Path, reached: Reached = pass_by) -> None:
        self._files = files
        self._directory = directory
        self._reached = reached
        self.path = directory / CEILING_NAME

    def load(self) -> Loaded:
        """Raises StorageFailedError."""
        try:
            fd = self._files.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return Loaded(None, exists=False)
        except OSError as error:
            raise storage_error(error, f"reading {self.path}") from error
        try:
            return Loaded(Ceiling.decode(self._files.pread(fd, _LINE_BYTES_MAX, 0)), exists=True)
        except OSError as error:
            raise storage_error(error, f"reading {self.path}") from error
        finally:
            self._files.close(fd)

    def store(self, state: Ceiling) -> None:
        """Durable when it returns; the old content or the new if it does not. Raises StorageFullError or
        StorageFailedError."""
        new_path = self._directory / CEILING_NEW_NAME
        doing = f"writing {new_path}"
        try:
            fd = self._files.open(new_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        except OSError as error:
            raise storage_error(error, doing) from error
        try:
            write_all(self._files, fd, state.encode(), 0, doing)
            sync_file(self._files, fd, doing)
        finally:
            self._files.close(fd)
        self._reached(CrashPoint.CEILING_WRITTEN)
        try:
            self._files.rename(new_path, self.path)
        except OSError as error:
            raise storage_error(error, f"renaming {new_path}") from error
        self._reached(CrashPoint.CEILING_RENAMED)
        sync_dir(self._files, self._directory, f"writing {self.path}")


class Found(NamedTuple):
    """What the segments say. Zeros where there are none."""

    newest_first_seq: int
    last_seq: int
    bytes_cut: int


class Start(NamedTuple):
    """`clean`: closed cleanly, or new. `jumped`: seqs were skipped, because they may have been given out."""

    next_seq: int
    clean: bool
    jumped: bool


def decide_start(loaded: Loaded, found: Found, initial_seq: int) -> Start:
    """Where to go on. Raises CorruptionError.

    - Closed cleanly: exactly where it stopped.
    - Killed in fsync mode with nothing to cut: after the last record, and never below where that run started.
    - Killed in flush mode (that run's mode: the setting may have changed since), or bytes had to be cut, or the
      segment that was written to is gone: above the ceiling.
    - A log without a ceiling, or with one that can't be its own: nothing bounds what was given out, so only
      the operator can, by an `initial_seq` above the last record.

    `initial_seq` is otherwise a floor.
    """
    state = loaded.state
    if state is None or state.ceiling < found.last_seq or (state.clean and state.floor <= found.last_seq):
        fresh = not loaded.exists and found.newest_first_seq == 0
        if fresh or initial_seq > found.last_seq + 1:
            return Start(initial_seq, clean=fresh, jumped=not fresh)
        raise CorruptionError(
            f"{CEILING_NAME} is missing, damaged, or belongs to another log, so seqs above {found.last_seq} may have "
            f"been sent already: restore it from a backup, or set RELAY_INITIAL_SEQ above every seq that any "
            f"consumer has seen (for example {found.last_seq + 100 * CEILING_STRIDE})"
        )
    intact = found.bytes_cut == 0 and found.newest_first_seq >= state.segment
    never_written = state.segment == 0 and found.newest_first_seq == 0
    if (state.clean and found.bytes_cut == 0) or never_written:
        next_seq, jumped = state.floor, False
    elif intact and state.durability is Durability.FSYNC:
        next_seq, jumped = max(state.floor, found.last_seq + 1), False
    else:
        next_seq, jumped = state.ceiling + 1, True
    return Start(max(next_seq, initial_seq), state.clean, jumped)
