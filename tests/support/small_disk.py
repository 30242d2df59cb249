"""A file system of a few megabytes that can really be full.

Mounted by root. Who is not root gets the test run once more in a process that is root among mounts of its own.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

NOT_ALLOWED = "neither mount nor unshare is allowed here"
"""The one reason for which a test of it is skipped."""

DISK_BYTES = 16 * 1024 * 1024
INSIDE = "ZLAY_TEST_OWN_MOUNTS"
ROOT = Path(__file__).resolve().parents[2]


class SmallDisk:
    """`folder`: where it is mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """To the last byte."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def empty(self) -> None:
        """But for what others have on it."""
        self._filler.unlink()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Raises OSError where nothing can be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def may_mount(folder: Path) -> bool:
    try:
        with small_disk(folder / "mount-probe"):
            return True
    except OSError:
        return False


def run_where_it_may_mount(node: str) -> None:
    """The test of that name, in a process with mounts of its own. Skips, or fails, as it does."""
    pytest_there = [sys.executable, "-m", "gevent.monkey", "--module", "pytest", "-q", "-p", "no:cacheprovider", node]
    own_mounts = ["unshare", "--map-root-user", "--mount"]
    if INSIDE in os.environ or subprocess.run([*own_mounts, "true"], capture_output=True).returncode:
        pytest.skip(NOT_ALLOWED)
    done = subprocess.run(
        [*own_mounts, *pytest_there], cwd=ROOT, env=os.environ | {INSIDE: "1"}, capture_output=True, text=True
    )
    if done.returncode:
        pytest.fail(done.stdout + done.stderr)
    if "1 passed" not in done.stdout:
        pytest.skip(NOT_ALLOWED)
