"""Outside I/O, and nothing else that touches a socket.

Owns: name resolution, the SSRF guard, dialling, TLS, the HTTP client, the WebSocket client and server, reconnect
delays, host names. Every failure leaves as `NetError` with a `FailureKind`.

Refuses to own: what a message means, when to reconnect, which host is trusted.

The process must be monkey patched by gevent before this package is imported: sockets, TLS and deadlines here wait
cooperatively. No file here reads proxy settings or any other variable from the environment.
"""

from zlay_py import __version__

RELAY_MARKER = "atproto-relay"
"""In `User-Agent` and `Server`: the mark by which relays recognise each other and refuse to loop."""

USER_AGENT = f"zlay_py/{__version__} ({RELAY_MARKER})"
"""Sent with every request, and as `Server` with every answer."""
