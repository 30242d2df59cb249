"""gunicorn for the relay: `.venv/bin/gunicorn -c conf/gunicorn.conf.py`, from the project's folder.

What an operator chooses is a RELAY_* setting (docs/configuration.md), not a line of this file. Run again by the
master on HUP. Signals: TERM ends in order; HUP starts a new worker with the settings as they are now; USR2 starts a
new master, with new code, that waits until the old one has ended (not one that runs as `python -m gunicorn`: it can't
start itself again).
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()  # before anything below makes a lock or an SSL context that gevent would have to replace

import os
from pathlib import Path

from zlay_py.logs import gunicorn_logconfig_dict
from zlay_py.net.http_server import CONNECTIONS_MAX
from zlay_py.workers import gunicorn_master

_settings = gunicorn_master.effective_settings()
_memory = Path("/dev/shm")  # noqa: S108  # gunicorn makes its own unnamed file in it

wsgi_app = "zlay_py.app:app"
bind = _settings.bind_address
worker_class = "zlay_py.workers.gunicorn_worker.RelayWorker"
workers = 1  # one writer of the event log
worker_connections = CONNECTIONS_MAX  # gunicorn's default of 1,000 would cap the consumers
preload_app = False  # sockets, threads and files belong to the worker
max_requests = 0  # a worker is never replaced for its age

timeout = 120  # seconds without a heartbeat: the hub may be busy with a large commit, but not for minutes
graceful_timeout = 30  # seconds for all of the end; what the worker does with them: zlay_py/workers/lifecycle.py
# Heartbeats touch a file: on a disk that stalls, the master would take the worker for hung.
worker_tmp_dir = str(_memory) if _memory.is_dir() and os.access(_memory, os.W_OK) else None
control_socket_disable = True  # else one file in the home directory, shared by every gunicorn of this user

proc_name = "zlay_py"
loglevel = str(_settings.log_level)
logconfig_dict = gunicorn_logconfig_dict(_settings.log_level, _settings.log_format)
accesslog = None  # requests are logged by zlay_py.net.http_handler, at level debug

on_starting = gunicorn_master.on_starting
