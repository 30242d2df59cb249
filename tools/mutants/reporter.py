"""A pytest plugin that writes down what became of each test, for the runner. It stands alone: the runner puts a copy of
this file beside the copied project, so that any project can be run.

One JSON object for each line of the file that MUTANTS_REPORT names: `{test, when, outcome, errors}` for each phase of
each test, and at the end `{strangers}`: modules of the project that were not imported from the folder pytest ran in.
"""

import json
import os
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

PACKAGES = frozenset(os.environ.get("MUTANTS_PACKAGES", "").split())


def _write(line: object) -> None:
    with Path(os.environ["MUTANTS_REPORT"]).open("a") as file:
        file.write(json.dumps(line) + "\n")


def names(error: BaseException) -> list[str]:
    """The names of the exception's classes, most special first; of a group, those of its members."""
    if isinstance(error, BaseExceptionGroup):
        return [name for member in error.exceptions for name in names(member)]
    return [kind.__name__ for kind in type(error).__mro__ if kind not in (BaseException, Exception, object)]


def pytest_configure() -> None:
    """The first example that fails is enough: looking for the smallest takes longer than all the rest."""
    with suppress(ImportError):
        from hypothesis import Phase, settings

        settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], database=None)
        settings.load_profile("mutants")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    errors = [] if call.excinfo is None or report.passed else names(call.excinfo.value)
    _write({"test": item.nodeid, "when": report.when, "outcome": report.outcome, "errors": errors})
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    root = session.config.rootpath
    strangers = [
        name
        for name, module in sorted(sys.modules.items())
        if name.partition(".")[0] in PACKAGES
        and (path := getattr(module, "__file__", None)) is not None
        and not Path(path).resolve().is_relative_to(root)
    ]
    _write({"strangers": strangers})
