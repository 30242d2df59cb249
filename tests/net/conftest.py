"""Network clients that trust the tests' authority and may use loopback. Needs gevent's patches:
`python -m gevent.monkey --module pytest`, as `make test` does.
"""

from collections.abc import Iterator

import pytest

from tests.support.net_clients import LONG_S, MESSAGE_BYTES_MAX, MakeClient, Subscribe
from tests.support.net_servers import ScriptedServer
from tests.support.net_tls import TestAuthority
from zlay_py.net import USER_AGENT
from zlay_py.net.http_client import HttpClient
from zlay_py.net.ssrf import AddressGuard
from zlay_py.net.tls import client_context
from zlay_py.net.websocket_client import WebSocketConnection, connect


@pytest.fixture(scope="session", name="authority")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(name="client")
def _client(authority: TestAuthority) -> Iterator[MakeClient]:
    """Makes clients that may use loopback and trust the tests' authority; closes them."""
    made: list[HttpClient] = []

    def make(**changes: object) -> HttpClient:
        settings: dict[str, object] = {
            "guard": AddressGuard(allow_loopback=True),
            "user_agent": USER_AGENT,
            "tls_context": client_context(authority.ca_file),
            **changes,
        }
        guard = settings.pop("guard")
        made.append(HttpClient(guard, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for http in made:
        http.close()


@pytest.fixture(name="subscribe")
def _subscribe(authority: TestAuthority) -> Iterator[Subscribe]:
    """Connects to a server of the test, with changes where the test wants them; closes everything."""
    made: list[WebSocketConnection] = []

    def subscribe(
        server: ScriptedServer, *, scheme: str = "ws", path: str = "/", **changes: object
    ) -> WebSocketConnection:
        settings: dict[str, object] = {
            "guard": AddressGuard(allow_loopback=True),
            "tls_context": client_context(authority.ca_file),
            "timeout_s": LONG_S,
            "message_bytes_max": MESSAGE_BYTES_MAX,
            **changes,
        }
        made.append(connect(f"{scheme}://localhost:{server.port}{path}", **settings))  # type: ignore[arg-type]
        return made[-1]

    yield subscribe
    for connection in made:
        connection.close()
