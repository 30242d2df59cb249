"""Alembic, run by the program itself: no ini file, no command line, no lock file.

DDL is transactional in both databases, so the whole way from any older schema to ours is one transaction, whose
first statement is a lock (`sqlite.upgrade`, `postgres_schema.upgrade`): another process that starts at the same
moment waits there, looks at the revision *inside* its own transaction, and finds nothing to do. A crash in between
leaves the old schema.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from zlay_py.errors import ConfigError

SCRIPTS = Path(__file__).parent / "migrations"


def head() -> str:
    """The revision this version of the program works with."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def upgrade(engine: Engine, where: str) -> None:
    """Brings the database to `head`, in a transaction that begins with a lock.

    Raises the driver's own errors, and ConfigError where a newer version has been here.
    """
    try:
        with engine.begin() as connection:
            _upgrade(connection, where)
    except DBAPIError as error:
        if isinstance(error.orig, Exception):
            raise error.orig from error
        raise


def _upgrade(connection: Connection, where: str) -> None:
    current = MigrationContext.configure(connection).get_current_revision()
    if current == head():
        return
    config = _config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise ConfigError(f"{where}: its schema {current} is of a newer version of zlay_py than this one")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config
