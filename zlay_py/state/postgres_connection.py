"""One connection to PostgreSQL: where it goes, how it is made without stopping the hub, and what it is set to.

libpq resolves names and waits for them without telling anybody, so names are resolved here, by gevent, and handed
over as addresses; its `connect_timeout` does not hold for connections that are made in steps, as greenlets need
them, so the time is kept here as well.
"""

import ipaddress
import os
from typing import Any

import gevent
import gevent.socket
import psycopg2
import psycopg2.extensions

from zlay_py.errors import ConfigError
from zlay_py.state.backend import Waits
from zlay_py.state.failures import StateUnavailableError

VERSION_MIN = 130000
"""13, as `server_version` says it: older ones are out of support, and nobody tries them with this."""

DEFAULTS = {
    "application_name": "zlay_py",
    # a server that vanished without a word (its machine died, a firewall forgot us) is noticed within a minute
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""What an address may say otherwise."""

SETUP = (
    "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false),"
    " set_config('idle_in_transaction_session_timeout', %s, false),"
    " set_config('default_transaction_read_only', %s, false),"
    # a cluster set to lose its last transactions must not lose ours: see `sqlite` for what hangs on them
    " set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), false),"
    " pg_is_in_recovery()"
)


class PostgresConnection(psycopg2.extensions.connection):
    """`prepared`: the statements that this session has prepared, by their text."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.prepared: dict[str, str] = {}


class Address:
    """Where the database is. `where` names it in messages: no user, no password."""

    def __init__(self, url: str) -> None:
        """Raises ConfigError, which repeats nothing of the URL: there may be a password anywhere in it."""
        try:
            self._parameters: dict[str, str] = psycopg2.extensions.parse_dsn(url)
        except psycopg2.Error:
            raise ConfigError(
                "DATABASE_URL is no address of a PostgreSQL database; postgresql://user:password@host:port/name is one"
            ) from None
        hosts = self._parameters.get("host", "localhost")
        ports = self._parameters.get("port", "5432")
        self.where = f"PostgreSQL at {hosts}:{ports}/{self._parameters.get('dbname', '')}"

    def parameters(self) -> dict[str, Any]:
        """For libpq, with the addresses that the hosts' names have now. Raises StateUnavailableError."""
        parameters = DEFAULTS | self._parameters | {"client_encoding": "UTF8"}
        names = parameters.get("host", "").split(",")
        if "hostaddr" in parameters or all(map(_needs_no_look_up, names)):
            return parameters
        ports = parameters.get("port", "").split(",")
        if len(ports) != len(names):
            ports = ports[:1] * len(names)
        places: list[tuple[str, str, str]] = []
        failure = ""
        for name, port in zip(names, ports, strict=True):
            if _needs_no_look_up(name):
                places.append((name, "" if name.startswith(("/", "@")) else name, port))
                continue
            try:
                found = gevent.socket.getaddrinfo(name, None, type=gevent.socket.SOCK_STREAM)
            except OSError as error:
                failure = f"{name}: {error.strerror}"
                continue
            places += [(name, str(address[4][0]), port) for address in found]
        if not places:
            raise StateUnavailableError(f"{self.where}: {failure}")
        parts = [",".join(part) for part in zip(*places, strict=True)]
        return parameters | dict(zip(("host", "hostaddr", "port"), parts, strict=True))


def _needs_no_look_up(name: str) -> bool:
    """A socket's path, an address, or nothing, which means a socket too."""
    if not name or name.startswith(("/", "@")):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def connect(address: Address, waits: Waits, *, writing: bool) -> PostgresConnection:
    """A session in autocommit mode. One that is not for writing refuses to write.

    Raises psycopg2.Error, StateUnavailableError for a standby, which may be behind, and ConfigError for a server too
    old.
    """
    with _Deadline(waits.connect_s, f"no connection within {waits.connect_s:g} s"):
        connection: PostgresConnection = psycopg2.connect(connection_factory=PostgresConnection, **address.parameters())
        try:
            _set_up(connection, address, waits, writing=writing)
        except BaseException:
            connection.close()
            raise
    return connection


def _set_up(connection: PostgresConnection, address: Address, waits: Waits, *, writing: bool) -> None:
    if connection.server_version < VERSION_MIN:
        raise ConfigError(
            f"DATABASE_URL: {address.where} is version {connection.server_version // 10_000}; "
            f"{VERSION_MIN // 10_000} or newer is needed"
        )
    connection.autocommit = True
    psycopg2.extensions.register_type(BYTES, connection)
    statement_s = waits.write_s if writing else waits.read_s
    times = (_ms(statement_s), _ms(waits.lock_s), _ms(waits.write_s), "off" if writing else "on")
    with connection.cursor() as cursor:
        cursor.execute(SETUP, times)
        row = cursor.fetchone()
    if row is None or row[-1]:
        raise StateUnavailableError(f"{address.where} is a standby, which may be behind")


def _ms(seconds: float) -> str:
    return str(max(1, int(seconds * 1000)))


def _bytes(value: Any, cursor: Any) -> bytes | None:
    return None if value is None else bytes(psycopg2.BINARY(value, cursor))


BYTES = psycopg2.extensions.new_type(psycopg2.BINARY.values, "BYTES", _bytes)
"""The driver gives memoryviews otherwise."""


class _Deadline:
    """Ends what takes too long with psycopg2.OperationalError: for the driver's own waits, which know no end."""

    def __init__(self, seconds: float, message: str) -> None:
        self._timeout = gevent.Timeout(seconds)
        self._message = message

    def __enter__(self) -> None:
        self._timeout.start()

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        self._timeout.close()
        if error is self._timeout:
            raise psycopg2.OperationalError(self._message) from None


class OneProcess:
    """A connection belongs to the process that made it: two that write to one socket end both sessions."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def check(self) -> None:
        assert os.getpid() == self._pid, "a database handle was used after a fork"
