"""The page `docs/mutants.md`: the list as people read it. `make docs` writes it."""

from tools.mutants.catalogue import GROUPS
from tools.mutants.model import Mutant

HEAD = """\
# What the tests notice

Written by `make docs` from `tools/mutants/`; a change here is lost.

A mutant is a small bug, made on purpose: a check left out, an fsync that does nothing, a comparison that is off by one.
For each there is a test that must fail with it. `make mutants` makes them one by one in a copy of the project and runs
that test: {count} bugs, about {minutes} minutes. A mutant that survives is a test that is missing.

    make mutants                                    all of them
    make mutants ARGS=ceiling                       those with "ceiling" in their names
    make mutants ARGS="ceiling-file --all-tests tests/eventlog"    which tests of a folder notice it

Only a failed assertion, or an error that the mutant names, counts: a module that can't be imported any more proves
nothing. `tests/tools/test_mutants.py` keeps the list from rotting: each text that is replaced is still there, exactly
once, and each test that is named exists. **Rule** is the number in [invariants.md](invariants.md).
"""

MINUTES = 7
"""What a run takes on two busy cores."""


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def row(mutant: Mutant) -> str:
    killers = "<br>".join(
        f"`{killer.partition('::')[2]}` in `{killer.partition('::')[0]}`" for killer in mutant.killers
    )
    return f"| {mutant.name} | `{mutant.file}` | {cell(mutant.why)} | {mutant.rule} | {killers} |"


def render() -> str:
    """The whole page."""
    count = sum(map(len, GROUPS.values()))
    parts = [HEAD.format(count=count, minutes=MINUTES)]
    for title, mutants in GROUPS.items():
        parts.append(f"\n## {title}\n\n| mutant | in | with it, … | rule | killer |\n|---|---|---|---|---|\n")
        parts += [row(mutant) + "\n" for mutant in mutants]
    return "".join(parts)
