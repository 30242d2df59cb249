"""A bootstrap relay on loopback. Hosts and the directory of DIDs are the simulator's (`tools.simulator.servers`)."""

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from gevent.pywsgi import WSGIServer

StartResponse = Callable[..., Any]


class Directory:
    """Answers listHosts with `hosts`, in pages of two."""

    def __init__(self) -> None:
        self.hosts: list[dict[str, object]] = []
        self._server = WSGIServer(("127.0.0.1", 0), self._serve, log=None, error_log=None)
        self._server.start()
        assert self._server.server_port is not None
        self.port: int = self._server.server_port

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def stop(self) -> None:
        self._server.stop(timeout=0)

    def _serve(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        after = int(parse_qs(str(environ["QUERY_STRING"])).get("cursor", ["0"])[0])
        page: dict[str, object] = {"hosts": self.hosts[after : after + 2]}
        if after + 2 < len(self.hosts):
            page["cursor"] = str(after + 2)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(page).encode()]
