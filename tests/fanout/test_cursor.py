"""The cursor table of the event-stream spec, line by line."""

import pytest

from zlay_py.errors import SyntaxInvalidError
from zlay_py.fanout.cursor import Start, decide, parse


@pytest.mark.parametrize(
    ("cursor", "oldest", "current", "start"),
    [
        (None, 1, 0, Start(1)),
        (None, 5, 90, Start(91)),
        (0, 5, 90, Start(5)),
        (0, 1, 0, Start(1)),
        (5, 5, 90, Start(5)),
        (90, 5, 90, Start(90)),
        (91, 5, 90, Start(91)),
        (92, 5, 90, Start(92, future=True)),
        (4, 5, 90, Start(5, outdated=True)),
        (1, 1, 0, Start(1)),
        (2, 1, 0, Start(2, future=True)),
        (1000, 1001, 1000, Start(1001)),  # a jump, or everything retained is gone: nothing was missed
        (1001, 1001, 1000, Start(1001)),
        (0, 1001, 1000, Start(1001)),
        (None, 1001, 1000, Start(1001)),
        (999, 1001, 1000, Start(1001, outdated=True)),
    ],
)
def test_where_a_consumer_starts(cursor: int | None, oldest: int, current: int, start: Start) -> None:
    assert decide(cursor, oldest_seq=oldest, current_seq=current) == start


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", " 1", "1\n", "٣", "9007199254740992", "1" * 40, "abc"])
def test_anything_but_a_whole_number_is_refused(text: str) -> None:
    with pytest.raises(SyntaxInvalidError):
        parse(text)


def test_the_whole_range_is_taken() -> None:
    assert (parse(None), parse("0"), parse("9007199254740991")) == (None, 0, 2**53 - 1)
