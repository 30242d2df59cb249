"""What a fresh machine meets first: `make`, and the choice of a Python. Nothing is downloaded here."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import check_skips

ROOT = Path(__file__).parent.parent
TARGETS = {"help", "run", "demo", "test", "test-long", "lint", "type", "fmt", "interop", "bench", "docs", "clean"}

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def run(command: list[str], folder: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {"PATH": path or os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


def a_python(folder: Path, name: str, says: str, status: int) -> str:
    """A program that answers every question as some Python would."""
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {status}\n")
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """An empty clone: what the set-up reads, and no .venv."""
    folder = tmp_path / "clone"
    (folder / "tools").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.txt", "requirements-dev.txt", "tools/setup_venv.sh"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH with the few programs that the set-up calls, and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "make", "awk", "cat", "cmp", "head", "dirname", "rm"):
        program = shutil.which(name)
        assert program is not None
        (folder / name).symlink_to(program)
    return folder


def test_make_alone_lists_every_target(clone: Path) -> None:
    done = run(["make"], clone)
    assert done.returncode == 0, done.stderr
    listed = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("make ")}
    assert listed >= TARGETS
    assert not (clone / ".venv").exists()


def test_every_target_is_listed_and_phony() -> None:
    text = (ROOT / "Makefile").read_text()
    defined = {line.split(":")[0] for line in text.splitlines() if line[:1].isalpha() and ": " in line}
    phony = next(line for line in text.splitlines() if line.startswith(".PHONY:")).split()[1:]
    assert defined == set(phony)
    assert all(" ## " in line for line in text.splitlines() if line[:1].isalpha() and line.split(":")[0] in defined)


def test_every_program_that_is_run_is_there() -> None:
    text = (ROOT / "Makefile").read_text()
    modules = re.findall(r"-m (tools[\w.]*)", text)
    assert len(modules) >= 4
    paths = [ROOT / module.replace(".", "/") for module in modules]
    assert all(path.with_suffix(".py").is_file() or (path / "__main__.py").is_file() for path in paths)
    assert all((ROOT / script).is_file() for script in re.findall(r"(?:tools|conf)/[\w.]+\.(?:sh|py)", text))


def test_without_a_python_that_fits_there_is_one_line(clone: Path, bare_path: Path) -> None:
    done = run(["make", "run"], clone, str(bare_path))
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        "zlay_py needs Python 3.11, 3.12 or 3.13 with venv: python3 is not there;"
        " name another with: make PYTHON=/path/to/python3.12 ..."
    )
    a_python(bare_path, "python3", "is Python 3.9.2", 1)
    a_python(bare_path, "python3.12", "pyenv: python3.12: command not found", 127)
    done = run(["make", "run"], clone, str(bare_path))
    assert done.returncode != 0
    assert "with venv: python3 is Python 3.9.2; name another" in done.stderr.splitlines()[0]
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("version", ["3.10.13", "3.14.0"])
def test_a_named_python_that_does_not_fit_is_refused(clone: Path, tmp_path: Path, version: str) -> None:
    named = a_python(tmp_path, "python", f"is Python {version}", 1)
    for target in ("run", "test", "lint"):
        done = run(["make", target, f"PYTHON={named}"], clone)
        assert done.returncode != 0
        assert f"with venv: {named} is Python {version}; name another" in done.stderr.splitlines()[0]
        assert not (clone / ".venv").exists()


def test_this_python_fits_and_the_check_is_a_real_one(clone: Path) -> None:
    # The script's own question, put to a real interpreter with another version number.
    script = (clone / "tools/setup_venv.sh").read_text()
    question = script.split("unfit='")[1].split("'\n")[0]
    assert subprocess.run([sys.executable, "-c", question], check=False).returncode == 0
    for version in ((3, 10, 1), (3, 14, 0), (2, 7, 18)):
        claimed = f"import sys; sys.version_info = {version}\n{question.removeprefix('import sys')}"
        done = subprocess.run([sys.executable, "-c", claimed], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr == "is Python {}.{}.{}\n".format(*version)


def test_the_first_python_that_fits_is_taken(clone: Path, bare_path: Path) -> None:
    a_python(bare_path, "python3", "is Python 3.14.0", 1)
    a_python(bare_path, "python3.12", "", 0)  # says yes to everything, and makes no .venv
    done = run(["make", "setup"], clone, str(bare_path))
    assert done.stdout.startswith("setting up .venv with python3.12 ")


def test_a_right_venv_is_left_alone(clone: Path, bare_path: Path) -> None:
    # No pip in it and no network: anything but "nothing to do" fails.
    (clone / ".venv/bin").mkdir(parents=True)
    a_python(clone / ".venv/bin", "python", "", 0)
    stamp = clone / ".venv/.installed-runtime"
    stamp.write_text((clone / "requirements.txt").read_text() + (clone / "pyproject.toml").read_text())
    for _ in range(2):
        done = run(["make", "setup"], clone, str(bare_path))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with (clone / "requirements.txt").open("a") as file:
        file.write("another==1.0\n")
    done = run(["make", "setup"], clone, str(bare_path))
    assert done.stdout.startswith("installing packages into .venv (runtime); this takes a minute or two\n")


def test_clean_leaves_the_data(clone: Path) -> None:
    for name in ("data/events", ".venv/bin", "build", "zlay_py/__pycache__", "tests", "conf"):
        (clone / name).mkdir(parents=True)
    assert run(["make", "clean"], clone).returncode == 0
    assert (clone / "data/events").is_dir()
    assert not any((clone / name).exists() for name in (".venv", "build", "zlay_py/__pycache__"))


def test_the_pins_are_exact_and_complete() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        wanted = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
        for line in filter(None, wanted):
            assert line == "-r requirements.txt" or line.count("==") == 1, line


@pytest.mark.parametrize(
    ("cases", "status"),
    [
        ("<testcase/>", 0),
        ("", 1),
        ("<testcase><skipped message='no fixtures folder at /x (set ZLAY_FIXTURES)'/></testcase>", 0),
        ("<testcase/><testcase><skipped message='make is not installed'/></testcase>", 1),
        ("<testcase><skipped/></testcase>", 1),
    ],
)
def test_a_skip_that_a_prepared_machine_must_not_have_fails(
    cases: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junit = tmp_path / "tests.xml"
    junit.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    assert check_skips.main([str(junit)]) == status
    assert ("NOT ALLOWED" in capsys.readouterr().out) == (status == 1 and "skipped" in cases)
