"""Greenlets with an owner: every loop is spawned here, named, and its death noticed."""

from collections.abc import Callable

import gevent
from gevent.pool import Group

from zlay_py.logs import get_logger

log = get_logger(__name__)


class Supervisor:
    """A group of named loops. A loop that ends by an exception calls `on_death`: the relay can't go on without it."""

    def __init__(self, on_death: Callable[[str, BaseException], None]) -> None:
        self._group = Group()
        self._on_death = on_death

    def __len__(self) -> int:
        return len(self._group)

    def spawn(self, name: str, loop: Callable[[], None]) -> "gevent.Greenlet[..., object]":
        """Starts `loop` in its own greenlet."""
        greenlet: gevent.Greenlet[..., object] = gevent.Greenlet(loop)
        greenlet.name = name
        greenlet.link_exception(self._died)
        self._group.start(greenlet)
        return greenlet

    def stop(self, timeout_s: float) -> None:
        """Kills what is left and waits for it. Loops that can end in order are asked to before."""
        self._group.kill(timeout=timeout_s)

    def _died(self, greenlet: "gevent.Greenlet[..., object]") -> None:
        error = greenlet.exception
        if error is None or isinstance(error, gevent.GreenletExit):
            return
        try:
            log.error("loop died", loop=greenlet.name, error=repr(error), exc_info=greenlet.exc_info)
        finally:
            self._on_death(greenlet.name, error)
