"""The public syntax vectors, one case per line.

Lines are split at `\\n` and never stripped: white space at an edge is what many of the invalid ones are about.
The number of cases is written down here, so that a file that reads as empty fails instead of passing.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from zlay_py.atproto import cid, syntax
from zlay_py.errors import SyntaxInvalidError

pytestmark = pytest.mark.needs_fixtures

FILES: list[tuple[str, Callable[[object], bool], int, int]] = [
    ("atidentifier", syntax.is_at_identifier, 11, 22),
    ("aturi", syntax.is_at_uri, 23, 72),
    ("cid", cid.is_cid_string, 8, 10),
    ("datetime", syntax.is_datetime, 35, 45),
    ("did", syntax.is_did, 24, 18),
    ("handle", syntax.is_handle, 71, 48),
    ("nsid", syntax.is_nsid, 25, 27),
    ("recordkey", syntax.is_record_key, 16, 11),
    ("tid", syntax.is_tid, 4, 9),
]
DATETIMES_VALID = 35
DATETIMES_PARSE_INVALID = 7
# The one whose form is wrong as well: minutes go up to 69 in the specification's expression.
MINUTE_99 = "1985-04-12T23:99:50.123Z"
# The one valid form whose year Python's datetime can't hold.
YEAR_ZERO = "0000-01-01T00:00:00.000Z"


def case(folder: Path, name: str, index: int, count: int) -> str:
    text = (folder / "interop" / "syntax" / name).read_bytes().decode("utf-8")
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    assert len(lines) == count, f"{name} has {len(lines)} cases"
    return lines[index]


@pytest.mark.parametrize(
    ("predicate", "name", "index", "count"),
    [
        pytest.param(predicate, f"{kind}_syntax_valid.txt", index, valid, id=f"{kind}-{index}")
        for kind, predicate, valid, _ in FILES
        for index in range(valid)
    ],
)
def test_valid(fixtures_dir: Path, predicate: Callable[[object], bool], name: str, index: int, count: int) -> None:
    text = case(fixtures_dir, name, index, count)
    assert predicate(text), repr(text)


@pytest.mark.parametrize(
    ("predicate", "name", "index", "count"),
    [
        pytest.param(predicate, f"{kind}_syntax_invalid.txt", index, invalid, id=f"{kind}-{index}")
        for kind, predicate, _, invalid in FILES
        for index in range(invalid)
    ],
)
def test_invalid(fixtures_dir: Path, predicate: Callable[[object], bool], name: str, index: int, count: int) -> None:
    text = case(fixtures_dir, name, index, count)
    assert not predicate(text), repr(text)


@pytest.mark.parametrize("index", range(DATETIMES_VALID))
def test_valid_datetimes_are_moments(fixtures_dir: Path, index: int) -> None:
    text = case(fixtures_dir, "datetime_syntax_valid.txt", index, DATETIMES_VALID)
    if text == YEAR_ZERO:
        with pytest.raises(SyntaxInvalidError):
            syntax.parse_datetime(text)
    else:
        assert syntax.parse_datetime(text).isoformat()[:4] == text[:4]


@pytest.mark.parametrize("index", range(DATETIMES_PARSE_INVALID))
def test_datetimes_of_no_moment_have_the_form_and_are_refused(fixtures_dir: Path, index: int) -> None:
    text = case(fixtures_dir, "datetime_parse_invalid.txt", index, DATETIMES_PARSE_INVALID)
    assert syntax.is_datetime(text) == (text != MINUTE_99)
    with pytest.raises(SyntaxInvalidError):
        syntax.parse_datetime(text)


@pytest.mark.parametrize("index", range(9))
def test_what_is_no_tid_has_no_time(fixtures_dir: Path, index: int) -> None:
    with pytest.raises(SyntaxInvalidError):
        syntax.tid_time_us(case(fixtures_dir, "tid_syntax_invalid.txt", index, 9))


@pytest.mark.parametrize("index", range(48))
def test_what_is_no_handle_has_no_normal_form(fixtures_dir: Path, index: int) -> None:
    with pytest.raises(SyntaxInvalidError):
        syntax.normalise_handle(case(fixtures_dir, "handle_syntax_invalid.txt", index, 48))


@pytest.mark.parametrize("index", range(10))
def test_what_is_no_cid_text_is_no_blessed_cid(fixtures_dir: Path, index: int) -> None:
    with pytest.raises(SyntaxInvalidError):
        cid.parse(case(fixtures_dir, "cid_syntax_invalid.txt", index, 10))
