"""The one route table."""

from dataclasses import dataclass
from typing import Any

import falcon

from zlay_py.api import errors
from zlay_py.api.health import Health
from zlay_py.api.sync_hosts import GetHostStatus, ListHosts
from zlay_py.api.sync_repos import GetLatestCommit, GetRepoStatus
from zlay_py.api.xrpc_fallback import SubscribeReposOverHttp, UnknownMethod
from zlay_py.ingest.accounts import Accounts
from zlay_py.net.http_refusal import SERVER_HEADER
from zlay_py.state.hosts import HostStore
from zlay_py.workers.host_registry import HostRegistry

SUBSCRIBE_REPOS = "/xrpc/com.atproto.sync.subscribeRepos"

EXPOSED_HEADERS = "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy, Retry-After"


@dataclass(frozen=True, slots=True)
class Served:
    """What the resources answer from."""

    accounts: Accounts
    hosts: HostStore
    registry: HostRegistry


class _Headers:
    """The headers of every answer."""

    def process_response(
        self, _req: falcon.Request, resp: falcon.Response, _resource: object, _req_succeeded: bool
    ) -> None:
        resp.set_header("Server", SERVER_HEADER)


class _UnknownPath:
    def __call__(self, req: falcon.Request, resp: falcon.Response, **_named: str) -> None:  # noqa: ARG002
        raise errors.XrpcError(404, "NotFound", f"{req.path} is not here")


def create_app(served: Served) -> falcon.App:  # type: ignore[type-arg]
    """The WSGI application for everything on the main port but open WebSockets."""
    middleware: list[Any] = [falcon.CORSMiddleware(allow_origins="*", expose_headers=EXPOSED_HEADERS), _Headers()]
    app = falcon.App(middleware=middleware)
    errors.install(app)
    health = Health()
    app.add_route("/_health", health)
    app.add_route("/xrpc/_health", health)
    app.add_route(SUBSCRIBE_REPOS, SubscribeReposOverHttp())
    app.add_route("/xrpc/com.atproto.sync.listHosts", ListHosts(served.hosts, served.registry))
    app.add_route("/xrpc/com.atproto.sync.getHostStatus", GetHostStatus(served.hosts, served.registry))
    app.add_route("/xrpc/com.atproto.sync.getRepoStatus", GetRepoStatus(served.accounts))
    app.add_route("/xrpc/com.atproto.sync.getLatestCommit", GetLatestCommit(served.accounts))
    app.add_sink(_UnknownPath(), "/")
    app.add_sink(UnknownMethod(), r"/xrpc/(?P<nsid>[^/]*)$")
    return app
