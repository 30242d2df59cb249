"""Keeps streams and directory in step: a host does not send on before the document that its next event needs.

Each change concerns one or two hosts. Of two changes that concern the same host, the earlier comes first; a host stops
at its next change, and the change is made when all that it concerns have come there. The earliest change that is not
made has nothing before it, so its hosts get there, and nothing can wait for itself.

What was sent is not yet handled: a consumer with full queues looks a DID up when its document is another one already,
and refuses what it would have taken. That is as in the network; who wants to see less of it gives a time to settle.
"""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import gevent

from tools.simulator.ahead.streams import DOCUMENTS, parse_change
from tools.simulator.model import DocumentChange
from tools.simulator.servers.feed import NO_GATE, Feed


class Gates:
    """Reads where the changes are; the documents themselves stay in the file until they are due."""

    def __init__(
        self, folder: Path, feeds: Sequence[Feed], apply: Callable[[DocumentChange], None], *, settle_s: float = 0.0
    ) -> None:
        """`settle_s`: how long a change waits when the hosts have come to its place."""
        self._feeds = feeds
        self._settle_s = settle_s
        self._settling: dict[int, gevent.Greenlet[[int], None]] = {}
        self._apply = apply
        self._descriptor = os.open(folder / DOCUMENTS, os.O_RDONLY)
        self._waiting: list[deque[int]] = [deque() for _ in feeds]
        self._lines: list[tuple[int, int]] = []
        self._places: list[tuple[tuple[int, int], ...]] = []
        self.made = 0
        """How many changes have been made so far."""
        self._find_changes(folder)

    @property
    def count(self) -> int:
        return len(self._lines)

    def start(self) -> None:
        """Makes the changes that are due before anything is sent."""
        for number, places in enumerate(self._places):
            if not places:
                self._make(number)
        for host, feed in enumerate(self._feeds):
            feed.on_sent = lambda host=host: self._advance(host)  # type: ignore[misc]
        for host in range(len(self._feeds)):
            self._advance(host)

    def close(self) -> None:
        gevent.killall(list(self._settling.values()))
        os.close(self._descriptor)

    def _find_changes(self, folder: Path) -> None:
        with (folder / DOCUMENTS).open("rb") as file:
            start = 0
            for number, line in enumerate(file):
                places = tuple((host, place) for host, place in json.loads(line)["places"])
                self._lines.append((start, len(line)))
                self._places.append(places)
                for host, _ in places:
                    self._waiting[host].append(number)
                start += len(line)

    def _advance(self, host: int) -> None:
        """The host has sent more: makes what is due, and what is due after that."""
        moved = [host]
        while moved:
            host = moved.pop()
            while self._waiting[host] and self._is_due(self._waiting[host][0]):
                number = self._waiting[host][0]
                self._make(number)
                for other, _ in self._places[number]:
                    self._waiting[other].popleft()
                    if other != host:
                        moved.append(other)
            self._feeds[host].move_gate(self._next_place(host))

    def _is_due(self, number: int) -> bool:
        places = self._places[number]
        if not all(self._waiting[host][0] == number and self._feeds[host].sent >= place for host, place in places):
            return False
        left_s = self._settle_s - time.monotonic() + max(self._feeds[host].sent_at_s for host, _ in places)
        if left_s <= 0 or not any(place for _, place in places):
            return True
        if number not in self._settling:
            self._settling[number] = gevent.spawn_later(left_s, self._look_again, number)
        return False

    def _look_again(self, number: int) -> None:
        del self._settling[number]
        self._advance(self._places[number][0][0])

    def _next_place(self, host: int) -> int:
        if not self._waiting[host]:
            return NO_GATE
        return next(place for other, place in self._places[self._waiting[host][0]] if other == host)

    def _make(self, number: int) -> None:
        start, size = self._lines[number]
        self._apply(parse_change(os.pread(self._descriptor, size, start)).change)
        self.made += 1
