"""Where a consumer starts: pure rules of the event-stream spec, Sequence Numbers.

| cursor | what happens |
|---|---|
| absent | live, from the next event on |
| 0 | everything retained, then live |
| within what is retained | events with seq >= cursor, then live |
| older | `#info` OutdatedCursor, then everything retained |
| current + 1 | live: clients that ask for last + 1 |
| above that | error frame FutureCursor, close |
"""

import re
from typing import NamedTuple

from zlay_py.errors import SyntaxInvalidError

CURSOR_MAX = 2**53 - 1
_CURSOR = re.compile(r"[0-9]{1,16}")

CURSOR_IS_INCLUSIVE = True
"""The spec says events with seq >= cursor. A client that sends its last seq sees that one twice, and loses none."""


class Start(NamedTuple):
    """`position`: the first seq to send. `outdated`: say so first. `future`: refuse instead."""

    position: int
    outdated: bool = False
    future: bool = False


def parse(text: str | None) -> int | None:
    """The query parameter. Raises SyntaxInvalidError for anything but a whole number from 0 to 2^53 - 1."""
    if text is None:
        return None
    if not _CURSOR.fullmatch(text) or int(text) > CURSOR_MAX:
        raise SyntaxInvalidError("cursor must be a whole number, 0 or more")
    return int(text)


def decide(cursor: int | None, *, oldest_seq: int, current_seq: int) -> Start:
    """`oldest_seq`: the first seq still retained (current + 1 when none is); `current_seq`: next seq - 1."""
    if cursor is None:
        return Start(current_seq + 1)
    if cursor == 0:
        return Start(oldest_seq)
    if cursor > current_seq + 1:
        return Start(cursor, future=True)
    position = cursor if CURSOR_IS_INCLUSIVE else cursor + 1
    if position < oldest_seq and cursor < current_seq:  # who has seen the current seq has missed nothing
        return Start(oldest_seq, outdated=True)
    return Start(max(position, oldest_seq))
