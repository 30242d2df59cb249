"""Starts a program that ends when the process that started it does, however that happens: SIGKILL included.

    python -I -S leash.py PARENT_PID SIGNAL PROGRAM ARGUMENT…

The kernel sends the signal (`PR_SET_PDEATHSIG`, see prctl(2)); the setting survives `exec`. This is a program of its
own rather than a `preexec_fn`, which is not safe in a process with threads. Only Linux has it.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, number, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):
        sys.exit("the parent has ended already")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
