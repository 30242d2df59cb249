"""A file layer over the real disk that knows what the disk need not have yet, for processes that really die.

It forwards every operation and remembers, until the fsync that settles it: each sector that was written over and what
it held before, each size that a file had, each name that was made, changed or removed. A kill needs none of that: the
kernel has the rest. `lose_power` turns the real files into what a loss of power may leave: of each sector, size and
name any state since it was last made durable, by seed. The process has to end right after.

The same semantics as `tests.eventlog.memory_files`, which keeps whole copies instead. Operations come from the hub and
from the threads of its pool; a lock that no hub knows makes them one after the other.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from gevent import monkey

from tests.support.file_faults import Before, no_fault
from zlay_py.eventlog.files import OsFiles

allocate_lock: Callable[[], object] = monkey.get_original("_thread", "allocate_lock")

SECTOR_BYTES = 512
"""What a disk writes whole."""


class Doubt:
    """What of one file the disk need not have. `sizes` and the versions of a sector: the durable one first."""

    def __init__(self, fd: int) -> None:
        """`fd`: to read and write, and not of the process under test."""
        self.fd = fd
        size = os.fstat(fd).st_size
        self.sizes = [size]
        self.sectors: dict[int, list[bytes]] = {}
        self.dirty: set[int] = set()
        # After a failed fsync the kernel takes dirty sectors for clean: no fsync writes them until they are written to.
        self.lost: set[int] = set()

    def before_write(self, offset: int, length: int) -> None:
        size = os.fstat(self.fd).st_size
        for number in range(min(size, offset) // SECTOR_BYTES, (offset + length + SECTOR_BYTES - 1) // SECTOR_BYTES):
            self._keep(number, size)
            self.dirty.add(number)
        self.sizes.append(max(size, offset + length))

    def before_truncate(self, wanted: int) -> None:
        size = os.fstat(self.fd).st_size
        for number in range(wanted // SECTOR_BYTES, (size + SECTOR_BYTES - 1) // SECTOR_BYTES):
            self._keep(number, size)
            self.dirty.discard(number)
        self.sizes.append(wanted)

    def _keep(self, number: int, size: int) -> None:
        at = number * SECTOR_BYTES
        held = os.pread(self.fd, SECTOR_BYTES, at) if at < size else b""
        self.sectors.setdefault(number, []).append(held)
        self.lost.discard(number)

    def synced(self) -> None:
        self.sectors = {number: versions[:1] for number, versions in self.sectors.items() if number in self.lost}
        self.dirty.clear()
        self.sizes = self.sizes[-1:]

    def not_synced(self) -> None:
        self.lost |= self.dirty
        self.dirty.clear()

    def settle(self, random: Random) -> None:
        """The file becomes one of the things that it may be after a loss of power."""
        size = random.choice(self.sizes)
        for number, versions in sorted(self.sectors.items()):
            at = number * SECTOR_BYTES
            now = os.pread(self.fd, SECTOR_BYTES, at)
            kept = random.choice([*versions, now])
            os.pwrite(self.fd, kept.ljust(SECTOR_BYTES, b"\0"), at)
        os.ftruncate(self.fd, size)


class _File:
    """One inode; `fd` keeps it, also without a name."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.doubt = Doubt(fd)


_Names = dict[Path, _File | None]


class LossyFiles(OsFiles):
    """`before`: see `file_faults`; called for every operation."""

    def __init__(self) -> None:
        self.before: Before = no_fault
        self._lock = allocate_lock()
        self._files: dict[int, _File] = {}  # by inode number, as long as there is something to remember
        self._fds: dict[int, _File] = {}
        # Of each directory what its last fsync left of the names that changed since, and the changes, in order.
        self._before_changes: _Names = {}
        self._changes: list[_Names] = []

    def lose_power(self, random: Random) -> None:
        """Never gives the lock back: nothing of this process reaches the files after it."""
        self._lock.acquire()  # type: ignore[attr-defined]
        names = dict(self._before_changes)
        for change in self._changes:
            if random.random() < 0.5:
                names |= change
        files = sorted(self._files.items())
        for _, file in files:
            file.doubt.settle(random)
        contents = {path: _content(file) for path, file in names.items() if file is not None}
        for path in names:
            with suppress(FileNotFoundError):
                path.unlink()
        for path, content in contents.items():
            path.write_bytes(content)

    def release(self) -> None:
        """Where the process outlives it: nothing is held open any more."""
        for file in self._files.values():
            os.close(file.fd)
        self._files.clear()

    # ── the file layer ──

    def open(self, path: Path, flags: int) -> int:
        with self._lock:  # type: ignore[attr-defined]
            exists = path.exists()
            self.before("open" if exists else "create", 0)
            # truncated below, when it is known what it held
            fd = super().open(path, flags & ~os.O_TRUNC)
            file = self._file(fd)
            self._fds[fd] = file
            if not exists:
                self._change({path: file}, {path: None})
            elif flags & os.O_TRUNC:
                self.before("truncate", 0)
                self._truncate(fd, 0)
            return fd

    def close(self, fd: int) -> None:
        with self._lock:  # type: ignore[attr-defined]
            self._fds.pop(fd)
            super().close(fd)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        self.before("read", size)
        return super().pread(fd, size, offset)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        with self._lock:  # type: ignore[attr-defined]
            taken = self.before("write", len(data))
            part = data if taken is None else data[:taken]
            self._fds[fd].doubt.before_write(offset, len(part))
            return super().pwrite(fd, part, offset)

    def truncate(self, fd: int, size: int) -> None:
        with self._lock:  # type: ignore[attr-defined]
            self.before("truncate", 0)
            self._truncate(fd, size)

    def fsync(self, fd: int) -> None:
        with self._lock:  # type: ignore[attr-defined]
            doubt = self._fds[fd].doubt
            try:
                self.before("fsync", 0)
                super().fsync(fd)
            except OSError:
                doubt.not_synced()
                raise
            doubt.synced()

    def fsync_dir(self, path: Path) -> None:
        with self._lock:  # type: ignore[attr-defined]
            self.before("fsync_dir", 0)
            super().fsync_dir(path)
            self._changes = [change for change in self._changes if next(iter(change)).parent != path]
            self._before_changes = {name: file for name, file in self._before_changes.items() if name.parent != path}
            self._forget_settled()

    def rename(self, source: Path, target: Path) -> None:
        with self._lock:  # type: ignore[attr-defined]
            self.before("rename", 0)
            moved, replaced = self._file_at(source), self._file_at(target)
            super().rename(source, target)
            self._change({source: None, target: moved}, {source: moved, target: replaced})

    def unlink(self, path: Path) -> None:
        with self._lock:  # type: ignore[attr-defined]
            self.before("unlink", 0)
            removed = self._file_at(path)
            super().unlink(path)
            self._change({path: None}, {path: removed})

    # ── what is remembered ──

    def _file(self, fd: int) -> _File:
        number = os.fstat(fd).st_ino
        file = self._files.get(number)
        if file is None:
            file = self._files[number] = _File(os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC))
        return file

    def _file_at(self, path: Path) -> _File | None:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return self._file(fd)
        finally:
            os.close(fd)

    def _change(self, names: _Names, before: _Names) -> None:
        for path, file in before.items():
            self._before_changes.setdefault(path, file)
        self._changes.append(names)

    def _truncate(self, fd: int, size: int) -> None:
        self._fds[fd].doubt.before_truncate(size)
        super().truncate(fd, size)

    def _forget_settled(self) -> None:
        """A removed segment must not keep its space, nor an open file, until the process ends."""
        kept = {id(file) for file in self._fds.values()}
        kept |= {id(file) for change in (*self._changes, self._before_changes) for file in change.values() if file}
        for number, file in list(self._files.items()):
            named = os.fstat(file.fd).st_nlink > 0
            doubtful = len(file.doubt.sizes) > 1 or file.doubt.sectors
            if id(file) not in kept and not (named and doubtful):
                os.close(file.fd)
                del self._files[number]


def _content(file: _File) -> bytes:
    return os.pread(file.fd, os.fstat(file.fd).st_size, 0)
