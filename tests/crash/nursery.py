"""Makes relay processes quickly: one process that has imported everything, and forks a relay whenever it is told to.

A relay is started some hundred times in these tests, and spends most of a start on imports. The nursery has never run
a hub and has no threads, so that a fork of it is as good as a new process.

    ← {"env": {…}, "log": "/path"}       a line on stdin: a relay with this environment, in a session of its own
    → born PID · dead PID STATUS         lines on stdout; a status below 0 is minus the signal
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import json
import os
import sys
from importlib import import_module

fork, waitpid = monkey.get_original("os", "fork"), monkey.get_original("os", "waitpid")
select = monkey.get_original("select", "select")

LOOK_S = 0.02
NEEDED = ("tests.support.lossy_files", "zlay_py.app", "zlay_py.state.migrate", "zlay_py.workers.pywsgi_server")
"""What a relay imports, but for the module that makes one."""


def tell(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def bear(order: str) -> None:
    wanted = json.loads(order)
    pid = fork()
    if pid:
        tell("born", pid)
        return
    status = 1
    try:
        os.setsid()
        log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.clear()
        os.environ.update(wanted["env"])
        from tests.crash import relay_app

        status = relay_app.main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Until stdin ends."""
    unread = b""
    while True:
        while True:
            try:
                pid, status = waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            tell("dead", pid, os.waitstatus_to_exitcode(status))
        if select([0], [], [], LOOK_S)[0]:
            more = os.read(0, 65536)
            if not more:
                return
            unread += more
            *orders, unread = unread.split(b"\n")
            for order in orders:
                bear(order.decode())


if __name__ == "__main__":
    for name in NEEDED:
        import_module(name)
    main()
