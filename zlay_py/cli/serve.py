"""`zlay serve`: the relay in this process, on the server that gunicorn's worker uses too."""

import typer

from zlay_py.errors import ConfigError, LocalError
from zlay_py.eventlog.lock import OwnerLock
from zlay_py.exit_status import CONFIG_WRONG
from zlay_py.settings import load_settings


def serve() -> int:
    """Serves until a signal. Returns the exit status. The process is patched for gevent already."""
    try:
        settings = load_settings()
    except ConfigError as error:
        typer.echo(f"zlay: {error}", err=True)
        return CONFIG_WRONG
    # Imported here: the module builds the application from the settings, which were wrong a moment ago or are right.
    from zlay_py.app import app
    from zlay_py.workers import pywsgi_server

    owner = OwnerLock(settings.data_dir)
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        owner.acquire()
    except LocalError as error:
        typer.echo(f"zlay: {error}", err=True)
        return CONFIG_WRONG
    except OSError as error:
        typer.echo(f"zlay: RELAY_DATA_DIR: making {settings.data_dir}: {error.strerror or error}", err=True)
        return CONFIG_WRONG
    try:
        return pywsgi_server.serve(app, settings.bind, settings.port)
    finally:
        owner.release()
