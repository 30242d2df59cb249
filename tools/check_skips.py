"""Fails when a test was skipped for a reason that a prepared machine must not have.

    python -m tools.check_skips build/tests.xml

Reads a JUnit file as pytest writes it. The one allowed reason: the folder with the public vectors is absent. What a
machine can be given (PostgreSQL, say), `.ci/run` has installed.
"""

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ALLOWED = "no fixtures folder at "
"""How `tests/conftest.py` begins the only skip that is nobody's mistake."""


def skips(junit: Path) -> Counter[str]:
    """Reason → number of tests skipped for it."""
    root = ElementTree.parse(junit).getroot()
    return Counter(skipped.get("message", "no reason") for skipped in root.iter("skipped"))


def tests(junit: Path) -> int:
    return sum(1 for _ in ElementTree.parse(junit).getroot().iter("testcase"))


def main(arguments: list[str]) -> int:
    """Returns the exit status: 1 for a skip that is not allowed, or when nothing was run."""
    junit = Path(arguments[0])
    status = 0
    for reason, count in skips(junit).most_common():
        fine = reason.startswith(ALLOWED)
        print(f"{count} skipped{'' if fine else ', NOT ALLOWED'}: {reason}")
        status = status if fine else 1
    if not tests(junit):
        print("no test was run")
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
