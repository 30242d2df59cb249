"""The checks and the wording behind `settings`: what an address, a host list or a path may look like, and how a value
is shown. Owns: text in, text out. Refuses to own: which setting uses which check.
"""

import ipaddress
import re
from pathlib import Path

SHOWN_CHARS_MAX = 80
"""How much of a refused value an error line repeats: enough to recognise it, not enough to fill a terminal."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(
    rf"(?:(?:https?|wss?)://)?(?:(?P<local>localhost|127\.0\.0\.1):(?P<port>\d{{1,5}})|(?:{_LABEL}\.)+(?!\d){_LABEL})/?",
    re.I,
)
"""A DNS name whose last label does not start with a digit (atproto handle syntax), so no IP address but our own."""
SQLITE = "sqlite:///"
_POSTGRESQL = re.compile(r"postgres(?:ql)?://[^\s/?]*/[^\s/?]+(?:\?\S*)?")
"""As libpq takes it; `postgresql:///name?host=/folder` is a socket."""
_PASSWORD_PARAMETER = re.compile(r"([?&][a-z]*password=)[^&\s]*", re.I)
_PLC_URL = re.compile(r"https?://[a-z0-9.-]+(?::\d{1,5})?(?:/[a-z0-9._~/-]*)?", re.I)


def lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def none_if_empty(value: object) -> object:
    return None if value == "" else value


def check_host(value: str) -> str:
    match = _HOST.fullmatch(value)
    if match is None or int(match["port"] or 1) not in range(1, 65536):
        raise ValueError(f"{redact(value)[:SHOWN_CHARS_MAX]!r} is no host")
    return value.rstrip("/").lower()


def host_or_none(value: str) -> str:
    return check_host(value) if value else ""


def host_list(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def check_hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(check_host, value)))


def check_plc_url(value: str) -> str:
    if not _PLC_URL.fullmatch(value):
        raise ValueError("not the address of a directory")
    return value.rstrip("/")


def check_database_url(value: str) -> str:
    """What can be said of it without a driver. Its errors repeat nothing of it: there may be a password anywhere."""
    if value.startswith(("postgresql://", "postgres://")):
        if not _POSTGRESQL.fullmatch(value):
            raise ValueError("not the address of a database on a PostgreSQL server, which ends in its name")
    else:
        path = value.removeprefix(SQLITE)
        if path == value or not path or path == ":memory:" or "?" in path:
            raise ValueError("neither the address of an SQLite file nor of a PostgreSQL database")
    return value


def check_bind(value: str) -> str:
    return value if value == "localhost" else str(ipaddress.ip_address(value))


def whole_path(value: object) -> object:
    """Nothing expands `~` here, and `?` ends the path in the database's address."""
    if isinstance(value, str | Path) and (not str(value) or str(value).startswith("~") or "?" in str(value)):
        raise ValueError("empty, or has a ~ or ? in it")
    return value


def readable(value: Path | None) -> Path | None:
    if value is not None:
        try:
            with value.open("rb") as file:
                file.read(1)
        except OSError as error:
            raise ValueError(f"can't be read: {error.strerror}") from None
    return value


def redact(text: str) -> str:
    """`postgresql://user:password@host/db?password=x` → `postgresql://***@host/db?password=***`."""
    return _PASSWORD_PARAMETER.sub(r"\1***", re.sub(r"://.*@", "://***@", text, flags=re.S))


def join_host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_local(host: str) -> bool:
    """Whether a host of `RELAY_HOSTS` is this machine."""
    match = _HOST.fullmatch(host)
    return match is not None and match["local"] is not None
