"""The lock that makes one process group the owner of a data directory.

`flock` belongs to the open file, which forked children share: gunicorn's master takes the lock before it forks, and
it is held until the master and the last worker are gone, however they go. It is closed on exec, so a master
that is started by USR2 is a stranger and waits. Nothing is ever unlocked, only closed: an unlock by one worker would
unlock for all.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from zlay_py.errors import OwnershipError, StorageFailedError

OWNER_LOCK_NAME = "owner.lock"
_PID_BYTES_MAX = 20


class OwnerLock:
    """Holds `directory`/`name` from `acquire` to `release`, or to the end of the process and its children.

    Other names make other locks of the same kind in the same place (one for each worker's slot).
    """

    def __init__(self, directory: Path, name: str = OWNER_LOCK_NAME) -> None:
        self.path = directory / name
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        return self._fd is not None

    def acquire(self, wait: Callable[[int | None], bool] | None = None) -> None:
        """Takes the lock, or raises OwnershipError, which names the process that took it.

        With `wait`: called with that process id (None where it can't be read) each time the lock is found taken; it
        pauses (in a greenlet: `gevent.sleep`) and returns True to try again, False to give up.
        """
        assert self._fd is None, "already held"
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageFailedError(f"opening {self.path}: {error}") from error
        try:
            while not _lock(fd):
                holder = _read_pid(fd)
                if wait is None or not wait(holder):
                    who = "an unknown process" if holder is None else f"process {holder} or a child of it"
                    raise OwnershipError(f"{self.path} is held by {who}: another relay is using this data directory")
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(fd)
            raise StorageFailedError(f"locking {self.path}: {error}") from error
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def release(self) -> None:
        """Lets go of this process's share. The lock is free once every process that inherited it has let go."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_pid(fd: int) -> int | None:
    text = os.pread(fd, _PID_BYTES_MAX, 0).strip()
    return int(text) if text.isdigit() else None
