"""Account status as one string each for upstream and local, and the combined answer.

Upstream: what the account's host last said, `active`, a status name (`deactivated`, `deleted`, …),
`inactive` (not active, no reason given), or `active+NAME` (active and still limited: `desynchronized`,
`throttled`). A name that can't be printed is none: PostgreSQL takes no NUL, and a host may send one.
Local: `active` or what we decided ourselves (`takendown`, `suspended`). Local wins.
Source: atproto account spec, Hosting Status; `#account` is hop-by-hop.
"""

from typing import NamedTuple

ACTIVE = "active"
INACTIVE = "inactive"
ACTIVE_BUT = "active+"

STATUS_CHARS_MAX = 48
"""Of an upstream status name. The longest known one has 14; a longer one than this is cut, not stored whole."""


class Visible(NamedTuple):
    """What we tell others: the `active` and `status` of `#account` and getRepoStatus."""

    active: bool
    status: str | None


def from_event(active: bool, status: str | None) -> str:
    """The upstream status that an `#account` event states."""
    name = (status or "")[:STATUS_CHARS_MAX]
    if not name.isprintable() or name.startswith(ACTIVE_BUT):
        name = ""
    if active:
        return ACTIVE_BUT + name if name and name != ACTIVE else ACTIVE
    return name if name and name != ACTIVE else INACTIVE


def upstream_active(upstream: str) -> bool:
    return upstream == ACTIVE or upstream.startswith(ACTIVE_BUT)


def combined(local: str, upstream: str) -> Visible:
    """The status at this relay: a local decision first, else what upstream says."""
    if local != ACTIVE:
        return Visible(False, local)
    if upstream == ACTIVE:
        return Visible(True, None)
    if upstream.startswith(ACTIVE_BUT):
        return Visible(True, upstream[len(ACTIVE_BUT) :])
    return Visible(False, None if upstream == INACTIVE else upstream)
