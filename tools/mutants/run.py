"""Makes one deliberate bug after the other and runs the test that must notice it. Nothing but a copy is changed.

python -m tools.mutants.run                          all of them
python -m tools.mutants.run NAME ...                 these; a part of a name will do
python -m tools.mutants.run NAME --all-tests tests/eventlog    which tests of a folder notice it

Exit status 0: every mutant was killed. 1: some survived. 2: no result: a killer that fails without a bug, say.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from tools.mutants.catalogue import MUTANTS
from tools.mutants.model import Mutant
from tools.mutants.workshop import PYTEST_FAILED, Run, Workshop, WorkshopError

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 90.0
"""For one killer; the slowest takes about ten seconds on two busy cores."""


CLEAN_S_MIN = 60.0
"""For all killers without a bug, at least."""


class Verdict(NamedTuple):
    """`killed` by `killer`; `seen` is how, or what came instead. `also`: all tests that failed, if that was asked."""

    mutant: str
    killer: str
    killed: bool
    seen: str
    seconds: float
    also: tuple[str, ...] = ()


def judge(mutant: Mutant, killer: str, run: Run) -> Verdict:
    """Killed only by the words of a test, or by a hang where that is what the bug does."""
    if run.status is None:
        return Verdict(mutant.name, killer, mutant.hangs, "did not end", run.seconds)
    spoken = run.spoken(mutant.errors)
    if run.status == PYTEST_FAILED and spoken:
        return Verdict(mutant.name, killer, True, next(iter(spoken[0].errors)), run.seconds)
    if run.failures:
        failure = run.failures[0]
        seen = f"failed, but not by an assertion: {next(iter(failure.errors), '?')} in {failure.when}"
    else:
        seen = "passed" if run.status == 0 else f"no test ran as it should: exit status {run.status}"
    return Verdict(mutant.name, killer, False, seen, run.seconds)


def check_clean(workshop: Workshop, killers: Sequence[str], timeout_s: float) -> None:
    """Raises WorkshopError unless every killer passes without a bug; of one with many cases some may be skipped."""
    run = workshop.run(tuple(killers), max(CLEAN_S_MIN, timeout_s * len(killers) ** 0.5), all_of_them=True)
    failed = sorted({failure.test for failure in run.failures})
    silent = [k for k in killers if not any(p == k or p.startswith((k + "[", k + "::")) for p in run.passed)]
    if run.status != 0 or silent:
        wrong = ", ".join([*failed, *silent][:8])
        raise WorkshopError(f"without any bug these fail, are skipped or are not there: {wrong}\n{run.output[-3000:]}")


def try_one(workshop: Workshop, mutant: Mutant, timeout_s: float) -> list[Verdict]:
    """One verdict for each killer: each is said to do it alone."""
    text = workshop.put_in(mutant)
    try:
        return [judge(mutant, killer, workshop.run((killer,), timeout_s)) for killer in mutant.killers]
    finally:
        workshop.take_out(mutant, text)


def try_all_tests(workshop: Workshop, mutant: Mutant, tests: Sequence[str], timeout_s: float) -> list[Verdict]:
    text = workshop.put_in(mutant)
    try:
        run = workshop.run(tuple(tests), timeout_s, all_of_them=True)
    finally:
        workshop.take_out(mutant, text)
    verdict = judge(mutant, " ".join(tests), run)
    return [verdict._replace(also=tuple(failure.test for failure in run.spoken(mutant.errors)))]


def campaign(
    root: Path, mutants: Sequence[Mutant], *, jobs: int = 1, timeout_s: float = TIMEOUT_S, all_tests: Sequence[str] = ()
) -> list[Verdict]:
    """Every mutant's verdicts, in the order given. Raises WorkshopError where the killers fail without a bug."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        idle: SimpleQueue[Workshop] = SimpleQueue()
        shops = []
        for number in range(jobs):
            place = Path(folder) / str(number)
            place.mkdir()
            shops.append(Workshop(root, place))
            idle.put(shops[-1])
        killers = sorted({killer for mutant in mutants for killer in mutant.killers})
        for shop in shops if not all_tests else ():
            check_clean(shop, killers, timeout_s)

        def work(mutant: Mutant) -> list[Verdict]:
            shop = idle.get()
            try:
                if all_tests:
                    return try_all_tests(shop, mutant, all_tests, timeout_s * 20)
                return try_one(shop, mutant, timeout_s)
            finally:
                idle.put(shop)

        with ThreadPoolExecutor(jobs) as pool:
            verdicts = []
            for found in pool.map(work, mutants):
                verdicts += found
                for verdict in found:
                    print(
                        "." if verdict.killed else f"\n{verdict.mutant} survived", end="", file=sys.stderr, flush=True
                    )
        print(file=sys.stderr)
        return verdicts


def show(verdicts: Sequence[Verdict]) -> None:
    table = Table(title="mutants", show_lines=False)
    table.add_column("mutant")
    table.add_column("killer", overflow="fold")
    table.add_column("")
    table.add_column("seen", overflow="fold")
    table.add_column("s", justify="right")
    for verdict in verdicts:
        mark = "[green]killed[/]" if verdict.killed else "[red]SURVIVED[/]"
        seen = "\n".join([verdict.seen, *verdict.also])
        table.add_row(verdict.mutant, verdict.killer, mark, seen, f"{verdict.seconds:.1f}")
    Console(width=160).print(table)


def chosen(names: Sequence[str], mutants: Sequence[Mutant] = MUTANTS) -> list[Mutant]:
    """Raises ValueError for a name that is no part of any."""
    for name in names:
        if not any(name in mutant.name for mutant in mutants):
            raise ValueError(f"no mutant is called {name}")
    return [mutant for mutant in mutants if not names or any(name in mutant.name for name in names)]


def main(arguments: list[str] | None = None, *, root: Path = ROOT, of: Sequence[Mutant] = MUTANTS) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only these, by name or a part of it")
    parser.add_argument(
        "--all-tests", action="append", default=[], metavar="DIR", help="run these instead of the killers: who notices?"
    )
    parser.add_argument("--jobs", type=int, default=1, help="copies to work in side by side (1)")
    parser.add_argument("--timeout-s", type=float, default=TIMEOUT_S, help=f"of one killer ({TIMEOUT_S:g})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    parser.add_argument("--list", action="store_true", help="only list the names")
    options = parser.parse_args(arguments)
    start_s = time.monotonic()
    try:
        mutants = chosen(options.names, of)
        if options.list:
            print(*(mutant.name for mutant in mutants), sep="\n")
            return 0
        verdicts = campaign(root, mutants, jobs=options.jobs, timeout_s=options.timeout_s, all_tests=options.all_tests)
    except (ValueError, WorkshopError) as error:
        print(error, file=sys.stderr)
        return 2
    show(verdicts)
    survivors = {verdict.mutant for verdict in verdicts if not verdict.killed}
    seconds = time.monotonic() - start_s
    print(f"{len(mutants) - len(survivors)} killed, {len(survivors)} survived, {seconds:.0f} s")
    if options.json is not None:
        result = {"seconds": round(seconds, 1), "verdicts": [verdict._asdict() for verdict in verdicts]}
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
