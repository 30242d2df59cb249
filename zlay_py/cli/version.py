"""`zlay version`."""

import json
import platform
from importlib.metadata import version

import typer

from zlay_py import __version__

LIBRARIES = ("gevent", "gunicorn", "falcon")
"""Those that a report of a mistake should name."""


def print_version(*, as_json: bool) -> None:
    """One line, or JSON with the same facts."""
    facts = {"zlay_py": __version__, "python": platform.python_version()}
    facts |= {library: version(library) for library in LIBRARIES}
    typer.echo(json.dumps(facts) if as_json else ", ".join(f"{name} {number}" for name, number in facts.items()))
