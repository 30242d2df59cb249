"""Writes the parts of the documents that follow from the code: every setting, in three places, and the mutants.

python -m tools.gen_docs            write them
python -m tools.gen_docs --check    write nothing; exit status 1 and the names of those that are not up to date
"""

import argparse
import sys
from pathlib import Path

from tools.mutants import page as mutants_page
from zlay_py.settings import VARIABLES, Settings, allowed, as_text

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- settings: written by `make docs` -->"
END = "<!-- end of settings -->"

CONFIGURATION = """\
# Configuration

Written by `make docs` from `zlay_py/settings.py`; a change here is lost.

A setting is an environment variable. A file `.env` in the folder that the relay is started from is read too, as lines
`NAME=value`; the environment wins. A wrong value, and a variable that begins with `RELAY_` and is none of these, stops
the start with one line and exit status 2. `zlay check-config` prints what is in force. `conf/zlay.env.example` is a
`.env` to begin with.

"""

ENV_EXAMPLE = """\
# Settings of zlay_py, each with its default: copy to .env and remove the # of those to change.
# Written by `make docs` from zlay_py/settings.py. The same with explanations: docs/configuration.md.
"""


def default_text(name: str) -> str:
    """The default of a field as one would write it; "" where the default is nothing."""
    return as_text(Settings.model_fields[name].default)


def settings_table() -> str:
    """A Markdown table: variable, default, what is allowed, what it means."""
    rows = ["| variable | default | allowed | meaning |", "|---|---|---|---|"]
    for variable, name in VARIABLES.items():
        default = f"`{text}`" if (text := default_text(name)) else "empty"
        description = str(Settings.model_fields[name].description)
        rows.append(f"| `{variable}` | {default} | {allowed(name)} | {description} |")
    return "\n".join(rows) + "\n"


def env_example() -> str:
    """A `.env` in which everything is a comment."""
    return ENV_EXAMPLE + "".join(
        f"\n# {str(Settings.model_fields[name].description).replace('`', '')}\n"
        f"# Allowed: {allowed(name)}\n#{variable}={default_text(name)}\n"
        for variable, name in VARIABLES.items()
    )


def with_table(text: str) -> str:
    """`text` with the table between the two markers. Raises ValueError when they are not there once, in order."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the README needs {BEGIN} and {END}, once each")
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{settings_table()}{END}{rest.split(END)[1]}"


def generated(root: Path) -> dict[Path, str]:
    """What each file with a generated part should hold."""
    readme = root / "README.md"
    return {
        readme: with_table(readme.read_text(encoding="utf-8")),
        root / "docs" / "configuration.md": CONFIGURATION + settings_table(),
        root / "docs" / "mutants.md": mutants_page.render(),
        root / "conf" / "zlay.env.example": env_example(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say what is not up to date")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    status = 0
    for path, text in generated(options.root).items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if options.check:
            print(f"{path.relative_to(options.root)} is not up to date: make docs", file=sys.stderr)
            status = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(options.root)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
