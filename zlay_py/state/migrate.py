"""Alembic, run by the program itself: no ini file, no command line, no lock file.

SQLite's DDL is transactional, so the whole way from any older schema to ours is one BEGIN IMMEDIATE transaction:
another process that starts at the same moment waits for it, looks at the revision *inside* its own transaction,
and finds nothing to do. A crash in between leaves the old schema.
"""

import contextlib
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from zlay_py.errors import ConfigError
from zlay_py.state.sqlite import connect_writer

SCRIPTS = Path(__file__).parent / "migrations"


def head() -> str:
    """The revision this version of the program works with."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def upgrade(path: Path) -> None:
    """Brings the database to `head`. Raises sqlite3.Error, and ConfigError where a newer version has been here."""
    if revision_of(path) == head():
        return  # without a write lock: a start must not wait for a backup that is running
    engine = create_engine("sqlite://", creator=lambda: connect_writer(path), poolclass=NullPool)
    event.listen(engine, "begin", _begin_immediate)
    try:
        with engine.begin() as connection:
            _upgrade(connection, path)
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise error.orig from error
        raise
    finally:
        engine.dispose()


def revision_of(path: Path) -> str | None:
    """The revision a database is at; None for a new one. Raises sqlite3.Error."""
    with contextlib.closing(connect_writer(path)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
                return None
            raise
    return None if row is None else str(row[0])


def _upgrade(connection: Connection, path: Path) -> None:
    current = MigrationContext.configure(connection).get_current_revision()
    if current == head():
        return
    config = _config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise ConfigError(f"{path}: its schema {current} is of a newer version of zlay_py than this one")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config
