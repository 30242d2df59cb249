"""A file layer in memory that loses what a real disk may lose, for the log's tests.

It keeps apart what the kernel has from what the disk has. A kill of the process keeps the first. A loss of power
keeps the second, and of the rest anything: each sector of a file as it was at any moment since the last fsync, any of
the sizes it had, and any subset of the names that were made, changed or removed since the directory's last fsync.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

# Small, so that one record spans several sectors.
SECTOR_BYTES = 64


class Crash(BaseException):
    """The process ends here. A BaseException, so that no handler takes it for a failed call."""


@dataclass(eq=False)
class Inode:
    current: bytearray = field(default_factory=bytearray)
    # What the file has been since its last fsync; the first is what the disk has for certain.
    history: list[bytes] = field(default_factory=lambda: [b""])
    # Sectors that the next fsync writes.
    dirty: set[int] = field(default_factory=set)
    # After a failed fsync the kernel takes dirty sectors for clean: they can be read, the disk may not have them, and
    # no fsync writes them until something writes to them again.
    lost: set[int] = field(default_factory=set)

    def write(self, data: bytes, offset: int) -> None:
        self.current[len(self.current) :] = bytes(max(0, offset - len(self.current)))
        self.current[offset : offset + len(data)] = data
        self.history.append(bytes(self.current))
        touched = range(offset // SECTOR_BYTES, (offset + len(data) + SECTOR_BYTES - 1) // SECTOR_BYTES)
        self.dirty |= set(touched)
        self.lost -= set(touched)

    def truncate(self, size: int) -> None:
        del self.current[size:]
        self.history.append(bytes(self.current))
        self.dirty = {sector for sector in self.dirty if sector * SECTOR_BYTES < size}
        self.lost = {sector for sector in self.lost if sector * SECTOR_BYTES < size}

    def sync(self) -> None:
        on_disk = bytearray(self.current)
        for sector in self.lost:
            start, end = sector * SECTOR_BYTES, min((sector + 1) * SECTOR_BYTES, len(on_disk))
            on_disk[start:end] = self.history[0][start:end].ljust(end - start, b"\0")
        self.history = [bytes(on_disk), bytes(self.current)] if self.lost else [bytes(self.current)]
        self.dirty.clear()

    def fail_to_sync(self) -> None:
        self.lost |= self.dirty
        self.dirty.clear()

    def lose_power(self, random: Random) -> None:
        if len(self.history) > 1:
            size = len(random.choice(self.history))
            kept = bytearray()
            for start in range(0, size, SECTOR_BYTES):
                version = random.choice(self.history)
                kept += version[start : start + SECTOR_BYTES].ljust(SECTOR_BYTES, b"\0")
            self.current = kept[:size]
        self.history = [bytes(self.current)]
        self.dirty.clear()
        self.lost.clear()


class MemoryFiles:
    """One directory. `before` is called with the name and the bytes of each operation that changes something. It may
    raise an OSError or `Crash`; for a write it may instead say how many of the bytes are taken (a short write).
    `before_reading` is called for the others: open, read. After a `Crash` nothing is changed any more: what the dead
    process's `finally` blocks do, it did not do."""

    def __init__(self) -> None:
        self.names: dict[str, Inode] = {}
        self._durable_names: dict[str, Inode] = {}
        self._pending: list[dict[str, Inode | None]] = []
        self._fds: dict[int, Inode] = {}
        self._last_fd = 100
        self.before: Callable[[str, int], int | None] = _well
        self.before_reading: Callable[[str, int], int | None] = _well
        self._dead = False

    def be_well(self) -> None:
        """No faults from here on."""
        self.before = self.before_reading = _well
        self._dead = False

    def die(self) -> None:
        """The process ends here, outside any file operation."""
        self._dead = True
        raise Crash

    def kill(self) -> None:
        self._fds.clear()
        self._dead = False

    def lose_power(self, random: Random) -> None:
        self._fds.clear()
        self._dead = False
        names = dict(self._durable_names)
        for change in self._pending:
            if random.random() < 0.5:
                _apply(change, names)
        for inode in set(names.values()):
            inode.lose_power(random)
        self.names, self._durable_names, self._pending = names, dict(names), []

    @property
    def open_files(self) -> int:
        return len(self._fds)

    def _ask(self, operation: str, size: int = 0) -> int | None:
        if self._dead:
            raise Crash
        try:
            return self.before(operation, size)
        except Crash:
            self._dead = True
            raise

    def _change(self, change: dict[str, Inode | None]) -> None:
        _apply(change, self.names)
        self._pending.append(change)

    def make_dir(self, path: Path) -> None: ...

    def open(self, path: Path, flags: int) -> int:
        inode = self.names.get(path.name)
        if inode is None:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
            self._ask("create")
            inode = Inode()
            self._change({path.name: inode})
        elif flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, "file exists", str(path))
        elif flags & os.O_TRUNC:
            self._ask("truncate")
            inode.truncate(0)
        else:
            self.before_reading("open", 0)
        self._last_fd += 1
        self._fds[self._last_fd] = inode
        return self._last_fd

    def close(self, fd: int) -> None:
        if not self._dead:
            del self._fds[fd]

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        self.before_reading("read", size)
        return bytes(self._fds[fd].current[offset : offset + size])

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        if self._dead:
            raise Crash
        inode = self._fds[fd]
        try:
            taken = self._ask("write", len(data))
        except Crash:
            # Killed inside the call: some of the bytes went through.
            inode.write(data[: len(data) // 2], offset)
            raise
        part = data if taken is None else data[:taken]
        inode.write(part, offset)
        return len(part)

    def size(self, fd: int) -> int:
        return len(self._fds[fd].current)

    def truncate(self, fd: int, size: int) -> None:
        self._ask("truncate")
        self._fds[fd].truncate(size)

    def fsync(self, fd: int) -> None:
        inode = self._fds[fd]
        try:
            self._ask("fsync")
        except OSError:
            inode.fail_to_sync()
            raise
        inode.sync()

    def fsync_dir(self, path: Path) -> None:
        self._ask("fsync_dir")
        self._durable_names, self._pending = dict(self.names), []

    def rename(self, source: Path, target: Path) -> None:
        self._ask("rename")
        self._change({source.name: None, target.name: self.names[source.name]})

    def unlink(self, path: Path) -> None:
        if path.name not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        self._ask("unlink")
        self._change({path.name: None})

    def list_dir(self, path: Path) -> list[str]:
        return list(self.names)


def _well(_: str, __: int) -> None:
    return None


def _apply(change: dict[str, Inode | None], names: dict[str, Inode]) -> None:
    for name, inode in change.items():
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode
