"""What gunicorn's master does for the relay before it forks: settings, the owner's lock, and a HUP that can't kill.

gunicorn runs its configuration file in the master, again on every HUP, and takes any failure in it for the end: the
master exits and leaves the workers behind. So the file itself only asks this module, which remembers between runs.

Exit status 2: a setting is wrong, or somebody else owns the data directory; one line on stderr says which.
"""

import os
import socket
import sys
import time
from typing import Any, NoReturn

from zlay_py.errors import ConfigError, LocalError, StorageFailedError
from zlay_py.eventlog.lock import OwnerLock
from zlay_py.exit_status import CONFIG_WRONG
from zlay_py.settings import VARIABLES_BY_FIELD, Settings, load_settings

FIXED_WHILE_RUNNING = ("data_dir", "database_url", "bind", "port", "metrics_bind", "metrics_port")
"""The owner's lock is on one directory, and a port that is taken would halt the service: these need a restart."""
LOCK_RETRY_S = 0.2
"""How long a successor takes to notice that its predecessor is gone; connections wait in the backlog meanwhile."""


class _Master:
    """What survives from one run of the configuration file to the next."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.lock: OwnerLock | None = None


_master = _Master()


def effective_settings() -> Settings:
    """For the configuration file. At start a wrong setting ends the process; on HUP the last good ones hold."""
    try:
        _master.settings = load_settings()
    except ConfigError as error:
        if _master.settings is None:
            _exit(error)
    return _master.settings


def on_starting(arbiter: Any) -> None:
    """gunicorn's hook, once, before the listening sockets exist and before any fork."""
    settings = effective_settings()
    successor = _predecessor() is not None  # asked before the wait, at whose end the predecessor is nobody's parent
    try:
        _master.lock = _take_ownership(settings, arbiter.log)
        if not successor:  # which is handed the listening socket, and waits for the other port
            _check_port("RELAY_PORT", settings.bind, settings.port)
            _check_port("RELAY_METRICS_PORT", settings.metrics_bind, settings.metrics_port)
    except LocalError as error:
        if arbiter.pidfile is not None:
            arbiter.pidfile.unlink()
        _exit(error)
    reload = arbiter.handle_hup

    def handle_hup() -> None:
        problem = _problem_of_reload(arbiter, settings)
        if problem is None:
            reload()
        else:
            arbiter.log.error("HUP: %s. The running configuration stays.", problem)

    arbiter.handle_hup = handle_hup


def _check_port(variable: str, bind: str, port: int) -> None:
    """One clear line now instead of gunicorn's five tries, or of a worker that can't start. Raises ConfigError."""
    with socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            raise ConfigError(f"{variable}: can't listen on {bind}:{port}: {error.strerror or error}") from error


def _take_ownership(settings: Settings, log: Any) -> OwnerLock:
    """Held until this master and the last worker are gone: workers inherit it. A USR2 successor waits for it."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailedError(f"RELAY_DATA_DIR: making {settings.data_dir}: {error.strerror or error}") from error
    lock = OwnerLock(settings.data_dir)
    predecessor = _predecessor()
    if predecessor is None:
        lock.acquire()
        return lock
    log.info("waiting for master %s to let go of %s", predecessor, lock.path)

    def wait(holder: int | None) -> bool:
        time.sleep(LOCK_RETRY_S)
        return holder is None or holder == predecessor

    lock.acquire(wait)
    return lock


def _predecessor() -> int | None:
    """The master that started this one on USR2."""
    text = os.environ.get("GUNICORN_PID", "")
    return int(text) if text.isdigit() and int(text) == os.getppid() else None


def _problem_of_reload(arbiter: Any, running: Settings) -> str | None:
    """Why a HUP must not go ahead; None when it may. Loads everything once beforehand: a failure inside gunicorn's own
    reload would end the master."""
    try:
        wanted = load_settings()
    except ConfigError as error:
        return str(error)
    for name in FIXED_WHILE_RUNNING:
        if getattr(wanted, name) != getattr(running, name):
            return f"{VARIABLES_BY_FIELD[name]} can't change while the relay runs: restart it"
    configuration = arbiter.app.cfg
    try:
        arbiter.app.reload()
    except (Exception, SystemExit) as error:
        arbiter.app.cfg = configuration
        return f"gunicorn's configuration does not load ({error!r})"
    return None


def _exit(error: LocalError) -> NoReturn:
    sys.stderr.write(f"zlay_py: {error}\n")
    sys.stderr.flush()
    sys.exit(CONFIG_WRONG)
