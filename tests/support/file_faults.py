"""What a disk does to those who use it: faults by kind, for the file layers of the tests, in memory and on a real disk.

A layer calls `before` with the name and the bytes of each operation: create, open, truncate, write, read, fsync,
fsync_dir, rename, unlink. It raises an OSError, or says how many bytes of a write are taken.
"""

import errno
import os
from collections.abc import Callable
from enum import StrEnum
from random import Random

Before = Callable[[str, int], int | None]


class FileFault(StrEnum):
    SHORT_WRITE = "short_write"
    """Every write takes a part of the bytes: allowed, and no error."""
    NO_SPACE_A_WHILE = "no_space_a_while"
    """A few operations that need space get none; then there is some again."""
    NO_SPACE = "no_space"
    """From now on none."""
    EIO_WRITE = "eio_write"
    EIO_FSYNC = "eio_fsync"
    EIO_READ = "eio_read"
    EIO_FSYNC_DIR = "eio_fsync_dir"
    EIO_RENAME = "eio_rename"
    DEAD_DISK = "dead_disk"
    """Every operation fails."""


NEEDS_SPACE = frozenset({"create", "write", "rename"})
OPERATIONS = {
    FileFault.EIO_WRITE: frozenset({"write"}),
    FileFault.EIO_FSYNC: frozenset({"fsync"}),
    FileFault.EIO_READ: frozenset({"read"}),
    FileFault.EIO_FSYNC_DIR: frozenset({"fsync_dir"}),
    FileFault.EIO_RENAME: frozenset({"rename"}),
    FileFault.DEAD_DISK: frozenset(
        {"create", "open", "truncate", "write", "read", "fsync", "fsync_dir", "rename", "unlink"}
    ),
    FileFault.NO_SPACE: NEEDS_SPACE,
    FileFault.NO_SPACE_A_WHILE: NEEDS_SPACE,
}
A_WHILE = 3


def no_fault(operation: str, size: int) -> None:
    """A disk that is well."""
    del operation, size


def faulty(fault: FileFault, random: Random, good: int | None = None) -> Before:
    """A disk that has this fault after so many more operations of the kind; None: a seeded number, often none."""
    left = [random.choice((0, 0, 1, 2)) if good is None else good, A_WHILE]
    number = errno.ENOSPC if fault in (FileFault.NO_SPACE, FileFault.NO_SPACE_A_WHILE) else errno.EIO

    def before(operation: str, size: int) -> int | None:
        if fault is FileFault.SHORT_WRITE:
            return random.randint(1, max(1, size)) if operation == "write" else None
        if operation not in OPERATIONS[fault]:
            return None
        if left[0] > 0:
            left[0] -= 1
            # what fills up takes a part first
            return random.randint(1, max(1, size)) if operation == "write" else None
        if fault is FileFault.NO_SPACE_A_WHILE:
            if left[1] == 0:
                return None
            left[1] -= 1
        raise OSError(number, os.strerror(number))

    return before
