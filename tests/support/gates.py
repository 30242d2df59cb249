"""Doors in the way of a database's work, opened by the test: what happens meanwhile is the test's to say."""

import os
from collections.abc import Callable

import gevent
from gevent.event import Event

from zlay_py.state.database import Cursor, Database, Row

WAIT_S_MAX = 20.0


def until(true: Callable[[], object]) -> None:
    """Lets the other greenlets run until it is so."""
    with gevent.Timeout(WAIT_S_MAX, AssertionError("it never came to that")):
        while not true():
            gevent.sleep(0)


class Gate:
    """Shut at first. Its `hold` is the work of a transaction, in whichever thread that runs."""

    def __init__(self, database: Database) -> None:
        self.reached = Event()
        self._cooperative = database.sql.name != "sqlite"
        self._opened = Event()
        self._ends = os.pipe()
        self._told = gevent.get_hub().loop.async_()
        self._told.start(self.reached.set)

    def hold(self, _cursor: Cursor | None = None) -> None:
        self._told.send()
        if self._cooperative:
            assert self._opened.wait(WAIT_S_MAX)
        else:
            os.read(self._ends[0], 1)

    def open(self) -> None:
        self._opened.set()
        os.write(self._ends[1], b"x")

    def close(self) -> None:
        self._told.close()
        for end in self._ends:
            os.close(end)


class SlowReads(Database):
    """Every read gives up the hub, as a server's does, whichever database answers.

    While `held` is set, each has its answer at once and brings it only when `let_go` is called: what happens in
    between is not in it.
    """

    held = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.waiting = 0
        self._go = Event()

    def one(self, text: str, parameters: tuple[object, ...] = ()) -> Row | None:
        row = super().one(text, parameters)
        self._pause()
        return row

    def rows(self, text: str, parameters: tuple[object, ...] = ()) -> list[Row]:
        rows = super().rows(text, parameters)
        self._pause()
        return rows

    def let_go(self) -> None:
        """The reads that are held bring what they found; new ones are held no more."""
        self.held = False
        self._go.set()
        self._go = Event()

    def _pause(self) -> None:
        if not self.held:
            gevent.sleep(0)
            return
        self.waiting += 1
        try:
            assert self._go.wait(WAIT_S_MAX)
        finally:
            self.waiting -= 1
