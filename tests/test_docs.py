"""The documents say what the code does: generated parts are up to date, names and links exist, examples compile."""

import ast
import re
import shutil
from pathlib import Path

import pytest

from tools import gen_docs
from zlay_py.settings import VARIABLES, load_settings

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in ("docs", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def test_the_generated_parts_are_up_to_date() -> None:
    assert gen_docs.main(["--check"]) == 0, "run: make docs"


@pytest.mark.parametrize("name", ["README.md", "docs/configuration.md", "conf/zlay.env.example"])
def test_a_generated_part_that_is_not_up_to_date_is_named_and_written(
    name: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / name
    right = path.read_text()
    path.write_text(right.replace("4096", "4097"))
    assert gen_docs.main(["--check", "--root", str(copy)]) == 1
    assert capsys.readouterr().err == f"{name} is not up to date: make docs\n"
    assert path.read_text() != right
    assert gen_docs.main(["--root", str(copy)]) == 0
    assert capsys.readouterr().out == f"wrote {name}\n"
    assert path.read_text() == right


def test_the_readme_keeps_what_is_around_the_table() -> None:
    text = f"before\n{gen_docs.BEGIN}\nold\n{gen_docs.END}\nafter\n"
    assert gen_docs.with_table(text) == f"before\n{gen_docs.BEGIN}\n{gen_docs.settings_table()}{gen_docs.END}\nafter\n"
    for wrong in ("nothing", gen_docs.BEGIN, f"{gen_docs.END}{gen_docs.BEGIN}", text + gen_docs.END):
        with pytest.raises(ValueError, match="the README needs"):
            gen_docs.with_table(wrong)


def test_every_setting_is_in_the_table_and_no_cell_is_broken() -> None:
    rows = gen_docs.settings_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(VARIABLES)
    assert all(row.count("|") == 5 for row in rows)


def test_the_example_file_is_the_defaults_when_uncommented(tmp_path: Path) -> None:
    example = (ROOT / "conf" / "zlay.env.example").read_text()
    env_file = tmp_path / ".env"
    env_file.write_text(example)
    assert load_settings({}, env_file) == load_settings({}, tmp_path / "none")
    env_file.write_text(re.sub(r"(?m)^#(?=[A-Z_0-9]+=)", "", example))
    assert load_settings({}, env_file) == load_settings({}, tmp_path / "none")
    assert all(f"\n#{variable}=" in example for variable in VARIABLES)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_settings_that_are_named_exist(document: Path) -> None:
    named = set(
        re.findall(r"`(RELAY_[A-Z0-9_]+|DATABASE_URL|[A-Z]+_(?:WORKERS|THREADS|CAPACITY|SIZE))\b", document.read_text())
    )
    assert named <= set(VARIABLES)


def test_targets_that_the_documents_name_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for document in DOCUMENTS:
        for words in re.findall(r"(?m)(?:`|^)make ([a-z][a-z -]*?)(?:`|$)", document.read_text()):
            for target in words.split():
                assert re.search(rf"(?m)^{target}:", makefile), f"{document.name}: make {target}"


def test_examples_in_the_readme_compile() -> None:
    programs = re.findall(r"<<'END'\n(.*?)\nEND\n", (ROOT / "README.md").read_text(), re.DOTALL)
    assert programs
    for program in programs:
        ast.parse(program)


def test_the_architecture_names_every_package_and_module_at_the_top() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    package = ROOT / "zlay_py"
    names = [f"{path.parent.name}/" for path in package.glob("*/__init__.py")]
    names += [path.name for path in package.glob("*.py") if not path.name.startswith("__")]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_paths_in_backquotes_exist() -> None:
    for document in DOCUMENTS:
        for name in re.findall(r"`((?:zlay_py|conf|tools|tests|docs|net)/[\w./]*)`", document.read_text()):
            assert (ROOT / name).exists() or (ROOT / "zlay_py" / name).exists(), f"{document.name}: {name}"


def test_the_tests_that_prove_the_invariants_exist() -> None:
    text = (ROOT / "docs" / "invariants.md").read_text()
    proofs = re.findall(r"`(tests/[\w/.]+\.py)(?:::(\w+))?`", text)
    assert proofs
    for path, name in proofs:
        assert (ROOT / path).is_file(), path
        assert not name or f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"
