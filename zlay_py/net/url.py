"""URLs that we are about to request. Stricter than RFC 3986: what is rare here is more often a trick than a need."""

import re
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import urlsplit

from zlay_py.net.failures import FailureKind, failure

URL_CHARS_MAX = 8_192
"""The longest AT-URI fits into a query."""

_TEXT = re.compile(r"[!-\[\]-~]+")
"""Printable ASCII without the backslash, which browsers take for a slash."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?")


class Target(NamedTuple):
    tls: bool
    host: str
    port: int
    path: str
    """Path and query, as sent in the request line."""

    @property
    def authority(self) -> str:
        """The `Host` header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[bool, str, int]:
        return self.tls, self.host, self.port


def parse_url(url: str, *, plain: str, secure: str) -> Target:
    """The parts of an absolute URL whose scheme is `plain` or `secure`. Raises NetError(BAD_URL). No user names."""
    bad = failure(FailureKind.BAD_URL, f"not a URL we can request: {url[:100]!r}")
    if len(url) > URL_CHARS_MAX or not _TEXT.fullmatch(url):
        raise bad
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if ":" in host:
            IPv6Address(host)
    except ValueError:
        raise bad from None
    tls = parts.scheme == secure
    named = ":" in host or _NAME.fullmatch(host)
    if (not tls and parts.scheme != plain) or not named or "@" in parts.netloc or port == 0:
        raise bad
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(tls, host, port or (443 if tls else 80), path)
