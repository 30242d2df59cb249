"""The second port: `/metrics` for Prometheus, `/_health` and `/_ready` for whoever watches the process."""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from zlay_py import __version__
from zlay_py.errors import ConfigError
from zlay_py.metrics import CONTENT_TYPE, Metrics
from zlay_py.net.http_server import HttpServer

JSON = "application/json"
CONNECTIONS_MAX = 64
"""Scrapers and probes; nobody else has business on this port."""


class MetricsServer:
    """`not_ready` gives the reasons why the relay can't do its work now; none means ready."""

    def __init__(self, metrics: Metrics, not_ready: Callable[[], list[str]], bind: str, port: int) -> None:
        self._metrics = metrics
        self._not_ready = not_ready
        self._server = HttpServer((bind, port), self._serve, connections_max=CONNECTIONS_MAX)

    @property
    def port(self) -> int:
        """The port that is listened on (0 in the settings takes any)."""
        assert self._server.server_port is not None
        return self._server.server_port

    def start(self) -> None:
        """Raises ConfigError when the port can't be had."""
        try:
            self._server.start()
        except OSError as error:
            address = f"{self._server.server_host}:{self._server.server_port}"
            raise ConfigError(
                f"RELAY_METRICS_PORT: can't listen on {address}: {os.strerror(error.errno or 0)}"
            ) from error

    def stop(self) -> None:
        self._server.stop(timeout=1.0)

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, content_type, body = self._answer(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _answer(self, method: str, path: str) -> tuple[str, str, bytes]:
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", JSON, _json({"error": "InvalidRequest", "message": "only GET"})
        if path == "/metrics":
            return "200 OK", CONTENT_TYPE, self._metrics.exposition()
        if path == "/_health":
            return "200 OK", JSON, _json({"status": "ok", "version": __version__})
        if path == "/_ready":
            reasons = self._not_ready()
            if reasons:
                return "503 Service Unavailable", JSON, _json({"status": "not ready", "reasons": reasons})
            return "200 OK", JSON, _json({"status": "ready"})
        return "404 Not Found", JSON, _json({"error": "NotFound", "message": "see /metrics, /_health, /_ready"})


def _json(body: dict[str, object]) -> bytes:
    return json.dumps(body).encode()
