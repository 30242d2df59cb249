"""The gunicorn target of the worker tests: `Application`, with a start and an end that the environment chooses.

ZLAY_TEST_START: ok, local_error, bug, blocks, slow. ZLAY_TEST_EVENTS: a file that gets one line per hook.
"""

import os
from pathlib import Path

import gevent

from tests.support.ws_application import Application
from zlay_py.errors import CorruptionError


class RecordedApplication(Application):
    def start(self) -> None:
        self._record("start")
        mode = os.environ.get("ZLAY_TEST_START", "ok")
        if mode == "local_error":
            raise CorruptionError("evts-1 is not what we wrote at offset 28: run `zlay log verify`")
        if mode == "bug":
            raise KeyError("a bug")
        if mode == "blocks":
            gevent.sleep(3600)
        if mode == "slow":
            gevent.sleep(2.5)
        self._record("started")

    def begin_shutdown(self) -> None:
        self._record("begin_shutdown")

    def finish_shutdown(self) -> None:
        self._record("finish_shutdown")

    def _record(self, event: str) -> None:
        with Path(os.environ["ZLAY_TEST_EVENTS"]).open("a") as file:
            file.write(f"{os.getpid()} {event}\n")


app = RecordedApplication()
