"""The WSGI target: `zlay_py.app:app`. Everything on the main port comes through here."""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from zlay_py import logs
from zlay_py.api.wsgi import SUBSCRIBE_REPOS
from zlay_py.errors import SyntaxInvalidError
from zlay_py.fanout import cursor
from zlay_py.net.websocket_handshake import WebSocketRunner
from zlay_py.runtime import Relay, Seams
from zlay_py.settings import Settings, load_settings

_PRODUCTION = Seams()

UNAVAILABLE = b'{"error":"NotEnoughResources","message":"starting or stopping"}'


class RelayApp:
    """One relay as a WSGI application: the server calls `start` once the hub is alive, and the two ends of a stop."""

    def __init__(self, settings: Settings, seams: Seams = _PRODUCTION) -> None:
        logs.configure(settings)
        self.settings = settings
        self._relay = Relay(settings, seams)

    def start(self) -> None:
        """Raises LocalError when the relay can't start: the process must end, not try again for ever."""
        self._relay.start()

    def begin_shutdown(self) -> None:
        """Consumers are told to reconnect elsewhere; hosts are no longer read. Returns at once."""
        self._relay.begin_stop()

    def finish_shutdown(self) -> None:
        """Everything read is written, marks are saved, files closed."""
        self._relay.finish_stop()

    def upgrade_gate(self, environ: dict[str, Any]) -> WebSocketRunner | None:
        """A firehose connection, if path and cursor are right and the relay is up; else HTTP says why not."""
        if environ["PATH_INFO"] != SUBSCRIBE_REPOS or not self._relay.serving:
            return None
        values = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True).get("cursor", [None])
        try:
            position = cursor.parse(values[0])
        except SyntaxInvalidError:
            return None
        return self._relay.consumer_runner(
            position, remote=environ.get("REMOTE_ADDR", ""), user_agent=environ.get("HTTP_USER_AGENT", "")
        )

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        application = self._relay.http
        if application is None or (environ["PATH_INFO"] == SUBSCRIBE_REPOS and not self._relay.serving):
            start_response("503 Service Unavailable", [("Content-Type", "application/json"), ("Retry-After", "1")])
            return [UNAVAILABLE]
        return application(environ, start_response)


app = RelayApp(load_settings())
