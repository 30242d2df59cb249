"""Where snapshots go: onto the whole screen of a terminal, or as a line each second into anything else."""

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live

from tools.demo import plain
from tools.demo.snapshot import Addresses, Snapshot
from tools.demo.view import screen

PLAIN_EVERY_S = 1.0


class Display(Protocol):
    """A context manager: afterwards the terminal is as it was."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, snapshot: Snapshot) -> None: ...


class ScreenDisplay:
    """The terminal's second screen; the first one comes back at the end, untouched."""

    def __init__(self, console: Console, addresses: Addresses) -> None:
        self._console = console
        self._addresses = addresses
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        width, height = self._console.size
        self._live.update(Group(*screen(snapshot, self._addresses, width, height)), refresh=True)


class PlainDisplay:
    def __init__(self, console: Console, addresses: Addresses) -> None:
        self._console = console
        self._addresses = addresses
        self._last_s = 0.0
        self._last_stage = ""

    def __enter__(self) -> Self:
        self._print(plain.heading(self._addresses))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, snapshot: Snapshot) -> None:
        due = snapshot.elapsed_s >= self._last_s + PLAIN_EVERY_S
        if due or snapshot.stage != self._last_stage:
            self._last_s, self._last_stage = snapshot.elapsed_s, snapshot.stage
            self._print(plain.line(snapshot))

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def display(console: Console, addresses: Addresses) -> Display:
    whole_screen = console.file.isatty() and not console.is_dumb_terminal  # whatever colours somebody has forced
    return ScreenDisplay(console, addresses) if whole_screen else PlainDisplay(console, addresses)
