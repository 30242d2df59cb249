"""The connections to a server: made when they are needed, replaced when they break, few at any time.

    read      ─▶ one of READERS connections, whichever is free
    transact  ─▶ the one connection that writes, from a greenlet of its own

A server that is away is known to be away: after the first failed attempt only one greenlet goes on trying, and
everybody else is told at once, so that no lane stands still for a connection that will not come.
"""

import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import gevent
import psycopg2
from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore

from zlay_py.state.backend import Cursor, Waits
from zlay_py.state.failures import StateRuleError, StateUnavailableError
from zlay_py.state.postgres_connection import Address, OneProcess, PostgresConnection, connect
from zlay_py.state.postgres_cursor import PostgresCursor
from zlay_py.state.postgres_errors import is_connection_lost, translate

T = TypeVar("T")

READERS = 4
"""With the one that writes a pool of five. A read takes 0.1 ms of the server, so four answer 40,000 a second."""


class Connector:
    """Makes connections, and remembers that none can be made."""

    def __init__(self, address: Address, waits: Waits) -> None:
        self.waits = waits
        self.where = address.where
        self.closed = False
        """Nothing more is to be asked. What was asked before may still connect, until `close`."""
        self._ended = False
        self._address = address
        self._process = OneProcess()
        self._away: str | None = None
        self._probe: gevent.Greenlet[[], None] | None = None

    def check_open(self) -> None:
        self._process.check()
        if self.closed:
            raise StateUnavailableError(f"{self.where}: closed")

    def connect(self, *, writing: bool) -> PostgresConnection:
        """Raises StateUnavailableError, at once while the server is known to be away."""
        if self._away is not None:
            raise StateUnavailableError(self._away)
        try:
            connection = connect(self._address, self.waits, writing=writing)
        except (psycopg2.Error, StateUnavailableError) as error:
            failure = translate(error, self.where) if isinstance(error, psycopg2.Error) else error
            self._away = str(failure)
            if self._probe is None and not self._ended:
                self._probe = gevent.spawn(self._until_it_is_back)
            raise failure from error
        if self._ended:  # while we waited
            connection.close()
            raise StateUnavailableError(f"{self.where}: closed")
        return connection

    def close(self) -> None:
        self.closed = self._ended = True
        if self._probe is not None:
            self._probe.kill()

    def _until_it_is_back(self) -> None:
        while True:
            gevent.sleep(self.waits.retry_s)
            try:
                connect(self._address, self.waits, writing=True).close()
            except psycopg2.Error as error:
                self._away = str(translate(error, self.where))
            except Exception as error:  # a standby; an old version; whatever it is, nobody else goes on trying
                self._away = str(error)
            else:
                self._away = self._probe = None
                return


class Readers:
    """Runs one statement at a time on each of a few connections. Whoever waits longest is next."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._room = BoundedSemaphore(READERS)
        self._idle: list[PostgresConnection] = []

    def run(self, work: Callable[[PostgresCursor], T]) -> T:
        """`work` only reads: it is done again where the connection turns out to be broken.

        Raises what `Database.one` does; StateUnavailableError after `Waits.read_s`, waiting for a connection included.
        """
        connector = self._connector
        connector.check_open()
        timeout = gevent.Timeout.start_new(connector.waits.read_s)
        try:
            with self._room:
                while True:
                    try:
                        return self._once(work)
                    except _BrokenWhileIdleError:  # so may the others be: the server was restarted
                        self.close()
        except gevent.Timeout as expired:
            if expired is not timeout:
                raise
            raise StateUnavailableError(f"{connector.where}: no answer within {connector.waits.read_s:g} s") from None
        finally:
            timeout.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _once(self, work: Callable[[PostgresCursor], T]) -> T:
        reused = bool(self._idle)
        connection = self._idle.pop() if reused else self._connector.connect(writing=False)
        try:
            cursor = PostgresCursor(connection)
            value = work(cursor)
            cursor.close()
        except psycopg2.Error as error:
            if not is_connection_lost(connection, error):
                self._give_back(connection)
                raise translate(error, self._connector.where) from error
            connection.close()
            if reused:
                raise _BrokenWhileIdleError from error
            raise translate(error, self._connector.where) from error
        except BaseException:  # killed while the answer was on its way: it would be taken for the next one's
            connection.close()
            raise
        self._give_back(connection)
        return value

    def _give_back(self, connection: PostgresConnection) -> None:
        if self._connector.closed:
            connection.close()
        else:
            self._idle.append(connection)


class _BrokenWhileIdleError(Exception):
    """A connection that was good when it was last used is not any more."""


@dataclass(slots=True)
class _Job(Generic[T]):
    work: Callable[[Cursor], T]
    result: "AsyncResult[T]" = field(default_factory=AsyncResult)


class Writer:
    """Transactions, one after the other, in a greenlet that ends when there are none: killing who asked stops none."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._connection: PostgresConnection | None = None
        self._jobs: deque[_Job[object]] = deque()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def run(self, work: Callable[[Cursor], T]) -> T:
        self._connector.check_open()
        job = _Job(work)
        self._jobs.append(job)  # type: ignore[arg-type]  # each job's result is its own work's
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)
        return job.result.get()  # type: ignore[return-value]  # where T has None in it, None is a value

    def finish(self, timeout_s: float) -> None:
        """Waits for what was asked for, and closes. Whoever still waits after that is told so."""
        if self._greenlet is not None:
            self._greenlet.join(timeout_s)
        if self._greenlet is not None:
            self._greenlet.kill()
        while self._jobs:
            self._jobs.popleft().result.set_exception(StateUnavailableError(f"{self._connector.where}: closed"))
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self) -> None:
        try:
            while self._jobs:
                job = self._jobs.popleft()
                try:
                    job.result.set(self._transaction(job.work))
                except Exception as error:
                    job.result.set_exception(error)
                except BaseException:
                    job.result.set_exception(StateUnavailableError(f"{self._connector.where}: the writer was ended"))
                    raise
        finally:
            self._greenlet = None

    def _transaction(self, work: Callable[[Cursor], T]) -> T:
        where, write_s = self._connector.where, self._connector.waits.write_s
        timeout = gevent.Timeout.start_new(write_s)
        try:
            connection, cursor = self._begin()
            try:
                value = work(cursor)
                cursor.execute("COMMIT")
                if cursor.status != "COMMIT":
                    raise StateRuleError(f"{where}: an error was passed over in a transaction, which was taken back")
            except psycopg2.Error as error:
                if is_connection_lost(connection, error):
                    self._disconnect()
                else:
                    self._roll_back(connection)
                raise translate(error, where) from error
            except Exception:
                self._roll_back(connection)
                raise
            except BaseException:  # cut off in the middle of a statement
                self._disconnect()
                raise
            cursor.close()
        except gevent.Timeout as expired:
            if expired is not timeout:
                raise
            raise StateUnavailableError(f"{where}: no answer within {write_s:g} s") from None
        finally:
            timeout.close()
        return value

    def _begin(self) -> tuple[PostgresConnection, PostgresCursor]:
        """A connection that may have broken since its last use is replaced: nothing has been asked of it yet."""
        for reused in (True, False) if self._connection is not None else (False,):
            if self._connection is None:
                self._connection = self._connector.connect(writing=True)
            connection = self._connection
            try:
                cursor = PostgresCursor(connection)
                cursor.execute("BEGIN")
            except psycopg2.Error as error:
                self._disconnect()
                if not reused:
                    raise translate(error, self._connector.where) from error
            except BaseException:
                self._disconnect()
                raise
            else:
                return connection, cursor
        raise AssertionError("unreachable")

    def _roll_back(self, connection: PostgresConnection) -> None:
        if connection is self._connection:
            try:
                with contextlib.closing(PostgresCursor(connection)) as cursor:
                    cursor.execute("ROLLBACK")
            except BaseException as error:
                self._disconnect()
                if not isinstance(error, psycopg2.Error):
                    raise
