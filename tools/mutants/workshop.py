"""A copy of the project, and what a test says in it. Owns: copying, changing and restoring one file, one run of pytest.

The copy's folder is the working directory and comes first on the path. That matters, since the environment may have
the original installed in place: after each run the reporter tells of modules that came from anywhere else.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path
from typing import NamedTuple

from tools.mutants.model import Mutant

NOT_COPIED = (
    *(".venv", ".git", ".cache", "data", "build", "node_modules", "*.egg-info", "__pycache__", ".hypothesis"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache"),
)
HELD_AGAINST_THE_TEST = ("AssertionError", "Failed")
"""Errors by which any test speaks: an assertion, and `pytest.raises` that saw nothing."""

PYTEST_FAILED = 1
"""Exit status: tests ran, some failed. From 2 on they did not run as they should."""


class WorkshopError(Exception):
    """The copy is not what it must be for a result to mean anything."""


class Failure(NamedTuple):
    test: str
    when: str
    errors: list[str]


class Run(NamedTuple):
    """One run of pytest. `status` is None where it did not end in time."""

    status: int | None
    passed: list[str]
    failures: list[Failure]
    seconds: float
    output: str

    def spoken(self, errors: tuple[str, ...]) -> list[Failure]:
        """The failures that are a test's own words."""
        wanted = {*HELD_AGAINST_THE_TEST, *errors}
        return [failure for failure in self.failures if failure.when == "call" and wanted.intersection(failure.errors)]


class Workshop:
    """`root`: the project to copy. `folder`: an empty one."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.copy = folder / "project"
        self._report = folder / "report"
        self._plugin = folder / "plugin"
        self._plugin.mkdir()
        shutil.copy(Path(__file__).with_name("reporter.py"), self._plugin / "mutants_reporter.py")
        shutil.copytree(root, self.copy, ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)
        packages = {path.name for path in self.copy.iterdir() if path.is_dir()}
        self._env = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, (self.copy, self._plugin))),
            "MUTANTS_REPORT": str(self._report),
            "MUTANTS_PACKAGES": " ".join(sorted(packages)),
            # a test that needs the public vectors looks for them beside the project
            "ZLAY_FIXTURES": os.environ.get("ZLAY_FIXTURES") or str(root.parent / "shared" / "fixtures"),
        }

    def run(self, tests: tuple[str, ...], timeout_s: float, *, all_of_them: bool = False) -> Run:
        """Raises WorkshopError if anything of the project was imported from elsewhere."""
        self._report.unlink(missing_ok=True)
        # found examples of one mutant must not help to kill the next
        shutil.rmtree(self.copy / ".hypothesis", ignore_errors=True)
        command = [sys.executable, "-m", "gevent.monkey", "--module", "pytest", "-q", "--timeout=0"]
        command += ["-p", "no:randomly", "-p", "no:cacheprovider", "-p", "mutants_reporter", "--hypothesis-seed=0"]
        command += [] if all_of_them else ["-x"]
        start_s = time.monotonic()
        process = subprocess.Popen(
            [*command, *tests],
            cwd=self.copy,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        status: int | None = None
        try:
            output, _ = process.communicate(timeout=timeout_s)
            status = process.returncode
        except subprocess.TimeoutExpired:
            output = ""
        finally:
            _end(process)
        return self._result(status, time.monotonic() - start_s, output)

    def _result(self, status: int | None, seconds: float, output: str) -> Run:
        lines = [json.loads(line) for line in self._report.read_text().splitlines()] if self._report.exists() else []
        strangers = [name for line in lines for name in line.get("strangers", ())]
        if strangers:
            raise WorkshopError(f"imported from outside of {self.copy}: {', '.join(strangers[:5])}")
        reports = [line for line in lines if "test" in line]
        passed = [line["test"] for line in reports if (line["when"], line["outcome"]) == ("call", "passed")]
        failures = [
            Failure(line["test"], line["when"], line["errors"]) for line in reports if line["outcome"] == "failed"
        ]
        return Run(status, passed, failures, seconds, output)

    def put_in(self, mutant: Mutant) -> str:
        """Makes the bug. Returns what `take_out` needs."""
        path = self.copy / mutant.file
        text = path.read_text(encoding="utf-8")
        changed = mutant.apply(text)
        compile(changed, str(path), "exec")
        self._write(path, changed)
        return text

    def take_out(self, mutant: Mutant, text: str) -> None:
        self._write(self.copy / mutant.file, text)

    def _write(self, path: Path, text: str) -> None:
        # Compiled files are told apart by size and second: too little for two versions made within one.
        Path(cache_from_source(str(path))).unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")
        self._env["PYTHONDONTWRITEBYTECODE"] = "1"


def _end(process: subprocess.Popen[str]) -> None:
    """And whatever it has started: a killer may run a relay of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
