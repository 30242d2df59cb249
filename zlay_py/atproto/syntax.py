"""Identifiers: DID, handle, NSID, record key, AT-URI, repository path; TID and datetime from their own files.

The predicates take any value, since what they judge comes straight out of a decoder, and say what the
specification says about form, nothing about existence. All of them use `fullmatch` and explicit ASCII classes:
`$` would let a trailing newline through, and `\\d` or `\\w` the digits and letters of every script.
Sources: the atproto specs DID, Handle, NSID, Record Key, AT-URI.
"""

import re
from typing import Final, TypeGuard

from zlay_py.atproto.datetime_format import is_datetime, parse_datetime
from zlay_py.atproto.tid import is_tid, tid_from, tid_time_us
from zlay_py.errors import SyntaxInvalidError

__all__ = [
    "has_reserved_tld",
    "is_at_identifier",
    "is_at_uri",
    "is_datetime",
    "is_did",
    "is_handle",
    "is_nsid",
    "is_record_key",
    "is_repo_path",
    "is_supported_did",
    "is_tid",
    "normalise_handle",
    "parse_datetime",
    "tid_from",
    "tid_time_us",
    "web_did_host",
]

# Lengths in characters, which for all of these is bytes. Each is the specification's own number.
DID_CHARS_MAX: Final = 2048
HANDLE_CHARS_MAX: Final = 253
NSID_CHARS_MAX: Final = 317
RECORD_KEY_CHARS_MAX: Final = 512
AT_URI_CHARS_MAX: Final = 8192
REPO_PATH_CHARS_MAX: Final = NSID_CHARS_MAX + 1 + RECORD_KEY_CHARS_MAX

# Names that are never registered or never resolved in public. `.test` is not among them: it is for development.
RESERVED_TLDS: Final = frozenset({"alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion"})

_LABEL: Final = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_LABEL_NO_DIGIT_FIRST: Final = "[a-zA-Z](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_RECORD_KEY_TEXT: Final = rf"(?!\.{{1,2}}\Z)[A-Za-z0-9._:~-]{{1,{RECORD_KEY_CHARS_MAX}}}"
_NSID_TEXT: Final = rf"{_LABEL_NO_DIGIT_FIRST}(?:\.{_LABEL})+\.[a-zA-Z][a-zA-Z0-9]{{0,62}}"

_DID: Final = re.compile("did:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-]")
_PLC_DID: Final = re.compile("did:plc:[a-z2-7]{24}")
_LOCALHOST_DID: Final = re.compile("did:web:localhost(?:%3A([1-9][0-9]{0,4}))?")
_HANDLE: Final = re.compile(rf"(?:{_LABEL}\.)+{_LABEL_NO_DIGIT_FIRST}")
_NSID: Final = re.compile(_NSID_TEXT)
_RECORD_KEY: Final = re.compile(_RECORD_KEY_TEXT)
_REPO_PATH: Final = re.compile(f"({_NSID_TEXT})/{_RECORD_KEY_TEXT}")

_PORT_MAX: Final = 65_535


def is_did(value: object) -> TypeGuard[str]:
    """True for a well-formed DID of any method. Percent-encoding is not looked into."""
    return isinstance(value, str) and len(value) <= DID_CHARS_MAX and _DID.fullmatch(value) is not None


def is_supported_did(value: object) -> TypeGuard[str]:
    """True for the DIDs that atproto resolves: `did:plc` with its 24 characters, and `did:web` of a host name."""
    return isinstance(value, str) and (_PLC_DID.fullmatch(value) is not None or web_did_host(value) is not None)


def web_did_host(did: str) -> str | None:
    """The lower-case host of a `did:web`, as `host` or `localhost:port`; None where atproto supports no such DID.

    Unsupported are paths, reserved top-level domains, addresses, and ports of anything but `localhost`, which
    itself is for development only: whether to follow it is the resolver's decision.
    Source: atproto DID spec, "did:web".
    """
    local = _LOCALHOST_DID.fullmatch(did)
    if local:
        port = local[1]
        if port is None:
            return "localhost"
        return f"localhost:{port}" if int(port) <= _PORT_MAX else None
    host = did.removeprefix("did:web:")
    if host == did or not is_handle(host) or has_reserved_tld(host):
        return None
    return host.lower()


def is_handle(value: object) -> TypeGuard[str]:
    """True for a well-formed handle. Reserved top-level domains pass: that is `has_reserved_tld`'s question."""
    return isinstance(value, str) and len(value) <= HANDLE_CHARS_MAX and _HANDLE.fullmatch(value) is not None


def normalise_handle(handle: str) -> str:
    """The handle in lower case, its one form for comparing and storing. Raises SyntaxInvalidError if it is none."""
    if not is_handle(handle):
        raise SyntaxInvalidError("not a handle")
    return handle.lower()


def has_reserved_tld(host: str) -> bool:
    """True where the name can't belong to anyone (`.local`, `.onion` …), so that resolving it must fail.

    Source: atproto Handle spec, "Additional Non-Syntax Restrictions".
    """
    return host.rpartition(".")[2].lower() in RESERVED_TLDS


def is_at_identifier(value: object) -> TypeGuard[str]:
    """True for a DID or a handle."""
    return isinstance(value, str) and (is_did(value) if value.startswith("did:") else is_handle(value))


def is_nsid(value: object) -> TypeGuard[str]:
    """True for a well-formed namespaced identifier: a reversed domain of two labels or more, and a name.

    The specification also limits the domain part to 253 characters. The reference implementation does not, and the
    public vectors have a valid one of 283. A relay that is stricter than its neighbours loses records, so it is the
    whole that is limited, as there.
    """
    return isinstance(value, str) and len(value) <= NSID_CHARS_MAX and _NSID.fullmatch(value) is not None


def is_record_key(value: object) -> TypeGuard[str]:
    """True for a well-formed record key of any kind; `.` and `..` are none."""
    return isinstance(value, str) and _RECORD_KEY.fullmatch(value) is not None


def is_repo_path(value: object) -> TypeGuard[str]:
    """True for `<collection NSID>/<record key>`, the path of a record inside its repository.

    One expression instead of a split and two calls: every operation of every commit is asked.
    Source: atproto repository spec, "Repository Paths".
    """
    if not isinstance(value, str) or len(value) > REPO_PATH_CHARS_MAX:
        return False
    match = _REPO_PATH.fullmatch(value)
    return match is not None and match.end(1) <= NSID_CHARS_MAX


def is_at_uri(value: object) -> TypeGuard[str]:
    """True for the restricted form that lexicons use: `at://authority[/collection[/rkey]]`.

    No query, no fragment, no trailing slash. Source: atproto AT-URI spec, "Restricted AT URI Syntax".
    """
    if not isinstance(value, str) or len(value) > AT_URI_CHARS_MAX or not value.startswith("at://"):
        return False
    authority, *path = value.removeprefix("at://").split("/")
    if not is_at_identifier(authority) or len(path) > 2:
        return False
    collection, record_key = path[:1], path[1:]
    return all(map(is_nsid, collection)) and all(map(is_record_key, record_key))
