"""A PostgreSQL server for one test session: private, thrown away afterwards; or one that somebody names.

Made from the binaries that are installed, in a folder in memory where there is one, by another user where we are root
(the server refuses to run as root). `ZLAY_TEST_DATABASE_URL` names a server to be used instead, by an address whose
user may create databases.
"""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import gevent
import psycopg2
import psycopg2.extensions

from zlay_py.state.database import Database

NOT_INSTALLED = "PostgreSQL is not installed"
"""The one reason for which a test of it is skipped."""

USER, PASSWORD = "relay", "pass:w/rd @1"
START_S_MAX = 60.0

SETTINGS = """
fsync = off
full_page_writes = off
autovacuum = off
shared_buffers = 32MB
max_connections = 60
logging_collector = off
"""
"""Nothing here has to outlive the machine; killing the server's processes takes nothing that the kernel has."""

PERMISSIONS = """
local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""


def binaries() -> Path | None:
    """The newest installation of Debian's, or what the path has."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


class PostgresServer:
    """Databases on request. `folder` is the cluster's own; None: the server that `admin_url` names is used."""

    def __init__(self, folder: Path | None, admin_url: str) -> None:
        self.folder = folder
        self._admin_url = admin_url
        self._process: subprocess.Popen[bytes] | None = None
        self._names = (f"zlay_test_{os.getpid()}_{number}" for number in itertools.count())
        self._template: str | None = None

    @classmethod
    def private(cls, folder: Path) -> "PostgresServer":
        """A new cluster in `folder`, started."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = cls(folder, f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres")
        own(folder)
        # a locale's own order, where the server knows one, would show a column without collation
        locale = ["--locale-provider=icu", "--icu-locale=en-US"] if _version() >= 15 else []
        initdb = server._command("initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8")
        subprocess.run([*initdb, "--locale=C.UTF-8", *locale, "--no-sync"], check=True, stdout=subprocess.DEVNULL)
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write(
                SETTINGS + f"unix_socket_directories = '{folder}'\nport = {port}\nlisten_addresses = '127.0.0.1'\n"
            )
        (folder / "data" / "pg_hba.conf").write_text(PERMISSIONS)
        server.start()
        with contextlib.closing(psycopg2.connect(host=str(folder), port=port, user="postgres")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD %s", (PASSWORD,))
        return server

    def start(self) -> None:
        """Returns when it answers. After `kill` it may have to wait for the last of the old processes."""
        assert self.folder is not None
        with gevent.Timeout(START_S_MAX, RuntimeError(f"the server does not start: see {self.folder}/log")):
            while not self._answers():
                if self._process is None or self._process.poll() is not None:
                    with (self.folder / "log").open("ab") as log:
                        command = self._command("postgres", "-D", str(self.folder / "data"))
                        self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
                gevent.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL, to its children too: left alone, one of them may answer once more before it notices."""
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def stop(self) -> None:
        """At once: nobody needs what it holds."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: an immediate shutdown
            self._process.wait()

    def signal(self, number: int) -> None:
        """To the server and all its children: SIGSTOP makes it one that does not answer."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in [self._process.pid, *map(int, children)]:
            with contextlib.suppress(ProcessLookupError):  # one of them may have ended meanwhile
                os.kill(pid, number)

    def new_url(self, *, empty: bool = False) -> str:
        """A database of its own, with the tables of this version unless it is to be `empty`."""
        name = next(self._names)
        if empty:
            self.ask(f"CREATE DATABASE {name}")
            return self.url(name)
        if self._template is None:
            self._template = next(self._names)
            self.ask(f"CREATE DATABASE {self._template}")
            database = Database(self.url(self._template))
            database.migrate()
            database.close()
        self.ask(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Whoever is still connected is thrown out."""
        self.ask(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2].partition('?')[0]} WITH (FORCE)")

    def drop_template(self) -> None:
        if self._template is not None:
            self.drop(self.url(self._template))

    def ask(self, text: str, *parameters: object, url: str | None = None) -> list[tuple[object, ...]]:
        """One statement on a connection of its own: a stranger's."""
        with contextlib.closing(psycopg2.connect(url or self._admin_url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text, parameters)
                return cursor.fetchall() if cursor.description else []

    def url(self, name: str) -> str:
        place, _, rest = self._admin_url.rpartition("/")
        query = rest.partition("?")[2]
        return f"{place}/{name}" + (f"?{query}" if query else "")

    def _answers(self) -> bool:
        port = psycopg2.extensions.parse_dsn(self._admin_url)["port"]
        try:
            psycopg2.connect(host=str(self.folder), port=port, user="postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def _command(self, name: str, *arguments: str) -> list[str]:
        folder = binaries()
        assert folder is not None
        command = [str(folder / name), *arguments]
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            return command
        prefix = [setpriv, "--pdeathsig", "QUIT"]  # a test run that is killed leaves no server behind
        if os.geteuid() == 0:
            user = _user()
            prefix += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        return prefix + command


@contextlib.contextmanager
def private_server() -> Iterator[PostgresServer]:
    """In a folder that goes away with it."""
    memory = Path("/dev/shm")
    base = str(memory) if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="zlay-postgres-", dir=base) as folder:
        server = PostgresServer.private(Path(folder))
        try:
            yield server
        finally:
            server.stop()


def own(folder: Path) -> None:
    """The folder becomes that of the user who will run the server."""
    if os.geteuid() == 0:
        user = _user()
        os.chown(folder, user.pw_uid, user.pw_gid)


def _user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _version() -> int:
    folder = binaries()
    assert folder is not None
    line = subprocess.run([folder / "initdb", "--version"], check=True, capture_output=True, text=True).stdout
    return int(line.split()[2].partition(".")[0])
