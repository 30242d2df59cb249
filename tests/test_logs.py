import io
import json
import logging
import logging.config
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from zlay_py import logs
from zlay_py.settings import LogFormat, LogLevel, Settings

ROOT = Path(__file__).parent.parent


class FakeClock:
    def __init__(self) -> None:
        self.s = 0.0

    def now_us(self) -> int:
        return 0

    def monotonic_s(self) -> float:
        return self.s


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def configured(log_format: LogFormat = LogFormat.JSON, level: LogLevel = LogLevel.INFO) -> io.StringIO:
    out = io.StringIO()
    logs.configure(Settings(log_format=log_format, log_level=level), out)
    return out


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_one_json_object() -> None:
    out = configured()
    logs.get_logger("zlay_py.there").info("host connected", host="pds.example", seq=7, ok=True, cursor=None)
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "host connected",
        "logger": "zlay_py.there",
        "level": "info",
        "host": "pds.example",
        "seq": 7,
        "ok": True,
        "cursor": None,
    }


def test_what_is_below_the_level_is_not_written() -> None:
    out = configured(level=LogLevel.WARNING)
    log = logs.get_logger("a")
    log.info("no")
    log.warning("yes")
    logging.getLogger("b").info("no")
    logging.getLogger("b").warning("yes")
    assert [(line["logger"], line["event"]) for line in lines(out)] == [("a", "yes"), ("b", "yes")]


def test_the_standard_library_and_warnings_come_out_alike() -> None:
    out = configured()
    logging.getLogger("alembic").info("up to %s", "head", extra={"step": 2})
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("careful", stacklevel=1)
    first, second = lines(out)
    assert (first["logger"], first["level"], first["event"], first["step"]) == ("alembic", "info", "up to head", 2)
    assert (second["logger"], second["level"]) == ("py.warnings", "warning")


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_what_a_peer_wrote_stays_on_its_line(log_format: LogFormat) -> None:
    out = configured(log_format)
    logs.get_logger("a").warning("odd\nname", name='x"}\n{"event": "forged"}\x1b[2J\u202e\u2028')
    (text,) = out.getvalue().splitlines()
    assert text.isprintable()
    assert "\\n" in text


@given(st.text())
def test_any_text_becomes_one_bounded_printable_line(value: str) -> None:
    field = logs.bound_fields(None, "info", {"event": value})["event"]
    assert field.isprintable()
    # at most ten characters for one: \U0001f600
    assert len(field) <= 10 * (logs.FIELD_CHARS_MAX + 1)
    if value.isprintable() and len(value) <= logs.FIELD_CHARS_MAX:
        assert field == value


def test_every_field_is_bounded() -> None:
    many: dict[str, Any] = {str(number): number for number in range(logs.FIELDS_MAX + 5)}
    assert len(logs.bound_fields(None, "info", dict(many))) == logs.FIELDS_MAX
    bounded = logs.bound_fields(None, "info", {"a": "x" * 10_000, "b": b"\x01" * 10_000, "c": 2**4000, "d": [1] * 9999})
    assert all(len(value) == logs.FIELD_CHARS_MAX + 1 for value in bounded.values())
    assert logs.bound_fields(None, "info", {"key": b"\x01\xff", "level": LogLevel.INFO, "path": Path("/a")}) == {
        "key": "01ff",
        "level": "info",
        "path": "/a",
    }


def test_a_traceback_is_in_the_line_and_shows_no_variables() -> None:
    for log_format in (LogFormat.JSON, LogFormat.CONSOLE):
        out = configured(log_format)
        password = "hunter2"
        try:
            raise RuntimeError("what a peer said\x1b[2J")
        except RuntimeError:
            logs.get_logger("a").exception("a bug of ours", chars=len(password))
        text = out.getvalue()
        assert "RuntimeError: what a peer said" in text
        assert "\x1b[2J" not in text
        assert "hunter2" not in text.replace('password = "hunter2"', "")
        if log_format is LogFormat.JSON:
            assert len(text.splitlines()) == 1


def test_auto_is_for_people_on_a_terminal_and_for_programs_elsewhere() -> None:
    terminal = Terminal()
    logs.configure(Settings(), terminal)
    logs.get_logger("a").info("hello")
    assert "\x1b[" in terminal.getvalue()
    out = configured(LogFormat.AUTO)
    logs.get_logger("a").info("hello")
    assert lines(out)[0]["event"] == "hello"


def test_gunicorn_writes_in_the_same_format() -> None:
    program = (
        "import logging.config\n"
        "from zlay_py.logs import gunicorn_logconfig_dict\n"
        "from zlay_py.settings import LogFormat, LogLevel\n"
        "logging.config.dictConfig(gunicorn_logconfig_dict(LogLevel.INFO, LogFormat.JSON))\n"
        "logging.getLogger('gunicorn.error').info('Listening at: %s', 'http://x')\n"
        "logging.getLogger('gunicorn.access').info('GET /')\n"
        "logging.config.dictConfig(gunicorn_logconfig_dict(LogLevel.DEBUG, LogFormat.JSON))\n"
        "logging.getLogger('gunicorn.access').info('GET /2')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    written = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["logger"], line["event"]) for line in written] == [
        ("gunicorn.error", "Listening at: http://x"),
        ("gunicorn.access", "GET /2"),
    ]


def test_a_repeated_warning_is_said_once_an_interval_with_what_was_left_out() -> None:
    clock = FakeClock()
    throttle = logs.Throttle(clock, interval_s=60)
    assert [throttle.allow("a"), throttle.allow("a"), throttle.allow("b")] == [0, None, 0]
    clock.s = 59.9
    assert throttle.allow("a") is None
    clock.s = 60
    assert [throttle.allow("a"), throttle.allow("a"), throttle.allow("b")] == [2, None, 0]


def test_the_throttle_forgets_the_oldest() -> None:
    clock = FakeClock()
    throttle = logs.Throttle(clock)
    for number in range(logs.THROTTLE_KEYS_MAX + 1):
        assert throttle.allow(str(number)) == 0
    assert throttle.allow("0") == 0
    assert throttle.allow(str(logs.THROTTLE_KEYS_MAX)) is None


class BrokenStream(io.StringIO):
    """A pipe whose reader is gone."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_a_line_that_can_not_be_written_is_lost_and_nothing_else() -> None:
    before = logs.lost_lines()
    logs.configure(Settings(log_format=LogFormat.JSON), BrokenStream())
    logs.get_logger("test").info("nobody reads this")
    logs.get_logger("test").error("nor this")
    assert logs.lost_lines() == before + 2
