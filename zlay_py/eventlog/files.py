"""The few file operations the log needs, as a seam. Owns: the only calls into the operating system's files.

A test hands in a file layer that writes short, fails, or forgets what was not synced. Nothing is buffered on
this side of the kernel: bytes that `pwrite` accepted survive a kill of the process, and bytes that `fsync`
accepted survive a loss of power. A new, renamed or removed name needs `fsync_dir` for that.
"""

import errno
import os
from pathlib import Path
from typing import Protocol

from zlay_py.errors import StorageFailedError, StorageFullError

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_FILE_MODE = 0o644


class FileLayer(Protocol):
    """Every method raises OSError. Offsets and sizes are in bytes."""

    def make_dir(self, path: Path) -> None:
        """Creates the directory and its parents, durably; does nothing where it exists."""

    def open(self, path: Path, flags: int) -> int: ...

    def close(self, fd: int) -> None: ...

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """At most `size` bytes; fewer only where the file ends."""

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        """The number of bytes written, which may be fewer than given."""

    def size(self, fd: int) -> int: ...

    def truncate(self, fd: int, size: int) -> None: ...

    def fsync(self, fd: int) -> None: ...

    def fsync_dir(self, path: Path) -> None: ...

    def rename(self, source: Path, target: Path) -> None: ...

    def unlink(self, path: Path) -> None: ...

    def list_dir(self, path: Path) -> list[str]: ...


class OsFiles:
    """The real one."""

    def make_dir(self, path: Path) -> None:
        if path.is_dir():
            return
        self.make_dir(path.parent)
        path.mkdir(exist_ok=True)
        self.fsync_dir(path.parent)

    def open(self, path: Path, flags: int) -> int:
        return os.open(path, flags | os.O_CLOEXEC, _FILE_MODE)

    def close(self, fd: int) -> None:
        os.close(fd)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return os.pread(fd, size, offset)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        return os.pwrite(fd, data, offset)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def fsync_dir(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def list_dir(self, path: Path) -> list[str]:
        return [entry.name for entry in path.iterdir()]


def storage_error(error: OSError, doing: str) -> StorageFullError | StorageFailedError:
    """The error to raise for an OSError that is not from an fsync: only a full disk may be tried again."""
    if error.errno in _NO_SPACE:
        return StorageFullError(f"{doing}: {error}")
    return StorageFailedError(f"{doing}: {error}")


def write_all(files: FileLayer, fd: int, data: bytes, offset: int, doing: str) -> None:
    """Writes every byte. Raises StorageFullError or StorageFailedError, after which any part may be in the file."""
    written = 0
    try:
        while written < len(data):
            # A short write is how a disk fills up; the next attempt gives the reason, or goes through.
            more = files.pwrite(fd, data[written:] if written else data, offset + written)
            if more <= 0:
                raise StorageFailedError(f"{doing}: the file takes no more bytes at offset {offset + written}")
            written += more
    except OSError as error:
        raise storage_error(error, doing) from error


def sync_file(files: FileLayer, fd: int, doing: str) -> None:
    """fsync, once. Raises StorageFailedError, for lack of space too: the kernel may have dropped the dirty pages,
    so a second fsync that succeeds would prove nothing."""
    try:
        files.fsync(fd)
    except OSError as error:
        raise StorageFailedError(f"{doing}: fsync failed: {error}") from error


def sync_dir(files: FileLayer, directory: Path, doing: str) -> None:
    """fsync of a directory, so that the names in it survive. Raises StorageFailedError."""
    try:
        files.fsync_dir(directory)
    except OSError as error:
        raise StorageFailedError(f"{doing}: fsync of {directory} failed: {error}") from error
