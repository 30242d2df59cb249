"""`zlay check-config`."""

import json

import typer

from zlay_py.errors import ConfigError
from zlay_py.exit_status import ALL_IS_WELL, CONFIG_WRONG
from zlay_py.settings import load_settings


def check_config(*, as_json: bool) -> int:
    """Prints the settings as lines for a `.env`, or as JSON. Returns the exit status."""
    try:
        settings = load_settings()
    except ConfigError as error:
        typer.echo(f"zlay: {error}", err=True)
        return CONFIG_WRONG
    variables = settings.variables()
    if as_json:
        typer.echo(json.dumps(variables, indent=2))
    else:
        typer.echo("\n".join(f"{variable}={value}" for variable, value in variables.items()))
    return ALL_IS_WELL
