"""The whole network in this process: a PLC directory, hosts, and web servers of did:web DIDs."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import gevent
from gevent.event import Event

from tools.simulator.model import DocumentChange, Emission, Step
from tools.simulator.servers.documents import did_document, web_did_port
from tools.simulator.servers.feed import Feed
from tools.simulator.servers.host import HostServer, Repos
from tools.simulator.servers.plc import PlcServer
from tools.simulator.servers.server import Server
from tools.simulator.servers.tls import Authority
from tools.simulator.servers.web_did import WebDidServer


class LedgerLike(Protocol):
    """What is told of every step before it happens."""

    def append(self, step: Step) -> object:
        """In the order of the world."""


class Network:
    """Runs from `start` to `stop`, or as a context manager. Ports are known from the beginning.

    `web_dids`: how many, or, for DIDs that are known already, which. `base_port`: the directory has it, the hosts have
    the ports above; 0: any free ones. `feeds`: streams that were signed ahead, one for each host.
    Raises OSError for a port that is taken.
    """

    def __init__(
        self,
        hosts: int,
        *,
        web_dids: int | Sequence[str] = 0,
        tls: bool = False,
        ledger: LedgerLike | None = None,
        base_port: int = 0,
        feeds: Sequence[Feed] | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="simulator-") if tls else None
        authority = Authority(Path(self._folder.name)) if self._folder else None
        self.ca_file = authority.ca_file if authority else None
        """What a client of the hosts must trust. The directory and did:web have no TLS."""
        context = authority.server_context if authority else None
        self.plc = PlcServer(base_port)
        self.hosts = [
            HostServer(index, base_port and base_port + 1 + index, context, feeds[index] if feeds else None)
            for index in range(hosts)
        ]
        ports = [0] * web_dids if isinstance(web_dids, int) else [web_did_port(did) for did in web_dids]
        self.web_servers = [WebDidServer(port) for port in ports]
        self._web_by_did = {server.did: server for server in self.web_servers}
        self._ledger = ledger
        self._connected = Event()
        for host in self.hosts:
            host.document_of = self.document
            host.on_connected = self._connected.set

    @property
    def web_dids(self) -> list[str]:
        return [server.did for server in self.web_servers]

    @property
    def servers(self) -> list[Server]:
        return [self.plc, *self.hosts, *self.web_servers]

    def start(self) -> None:
        for server in self.servers:
            server.start()

    def stop(self) -> None:
        """Closes all connections and ports, and forgets what was emitted."""
        for server in self.servers:
            server.stop()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def attach(self, repos: Repos) -> None:
        """From now on the hosts answer questions about accounts from there."""
        for host in self.hosts:
            host.repos = repos

    def play(self, steps: Iterable[Step]) -> None:
        """Makes them happen, in order. A frame is in its host's stream when this returns; when it is sent is up to
        who is connected, and to the faults."""
        for step in steps:
            if self._ledger is not None:
                self._ledger.append(step)
            if isinstance(step, Emission):
                self.hosts[step.host].emit(step)
            else:
                self.change_document(step)

    def change_document(self, change: DocumentChange) -> None:
        """A did:web that has no server here stays what it is: a DID that nobody answers for."""
        document = change.document
        text = None
        if document is not None:
            text = did_document(change.did, document, self.hosts[document.host].origin)
        if change.did in self._web_by_did:
            self._web_by_did[change.did].document = text
        elif change.did.startswith("did:plc:"):
            self.plc.documents[change.did] = text

    def document(self, did: str) -> dict[str, object] | None:
        """What a resolver would be told now."""
        server = self._web_by_did.get(did)
        return self.plc.documents.get(did) if server is None else server.document

    def wait_connected(self, timeout_s: float | None = None) -> None:
        """Until every host has had a subscription. Raises TimeoutError."""
        with gevent.Timeout(timeout_s, TimeoutError("not every host has a subscription")):
            while not all(host.cursors for host in self.hosts):
                self._connected.clear()
                self._connected.wait()

    def disconnect(self) -> None:
        for host in self.hosts:
            host.disconnect()
