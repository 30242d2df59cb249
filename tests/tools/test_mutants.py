"""The list of mutants does not rot, and the runner calls nothing a kill that is none."""

import ast
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.mutants import page
from tools.mutants.catalogue import MUTANTS
from tools.mutants.model import Mutant
from tools.mutants.run import Verdict, campaign, chosen, main
from tools.mutants.workshop import WorkshopError

ROOT = Path(__file__).resolve().parent.parent.parent
ids = [mutant.name for mutant in MUTANTS]


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("mutant", MUTANTS, ids=ids)
def test_a_mutant_can_be_made(mutant: Mutant) -> None:
    """Its old text is in the file exactly once, and what comes out is Python that says something else."""
    path = ROOT / mutant.file
    text = path.read_text()
    changed = mutant.apply(text)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))
    compile(changed, str(path), "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=ids)
def test_a_mutant_has_killers_that_exist(mutant: Mutant) -> None:
    assert mutant.killers
    for killer in mutant.killers:
        path, _, name = killer.partition("::")
        assert name in functions(ROOT / path), killer


def test_names_are_one_each_and_rules_are_those_of_the_invariants() -> None:
    assert len(set(ids)) == len(ids) >= 15
    rules = set(map(int, re.findall(r"(?m)^(\d+)\. \*\*", (ROOT / "docs" / "invariants.md").read_text())))
    assert {mutant.rule for mutant in MUTANTS} <= rules
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in ids)


def test_every_fsync_of_the_log_has_a_mutant() -> None:
    """A new call has to get one, too, or be named here as one that nothing hangs on."""
    nothing_hangs_on = {
        # The ceiling file is stored before anything is acknowledged, and that syncs the same directory.
        'sync_dir(files, directory, f"removing an unfinished segment from {directory}")',
    }
    calls = re.compile(r"(?:files\.fsync|sync_file|sync_dir|os\.fsync|self\.fsync_dir)\(|partial\(sync_file")
    missing = []
    for path in sorted((ROOT / "zlay_py" / "eventlog").glob("*.py")):
        removed = [m for m in MUTANTS if ROOT / m.file == path]
        for line in path.read_text().splitlines():
            call = line.strip()
            if not calls.search(call) or call.startswith("def ") or call in nothing_hangs_on:
                continue
            if not any(call in m.old and call not in m.new for m in removed):
                missing.append(f"{path.name}: {call}")
    assert missing == []


def test_the_page_lists_every_mutant() -> None:
    text = (ROOT / "docs" / "mutants.md").read_text()
    assert text == page.render(), "run: make docs"
    assert all(f"| {name} |" in text for name in ids)


def test_a_text_that_is_not_there_exactly_once_is_no_mutant() -> None:
    mutant = Mutant("m", "f.py", "a", "b", "", 1, ("t",))
    assert mutant.apply("xa") == "xb"
    for text in ("x", "aa"):
        with pytest.raises(ValueError, match="m: its old text occurs"):
            mutant.apply(text)


def test_a_part_of_a_name_will_do() -> None:
    assert [mutant.name for mutant in chosen(["batch-not-s"])] == ["batch-not-synced"]
    assert chosen([]) == list(MUTANTS)
    with pytest.raises(ValueError, match="no mutant is called nonsense"):
        chosen(["nonsense"])


# ── the runner, on a project of one function ──────────────────────────────────────────────────────────────────────

CODE = """
def double(number):
    return number + number
"""
TESTS = """
import pytest
from little.code import double

def test_of_three():
    assert double(3) == 6

def test_that_notices_nothing():
    assert double(0) == 0

def test_that_expects_an_error():
    with pytest.raises(TypeError):
        double(None)

def test_that_fails_anyway():
    assert double(1) == 1

def test_that_is_skipped():
    pytest.skip("not here")

@pytest.fixture
def six():
    assert double(3) == 6

def test_behind_a_fixture(six):
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "little-project"
    (root / "little").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / "little" / "__init__.py").touch()
    (root / "little" / "code.py").write_text(CODE)
    (root / "tests" / "test_code.py").write_text(textwrap.dedent(TESTS))
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = ['--import-mode=importlib']\n")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    yield root
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before, "only a copy is changed"


def bug(
    new: str, *tests: str, old: str = "number + number", errors: tuple[str, ...] = (), hangs: bool = False
) -> Mutant:
    killers = tuple(f"tests/test_code.py::{test}" for test in tests)
    return Mutant(f"bug-{new[:5]}", "little/code.py", old, new, "", 1, killers, errors, hangs)


def outcomes(verdicts: list[Verdict]) -> list[tuple[bool, str]]:
    return [(verdict.killed, verdict.seen) for verdict in verdicts]


def test_only_a_tests_own_words_are_a_kill(project: Path) -> None:
    verdicts = campaign(
        project,
        [
            bug("number * number", "test_of_three", "test_that_notices_nothing"),
            bug("number and number", "test_that_expects_an_error"),
            bug("1 // (number - 3)", "test_of_three"),
            bug("1 // (number - 3)", "test_of_three", errors=("ArithmeticError",)),
            bug("import missing\ndef double", "test_of_three", old="def double"),
            bug("7", "test_behind_a_fixture"),
        ],
        jobs=2,
    )
    assert outcomes(verdicts) == [
        (True, "AssertionError"),
        (False, "passed"),
        (True, "Failed"),
        (False, "failed, but not by an assertion: ZeroDivisionError in call"),
        (True, "ZeroDivisionError"),
        (False, "no test ran as it should: exit status 4"),
        (False, "failed, but not by an assertion: AssertionError in setup"),
    ]


def test_a_hang_is_a_kill_only_where_it_is_the_effect(project: Path) -> None:
    loop = "[number for _ in iter(int, 1)]"
    mutants = [bug(loop, "test_of_three"), bug(loop, "test_of_three", hangs=True)]
    assert outcomes(campaign(project, mutants, timeout_s=1.5)) == [(False, "did not end"), (True, "did not end")]


def test_all_tests_that_notice_are_listed(project: Path) -> None:
    [verdict] = campaign(project, [bug("number * 3", "test_of_three")], all_tests=["tests"])
    assert verdict.killed
    assert verdict.also == ("tests/test_code.py::test_of_three", "tests/test_code.py::test_that_fails_anyway")


@pytest.mark.parametrize("test", ["test_that_fails_anyway", "test_that_is_skipped", "test_that_is_not_there"])
def test_a_killer_has_to_pass_without_a_bug(project: Path, test: str) -> None:
    with pytest.raises(WorkshopError, match=test):
        campaign(project, [bug("7", "test_of_three"), bug("8", test)])


def test_code_from_outside_of_the_copy_is_noticed(project: Path) -> None:
    """As it would be with a package that is installed in place and comes first."""
    (project.parent / "elsewhere").mkdir()
    (project.parent / "elsewhere" / "helper.py").touch()
    elsewhere = str(project.parent / "elsewhere")
    tests = project / "tests" / "test_outside.py"
    text = f"import sys\nsys.path.insert(0, {elsewhere!r})\nimport helper\nsys.modules['little.helper'] = helper\n"
    tests.write_text(text + "def test_outside():\n    pass\n")
    try:
        with pytest.raises(WorkshopError, match=r"imported from outside of .*: little\.helper"):
            campaign(project, [bug("7", "test_of_three")._replace(killers=("tests/test_outside.py::test_outside",))])
    finally:
        tests.unlink()


def test_the_exit_status_tells(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killed = bug("number * number", "test_of_three")
    survives = bug("number + 0", "test_that_notices_nothing")._replace(name="another")
    result = tmp_path / "result.json"
    assert main([killed.name], root=project, of=[killed, survives]) == 0
    assert main(["--json", str(result)], root=project, of=[killed, survives]) == 1
    assert "1 killed, 1 survived" in capsys.readouterr().out
    assert [verdict["killed"] for verdict in json.loads(result.read_text())["verdicts"]] == [True, False]
    assert main(["nonsense"], root=project, of=[killed]) == 2
