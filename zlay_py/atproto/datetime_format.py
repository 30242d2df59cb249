"""The lexicon's string format `datetime`: a strict common part of RFC 3339, ISO 8601 and WHATWG HTML.

Two questions apart, as the specification has them: `is_datetime` asks for the form, `parse_datetime` for a
moment that exists. Source: atproto lexicon spec, "datetime".
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, TypeGuard

from zlay_py.errors import SyntaxInvalidError

# At most 20 digits of fraction make 46 characters; the expression itself is the bound (the lexicon's is 64).
_DATETIME: Final = re.compile(
    "([0-9]{4})-([01][0-9])-([0-3][0-9])T([0-2][0-9]):([0-6][0-9]):([0-6][0-9])"
    r"(?:\.([0-9]{1,20}))?(?:Z|(?!-00:00)([+-])([0-2][0-9]):([0-5][0-9]))"
)


def is_datetime(value: object) -> TypeGuard[str]:
    """True for the form of a datetime; month 13 has it too. `-00:00` (RFC 3339's unknown offset) has not."""
    return isinstance(value, str) and _DATETIME.fullmatch(value) is not None


def parse_datetime(text: str) -> datetime:
    """The moment in UTC, cut to whole microseconds.

    Raises SyntaxInvalidError when the form is wrong, when there is no such moment (month 13, 24:00, second 60,
    a time before year 0), and for the years 0 and 10000 in UTC, which `datetime` can't hold.
    """
    match = _DATETIME.fullmatch(text)
    if match is None:
        raise SyntaxInvalidError("not a datetime")
    *numbers, fraction, sign, offset_hours, offset_minutes = match.groups()
    year, month, day, hour, minute, second = map(int, numbers)
    microsecond = int((fraction or "")[:6].ljust(6, "0"))
    try:
        zone = UTC
        if sign:
            offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes))
            zone = timezone(-offset if sign == "-" else offset)
        return datetime(year, month, day, hour, minute, second, microsecond, zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise SyntaxInvalidError("a datetime that does not exist or is out of range") from None
