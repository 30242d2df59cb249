"""The layers hold, and the check that says so would notice."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(LINT_IMPORTS), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "zlay_py", tmp_path / "zlay_py", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_layers_hold(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("eventlog/wrong.py", "import zlay_py.api.wsgi", "Nothing imports upwards"),
        ("ingest/wrong.py", "import zlay_py.fanout.cursor", "Nothing imports upwards"),
        ("wrong.py", "", "Nothing imports upwards"),
        ("atproto/wrong.py", "import time", "atproto is pure"),
        ("atproto/wrong.py", "import gevent", "atproto is pure"),
        ("workers/wrong.py", "import websocket", "Only net names"),
        ("api/wrong.py", "from geventwebsocket import handler", "Only net names"),
        ("workers/wrong.py", "import sqlalchemy", "Only state names"),
        ("settings_checks.py", "import ssl", "Settings can be read"),
    ],
)
def test_a_forbidden_import_is_noticed(copy: Path, module: str, line: str, contract: str) -> None:
    with (copy / "zlay_py" / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint(copy)
    assert done.returncode != 0
    assert [row for row in done.stdout.splitlines() if row.startswith(contract) and "BROKEN" in row] or (
        module == "wrong.py" and "wrong" in done.stdout
    ), done.stdout
