"""What `zlay` can do: one function per command, each with the help that the user sees."""

from pathlib import Path
from typing import Annotated

import typer

from zlay_py.cli import check_config, log, serve, version

STATUSES = """
Exit status: 0 all is well; 2 a setting or an argument is wrong; 3 the relay could not start; 70 it could not go on.
"""

zlay = typer.Typer(
    help="An AT Protocol relay. Settings come from the environment and from .env; see docs/configuration.md.",
    epilog=STATUSES.strip(),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables, which may be secrets
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@zlay.command("serve", epilog=STATUSES.strip())
def serve_command() -> None:
    """Run the relay in this process, without gunicorn. Ends in order on TERM and INT (Ctrl-C)."""
    raise typer.Exit(serve.serve())


@zlay.command("check-config", epilog="Exit status: 0 the settings are right; 2 one is wrong, and a line says which.")
def check_config_command(as_json: Json = False) -> None:
    """Print the effective settings, passwords left out, and start nothing."""
    raise typer.Exit(check_config.check_config(as_json=as_json))


log_commands = typer.Typer(help="Look at the event log's files. Only reads: a relay may be running.")
zlay.add_typer(log_commands, name="log")


@log_commands.command("verify", epilog="Exit status: 0 every byte is as it was written; 4 something is damaged.")
def log_verify_command(
    directory: Annotated[Path | None, typer.Argument(help="Default: RELAY_DATA_DIR.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Read all segments and check every record; one line for each segment."""
    raise typer.Exit(log.verify(directory, as_json=as_json))


@zlay.command("version")
def version_command(as_json: Json = False) -> None:
    """Print which version this is, and what it runs on."""
    version.print_version(as_json=as_json)
