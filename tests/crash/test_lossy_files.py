"""The file layer of the crash tests: it loses what a disk may lose, and nothing that a disk has to keep."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from tests.eventlog.memory_files import MemoryFiles
from tests.support.file_faults import FileFault, faulty
from tests.support.lossy_files import SECTOR_BYTES, LossyFiles
from zlay_py.eventlog.files import FileLayer

SEEDS = range(40)
NEW, OLD, OTHER = b"n" * 3 * SECTOR_BYTES, b"o" * 3 * SECTOR_BYTES, b"x" * 100
Files = LossyFiles | MemoryFiles
Made = tuple[FileLayer, Callable[[Random], None], Callable[[str], bytes | None]]


def on_disk(folder: Path) -> Made:
    files = LossyFiles()

    def read(name: str) -> bytes | None:
        path = folder / name
        return path.read_bytes() if path.exists() else None

    return files, files.lose_power, read


def in_memory(_: Path) -> Made:
    files = MemoryFiles()

    def read(name: str) -> bytes | None:
        return bytes(files.names[name].current) if name in files.names else None

    return files, files.lose_power, read


def write(files: FileLayer, path: Path, data: bytes, *, sync: bool, flags: int = os.O_RDWR | os.O_CREAT) -> None:
    fd = files.open(path, flags)
    files.pwrite(fd, data, 0)
    if sync:
        files.fsync(fd)
    files.close(fd)


def outcomes(make: Callable[[Path], Made], folder: Path, act: Callable[[FileLayer, Path], None]) -> set[bytes | None]:
    """Of file `a`, over many losses of power."""
    found = set()
    for seed in SEEDS:
        one = folder / str(seed)
        one.mkdir()
        files, lose_power, read = make(one)
        act(files, one)
        lose_power(Random(seed))
        found.add(read("a"))
        if isinstance(files, LossyFiles):
            files.release()
    return found


BOTH = pytest.mark.parametrize("make", [on_disk, in_memory], ids=["on disk", "in memory"])


@BOTH
def test_what_was_synced_stays(make: Callable[[Path], Made], tmp_path: Path) -> None:
    def act(files: FileLayer, folder: Path) -> None:
        write(files, folder / "a", NEW, sync=True)
        files.fsync_dir(folder)
        write(files, folder / "b", OTHER, sync=False)

    assert outcomes(make, tmp_path, act) == {NEW}


@BOTH
def test_a_name_that_was_not_synced_may_be_gone(make: Callable[[Path], Made], tmp_path: Path) -> None:
    assert outcomes(make, tmp_path, lambda files, folder: write(files, folder / "a", NEW, sync=True)) == {NEW, None}


@BOTH
def test_bytes_that_were_not_synced_are_kept_by_sector_and_size(make: Callable[[Path], Made], tmp_path: Path) -> None:
    def act(files: FileLayer, folder: Path) -> None:
        write(files, folder / "a", OLD[:SECTOR_BYTES], sync=True)
        files.fsync_dir(folder)
        write(files, folder / "a", NEW, sync=False)

    found = {bytes(one) for one in outcomes(make, tmp_path, act) if one is not None}
    assert {len(one) for one in found} == {SECTOR_BYTES, 3 * SECTOR_BYTES}
    assert {one[:1] for one in found} == {OLD[:1], NEW[:1]}
    assert any(b"\0" in one[SECTOR_BYTES:] for one in found), "a hole where the disk had nothing"


@BOTH
def test_a_rename_that_was_not_synced_leaves_the_one_or_the_other(make: Callable[[Path], Made], tmp_path: Path) -> None:
    def act(files: FileLayer, folder: Path) -> None:
        write(files, folder / "a", OLD, sync=True)
        files.fsync_dir(folder)
        write(files, folder / "new", NEW, sync=True)
        files.rename(folder / "new", folder / "a")

    assert outcomes(make, tmp_path, act) == {OLD, NEW}


@BOTH
def test_a_removal_that_was_not_synced_may_be_undone(make: Callable[[Path], Made], tmp_path: Path) -> None:
    def act(files: FileLayer, folder: Path) -> None:
        write(files, folder / "a", OLD, sync=True)
        files.fsync_dir(folder)
        files.unlink(folder / "a")

    assert outcomes(make, tmp_path, act) == {OLD, None}


@BOTH
def test_what_a_failed_fsync_left_is_not_there_for_certain(make: Callable[[Path], Made], tmp_path: Path) -> None:
    """A second fsync says that all is well, and proves nothing; only writing again does."""

    def act(files: FileLayer, folder: Path) -> None:
        write(files, folder / "a", OLD, sync=True)
        files.fsync_dir(folder)
        fd = files.open(folder / "a", os.O_RDWR)
        files.pwrite(fd, NEW, 0)
        assert isinstance(files, Files)
        files.before = faulty(FileFault.EIO_FSYNC, Random(1), good=0)
        with pytest.raises(OSError, match="Input/output"):
            files.fsync(fd)
        files.before = lambda _operation, _size: None
        files.fsync(fd)
        files.close(fd)

    found = outcomes(make, tmp_path, act)
    assert len(found) > 1
    assert all(one is not None and len(one) == len(OLD) for one in found)


def test_a_segment_that_is_gone_is_not_held_open(tmp_path: Path) -> None:
    files = LossyFiles()
    write(files, tmp_path / "a", OLD, sync=True)
    assert any(held(tmp_path / "a"))
    files.unlink(tmp_path / "a")
    files.fsync_dir(tmp_path)
    assert list(held(tmp_path / "a")) == []


def held(path: Path) -> Iterator[str]:
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            name = str(link.readlink())
            if name.startswith(str(path)):
                yield name
