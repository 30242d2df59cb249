"""What an error of the database means to us: four kinds, by what the caller should do."""

import sqlite3

from zlay_py.errors import CorruptionError, LocalError, StorageFailedError, StorageFullError


class StateUnavailableError(LocalError):
    """The database refused or did not answer (locked by a stranger, gone). Nothing was changed: try again later."""


class StateRuleError(LocalError):
    """A row breaks a rule of the schema, or is not there although its id was handed out: a bug of ours. Don't retry."""


_PRIMARY_CODE_MASK = 0xFF
"""SQLite's extended result codes carry the primary one in the low byte (sqlite.org/rescode.html)."""


def translate(error: sqlite3.Error, where: str) -> LocalError:
    """Our error for one of SQLite's. `where`: the database file, for the message."""
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE_MASK
    if code == sqlite3.SQLITE_FULL:
        return StorageFullError(f"{where}: {error}")
    if code == sqlite3.SQLITE_IOERR:
        return StorageFailedError(f"{where}: {error}")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CorruptionError(f"{where}: {error}. Stop the relay and put a backup of this file in its place.")
    if isinstance(error, sqlite3.OperationalError):
        return StateUnavailableError(f"{where}: {error}")
    return StateRuleError(f"{where}: {error}")
