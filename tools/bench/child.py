"""A module of the benchmarks in a process of its own, spoken to line by line."""

import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from gevent.subprocess import PIPE, Popen

ROOT = Path(__file__).resolve().parents[2]


class Child:
    """Runs until it ends by itself, or the `with` block does."""

    def __init__(self, module: str, *arguments: object) -> None:
        command = [sys.executable, "-m", module, *map(str, arguments)]
        self._process = Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self.pid: int = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._stdin.close()
        self._stdout.close()

    def line(self) -> str:
        """The next one it prints; empty once it has ended."""
        return self._stdout.readline().decode().strip()

    def expect(self, word: str) -> None:
        line = self.line()
        assert line == word, f"{line!r} instead of {word!r}"

    def say(self, line: str) -> None:
        self._stdin.write(f"{line}\n".encode())
        self._stdin.flush()

    def wait(self) -> int:
        """The exit status."""
        return int(self._process.wait())
