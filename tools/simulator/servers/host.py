"""A PDS as the network sees it: its firehose, and the few queries that a relay or a mirror asks.

Source of the cursor rules: the reference PDS. Above the cursor, not from it; none: what comes from now on; above the
last: the error frame `FutureCursor`; not a number: `InvalidRequest`. An error frame is followed by a close, 1008.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

import gevent
from gevent import socket as gsocket
from gevent.event import Event
from gevent.ssl import SSLContext

from tools.simulator import cbor
from tools.simulator.model import Emission
from tools.simulator.servers import websocket
from tools.simulator.servers.feed import Feed
from tools.simulator.servers.frame_store import FrameStore
from tools.simulator.servers.outages import OF_HOSTS, Fault, FaultError
from tools.simulator.servers.server import Answer, Request, Server, json_answer, xrpc_error
from tools.simulator.servers.subscriber import Subscriber

SUBSCRIBE: Final = "/xrpc/com.atproto.sync.subscribeRepos"
CAR_TYPE: Final = "application/vnd.ipld.car"
CURSORS_MAX: Final = 10_000
"""How many connections are remembered; a test that makes more asks for the last ones."""
LIMIT_DEFAULT: Final = 500
LIMIT_MAX: Final = 1_000
_POLICY_VIOLATION: Final = 1008
_STATUS_ERRORS: Final = {
    "takendown": "RepoTakendown",
    "suspended": "RepoSuspended",
    "deactivated": "RepoDeactivated",
}


@dataclass(frozen=True, slots=True)
class HostedRepo:
    """An account as its host would describe it. `head`: CID of its last commit, as text."""

    did: str
    handle: str
    active: bool
    status: str | None
    rev: str | None
    head: str | None


class Repos(Protocol):
    """Where a host's answers about accounts come from. `host` is the host's place in the network."""

    def repo(self, host: int, did: str) -> HostedRepo | None:
        """None for an account that is not there."""

    def repos(self, host: int) -> Sequence[HostedRepo]:
        """All of them, in an order that only grows at its end."""

    def car(self, did: str) -> bytes:
        """The whole repository."""

    def collections(self, did: str) -> list[str]:
        """In the repository now."""


class HostServer(Server):
    """`index`: its place in the network. `repos`: set where a world is at hand; without, every account is unknown."""

    FAULTS: ClassVar[frozenset[Fault]] = OF_HOSTS

    def __init__(self, index: int, port: int = 0, tls: SSLContext | None = None, feed: Feed | None = None) -> None:
        super().__init__(port, tls)
        self.index = index
        self.feed = feed or Feed(FrameStore.temporary(), [0], signed_ahead=False)
        self.repos: Repos | None = None
        self.document_of: Callable[[str], Mapping[str, object] | None] = lambda _did: None
        self.on_connected: Callable[[], None] = lambda: None
        self._subscribers: set[Subscriber] = set()
        self._came_or_went = Event()
        self._cursors: list[int | None] = []
        self._queries: dict[str, Callable[[Request], Answer]] = {
            "com.atproto.server.describeServer": self._describe_server,
            "com.atproto.sync.listRepos": self._list_repos,
            "com.atproto.sync.getRepoStatus": self._get_repo_status,
            "com.atproto.sync.getLatestCommit": self._get_latest_commit,
            "com.atproto.sync.getRepo": self._get_repo,
            "com.atproto.repo.describeRepo": self._describe_repo,
            "_health": lambda _request: json_answer(200, {"version": "simulator"}),
        }

    @property
    def cursors(self) -> list[int | None]:
        """Of every subscription so far that was let in or answered FutureCursor, in order."""
        return list(self._cursors)

    @property
    def connections(self) -> int:
        """Open subscriptions."""
        return len(self._subscribers)

    def wait_connections(self, count: int, timeout_s: float | None = None) -> None:
        """Until so many subscriptions are open. Raises TimeoutError."""
        with gevent.Timeout(timeout_s, TimeoutError(f"{self.name} has {self.connections} connections, not {count}")):
            while self.connections != count:
                self._came_or_went.clear()
                self._came_or_went.wait()

    def emit(self, emission: Emission) -> None:
        """Puts the frame into the stream, as it is."""
        self.feed.append(emission)

    def disconnect(self) -> None:
        """The same as the fault DROP."""
        for subscriber in list(self._subscribers):
            subscriber.drop()

    def stop(self) -> None:
        super().stop()
        self.feed.store.close()

    def answer(self, request: Request) -> Answer:
        method = request.path.removeprefix("/xrpc/").removeprefix("/")
        query = self._queries.get(method)
        if query is None:
            return xrpc_error(501, "MethodNotImplemented", f"{request.path} is not implemented")
        if request.method != "GET":
            return xrpc_error(400, "InvalidRequest", f"{method} is a query")
        return query(request)

    def _happen(self, fault: Fault) -> None:
        if fault is Fault.SEQ_RESET:
            try:
                self.feed.forget()
            except ValueError as error:
                raise FaultError(str(error)) from None
        self.disconnect()

    def _faults_changed(self) -> None:
        for subscriber in self._subscribers:
            subscriber.look()

    def _take_over(self, sock: gsocket.socket, request: Request, rest: bytes) -> bool:
        if request.path != SUBSCRIBE:
            return False
        self.hang(sock, Fault.UPGRADE_HANG)
        status = self.faults.take(Fault.UPGRADE_STATUS)
        key = request.headers.get("sec-websocket-key", "")
        if status is not None:
            sock.sendall(xrpc_error(int(status), "SimulatedFault", "as it was told to").wire())
        elif request.headers.get("upgrade", "").lower() != "websocket" or not key:
            sock.sendall(xrpc_error(426, "UpgradeRequired", "a WebSocket, please").wire())
        else:
            sock.sendall(websocket.upgrade_answer(key))
            self._subscribe(sock, request.query.get("cursor"), rest)
        return True

    def _subscribe(self, sock: gsocket.socket, text: str | None, rest: bytes) -> None:
        if text is not None and not text.isdecimal():
            _refuse(sock, "InvalidRequest", "Error: Params must have the property cursor as an integer")
            return
        cursor = None if text is None else int(text)
        if len(self._cursors) < CURSORS_MAX:
            self._cursors.append(cursor)
        place = self.feed.live_place if cursor is None else self.feed.place_after(cursor)
        if cursor is not None and self.faults.take(Fault.FUTURE_CURSOR) is not None:
            place = None
        if place is None:
            _refuse(sock, "FutureCursor", "Cursor in the future.")
            return
        subscriber = Subscriber(sock, self.feed, place, self.faults)
        self._subscribers.add(subscriber)
        self._came_or_went.set()
        try:
            self.on_connected()
            subscriber.run(rest)
        finally:
            self._subscribers.discard(subscriber)
            self._came_or_went.set()

    def _describe_server(self, _request: Request) -> Answer:
        described = {"did": f"did:web:localhost%3A{self.port}", "availableUserDomains": [".test"]}
        return json_answer(200, {**described, "inviteCodeRequired": False})

    def _list_repos(self, request: Request) -> Answer:
        limit, cursor = request.query.get("limit", str(LIMIT_DEFAULT)), request.query.get("cursor", "0")
        if not limit.isdecimal() or not 1 <= int(limit) <= LIMIT_MAX or not cursor.isdecimal():
            return xrpc_error(400, "InvalidRequest", "limit or cursor out of range")
        found = [repo for repo in self.repos.repos(self.index) if repo.rev] if self.repos else []
        end = int(cursor) + int(limit)
        page: dict[str, object] = {"repos": [_described(repo) for repo in found[int(cursor) : end]]}
        if end < len(found):
            page["cursor"] = str(end)
        return json_answer(200, page)

    def _get_repo_status(self, request: Request) -> Answer:
        repo = self._find(request)
        if isinstance(repo, Answer):
            return repo
        described = {"did": repo.did, **_standing(repo)}
        return json_answer(200, described | ({"rev": repo.rev} if repo.active and repo.rev else {}))

    def _get_latest_commit(self, request: Request) -> Answer:
        repo = self._find_active(request)
        return repo if isinstance(repo, Answer) else json_answer(200, {"cid": repo.head, "rev": repo.rev})

    def _get_repo(self, request: Request) -> Answer:
        repo = self._find_active(request)
        if isinstance(repo, Answer):
            return repo
        assert self.repos is not None
        return Answer(200, self.repos.car(repo.did), CAR_TYPE)

    def _describe_repo(self, request: Request) -> Answer:
        repo = self._find(request, parameter="repo")
        if isinstance(repo, Answer):
            return repo
        assert self.repos is not None
        described = {"handle": repo.handle, "did": repo.did, "didDoc": self.document_of(repo.did)}
        return json_answer(200, {**described, "collections": self.repos.collections(repo.did), "handleIsCorrect": True})

    def _find(self, request: Request, parameter: str = "did") -> HostedRepo | Answer:
        did = request.query.get(parameter, "")
        if not did.startswith("did:"):
            return xrpc_error(400, "InvalidRequest", f"{parameter} must be a DID")
        repo = self.repos.repo(self.index, did) if self.repos else None
        return repo or xrpc_error(400, "RepoNotFound", f"Could not find repo for DID: {did}")

    def _find_active(self, request: Request) -> HostedRepo | Answer:
        repo = self._find(request)
        if isinstance(repo, Answer) or (repo.active and repo.rev):
            return repo
        error = _STATUS_ERRORS.get(repo.status or "", "RepoNotFound")
        return xrpc_error(400, error, f"Repo is not there to be read: {repo.did}")


def _standing(repo: HostedRepo) -> dict[str, object]:
    return {"active": repo.active} | ({} if repo.active or not repo.status else {"status": repo.status})


def _described(repo: HostedRepo) -> dict[str, object]:
    return {"did": repo.did, "head": repo.head, "rev": repo.rev, **_standing(repo)}


def _refuse(sock: gsocket.socket, error: str, message: str) -> None:
    wire = cbor.encode({"op": -1}) + cbor.encode({"error": error, "message": message})
    sock.sendall(websocket.message(wire) + websocket.close(_POLICY_VIOLATION, error))
    sock.shutdown(gsocket.SHUT_WR)
    while sock.recv(4096):
        pass  # to the client's end: closing with bytes unread would reset the connection, and the error frame with it
