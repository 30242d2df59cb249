"""Timestamp identifiers: the revs of commits and most record keys.

    0 | 53 bits: microseconds since 1970 | 10 bits: clock identifier

as 13 characters of a base32 alphabet that sorts like the numbers do, so comparing two TIDs as text
compares their times. Source: atproto TID spec.
"""

import re
from typing import Final, TypeGuard

from zlay_py.errors import SyntaxInvalidError

TID_CHARS: Final = 13
TIME_US_MAX: Final = 2**53 - 1
CLOCK_ID_MAX: Final = 2**10 - 1

_ALPHABET: Final = "234567abcdefghijklmnopqrstuvwxyz"
# 13 characters are 65 bits. The specification wants the first of 65 to be zero (one of 16 characters), though
# its own layout would leave the first two zero: so a time read may have 54 bits, one written has 53.
_TID: Final = re.compile("[2-7a-j][2-7a-z]{12}")
# The digits that int() knows for base 32, in the same order: decoding then runs in C.
_TO_PYTHON_DIGITS: Final = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")


def is_tid(value: object) -> TypeGuard[str]:
    """True for a well-formed TID."""
    return isinstance(value, str) and _TID.fullmatch(value) is not None


def tid_time_us(tid: str) -> int:
    """Microseconds since 1970 in a TID, less than 2**54. Raises SyntaxInvalidError if it is none."""
    if not is_tid(tid):
        raise SyntaxInvalidError("not a TID")
    return int(tid.translate(_TO_PYTHON_DIGITS), 32) >> 10


def tid_from(time_us: int, clock_id: int) -> str:
    """The TID of a time in microseconds since 1970 and a clock identifier of 10 bits.

    Raises ValueError when either is out of range: both are the caller's own.
    """
    if not 0 <= time_us <= TIME_US_MAX:
        raise ValueError(f"time_us must fit 53 bits: {time_us}")
    if not 0 <= clock_id <= CLOCK_ID_MAX:
        raise ValueError(f"clock_id must fit 10 bits: {clock_id}")
    number = time_us << 10 | clock_id
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (TID_CHARS - 1), -1, -5))
