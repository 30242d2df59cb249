"""One connection to PostgreSQL: where it goes, how it is made without stopping the hub, and what it is set to.

libpq resolves names and waits for them without telling anybody, so names are resolved here, off the hub, and handed
over as addresses; its `connect_timeout` does not hold for connections that are made in steps, as greenlets need
them, so the time is kept here as well, and an address that does not answer is given up for the next one.
"""

import os
from typing import Any, Final, NamedTuple

import gevent
import psycopg2
import psycopg2.extensions

from zlay_py.errors import ConfigError, NetError
from zlay_py.net.dial import NameResolver, Resolve
from zlay_py.state.backend import Waits
from zlay_py.state.failures import StateUnavailableError

VERSION_MIN = 130000
"""13, as `server_version` says it: older ones are out of support, and nobody tries them with this."""

ENCODING = "UTF8"
"""Others can't hold every text that a host may send, and say so only when it comes."""

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
    "SELECT pg_is_in_recovery(), current_setting('server_encoding'),"
    " set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false),"
    " set_config('idle_in_transaction_session_timeout', %s, false),"
    # each statement sees what was committed before it, whatever the cluster's default is
    " set_config('default_transaction_isolation', 'read committed', false),"
    # a cluster set to lose its last transactions must not lose ours: see `sqlite` for what hangs on them
    " set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), false)"
)
ONLY_READS = ", set_config('default_transaction_read_only', 'on', false)"
"""Of those that write it is left as it is: an operator, or a disk that is nearly full, may have made them read-only."""

RESOLVER_THREADS: Final = 2
_RESOLVER: Final = NameResolver(RESOLVER_THREADS)
"""Our own: neither the log's fsyncs nor the names that hosts give may wait for a dead name of the database, nor it
for them."""


class PostgresConnection(psycopg2.extensions.connection):
    """`prepared`: the statements that this session has prepared, by their text."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.prepared: dict[str, str] = {}


class Place(NamedTuple):
    """One address of one host, as libpq calls them; what is empty is libpq's to choose."""

    host: str
    hostaddr: str
    port: str


class Address:
    """Where the database is. `where` names it in messages: no user, no password."""

    def __init__(self, url: str, resolve: Resolve = _RESOLVER) -> None:
        """Raises ConfigError, which repeats nothing of the URL: there may be a password anywhere in it."""
        try:
            self._parameters: dict[str, str] = psycopg2.extensions.parse_dsn(url)
        except psycopg2.Error:
            raise ConfigError(
                "DATABASE_URL is no address of a PostgreSQL database; postgresql://user:password@host:port/name is one"
            ) from None
        self._resolve = resolve
        hosts = self._parameters.get("host", "localhost")
        ports = self._parameters.get("port", "5432")
        self.where = f"PostgreSQL at {hosts}:{ports}/{self._parameters.get('dbname', '')}"
        self.answered: Place | None = None
        """The one that answered last, to be asked first."""

    def places(self) -> list[Place]:
        """Every address that the hosts' names have now, best first. Raises StateUnavailableError if there is none."""
        given = self._parameters
        names, ports = given.get("host", "").split(","), given.get("port", "").split(",")
        if "hostaddr" in given or len(ports) not in (1, len(names)):
            return [Place(given.get("host", ""), given.get("hostaddr", ""), given.get("port", ""))]  # libpq's to judge
        if len(ports) == 1:
            ports *= len(names)
        places: list[Place] = []
        failure = "no address"
        for name, port in zip(names, ports, strict=True):
            if not name or name.startswith(("/", "@")):  # a socket's path, or nothing, which means a socket too
                places.append(Place(name, "", port))
                continue
            try:
                places += [Place(name, address, port) for address in self._resolve(name)]
            except NetError as error:
                failure = str(error)
        if not places:
            raise StateUnavailableError(f"{self.where}: {failure}")
        return sorted(places, key=lambda place: place != self.answered)

    def parameters(self, place: Place) -> dict[str, Any]:
        """For libpq."""
        there = {name: value for name, value in place._asdict().items() if value}
        return DEFAULTS | self._parameters | {"client_encoding": ENCODING} | there


def connect(address: Address, waits: Waits, *, writing: bool) -> PostgresConnection:
    """A session in autocommit mode, at the first place that takes one. One not for writing refuses to write.

    Raises psycopg2.Error, StateUnavailableError for a standby, which may be behind, and ConfigError for a server too
    old, and for a database of another encoding.
    """
    failures: list[psycopg2.Error | StateUnavailableError] = []
    with _Deadline(waits.connect_s, f"its name is not resolved within {waits.connect_s:g} s"):
        places = address.places()
    for place in places:
        try:
            with _Deadline(waits.connect_s, f"no connection within {waits.connect_s:g} s"):
                connection = _connect_to(address, place, waits, writing=writing)
        except (psycopg2.Error, StateUnavailableError) as error:
            failures.append(error)
        else:
            address.answered = place
            return connection
    if len(failures) == 1:
        raise failures[0]
    raise psycopg2.OperationalError("; ".join(" ".join(str(failure).split()) for failure in failures))


def _connect_to(address: Address, place: Place, waits: Waits, *, writing: bool) -> PostgresConnection:
    try:
        connection: PostgresConnection = psycopg2.connect(
            connection_factory=PostgresConnection, **address.parameters(place)
        )
    except UnicodeDecodeError as error:  # the server's words, in its own language: it was not told ours yet
        raise psycopg2.OperationalError(error.object.decode(errors="replace")) from error
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
    with connection.cursor() as cursor:
        text = SETUP if writing else SETUP + ONLY_READS
        cursor.execute(text, (_ms(statement_s), _ms(waits.lock_s), _ms(waits.write_s)))
        row = cursor.fetchone()
    assert row is not None
    in_recovery, encoding, *_ = row
    if in_recovery:
        raise StateUnavailableError(f"{address.where} is a standby, which may be behind")
    if encoding != ENCODING:
        raise ConfigError(f"DATABASE_URL: the encoding of {address.where} is {encoding}; {ENCODING} is needed")


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
