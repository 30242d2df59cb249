"""Structured log lines on stderr: coloured on a terminal, one JSON object per line elsewhere. Owns: the format, the
bounds on every field, and the same format for lines of the standard library and gunicorn. Refuses to own: what is
worth a line. What a peer sent may be logged as it is: control characters are escaped and long values cut here.
"""

import io
import logging
import sys
from collections import OrderedDict
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, ExcInfo, FilteringBoundLogger, Processor, WrappedLogger

from zlay_py.clock import Clock
from zlay_py.settings import LogFormat, LogLevel, Settings

FIELD_CHARS_MAX = 500
"""Enough for a DID document's address or an error of ours; a peer can't fill the disk with one line."""
FIELDS_MAX = 24
"""Fields of one line. More is a mistake in the calling code; the rest is left out."""
EXCEPTION_CHARS_MAX = 10_000
"""The end of a traceback: the frames nearest to the mistake."""
QUIET_LOGGERS = ("alembic.runtime.plugins", "alembic.runtime.migration")
"""Libraries that tell at level info what nobody asks for: only their warnings are written."""
THROTTLE_KEYS_MAX = 1024
"""Things whose last line a `Throttle` remembers; the one said longest ago is forgotten first."""


def get_logger(name: str) -> FilteringBoundLogger:
    """The logger of one module: `log = get_logger(__name__)`, then `log.warning("what happened", host=name)`."""
    return cast(FilteringBoundLogger, structlog.get_logger(name))


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Sets up our loggers and the standard library's, for the whole process. `stream`: stderr by default."""
    out = stream or sys.stderr
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*_before_rendering(), *_rendering(settings.log_format, out)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda name="": _NamedLogger(out, name),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(stdlib_formatter(settings.log_format, out))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)


def stdlib_formatter(
    log_format: LogFormat | str = LogFormat.AUTO, stream: TextIO | None = None
) -> structlog.stdlib.ProcessorFormatter:
    """Formats a standard library record as our own loggers would."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_before_rendering(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_rendering(LogFormat(log_format), stream or sys.stderr),
        ],
    )


def gunicorn_logconfig_dict(level: LogLevel, log_format: LogFormat) -> dict[str, Any]:
    """`logconfig_dict` for gunicorn.conf.py: gunicorn's own lines in our format. Access lines only at level debug."""
    name = level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"zlay": {"()": "zlay_py.logs.stdlib_formatter", "log_format": str(log_format)}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "zlay", "stream": "ext://sys.stderr"}},
        "root": {"level": name, "handlers": ["stderr"]},
        "loggers": {
            "gunicorn.error": {"level": name, "handlers": ["stderr"], "propagate": False},
            "gunicorn.access": {
                "level": "INFO" if level is LogLevel.DEBUG else "WARNING",
                "handlers": ["stderr"],
                "propagate": False,
            },
            **{quiet: {"level": "WARNING"} for quiet in QUIET_LOGGERS},
        },
    }


class _NamedLogger(structlog.WriteLogger):
    """Writes each line with one call, and knows the module it writes for.

    A line that can't be written (the reader of the pipe is gone, the disk is full, the terminal closed) is lost, and
    nothing else: what was to be logged goes on as if it had been. `lost_lines` counts them.
    """

    lost_lines = 0

    def __init__(self, file: TextIO, name: str) -> None:
        super().__init__(file)
        self.name = name

    def msg(self, message: str) -> None:
        try:
            super().msg(message)
        except (OSError, ValueError):  # ValueError: the stream is closed
            _NamedLogger.lost_lines += 1

    log = debug = info = warn = warning = error = critical = fatal = failure = err = exception = msg


def lost_lines() -> int:
    """Log lines that could not be written since the start."""
    return _NamedLogger.lost_lines


class Throttle:
    """One line per key and interval, for warnings that a peer could repeat at will."""

    def __init__(self, clock: Clock, interval_s: float = 60.0) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._said: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def allow(self, key: str) -> int | None:
        """None: say nothing now. A number: say it, and that so many were left out since the last time."""
        now_s = self._clock.monotonic_s()
        said_s, left_out = self._said.get(key, (now_s - self._interval_s, 0))
        if now_s - said_s < self._interval_s:
            self._said[key] = (said_s, left_out + 1)
            return None
        self._said[key] = (now_s, 0)
        self._said.move_to_end(key)
        if len(self._said) > THROTTLE_KEYS_MAX:
            self._said.popitem(last=False)
        return left_out


def bound_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Every field a number, a truth value, nothing, or one bounded line of printable text."""
    return {key: _bounded(key, event[key]) for key in list(event)[:FIELDS_MAX]}


def _bounded(key: str, value: object) -> object:
    if key.startswith("_") or key in ("exc_info", "stack_info") or value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and value.bit_length() <= 64:
        return value
    text = value.hex() if isinstance(value, bytes | bytearray) else str(value)
    if len(text) > FIELD_CHARS_MAX:
        text = text[:FIELD_CHARS_MAX] + "…"
    return _printable(text)


def _printable(text: str, but: str = "") -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in but else c.encode("unicode_escape").decode("ascii") for c in text)


def _plain_traceback(out: TextIO, exc_info: ExcInfo) -> None:
    """Without local variables, which may be secrets, and without what a peer wrote for the terminal."""
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    out.write(_printable(text.getvalue()[-EXCEPTION_CHARS_MAX:], but="\n"))


def _bounded_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if "exception" in event:
        event["exception"] = str(event["exception"])[-EXCEPTION_CHARS_MAX:]
    return event


def _before_rendering() -> list[Processor]:
    return [
        structlog.stdlib.ExtraAdder(),
        bound_fields,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
    ]


def _rendering(log_format: LogFormat, stream: TextIO) -> list[Processor]:
    on_terminal = stream.isatty()
    if log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and on_terminal):
        renderer = structlog.dev.ConsoleRenderer(colors=on_terminal, exception_formatter=_plain_traceback)
        return [renderer]
    return [
        structlog.processors.format_exc_info,
        _bounded_exception,
        structlog.processors.JSONRenderer(),
    ]
