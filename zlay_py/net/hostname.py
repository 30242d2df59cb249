"""The name of a PDS or relay host: from whatever text names it to one canonical form, which is its identity."""

import re
from dataclasses import dataclass

from zlay_py.atproto.syntax import is_handle
from zlay_py.errors import SyntaxInvalidError

TEXT_CHARS_MAX = 2_048
"""A URL around the name, in a DID document or a requestCrawl body. Nothing real comes near."""

LOCALHOST = "localhost"
_LOCAL_NAMES = frozenset({LOCALHOST, "127.0.0.1"})
_HAS_TLS = {"https": True, "wss": True, "http": False, "ws": False}
_TEXT = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?([A-Za-z0-9.-]+)(?::([0-9]{1,5}))?(?:[/?#][\x21-\x7e]*)?")
"""Scheme, name, port, and an ignored rest. User names, brackets, backslashes, spaces and Unicode do not match."""


@dataclass(frozen=True, slots=True)
class HostAddress:
    """Where a host is reached. `name` is what hosts are told apart by: the scheme is not part of it."""

    host: str
    port: int
    tls: bool

    @property
    def name(self) -> str:
        """`pds.example.com`; on this machine, where one name has many hosts, `localhost:18201`."""
        return f"{LOCALHOST}:{self.port}" if self.host == LOCALHOST else self.host

    @property
    def is_local(self) -> bool:
        return self.host == LOCALHOST

    def http_url(self, path: str = "") -> str:
        """`path` starts with a slash and may hold a query; without it, the origin."""
        return f"{'https' if self.tls else 'http'}://{self.name}{path}"

    def ws_url(self, path: str = "") -> str:
        return f"{'wss' if self.tls else 'ws'}://{self.name}{path}"


def parse_hostname(text: str, allow_local: bool) -> HostAddress:
    """The host that a name or URL means. Raises SyntaxInvalidError.

    A DNS name of two labels or more, as in handles, in lower case: no addresses, no port. Schemes http(s) and ws(s)
    are taken off and say whether there is TLS; without one there is. Path and query are ignored.
    With `allow_local`, also `localhost:PORT` and its alias `127.0.0.1:PORT`, where no scheme means no TLS.

    Source: the reference relay's host names; handle syntax, atproto.com/specs/handle.
    """
    match = _TEXT.fullmatch(text) if len(text) <= TEXT_CHARS_MAX else None
    if match is None:
        raise SyntaxInvalidError("not a host name")
    scheme, name, port = match[1], match[2].lower(), match[3]
    if scheme is not None and scheme.lower() not in _HAS_TLS:
        raise SyntaxInvalidError(f"scheme {scheme[:16]} is not one of http, https, ws, wss")
    if name in _LOCAL_NAMES:
        return _parse_local(scheme, port, allow_local)
    if port is not None:
        raise SyntaxInvalidError("a host name must not have a port")
    if not is_handle(name):
        raise SyntaxInvalidError("not a DNS name of two labels or more")
    tls = scheme is None or _HAS_TLS[scheme.lower()]
    return HostAddress(name, 443 if tls else 80, tls)


def _parse_local(scheme: str | None, port: str | None, allow_local: bool) -> HostAddress:
    if not allow_local:
        raise SyntaxInvalidError("hosts on this machine are not allowed")
    if port is None or port.startswith("0") or int(port) > 65_535:
        raise SyntaxInvalidError("localhost needs a port")
    return HostAddress(LOCALHOST, int(port), scheme is not None and _HAS_TLS[scheme.lower()])
