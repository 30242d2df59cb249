"""The owner's lock, between real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zlay_py.errors import OwnershipError, StorageFailedError
from zlay_py.eventlog.lock import OWNER_LOCK_NAME, OwnerLock

HOLD = """
import os, sys
from pathlib import Path
from zlay_py.eventlog.lock import OwnerLock
lock = OwnerLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""

# The parent takes the lock, forks, and goes; the child goes on until its stdin ends.
FORK = """
import os, sys
from pathlib import Path
from zlay_py.eventlog.lock import OwnerLock
lock = OwnerLock(Path(sys.argv[1]))
lock.acquire()
if os.fork():
    lock.release()
    os._exit(0)
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def start(script: str, directory: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_one_lock_at_a_time_and_the_error_names_who_holds_it(tmp_path: Path) -> None:
    with start(HOLD, tmp_path) as process:
        assert first_line(process) == "held"
        lock = OwnerLock(tmp_path)
        with pytest.raises(OwnershipError, match=rf"owner\.lock is held by process {process.pid}\b"):
            lock.acquire()
        held_by_us = lock.held
        assert not held_by_us
        process.kill()
        process.wait()
        lock.acquire()
        assert lock.held
        assert (tmp_path / OWNER_LOCK_NAME).read_text() == f"{os.getpid()}\n"
        lock.release()
        lock.release()


def test_a_forked_child_keeps_it_after_its_parent_is_gone(tmp_path: Path) -> None:
    with start(FORK, tmp_path) as process:
        child = int(first_line(process))
        process.wait()
        with pytest.raises(OwnershipError, match=f"process {process.pid} or a child"):
            OwnerLock(tmp_path).acquire()
        assert child != process.pid
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        assert process.stdout.read() == ""  # the child is gone when its end of the pipe is
        lock = OwnerLock(tmp_path)
        lock.acquire(wait=lambda _: True)
        lock.release()


def test_it_is_not_inherited_by_a_started_program(tmp_path: Path) -> None:
    lock = OwnerLock(tmp_path)
    lock.acquire()
    script = "import sys; print('started', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, close_fds=False
    ) as program:
        assert first_line(program) == "started"
        lock.release()
        other = OwnerLock(tmp_path)
        other.acquire()
        other.release()
        assert program.stdin is not None
        program.stdin.close()


def test_waiting_asks_each_time_and_gives_up_when_told(tmp_path: Path) -> None:
    with start(HOLD, tmp_path) as process:
        assert first_line(process) == "held"
        asked: list[int | None] = []

        def wait(holder: int | None) -> bool:
            asked.append(holder)
            return len(asked) < 3

        with pytest.raises(OwnershipError):
            OwnerLock(tmp_path).acquire(wait=wait)
        assert asked == [process.pid] * 3

        def until_gone(_: int | None) -> bool:
            process.kill()
            process.wait()
            return True

        lock = OwnerLock(tmp_path)
        lock.acquire(wait=until_gone)
        assert lock.held
        lock.release()


def test_an_unreadable_holder_is_said_to_be_unknown(tmp_path: Path) -> None:
    first = OwnerLock(tmp_path)
    first.acquire()
    (tmp_path / OWNER_LOCK_NAME).write_text("not a number")
    with pytest.raises(OwnershipError, match="unknown process"):
        OwnerLock(tmp_path).acquire()
    first.release()


def test_locks_with_other_names_are_other_locks(tmp_path: Path) -> None:
    locks = [OwnerLock(tmp_path, name) for name in (OWNER_LOCK_NAME, "slot-0.lock", "slot-1.lock")]
    for lock in locks:
        lock.acquire()
    for lock in locks:
        lock.release()


def test_a_directory_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(StorageFailedError, match="opening"):
        OwnerLock(tmp_path / "missing").acquire()
