"""What an error of PostgreSQL means to us, by its SQLSTATE (postgresql.org/docs/current/errcodes-appendix.html)."""

import psycopg2

from zlay_py.errors import ConfigError, CorruptionError, LocalError, StorageFullError
from zlay_py.state.failures import StateRuleError, StateUnavailableError

DISK_FULL = "53100"
DAMAGED = ("XX001", "XX002")
NOT_ALLOWED = "42501"
READ_ONLY = "25006"
PASSING = ("08", "25", "28", "3D", "40", "53", "55", "57", "58", "F0", "XX")
"""Classes of what another time, or an operator, mends: connections, a server that became read-only or a standby,
passwords being changed, a database being restored, deadlocks, too many connections, locks, shutdowns and timeouts, the
server's own I/O (it takes the transaction back, and stops itself where it can't) and its internal errors."""


def translate(error: psycopg2.Error, where: str) -> LocalError:
    """Our error for one of PostgreSQL's. `where`: the database, for the message."""
    code = error.pgcode
    message = f"{where}: {' '.join(str(error).split())}"
    if code is None:
        # no answer of the server: the connection, unless it is a use of the driver that it does not take
        passing = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return StateUnavailableError(message) if passing else StateRuleError(message)
    if code == DISK_FULL:
        return StorageFullError(message)
    if code in DAMAGED:
        return CorruptionError(f"{message}. Stop the relay and restore a backup of this database.")
    if code == NOT_ALLOWED:
        return ConfigError(f"DATABASE_URL: {message}")
    if code.startswith(PASSING):
        return StateUnavailableError(message)
    return StateRuleError(message)


def is_connection_lost(connection: psycopg2.extensions.connection, error: psycopg2.Error) -> bool:
    """Nothing is to be asked of this connection any more: the server is away, or has ended the session, or an operator
    made it a read-only one, which it stays."""
    if connection.closed or error.pgcode in (None, READ_ONLY):
        return True
    return error.diag.severity_nonlocalized in ("FATAL", "PANIC")
