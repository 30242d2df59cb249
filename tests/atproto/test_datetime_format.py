from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlay_py.atproto.datetime_format import is_datetime, parse_datetime
from zlay_py.clock import format_datetime
from zlay_py.errors import SyntaxInvalidError

whole_minute_zones = st.integers(min_value=-23 * 60 - 59, max_value=23 * 60 + 59).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)
# A margin of two days keeps the UTC form inside datetime's own range.
EARLIEST = datetime(1, 1, 3)  # noqa: DTZ001 (hypothesis adds the zone)
LATEST = datetime(9999, 12, 29)  # noqa: DTZ001
moments = st.datetimes(EARLIEST, LATEST, timezones=whole_minute_zones)


@given(moments)
def test_what_python_writes_is_read_back(moment: datetime) -> None:
    text = moment.isoformat()
    assert is_datetime(text)
    parsed = parse_datetime(text)
    assert parsed == moment
    assert parsed.tzinfo is UTC


@given(st.integers(min_value=0, max_value=4_000_000_000_000_000))
def test_what_our_clock_writes_is_read_back_to_the_millisecond(time_us: int) -> None:
    text = format_datetime(time_us)
    assert is_datetime(text)
    since_1970 = parse_datetime(text) - datetime(1970, 1, 1, tzinfo=UTC)
    assert since_1970 // timedelta(microseconds=1) == time_us // 1000 * 1000


@pytest.mark.parametrize(
    ("fraction", "microsecond"),
    [("", 0), (".1", 100_000), (".000001", 1), (".0000019", 1), (".99999999999999999999", 999_999)],
)
def test_fractions_are_cut_to_microseconds(fraction: str, microsecond: int) -> None:
    assert parse_datetime(f"1985-04-12T23:20:50{fraction}Z").microsecond == microsecond


def test_offsets_are_subtracted() -> None:
    assert parse_datetime("1985-04-12T23:20:50+01:45") == datetime(1985, 4, 12, 21, 35, 50, tzinfo=UTC)
    assert parse_datetime("1985-12-31T23:20:50-07:00") == datetime(1986, 1, 1, 6, 20, 50, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "1985-02-29T00:00:00Z",  # no leap year
        "1985-04-31T00:00:00Z",
        "1985-04-12T24:00:00Z",
        "1985-04-12T23:60:00Z",
        "1985-04-12T23:59:60Z",  # a leap second, on a day without one
        "1985-04-12T23:20:50+24:00",
        "0000-01-01T00:00:00Z",  # a year that datetime can't hold
        "0001-01-01T00:00:00+00:01",  # the same, in UTC
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_moments_that_do_not_exist_or_fit_have_the_form_but_are_refused(text: str) -> None:
    assert is_datetime(text)
    with pytest.raises(SyntaxInvalidError):
        parse_datetime(text)


@pytest.mark.parametrize(
    "value",
    ["", "1985-04-12T23:20:50Z\n", "1985-04-12T23:20:50-00:00", "1985-04-12T23:20:50.Z", "1985-04-12T23:20:50+0100",
     "1985-04-12T23:20:50.123456789012345678901Z", "١٩٨٥-04-12T23:20:50Z", None, 1985, b"1985-04-12T23:20:50Z"],
)  # fmt: skip
def test_what_has_not_the_form(value: object) -> None:
    assert not is_datetime(value)


@given(
    st.text()
    | st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](Z|[+-][0-2][0-9]:[0-5][0-9])", fullmatch=True
    )
)
def test_any_text_gives_a_moment_or_our_error(text: str) -> None:
    try:
        moment = parse_datetime(text)
    except SyntaxInvalidError:
        return
    assert is_datetime(text)
    assert moment.tzinfo is UTC
