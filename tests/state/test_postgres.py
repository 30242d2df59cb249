"""What is PostgreSQL's alone: connections that break, a server that goes away, greenlets that are cut off."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import gevent
import psycopg2
import pytest
from gevent.event import Event
from gevent.pool import Pool

from tests.support.gates import until
from tests.support.postgres import NOT_INSTALLED, PostgresServer, binaries, private_server
from zlay_py.errors import ConfigError, CorruptionError, LocalError, StorageFullError
from zlay_py.state.accounts import AccountStore
from zlay_py.state.backend import Cursor
from zlay_py.state.database import Database, Waits
from zlay_py.state.failures import StateRuleError, StateUnavailableError
from zlay_py.state.hosts import HostStore
from zlay_py.state.leftovers import Leftover
from zlay_py.state.meta import MetaStore
from zlay_py.state.postgres import PostgresBackend
from zlay_py.state.postgres_errors import translate
from zlay_py.state.postgres_pool import READERS

QUICK = Waits(lock_s=0.2, read_s=1.0, write_s=2.0, connect_s=0.5, retry_s=0.02)
OURS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'zlay_py' AND datname = current_database()"


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    made = postgres.new_url()
    yield made
    postgres.drop(made)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url, QUICK)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """One that a test may break, and leaves running."""
    if binaries() is None:
        pytest.skip(NOT_INSTALLED)
    with private_server() as server:
        yield server


@pytest.fixture
def own(own_server: PostgresServer) -> Iterator[Database]:
    opened = Database(own_server.new_url(), QUICK)
    yield opened
    opened.close()


def put(key: str) -> Callable[[Cursor], None]:
    def work(cursor: Cursor) -> None:
        cursor.execute("INSERT INTO meta VALUES (%s, '')", (key,))

    return work


def keys(database: Database) -> list[str]:
    return [row[0] for row in database.rows("SELECT key FROM meta ORDER BY ctid")]


def sessions(postgres: PostgresServer, url: str) -> list[int]:
    """Server processes of ours in this database."""
    return [int(str(row[0])) for row in postgres.ask(OURS, url=url)]


def comes_back(ask: Callable[[], object]) -> object:
    """What a loop of ours does while the database is away: again, until it answers."""
    with gevent.Timeout(30):
        while True:
            try:
                return ask()
            except StateUnavailableError:
                gevent.sleep(QUICK.retry_s)


def test_there_are_five_connections_at_most_and_none_unless_needed(
    postgres: PostgresServer, database: Database, url: str
) -> None:
    assert sessions(postgres, url) == []
    readers = Pool(100).map(lambda _: database.one("SELECT pg_backend_pid()"), range(300))
    assert len(set(readers)) == READERS
    writers = Pool(100).map(
        lambda _: database.transaction(lambda cursor: cursor.execute("SELECT pg_backend_pid()").fetchone()), range(100)
    )
    assert len(set(writers)) == 1
    assert len(sessions(postgres, url)) == READERS + 1


def test_sessions_are_set_up(database: Database, postgres: PostgresServer, url: str) -> None:
    postgres.ask(f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = off")
    asked = "SELECT " + ", ".join(
        f"current_setting('{name}')"
        for name in ("application_name", "synchronous_commit", "statement_timeout", "client_encoding")
    )
    assert database.one(asked) == ("zlay_py", "on", "1s", "UTF8")
    assert database.transaction(lambda cursor: cursor.execute(asked).fetchone()) == ("zlay_py", "on", "2s", "UTF8")


def test_reads_go_on_while_a_transaction_waits_for_a_lock(
    database: Database, postgres: PostgresServer, url: str
) -> None:
    database.transaction(put("a"))
    held, let_go = Event(), Event()

    def stranger() -> None:
        connection = psycopg2.connect(url)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT * FROM meta FOR UPDATE")
            held.set()
            assert let_go.wait(10)
        connection.close()

    other = gevent.spawn(stranger)
    assert held.wait(10)
    with pytest.raises(StateUnavailableError, match="lock timeout"):
        database.transaction(lambda cursor: cursor.execute("DELETE FROM meta"))
    waiting = gevent.spawn(database.transaction, lambda cursor: cursor.execute("DELETE FROM meta").rowcount)
    assert Pool(20).map(lambda _: keys(database), range(50)) == [["a"]] * 50
    let_go.set()
    other.get(timeout=10)
    assert waiting.get(timeout=10) == 1


def test_a_connection_that_was_ended_while_idle_is_replaced_unnoticed(
    database: Database, postgres: PostgresServer, url: str
) -> None:
    database.transaction(put("a"))
    Pool(READERS).map(lambda _: database.one("SELECT pg_sleep(0.01)"), range(READERS))
    assert len(sessions(postgres, url)) == READERS + 1
    for _ in range(2):
        postgres.ask(OURS.replace("SELECT pid", "SELECT pg_terminate_backend(pid)"), url=url)
        assert keys(database) == ["a"]
        database.transaction(lambda _: None)


def test_a_connection_that_is_ended_in_the_middle_of_a_transaction_takes_it_back(
    database: Database, postgres: PostgresServer, url: str
) -> None:
    def work(cursor: Cursor) -> None:
        put("a")(cursor)
        pid = cursor.execute("SELECT pg_backend_pid()").fetchone()[0]
        postgres.ask("SELECT pg_terminate_backend(%s, 5000)", pid, url=url)
        put("b")(cursor)

    with pytest.raises(StateUnavailableError):
        database.transaction(work)
    assert keys(database) == []
    database.transaction(put("c"))
    assert keys(database) == ["c"], "the next one has a connection of its own"


def test_when_the_answer_to_a_commit_is_lost_the_transaction_may_be_repeated(
    database: Database, postgres: PostgresServer, url: str
) -> None:
    """Each of the writes that are there, with the connection ended so late that the server has done everything."""
    hosts, accounts, meta = HostStore(database), AccountStore(database), MetaStore(database)
    host = hosts.upsert("a.test", True, now_us=1)
    other = hosts.upsert("b.test", True, now_us=1)
    account = accounts.create("did:plc:a", host.id, 1)
    lossy = LossyDatabase(url)
    lossy_hosts, lossy_accounts, lossy_meta = HostStore(lossy), AccountStore(lossy), MetaStore(lossy)
    writes: list[Callable[[], object]] = [
        lambda: lossy_hosts.upsert("c.test", True, now_us=1),
        lambda: lossy_hosts.bump_epoch(host.id, 0, None),
        lambda: lossy_accounts.create("did:plc:b", host.id, 1),
        lambda: lossy_accounts.move(account.uid, other.id),
        lambda: lossy_meta.save_applied_seq("state", 5),
        lambda: lossy_hosts.save_cursors([], 7),
    ]
    for write in writes:
        lossy.losing = True
        with pytest.raises(StateUnavailableError):
            write()
        write()
    assert [(row.account_count, row.epoch) for row in hosts.all()] == [(1, 1), (1, 0), (0, 0)]
    assert (meta.applied_seq(), meta.cursor_checkpoint()) == (5, 7)
    lossy.close()


class LossyDatabase(Database):
    """Does the next transaction while `losing`, and says that it can't tell."""

    losing = False

    def transaction(self, work):  # type: ignore[no-untyped-def]
        value = super().transaction(work)
        if self.losing:
            self.losing = False
            raise StateUnavailableError("the connection broke")
        return value


def test_marks_wait_for_those_whose_commit_is_still_under_way(database: Database, url: str) -> None:
    """We gave a transaction up, and the server had only not got round to it yet: it must not end after the next one."""
    hosts = HostStore(database)
    host = hosts.upsert("a.test", True, now_us=1)
    hosts.save_cursors([], 1)
    with contextlib.closing(psycopg2.connect(url)) as late, late.cursor() as cursor:
        cursor.execute("UPDATE meta SET value = '2' WHERE key = 'cursor_checkpoint_seq'")
        cursor.execute("INSERT INTO leftovers (host_id, epoch, runs, judged) VALUES (%s, 0, '5-5', '')", (host.id,))
        next_one = gevent.spawn(hosts.save_cursors, [], 3, [Leftover(host.id, 0, ())])
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        until(lambda: database.one(waiting))
        late.commit()
    next_one.get(timeout=10)
    assert hosts.leftovers() == []


def test_an_error_that_was_passed_over_does_not_pass_for_a_commit(database: Database) -> None:
    """After an error the server takes everything back, also where it is told to commit."""

    def work(cursor: Cursor) -> None:
        put("a")(cursor)
        with contextlib.suppress(psycopg2.Error):
            cursor.execute("SELECT 1/0")

    with pytest.raises(StateRuleError, match="passed over"):
        database.transaction(work)
    database.transaction(put("b"))
    assert keys(database) == ["b"]


@pytest.mark.parametrize("cut", [gevent.GreenletExit(), gevent.Timeout(None)])
def test_a_greenlet_that_is_cut_off_in_a_read_leaves_no_answer_to_the_next(
    database: Database, postgres: PostgresServer, url: str, cut: BaseException
) -> None:
    readers = [gevent.spawn(database.one, f"SELECT {number}, pg_sleep(0.5)") for number in range(READERS)]
    until(lambda: len(postgres.ask(OURS + " AND state = 'active'", url=url)) == READERS)
    before = set(sessions(postgres, url))
    for reader in readers:
        reader.kill(cut)
    for number in range(10):
        assert database.one("SELECT %s::int", (number,)) == (number,)
    pid = database.one("SELECT pg_backend_pid()")
    assert pid is not None
    assert pid[0] not in before


def test_when_all_connections_are_taken_a_read_is_told_so_in_time(database: Database) -> None:
    assert isinstance(database.backend, PostgresBackend)
    room = database.backend._readers._room
    for _ in range(READERS):
        room.acquire()
    with pytest.raises(StateUnavailableError, match="no answer within 1 s"):
        database.one("SELECT 1")
    room.release()
    assert database.one("SELECT 1") == (1,)
    for _ in range(READERS - 1):
        room.release()


def test_reads_that_take_too_long_give_their_connections_back(database: Database) -> None:
    takers = [gevent.spawn(database.one, "SELECT pg_sleep(60)") for _ in range(READERS)]
    gevent.joinall(takers, timeout=20)
    assert all(isinstance(taker.exception, StateUnavailableError) for taker in takers)
    assert Pool(20).map(lambda _: database.one("SELECT 1"), range(40)) == [(1,)] * 40


def test_a_transaction_that_takes_too_long_is_given_up_and_the_next_one_goes(database: Database) -> None:
    slow = gevent.spawn(database.transaction, lambda cursor: cursor.execute("SELECT pg_sleep(1.5), pg_sleep(60)"))
    after = gevent.spawn(database.transaction, put("a"))
    slow.join(10)
    assert isinstance(slow.exception, StateUnavailableError)
    after.get(timeout=10)
    assert keys(database) == ["a"]


def test_a_server_that_is_killed_comes_back_with_everything_that_returned(
    own: Database, own_server: PostgresServer
) -> None:
    own.transaction(put("a"))
    assert keys(own) == ["a"]
    own_server.kill()
    with pytest.raises(StateUnavailableError):
        own.one("SELECT 1")
    with pytest.raises(StateUnavailableError):
        own.transaction(put("b"))
    own_server.start()
    comes_back(lambda: own.one("SELECT 1"))
    comes_back(lambda: own.transaction(put("c")))
    assert keys(own) == ["a", "c"]


def test_a_server_that_is_away_keeps_nobody_waiting(own: Database, own_server: PostgresServer) -> None:
    own.transaction(put("a"))
    own_server.kill()
    with pytest.raises(StateUnavailableError):
        own.one("SELECT 1")
    with gevent.Timeout(0.5):  # less than one attempt may take
        for _ in range(1_000):
            with pytest.raises(StateUnavailableError):
                own.one("SELECT 1")
    own_server.start()
    comes_back(lambda: own.one("SELECT 1"))


def test_a_server_that_does_not_answer_is_noticed(own: Database, own_server: PostgresServer) -> None:
    """Stopped, as a machine that swaps, or a disk that hangs: the kernel still takes what is sent."""
    own.transaction(put("a"))
    assert own.one("SELECT 1") == (1,)
    own_server.signal(signal.SIGSTOP)
    try:
        reads = [gevent.spawn(own.one, "SELECT 1") for _ in range(20)]
        write = gevent.spawn(own.transaction, put("b"))
        gevent.joinall(reads, timeout=20)
        write.join(20)
        assert all(isinstance(read.exception, StateUnavailableError) for read in reads)
        assert isinstance(write.exception, StateUnavailableError)
    finally:
        own_server.signal(signal.SIGCONT)
    comes_back(lambda: own.transaction(put("c")))
    assert "c" in keys(own)
    assert "a" in keys(own)


def test_a_standby_is_not_read_from(own: Database, own_server: PostgresServer) -> None:
    """It may be behind what we were told is written."""
    assert own_server.folder is not None
    own_server.stop()
    (own_server.folder / "data" / "standby.signal").touch()
    try:
        own_server.start()
        with pytest.raises(StateUnavailableError, match="standby"):
            comes_back_but_for_standby(own)
    finally:
        own_server.stop()
        (own_server.folder / "data" / "standby.signal").unlink()
        own_server.start()
    comes_back(lambda: own.transaction(put("a")))


def comes_back_but_for_standby(database: Database) -> None:
    with gevent.Timeout(20):
        while True:
            try:
                database.one("SELECT 1")
            except StateUnavailableError as error:
                if "standby" in str(error):
                    raise
                gevent.sleep(QUICK.retry_s)


def test_a_wrong_password_is_told_without_the_right_one(url: str) -> None:
    wrong = url.replace("%20%401", "%20wrong")
    assert wrong != url
    database = Database(wrong, QUICK)
    with pytest.raises(StateUnavailableError, match="password authentication failed") as caught:
        database.one("SELECT 1")
    assert "pass:w" not in str(caught.value)
    assert "pass:w" not in str(caught.value.__cause__)
    database.close()


def test_nobody_there_is_told_with_the_place(url: str) -> None:
    database = Database("postgresql://relay:secret@127.0.0.1:1/relay", QUICK)
    with pytest.raises(StateUnavailableError, match=r"127\.0\.0\.1:1/relay") as caught:
        database.migrate()
    assert "secret" not in str(caught.value)
    database.close()


def test_a_handle_is_not_used_after_a_fork(database: Database) -> None:
    database.transaction(put("a"))
    pid = os.fork()
    if pid == 0:
        try:
            database.one("SELECT 1")
        except AssertionError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert keys(database) == ["a"]


def test_a_stop_ends_what_looks_for_the_server(url: str) -> None:
    backend = PostgresBackend("postgresql://relay@127.0.0.1:1/relay", QUICK)
    with pytest.raises(StateUnavailableError):
        backend.one("SELECT 1", ())
    probe = backend._connector._probe
    assert probe is not None
    backend.close()
    assert probe.dead
    with pytest.raises(StateUnavailableError, match="closed"):
        backend.one("SELECT 1", ())


class Answered(psycopg2.OperationalError):
    """An error as the server sends it."""

    pgcode = None

    def __init__(self, code: str) -> None:
        super().__init__("words\nDETAIL: more")
        self.pgcode = code


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("53100", StorageFullError),
        ("53300", StateUnavailableError),
        ("08006", StateUnavailableError),
        ("57P01", StateUnavailableError),
        ("57014", StateUnavailableError),
        ("55P03", StateUnavailableError),
        ("40001", StateUnavailableError),
        ("40P01", StateUnavailableError),
        ("25006", StateUnavailableError),
        ("25P03", StateUnavailableError),
        ("58030", StateUnavailableError),
        ("XX000", StateUnavailableError),
        ("XX001", CorruptionError),
        ("XX002", CorruptionError),
        ("23505", StateRuleError),
        ("23514", StateRuleError),
        ("22003", StateRuleError),
        ("42P01", StateRuleError),
        ("42501", ConfigError),
    ],
)
def test_states_become_what_the_caller_must_do(code: str, kind: type[LocalError]) -> None:
    failure = translate(Answered(code), "PostgreSQL at db:5432/relay")
    assert type(failure) is kind
    assert "PostgreSQL at db:5432/relay" in str(failure)
    assert "\n" not in str(failure)


def test_without_an_answer_it_is_the_connection_or_a_bug() -> None:
    assert type(translate(psycopg2.OperationalError("gone"), "")) is StateUnavailableError
    assert type(translate(psycopg2.InterfaceError("closed"), "")) is StateUnavailableError
    assert type(translate(psycopg2.ProgrammingError("can't adapt"), "")) is StateRuleError
